"""What the tests of the archive share: events, a folder filled with many small files, what outsiders see."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs

from homeostat.contract import LabelBatch, PredictionBatch, encode_labels, encode_predictions, headers_of
from streams.archive.erasure import read_erasures
from streams.archive.lane import Lane, Mark
from streams.archive.layout import Place
from streams.broker.group import Record
from streams.store import ObjectStore, Store

START_US = 1_789_948_800_000_000
DAY_US = 86_400_000_000
PER_DAY = 100
NOW_S = START_US / 1e6 + 400 * 86_400
"""When every day of these events is over."""
PLACE = Place("predictions", "m", "2026-09-21")


def predictions(start: int, rows: int, model: str = "churn", **more: Any) -> PredictionBatch:
    """Events e<start>, ...: a hundred a day."""
    numbers = np.arange(start, start + rows)
    given: dict[str, Any] = {
        "version": "1",
        "predictions": numbers % 2,
        "scores": numbers / 1e6,
        "features": {"x": numbers / 7, "plan": [f"plan{number % 3}" for number in numbers]},
    }
    given["times_us"] = START_US + numbers * (DAY_US // PER_DAY)
    ids = [f"e{number}" for number in numbers]
    return PredictionBatch.of(model=model, producer="p", sequence=start, ids=ids, **given | more)


def labels(
    start: int, rows: int, model: str = "churn", *, value: float | str = 1, at_us: int = START_US
) -> LabelBatch:
    """Labels of e<start>, ..., known at `at_us`."""
    return LabelBatch.of(
        model=model,
        producer="p",
        sequence=start,
        ids=[f"e{number}" for number in range(start, start + rows)],
        times_us=[at_us] * rows,
        values=[value] * rows,
    )


def record(batch: PredictionBatch | LabelBatch, offset: int, partition: int = 0) -> Record:
    """As it comes from the topic."""
    value = encode_predictions(batch) if isinstance(batch, PredictionBatch) else encode_labels(batch)
    headers = tuple(headers_of(batch))
    return Record("t", partition, offset, 0, 0, b"m", value, None, 1, len(value), headers)


def write(
    store: Store, batches: Sequence[PredictionBatch | LabelBatch], offset: int = 0, partition: int = 0
) -> int:
    """One block of these batches from `offset` on; the offset behind it."""
    lane = Lane(partition, offset, Mark())
    for number, batch in enumerate(batches):
        lane.add(record(batch, offset + number, partition), batch, 0.0)
    block = lane.block
    assert block is not None
    block.cut = block.last + 1
    for place, span, content, _ in lane.files(block, read_erasures(store)):
        store.put(f"{place.folder}/{span.name}", content)
    return block.cut


def fill(store: Store, blocks: int = 20, rows: int = 15) -> list[str]:
    """Small files: predictions and a few labels; the ids of the predictions in order."""
    for number in range(blocks):
        write(store, [predictions(number * rows, rows), labels(number * rows, 3)], number * 2)
    return [f"e{number}" for number in range(blocks * rows)]


def globbed(folder: Path, kind: str = "predictions", *, distinct: bool = False) -> list[str]:
    """The ids that somebody sees who knows nothing but the folder."""
    rows = "DISTINCT *" if distinct else "*"
    found = duckdb.sql(
        f"SELECT id FROM (SELECT {rows} FROM read_parquet('{folder}/**/*.parquet', hive_partitioning=true, "
        f"union_by_name=true) WHERE kind = '{kind}') ORDER BY length(id), id"
    )
    return [row[0] for row in found.fetchall()]


def ids_of(table: pa.Table) -> list[str]:
    """The ids in the order of their numbers."""
    return sorted(table.column("id").to_pylist(), key=lambda one: (len(one), one))


class Bucket:
    """Object storage as far as the archive uses it, in a folder: no renaming, and what is uploaded is seen when it is
    complete. For `ObjectStore`."""

    def __init__(self) -> None:
        self._system = pafs.LocalFileSystem()

    def get_file_info(self, wanted: Any) -> Any:
        return [one for one in self._system.get_file_info(wanted) if not one.path.endswith(".part")]

    def open_input_file(self, path: str) -> Any:
        return self._system.open_input_file(path)

    def delete_file(self, path: str) -> None:
        self._system.delete_file(path)

    def open_output_stream(self, path: str) -> "Upload":
        return Upload(Path(path))


class Upload:
    """One upload to a `Bucket`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: list[bytes] = []

    def write(self, part: Any) -> None:
        self._parts.append(bytes(part))

    def close(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(self._path.name + ".part")
        part.write_bytes(b"".join(self._parts))
        part.rename(self._path)


def object_store(folder: Path) -> ObjectStore:
    """An archive on object storage whose objects lie in a folder."""
    return ObjectStore(Bucket(), str(folder), str(folder))
