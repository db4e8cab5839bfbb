"""Reading the archive: events in order of time for replay and backtests, labelled events for retraining (fulfils
`remediation.ports.Archive`), while somebody may be writing, compacting or erasing."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pyarrow as pa

from homeostat.contract import FEATURE_PREFIX, SEGMENT_PREFIX
from streams.archive.erasure import Erasures, read_erasures
from streams.archive.errors import ArchiveDamaged
from streams.archive.files import footers_of, list_files, tables_in
from streams.archive.layout import (
    ArchiveFile,
    Kind,
    Place,
    in_days,
    model_of_part,
    model_part,
    overlapping,
    split_live,
)
from streams.archive.merge import Position, Source, distinct, merged, position_at, rows_up_to
from streams.archive.tables import (
    ORDER,
    fitted,
    joined,
    joined_schema,
    readable,
    times_of,
)
from streams.statuses import is_fine
from streams.store import Store, open_store

_ATTEMPTS = 5
_BATCH_ROWS = 65_536
_KNOWN_BEFORE_US = 7 * 86_400 * 1_000_000
"""A label can be known before its prediction comes, by clocks and ways that differ; who asks for a day of a model that
has been archived for years reads a week of its labels beside it."""
_LABELLED = ("id", "time_us", "version", "prediction", "score", "label", "label_time_us")


class ArchiveReader:
    """The archive at `location` (a folder or a URI as pyarrow understands it).

    A reader sees each row once, at any moment: of files that replace others only one counts, and when files change
    under its hands it looks again and goes on behind the last row that it gave out.
    """

    def __init__(self, location: str | Path | Store) -> None:
        self._store = open_store(location) if isinstance(location, str | Path) else location

    def models(self) -> list[str]:
        """The models of which there are events; a very long name is cut."""
        return sorted({model_of_part(one.place.model) for one in list_files(self._store)})

    def files(
        self, model: str, kind: Kind, start_us: int | None = None, end_us: int | None = None
    ) -> list[str]:
        """Paths (relative to the archive) of the files that count now, of the days of [start_us, end_us)."""
        return [one.path for one in self._live(model, kind, start_us, end_us)]

    def schema(self, model: str, kind: Kind) -> pa.Schema:
        """The schema that holds all files of a model: what a reader that asks for one can be given."""
        footers = footers_of(self._store, self._live(model, kind, None, None))
        return readable(joined_schema([one.shape for one in footers], kind).empty_table()).schema

    def batches(
        self,
        model: str,
        kinds: Sequence[Kind],
        start_us: int | None = None,
        end_us: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[tuple[Kind, pa.Table]]:
        """Events with a time in [start_us, end_us), in order of time, at most 65,536 rows at once; duplicates and
        label revisions included.

        Tables of one kind follow one another in order. With two kinds: no row of a later table is earlier than a row
        of an earlier one, but for the two tables of one slice of time (the first of `kinds` comes first).
        `columns`: these (and `time`), missing values where a file has none. The columns of a kind may differ from
        one day to the next, when features come and go. Rows that come in for a day after reading has
        begun with it are left out.
        """
        names = None if columns is None else list(dict.fromkeys([*columns, "time"]))
        erasures = read_erasures(self._store)
        for day in self._days(model, kinds, start_us, end_us):
            streams: list[tuple[Kind, Iterator[pa.Table]]] = [
                (kind, self._day(Place(kind, model_part(model), day), start_us, end_us, names, erasures))
                for kind in kinds
            ]
            for kind, table in _side_by_side(streams):
                shown = readable(table) if names is None else _chosen(table, names)
                for first in range(0, shown.num_rows, _BATCH_ROWS):
                    yield kind, shown.slice(first, _BATCH_ROWS)

    def predictions(
        self, model: str, *, since_us: int | None = None, until_us: int | None = None
    ) -> pa.Table:
        """Archived predictions with a time in [since_us, until_us) in order of time, duplicates included; columns as
        in `archive_tables.PREDICTION_SCHEMA`, then `scores`, `s.<segment>`, `f.<feature>`. All in memory."""
        return self._table("predictions", model, since_us, until_us)

    def labels(self, model: str, *, since_us: int | None = None, until_us: int | None = None) -> pa.Table:
        """Archived labels that became known in [since_us, until_us), revisions included."""
        return self._table("labels", model, since_us, until_us)

    def current_labels(
        self, model: str, *, since_us: int | None = None, until_us: int | None = None
    ) -> pa.Table:
        """The label that counts for each id, as known in [`since_us`, `until_us`): the one that became known last, and
        of several from the same moment the one that came last."""
        labels = self.labels(model, since_us=since_us, until_us=until_us)
        frame = labels.select([*ORDER, "id"]).to_pandas()
        last = frame.drop_duplicates("id", keep="last").index.to_numpy()
        return labels.take(pa.array(last))

    def labelled(
        self,
        model: str,
        *,
        since_us: int | None = None,
        until_us: int | None = None,
        known_until_us: int | None = None,
    ) -> pd.DataFrame:
        """Predictions of [since_us, until_us) with their labels as known before `known_until_us`, in order of time.

        Columns id, time_us, version, prediction, score, label, label_time_us, `s.<segment>` and `f.<feature>`; one
        row per event and version. A second prediction with the same id and version is a duplicate: the first that came
        counts. Of an id's labels the latest counts; one that was known a week before `since_us` belongs to none of
        these. Texts stand in `prediction` and `label` where a model speaks in them.
        """
        frame = frame_of(self.predictions(model, since_us=since_us, until_us=until_us))
        frame = frame.sort_values(["partition", "offset", "row"], kind="stable")
        frame = frame.drop_duplicates(["version", "key"], keep="first")
        known_since_us = None if since_us is None else since_us - _KNOWN_BEFORE_US
        labels = frame_of(self.current_labels(model, since_us=known_since_us, until_us=known_until_us))
        known = pd.DataFrame(
            {
                "id": labels["id"],
                "label": outcome_of(labels, "value"),
                "label_time_us": labels["time_us"],
            }
        )
        frame["prediction"] = outcome_of(frame, "prediction")
        joined_frame = frame.merge(known, on="id", how="inner", validate="many_to_one")
        rest = [name for name in joined_frame.columns if name.startswith((SEGMENT_PREFIX, FEATURE_PREFIX))]
        ordered = joined_frame.sort_values(["time_us", "id", "version"], kind="stable", ignore_index=True)
        return ordered.loc[:, [*_LABELLED, *rest]]

    def requests(self, model: str, *, since_us: int, until_us: int) -> pd.DataFrame:
        """Predictions of [since_us, until_us) as requests, in order of time: columns time_us, version, latency_ms and
        failed (1 or 0), missing where nobody told. A redelivery is counted twice."""
        columns = ["version", "latency_ms", "status"]
        parts = [
            frame_of(table) for _, table in self.batches(model, ["predictions"], since_us, until_us, columns)
        ]
        frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*columns, "time_us"])
        codes, statuses = pd.factorize(frame["status"])
        failed = [*(float(not is_fine(str(one))) for one in statuses), float("nan")]
        frame["failed"] = np.array(failed)[codes]
        return frame.loc[:, ["time_us", "version", "latency_ms", "failed"]]

    def _live(self, model: str, kind: Kind, start_us: int | None, end_us: int | None) -> list[ArchiveFile]:
        return in_days(split_live(list_files(self._store, kind, model_part(model)))[0], start_us, end_us)

    def _days(self, model: str, kinds: Sequence[Kind], start_us: int | None, end_us: int | None) -> list[str]:
        return sorted({one.place.day for kind in kinds for one in self._live(model, kind, start_us, end_us)})

    def _table(self, kind: Kind, model: str, since_us: int | None, until_us: int | None) -> pa.Table:
        erasures = read_erasures(self._store)
        tables: list[pa.Table] = []
        for day in self._days(model, [kind], since_us, until_us):
            tables += self._day(Place(kind, model_part(model), day), since_us, until_us, None, erasures)
        return readable(joined(tables, kind))

    def _day(
        self,
        place: Place,
        start_us: int | None,
        end_us: int | None,
        names: Sequence[str] | None,
        erasures: Erasures,
    ) -> Iterator[pa.Table]:
        """One day of one kind in order; goes on behind the last row when a file goes away or changes."""
        last: Position | None = None
        failures = 0
        while True:
            try:
                for table in self._once(place, names, last):
                    kept = erasures.without(_within(table, start_us, end_us), place.model)
                    if kept.num_rows:
                        yield kept
                    last, failures = position_at(table, table.num_rows - 1), 0
                return
            except (FileNotFoundError, ArchiveDamaged):
                # Somebody compacts or erases. A file that really is damaged is so every time.
                failures += 1
                if failures == _ATTEMPTS:
                    raise

    def _once(self, place: Place, names: Sequence[str] | None, after: Position | None) -> Iterator[pa.Table]:
        live, _ = split_live(list_files(self._store, place.kind, place.model, place.day))
        footers = footers_of(self._store, live)
        schema = joined_schema([one.shape for one in footers], place.kind)
        if names is not None:
            needed = {*names, *ORDER, "key"}
            needed |= {f"t.{name.removeprefix(FEATURE_PREFIX)}" for name in names}
            schema = pa.schema([field for field in schema if field.name in needed])
        sources = [Source(footer.first_us, partial(self._fitted, footer.file, schema)) for footer in footers]
        return distinct(merged(sources, after)) if overlapping(live) else merged(sources, after)

    def _fitted(self, file: ArchiveFile, schema: pa.Schema) -> Iterator[pa.Table]:
        for table in tables_in(self._store, file, schema.names):
            yield fitted(table, schema)


class ParquetArchive(ArchiveReader):
    """The archive as `remediation.ports.Archive`."""


def _side_by_side(streams: Sequence[tuple[Kind, Iterator[pa.Table]]]) -> Iterator[tuple[Kind, pa.Table]]:
    """Two streams in slices of time: up to the earlier end of what is at hand, first the one, then the other."""
    heads: list[tuple[Kind, Iterator[pa.Table], pa.Table | None]] = [
        (kind, stream, next(stream, None)) for kind, stream in streams
    ]
    while any(table is not None for _, _, table in heads):
        ends = [int(times_of(table)[-1]) for _, _, table in heads if table is not None]
        bound = (min(ends), 2**31 - 1, 2**63 - 1, 2**31 - 1)
        after: list[tuple[Kind, Iterator[pa.Table], pa.Table | None]] = []
        for kind, stream, head in heads:
            table = head
            while table is not None:
                count = rows_up_to(table, bound)
                if count:
                    yield kind, table.slice(0, count)
                if count < table.num_rows:
                    table = table.slice(count)
                    break
                table = next(stream, None)
            after.append((kind, stream, table))
        heads = after


def _within(table: pa.Table, start_us: int | None, end_us: int | None) -> pa.Table:
    if start_us is None and end_us is None:
        return table
    times_us = times_of(table)
    first = 0 if start_us is None else int(times_us.searchsorted(start_us, "left"))
    last = table.num_rows if end_us is None else int(times_us.searchsorted(end_us, "left"))
    return table.slice(first, max(last - first, 0))


def _chosen(table: pa.Table, names: Sequence[str]) -> pa.Table:
    columns = [
        table.column(name) if name in table.schema.names else pa.nulls(table.num_rows, pa.float64())
        for name in names
    ]
    return readable(pa.table(columns, names=list(names)))


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A table of the archive for pandas, its times as `time_us`."""
    times = table.column("time").cast(pa.int64())
    frame: pd.DataFrame = table.drop_columns(["time"]).append_column("time_us", times).to_pandas()
    return frame


def outcome_of(frame: pd.DataFrame, name: str) -> pd.Series:
    """Numbers; with the texts among them where a model speaks in texts."""
    numbers, texts = cast("pd.Series", frame[name]), cast("pd.Series", frame[f"{name}_text"])
    if not bool(texts.notna().any()):
        return numbers
    both = [number if text is None else text for number, text in zip(numbers, _or_none(texts), strict=True)]
    return pd.Series(both, index=frame.index, dtype=object)


def _or_none(texts: pd.Series) -> list[str | None]:
    return [text if isinstance(text, str) else None for text in texts]
