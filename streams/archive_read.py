"""Reading the archive: labelled events for retraining and backtests (fulfils `remediation.ports.Archive`)."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import re
from pathlib import Path
from typing import cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from homeostat.batches import FEATURE_PREFIX
from streams.archive_tables import Kind, concat, day_of, mixed_features, model_folder

_ATTEMPTS = 5
_NAME = re.compile(r"^p(\d+)-(\d+)\.parquet$")
_COLUMNS = ("id", "time_us", "version", "prediction", "score", "label", "label_time_us")


class ParquetArchive:
    """The archive under `root`, while somebody may be writing it: a file is replaced as a whole, so each is
    read either as it was or as it is."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def labelled(
        self, model: str, *, since_us: int | None = None, until_us: int | None = None
    ) -> pd.DataFrame:
        """Predictions of [since_us, until_us) with their labels, in order of time.

        Columns id, time_us, version, prediction, score, label, label_time_us and `f.<feature>`; one row per
        event and version. A second prediction with the same id and version is a duplicate: the first counts.
        Of an id's labels the latest counts.
        """
        predictions = self.predictions(model, since_us=since_us, until_us=until_us)
        frame = _frame(predictions).drop_duplicates(["version", "key"], keep="first")
        labels = _frame(self.labels(model)).sort_values(["time_us", "offset"], kind="stable")
        labels = labels.drop_duplicates("id", keep="last")
        known = pd.DataFrame(
            {"id": labels["id"], "label": labels["value"], "label_time_us": labels["time_us"]}
        )
        joined = frame.merge(known, on="id", how="inner", validate="many_to_one")
        features = [name for name in joined.columns if name.startswith(FEATURE_PREFIX)]
        ordered = joined.sort_values(["time_us", "id", "version"], kind="stable", ignore_index=True)
        return ordered.loc[:, [*_COLUMNS, *features]]

    def predictions(
        self, model: str, *, since_us: int | None = None, until_us: int | None = None
    ) -> pa.Table:
        """Archived predictions with a time in [since_us, until_us), duplicates included, in order of arrival
        per partition; columns as in `archive_tables.PREDICTION_SCHEMA` and `f.<feature>`."""
        return self._read("predictions", model, since_us, until_us)

    def labels(self, model: str, *, since_us: int | None = None, until_us: int | None = None) -> pa.Table:
        """Archived labels that became known in [since_us, until_us), revisions included."""
        return self._read("labels", model, since_us, until_us)

    def _read(self, kind: Kind, model: str, since_us: int | None, until_us: int | None) -> pa.Table:
        for attempt in range(_ATTEMPTS):
            try:
                tables = [
                    _within(_read_file(path), since_us, until_us)
                    for path in self._files(kind, model, since_us, until_us)
                ]
                return _numbers_again(concat(tables, kind), mixed_features(tables))
            except FileNotFoundError:
                # Somebody compacts or erases: the list of files is out of date.
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _files(self, kind: Kind, model: str, since_us: int | None, until_us: int | None) -> list[Path]:
        first = "" if since_us is None else day_of(since_us)
        last = "9999-12-31" if until_us is None else day_of(until_us)
        found: list[tuple[int, int, Path]] = []
        for path in model_folder(self._root, kind, model).glob("day=*/*.parquet"):
            name = _NAME.match(path.name)
            if name and first <= path.parent.name.removeprefix("day=") <= last:
                found.append((int(name.group(1)), int(name.group(2)), path))
        return [path for _, _, path in sorted(found)]


def _read_file(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read()


def _within(table: pa.Table, since_us: int | None, until_us: int | None) -> pa.Table:
    if since_us is not None:
        table = table.filter(pa.array(_time_us(table).to_numpy() >= since_us))
    if until_us is not None:
        table = table.filter(pa.array(_time_us(table).to_numpy() < until_us))
    return table


def _time_us(table: pa.Table) -> pa.ChunkedArray:
    return table.column("time").cast(pa.int64())


def _numbers_again(table: pa.Table, names: set[str]) -> pa.Table:
    """A feature of numbers into which a producer put text stays a feature of numbers: the text is missing."""
    for name in sorted(names):
        texts = cast("pd.Series", table.column(name).to_pandas())
        numbers = cast("pd.Series", pd.to_numeric(texts, errors="coerce"))
        if 2 * numbers.notna().sum() >= texts.notna().sum():
            position = table.schema.get_field_index(name)
            table = table.set_column(position, name, pa.array(numbers, pa.float64(), from_pandas=True))
    return table


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.drop_columns(["time"]).append_column("time_us", _time_us(table)).to_pandas()
    return frame
