"""Upkeep of the archive: many small files become few large ones, old days go, erasures are kept.

Compaction writes one file for a row of neighbouring files of a place and partition, named by the offsets of all of
them. That name alone says which files it replaces, so a crash between writing and deleting leaves nothing undecided:
whoever reads by `split_live` sees each row once, and the next upkeep deletes what is left.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
import structlog

from streams.archive.erasure import Erasures, enforce, read_erasures
from streams.archive.errors import ArchiveDamaged
from streams.archive.files import footers_of, list_files, tables_in
from streams.archive.layout import (
    DAY_US,
    ArchiveFile,
    Place,
    Span,
    day_of,
    day_start_us,
    model_of_part,
    overlapping,
    split_live,
)
from streams.archive.merge import Source, distinct, merged
from streams.archive.tables import ROW_GROUP_ROWS, file_schema, fitted, joined_schema, writing
from streams.store import Store

_log = structlog.get_logger()

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UpkeepConfig:
    """A file of `target_bytes` is large enough; half of it is still small. A day is closed when it is over and
    nothing came for it in `settle_s`. In a day that is not, `fan_in` neighbours below a limit of `tiers_bytes` become
    one. `retention_days` (of a model: `retention_of`) counts from the end of a day of event time; None keeps all."""

    target_bytes: int = 128 * _MIB
    settle_s: float = 3_600.0
    fan_in: int = 16
    tiers_bytes: tuple[int, ...] = (_MIB // 4, 4 * _MIB, 64 * _MIB)
    retention_days: int | None = None
    retention_of: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True)
class UpkeepReport:
    """What one upkeep did, in files; `erased_again`: see `archive.erasure.enforce`. `busy`: somebody else is at it.
    `files` and `bytes` are what the archive held when it began, `damaged` the paths that it could not read."""

    files: int = 0
    bytes: int = 0
    damaged: list[str] = field(default_factory=list[str])
    merged: int = 0
    into: int = 0
    swept: int = 0
    retired: int = 0
    erased_again: int = 0
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Merge:
    """Neighbouring files of one place and partition that shall become one."""

    files: tuple[ArchiveFile, ...]

    @property
    def span(self) -> Span:
        """Of the file that replaces them."""
        first = self.files[0].span
        return Span(first.partition, first.run, first.first, max(one.span.last for one in self.files))


Retiring = Callable[[Sequence[ArchiveFile]], AbstractContextManager[object]]
"""Around the deletion of files whose retention is over. What it raises before that keeps them."""


class Upkeep:
    """Looks after one archive; keep it, it remembers which files it has checked."""

    def __init__(self, store: Store, config: UpkeepConfig, *, retiring: Retiring = nullcontext) -> None:
        self._store = store
        self._config = config
        self._retiring = retiring
        self._checked: set[tuple[str, float, int]] = set()
        self._damaged: set[ArchiveFile] = set()

    def run(
        self, now_s: float, *, closed: bool = False, stop: Callable[[], bool] = lambda: False
    ) -> UpkeepReport:
        """Do all that is due; with `closed` every day counts as closed. Ends early, between two folders, when
        `stop` says so. Raises `OSError` when the storage is away."""
        report = UpkeepReport()
        with self._store.exclusive() as locked:
            if not locked:
                report.busy = True
                return report
            self._store.tidy()
            files, replaced = split_live(list_files(self._store))
            report.files, report.bytes = len(files), sum(file.size for file in files)
            self._damaged.intersection_update(files)
            report.erased_again = self._enforce(read_erasures(self._store), files, self._checked)
            for file in replaced:
                self._store.delete(file.path)
            report.swept = len(replaced)
            old = self._retired(files, now_s)
            retired = {file.path for file in old}
            if old:
                with self._retiring(old):
                    for path in sorted(retired):
                        self._store.delete(path)
            report.retired = len(retired)
        kept = [file for file in files if file.path not in retired]
        for place in plan(kept, now_s, self._config, closed=closed, apart=self._damaged):
            if stop():
                break
            self._compact(place, now_s, closed, report)
        report.damaged = sorted(file.path for file in self._damaged)
        if report.merged or report.retired:
            _log.info(
                "The archive was tidied.", merged=report.merged, into=report.into, retired=report.retired
            )
        return report

    def due(self, now_s: float, *, closed: bool = False) -> UpkeepReport:
        """What `run` would do now, as far as listing the files tells; rows that were ordered to be erased are not
        looked for. Changes nothing."""
        files, replaced = split_live(list_files(self._store))
        gone = self._retired(files, now_s)
        retired = set(gone)
        kept = [file for file in files if file not in retired]
        merges = [one for place in plan(kept, now_s, self._config, closed=closed).values() for one in place]
        return UpkeepReport(
            files=len(files),
            bytes=sum(file.size for file in files),
            merged=sum(len(merge.files) for merge in merges),
            into=len(merges),
            swept=len(replaced),
            retired=len(gone),
        )

    def retired(self, now_s: float) -> list[ArchiveFile]:
        """Files of days that are older than they may be."""
        return self._retired(split_live(list_files(self._store))[0], now_s)

    def _retired(self, files: Sequence[ArchiveFile], now_s: float) -> list[ArchiveFile]:
        today_us = round(now_s * 1e6)
        found: list[ArchiveFile] = []
        for file in files:
            days = self._config.retention_of.get(model_of_part(file.place.model), self._config.retention_days)
            if days is not None and file.place.day < day_of(max(today_us - days * DAY_US, 0)):
                found.append(file)
        return found

    def _compact(self, place: Place, now_s: float, closed: bool, report: UpkeepReport) -> None:
        """One folder, as it is now; between two folders others may have their turn."""
        with self._store.exclusive() as locked:
            if not locked:
                report.busy = True
                return
            files, _ = split_live(list_files(self._store, place.kind, place.model, place.day))
            while True:
                merges = plan(files, now_s, self._config, closed=closed, apart=self._damaged).get(place, [])
                try:
                    if merges and self._merge(place, merges):
                        report.merged += sum(len(merge.files) for merge in merges)
                        report.into += len(merges)
                    return
                except ArchiveDamaged as error:
                    self._leave_alone(files, error)

    def _leave_alone(self, files: Sequence[ArchiveFile], error: ArchiveDamaged) -> None:
        """Its neighbours are merged without it, until somebody mends it."""
        found = {file for file in files if file.path == error.path}
        if not found <= self._damaged:
            _log.error("A file of the archive is damaged and left alone.", reason=str(error))
        self._damaged |= found

    def _enforce(
        self, erasures: Erasures, files: Sequence[ArchiveFile], checked: set[tuple[str, float, int]]
    ) -> int:
        rewritten, damaged = enforce(self._store, erasures, files, checked)
        for error in damaged:
            self._leave_alone(files, error)
        return rewritten

    def _merge(self, place: Place, merges: Sequence[Merge]) -> bool:
        """False when the folder was left alone, because somebody else has changed it. Raises `ArchiveDamaged`."""
        erasures = read_erasures(self._store)
        new: list[tuple[str, Path]] = []
        try:
            for merge in merges:
                path = self._store.scratch()
                new.append((merge.span.name, path))
                if not write_merged(self._store, merge.files, erasures, path):
                    path.unlink()
                    new.pop()
            old = [file.span.name for merge in merges for file in merge.files]
            self._store.replace(place.folder, old, new)
        except Exception as error:
            for _, path in new:
                path.unlink(missing_ok=True)
            if not isinstance(error, FileNotFoundError):
                raise
            _log.warning(
                "A folder of the archive is not compacted now.", folder=place.folder, reason=str(error)
            )
            return False
        after = read_erasures(self._store, erasures)
        if len(after.orders) > len(erasures.orders):
            here, _ = split_live(list_files(self._store, place.kind, place.model, place.day))
            self._enforce(after, here, set())
        return True


def plan(
    files: Sequence[ArchiveFile],
    now_s: float,
    config: UpkeepConfig,
    *,
    closed: bool = False,
    apart: Set[ArchiveFile] = frozenset(),
) -> dict[Place, list[Merge]]:
    """Which files that count shall be merged now, by folder; not those that are kept `apart`, and never across one.
    Pure; the same files give the same plan."""
    places: dict[Place, list[ArchiveFile]] = {}
    for file in files:
        places.setdefault(file.place, []).append(file)
    found: dict[Place, list[Merge]] = {}
    for place, all_here in sorted(places.items()):
        settled = max(day_start_us(place.day) + DAY_US, 0) / 1e6 + config.settle_s <= now_s
        quiet = max(file.changed_s for file in all_here) + config.settle_s <= now_s
        lanes: dict[tuple[int, int], list[ArchiveFile]] = {}
        for file in all_here:
            lanes.setdefault((file.span.partition, file.span.run), []).append(file)
        choose = _closed_day if closed or (settled and quiet) else _open_day
        merges: list[Merge] = []
        for lane in lanes.values():
            ordered = sorted(lane, key=_first)
            double = overlapping(ordered)
            if double:
                merges += [Merge(group) for group in double if apart.isdisjoint(group)]
            else:
                merges += choose(ordered, config, apart)
        if merges:
            found[place] = merges
    return found


def _first(file: ArchiveFile) -> int:
    return file.span.first


def _closed_day(
    lane: Sequence[ArchiveFile], config: UpkeepConfig, apart: Set[ArchiveFile]
) -> Iterator[Merge]:
    for run in _runs(lane, config.target_bytes // 2, apart):
        group: list[ArchiveFile] = []
        for file in run:
            if group and sum(one.size for one in group) + file.size > config.target_bytes:
                yield from [Merge(tuple(group))] if len(group) > 1 else []
                group = []
            group.append(file)
        if len(group) > 1:
            yield Merge(tuple(group))


def _open_day(lane: Sequence[ArchiveFile], config: UpkeepConfig, apart: Set[ArchiveFile]) -> Iterator[Merge]:
    for limit in config.tiers_bytes:
        runs = [run for run in _runs(lane, limit, apart) if len(run) >= config.fan_in]
        if runs:
            yield from (Merge(tuple(run)) for run in runs)
            return


def _runs(lane: Sequence[ArchiveFile], limit: int, apart: Set[ArchiveFile]) -> Iterator[list[ArchiveFile]]:
    """Neighbours that are all smaller than `limit`."""
    run: list[ArchiveFile] = []
    for file in lane:
        if file.size < limit and file not in apart:
            run.append(file)
            continue
        if run:
            yield run
        run = []
    if run:
        yield run


def write_merged(store: Store, files: Sequence[ArchiveFile], erasures: Erasures, path: Path) -> int:
    """Write the rows of files of one place, in order, to a local file; how many there are. With little of each file
    in memory."""
    kind, part = files[0].place.kind, files[0].place.model
    footers = footers_of(store, files)
    schema = joined_schema([footer.shape for footer in footers], kind)
    empty = [field.name for field in schema if pa.types.is_null(field.type)]
    sources = [
        Source(footer.first_us, partial(_fitted_tables, store, footer.file, schema)) for footer in footers
    ]
    rows = 0
    with writing(path, file_schema(schema, empty)) as writer:
        rows_in_order = distinct(merged(sources)) if overlapping(files) else merged(sources)
        for table in _in_chunks(rows_in_order, ROW_GROUP_ROWS):
            kept = erasures.without(table, part).drop_columns(empty)
            rows += kept.num_rows
            if kept.num_rows:
                writer.write_table(kept, row_group_size=ROW_GROUP_ROWS)
    return rows


def _in_chunks(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Tables of at least so many rows, but for the last."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(one.num_rows for one in held) >= rows:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _fitted_tables(store: Store, file: ArchiveFile, schema: pa.Schema) -> Iterator[pa.Table]:
    for table in tables_in(store, file):
        yield fitted(table, schema)
