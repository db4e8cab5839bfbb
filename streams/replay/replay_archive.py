"""A replay from the archive, where the events topic no longer holds the events: the same final revisions."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from homeostat.contract import (
    FEATURE_PREFIX,
    SEGMENT_PREFIX,
    LabelBatch,
    PredictionBatch,
    encode_labels,
    encode_predictions,
    headers_of,
)
from streams.archive.layout import Kind
from streams.archive.read import ArchiveReader
from streams.broker.log import LogReader
from streams.replay.replay import Logged, Replayed, ReplayRun, Stretch, read_logged
from streams.stages import InputRecord
from streams.topics import EVENTS

_PRODUCER = "archive"
_BATCH_ROWS = 8_192


async def replay_archive(
    broker: str, archive: str, stretch: Stretch, tell: Callable[[int, int], None]
) -> Replayed:
    """Read events and labels from the archive, configuration and seals from the broker."""
    async with LogReader(broker, "homeostat-replay") as reader:
        logged, control = await read_logged(reader, broker, stretch)
    return replay_files(ArchiveReader(archive), logged, control, stretch, tell)


def replay_files(
    files: ArchiveReader,
    logged: Logged,
    control: Sequence[InputRecord],
    stretch: Stretch,
    tell: Callable[[int, int], None],
) -> Replayed:
    """The events and labels of the archive through the stages.

    The archive is in order of time and not of arrival: an event that was too late live is in time here, and a
    pane is sealed with all its rows. Final revisions of points are the same where nothing was too late.
    """
    run = ReplayRun(logged, stretch, control, [True])
    run.replayed.in_order = False
    models = [stretch.model] if stretch.model is not None else sorted({name.model for name in logged.plans})
    offset = 0
    for model in models:
        for record in _records(files, model, offset):
            offset = record.offset + 1
            run.take(record)
            if offset % 100 == 0:
                tell(run.replayed.records, run.replayed.rows)
    return run.end()


def _records(files: ArchiveReader, model: str, offset: int) -> Iterator[InputRecord]:
    """The events of a model as a live service would have sent them, all through one partition."""
    for kind, table in files.batches(model, ("predictions", "labels")):
        for start in range(0, table.num_rows, _BATCH_ROWS):
            for batch in _batches(kind, model, table.slice(start, _BATCH_ROWS), offset):
                value = (
                    encode_predictions(batch) if isinstance(batch, PredictionBatch) else encode_labels(batch)
                )
                yield InputRecord(EVENTS, 0, offset, model.encode(), value, tuple(headers_of(batch)), 2**62)
                offset += 1


def _batches(
    kind: Kind, model: str, table: pa.Table, sequence: int
) -> Iterator[PredictionBatch | LabelBatch]:
    """Batches of one kind of value (and version) in order; the first has this sequence, then one more each."""
    if kind == "labels":
        for number, part in enumerate(_alike(_kinds(table, "value"))):
            rows = table.slice(part.start, len(part))
            yield LabelBatch.of(
                model=model,
                producer=_PRODUCER,
                sequence=sequence + number,
                ids=rows.column("id").to_pylist(),
                times_us=_times(rows),
                values=_outcomes(rows, "value"),
            )
        return
    versions = table.column("version").to_pylist()
    kinds = _kinds(table, "prediction")
    for number, part in enumerate(_alike(list(zip(versions, kinds, strict=True)))):
        rows = table.slice(part.start, len(part))
        yield _predictions(model, versions[part.start], rows, sequence + number)


def _alike(values: Sequence[object]) -> Iterator[range]:
    """The stretches of rows that have the same value, in order: a batch is of one version, and of numbers or texts."""
    for _, places in groupby(range(len(values)), key=values.__getitem__):
        found = list(places)
        yield range(found[0], found[-1] + 1)


def _kinds(table: pa.Table, name: str) -> list[bool]:
    """For each row whether it holds a text; one that holds nothing goes with the row before it."""
    texts = table.column(f"{name}_text").is_valid().to_pylist()
    numbers = table.column(name).is_valid().to_pylist()
    kinds: list[bool] = []
    for text, number in zip(texts, numbers, strict=True):
        kinds.append(text or (not number and bool(kinds) and kinds[-1]))
    return kinds


def _predictions(model: str, version: str, table: pa.Table, sequence: int) -> PredictionBatch:
    names: list[str] = table.schema.names
    features = {
        name.removeprefix(FEATURE_PREFIX): _feature(table.column(name))
        for name in names
        if name.startswith(FEATURE_PREFIX) and table.column(name).null_count < table.num_rows
    }
    segments = {
        name.removeprefix(SEGMENT_PREFIX): table.column(name).to_pylist()
        for name in names
        if name.startswith(SEGMENT_PREFIX)
    }
    statuses = table.column("status")
    return PredictionBatch.of(
        model=model,
        version=version,
        producer=_PRODUCER,
        sequence=sequence,
        ids=table.column("id").to_pylist(),
        times_us=_times(table),
        predictions=_outcomes(table, "prediction"),
        scores=table.column("score").to_numpy(),
        statuses=statuses.to_pylist() if statuses.null_count < table.num_rows else None,
        features=features,
        segments=segments,
    )


def _times(table: pa.Table) -> npt.NDArray[Any]:
    return table.column("time").cast(pa.int64()).to_numpy()


def _outcomes(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """Numbers, or the names of classes: rows of one kind."""
    texts = table.column(f"{name}_text")
    if texts.null_count == table.num_rows:
        return table.column(name).to_numpy()
    return np.array(texts.to_pylist(), dtype=object)


def _feature(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    if pa.types.is_fixed_size_list(column.type):
        return np.array(
            [np.full(column.type.list_size, np.nan) if v is None else v for v in column.to_pylist()]
        )
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), dtype=object)
    return column.cast(pa.float64()).to_numpy()
