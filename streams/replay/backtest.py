"""What would have alarmed, and when: a file through the same stages as the live stream."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import gcd
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from detectors.reference import Reference
from detectors.values import Monitor
from streams.control.configuration import Configuration
from streams.control.monitor_build import build_monitor, open_table, season_asked
from streams.control.window_spec import window_spec
from streams.files.columns import Roles, Times, as_times
from streams.files.labels import LabelFile
from streams.files.monitor import MonitorFile, MonitorFileInvalid, seconds
from streams.files.tables import FileInvalid, TableFile
from streams.replay.backtest_feed import Feed, RowIndex
from streams.replay.backtest_result import ROW_US, Backtest, Found, is_compared
from streams.replay.inprocess import InProcess
from streams.replay.references import learn
from streams.times import MICROSECONDS

_FLUSH_ROWS = 65_536
_FIRST_ROWS = 8_192
"""Rows that tell the pace of a file, however many are read at once."""
_LEAST_PANE_ROWS = 50
_ROWS_KEPT = 100_000
"""In a file without time: how many rows back a duplicate is told, and a label finds its prediction."""
_PANES_S = (
    0.001,
    0.01,
    0.1,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1_800,
    3_600,
    7_200,
    21_600,
    43_200,
    86_400,
)
_PANES_PER_WINDOW = 10
_COARSE_US = 3_600_000_000
_PANES_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a backtest is. `share`: 0 to 1."""

    rows: int
    share: float
    rows_per_s: float


def _silent(_: Progress) -> None:
    return None


def backtest(
    data: Path,
    file: MonitorFile,
    labels: Path | None = None,
    *,
    known: Reference | None = None,
    keep_points: bool = False,
    tell: Callable[[Progress], None] = _silent,
) -> Backtest:
    """Run a file through the profile and judge stages; revisions are final.

    The file's rows should be in order of time; one that comes later than the lateness is left out and
    counted. Memory does not grow with the rows, but by the ids within the label horizon (under 100 bytes
    each), the labels of a file of their own (24 bytes each), the panes (16 bytes each) and, with
    `keep_points`, the points. known: the reference, where it has been learned already.
    Raises `FileInvalid`, `MonitorFileInvalid`, `MonitorInvalid` or `ReferenceInvalid` with what is wrong.
    """
    started_s = time.monotonic()
    table = open_table(data, file)
    reference = learn(data, file)[0] if known is None else known
    table.expect_numbers({file.columns.score or "", *_numeric(reference)})
    roles = Roles.of(file, table)
    skipped_rows = file.reference.rows or 0
    batches = _after(table.batches(roles.needed), skipped_rows)
    first = next(batches, None)
    if first is None:
        raise FileInvalid(
            f"{data}: it has no rows" + (" after those of the reference" if file.reference.rows else "")
        )
    timed = "time" in roles.by_role
    monitor = _timed(file, roles, first) if timed else _by_rows(file, roles)
    # A file is one source: windows must not wait for the partitions of the live stream.
    monitor = msgspec.structs.replace(monitor, spread=1)
    span_s = _span_s(monitor)
    if timed:
        monitor = msgspec.structs.replace(
            monitor,
            lateness_s=monitor.lateness_s + span_s,
            label_horizon_s=monitor.label_horizon_s + span_s,
            behind_s=span_s,
        )
    configuration = Configuration()
    configuration.add_monitor(monitor)
    configuration.add_reference(reference)
    label_file = LabelFile(labels, file) if labels is not None else None
    index = RowIndex(round(monitor.pane_s * MICROSECONDS))
    span_us, apart_us = (round(one * MICROSECONDS) for one in (span_s, monitor.lateness_s - monitor.behind_s))
    feed = Feed(monitor.model, reference.version, roles, label_file, ROW_US, index, span_us, apart_us)
    feed.rows, feed.unreadable = skipped_rows, table.unreadable
    shows = None if keep_points else is_compared
    run = InProcess(configuration, 1, results=Found(), shows=shows, by_time=True)
    _run(feed, run, chain([first], batches), table, tell, started_s)
    return Backtest(
        monitor=monitor,
        references=(reference,),
        rows=feed.rows - skipped_rows,
        labels=feed.labels,
        elapsed_s=time.monotonic() - started_s,
        timed=timed,
        results=_found(run),
        index=index,
        skipped=vars(feed.skipped),
        unreadable=tuple(one for one in table.unreadable.values() if one.row >= skipped_rows),
        ahead=feed.ahead,
        unlike=feed.unlike,
        listened=monitor.silence_s != 0 or file.silence == "off",
        labels_unused=label_file.unused if label_file else 0,
        labels_without_outputs=not roles.has_outputs and (roles.has_labels or label_file is not None),
    )


def _numeric(reference: Reference) -> list[str]:
    return [part.spec.name for part in reference.features if part.spec.kind == "numeric"]


def _found(run: InProcess) -> Found:
    if not isinstance(run.results, Found):
        raise AssertionError("the run was given other results")
    return run.results


def _run(
    feed: Feed,
    run: InProcess,
    batches: Iterator[pa.RecordBatch],
    table: TableFile,
    tell: Callable[[Progress], None],
    started_s: float,
) -> None:
    flushed = start = feed.rows
    for batch in batches:
        run.feed(feed.records(batch), flush_every=1 << 62)
        if feed.rows - flushed >= _FLUSH_ROWS:
            flushed = feed.rows
            run.flush(final=True)
            rows = feed.rows - start
            tell(Progress(rows, table.progress, rows / max(time.monotonic() - started_s, 1e-9)))
    run.feed(feed.rest(), flush_every=1 << 62)
    run.end()


def _span_s(monitor: Monitor) -> float:
    """How far predictions are sent ahead of their labels. Panes stay open to correction for so much longer than the
    monitor says, for labels would come that much too late; so it is no more than a few panes."""
    least = max(monitor.lateness_s, _PANES_AHEAD * monitor.pane_s)
    return min(least, monitor.label_horizon_s / 2)


def _after(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """What follows the first so many rows."""
    for batch in batches:
        if rows < batch.num_rows:
            yield batch.slice(rows)
        rows = max(0, rows - batch.num_rows)


def _by_rows(file: MonitorFile, roles: Roles) -> Monitor:
    """Row n is at n milliseconds; a pane is a number of rows, so that windows hold exactly what they shall."""
    if file.window.every is not None or file.label_window.every is not None:
        raise MonitorFileInvalid(
            f"monitor of {file.model!r}: windows by time need columns.time; without it write `window: {{rows: 1000}}`"
        )
    draft = build_monitor(file, roles.features, pane_s=ROW_US / MICROSECONDS)
    if draft.budget.every_s > 0:
        raise MonitorFileInvalid(
            f"monitor of {file.model!r}: alarms.budget is {file.alarms.budget!r}, which needs columns.time; without it "
            "write `1 per 1000 windows`"
        )
    hop = window_spec(draft, "event").hop_rows
    both = gcd(hop, draft.label_window_rows)
    pane_rows = both if both >= _LEAST_PANE_ROWS else hop
    row_s = ROW_US / MICROSECONDS
    return msgspec.structs.replace(
        draft,
        pane_s=pane_rows * row_s,
        watermark_delay_s=0.0,
        lateness_s=2 * _FLUSH_ROWS * row_s,
        label_horizon_s=max(_ROWS_KEPT, 2 * _FLUSH_ROWS) * row_s,
        hot_horizon_s=max(_ROWS_KEPT, 2 * _FLUSH_ROWS) * row_s,
        series_ttl_s=1e9,
    )


def _timed(file: MonitorFile, roles: Roles, first: pa.RecordBatch) -> Monitor:
    """With the pane of the file, or one that holds about a tenth of a window at the pace of the first rows."""
    name = roles.by_role["time"]
    times = as_times(first.column(name).slice(0, _FIRST_ROWS), name, "time")
    times = times[times >= 0]
    draft = build_monitor(file, roles.features, pane_s=_PANES_S[0])
    if file.pane is not None or len(times) < 2:
        return _heard(build_monitor(file, roles.features), times)
    spec = window_spec(draft, "event")
    row_s = max(float(np.ptp(times)) / MICROSECONDS / (len(times) - 1), 1e-6)
    hop_s = spec.hop_us / MICROSECONDS if spec.by_time else spec.hop_rows * row_s
    wanted_s = max(hop_s / _PANES_PER_WINDOW, _LEAST_PANE_ROWS * row_s)
    whole = [one for one in _PANES_S if _divides(one, file)]
    pane_s = max((one for one in whole if one <= wanted_s), default=min(whole, default=_PANES_S[0]))
    return _heard(build_monitor(file, roles.features, pane_s=float(pane_s)), times)


def _heard(monitor: Monitor, times_us: Times) -> Monitor:
    """Times that are told by the hour or the day say nothing about the silence between two of them."""
    known = np.unique(times_us)
    together = len(known) * 2 <= len(times_us)
    if monitor.silence_s is None and together and int(np.gcd.reduce(known)) >= _COARSE_US:
        return msgspec.structs.replace(monitor, silence_s=0.0)
    return monitor


def _divides(pane_s: float, file: MonitorFile) -> bool:
    lengths = [file.window.every, file.label_window.every, file.window.slide]
    return all(
        round(seconds(one) * MICROSECONDS) % round(pane_s * MICROSECONDS) == 0
        for one in lengths
        if isinstance(one, str)
    ) and _in_one_phase(pane_s, file)


def _in_one_phase(pane_s: float, file: MonitorFile) -> bool:
    season = season_asked(file)
    return season is None or season.pane_us % round(pane_s * MICROSECONDS) == 0
