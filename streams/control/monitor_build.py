"""From a monitor file to what the stages use: a `Monitor`, and the reference of a file or of the first
rows."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import structlog

from detectors.concept.choice import check_names
from detectors.contamination import contamination, in_words
from detectors.learning import with_learned
from detectors.library import alibi
from detectors.localtime import UTC
from detectors.ranks import answers
from detectors.reference import Reference, build_reference
from detectors.sampling import with_sample
from detectors.season import Season, season_named
from detectors.segment_profiles import with_segments
from detectors.sequential.baseline import with_baseline, with_note
from detectors.sequential.blocks import Rows
from detectors.text import with_parts
from detectors.values import Budget, FeatureSpec, Learning, Monitor, Task
from streams.control.measures import check_measures
from streams.control.window_spec import check_windows
from streams.files.columns import Roles, Times, text_columns
from streams.files.monitor import Alarms, FeatureColumn, MonitorFile, MonitorFileInvalid, WindowShape, seconds
from streams.files.tables import FileInvalid, TableFile
from streams.files.timezones import clocks_of
from streams.times import MICROSECONDS

_log = structlog.get_logger()

LIVE_PANE = "10s"
SAME_PHASE = 0.9
_DEFAULTS = Monitor(model="default")
CALIBRATION = 1_000
"""Simulated windows (of 1,000 rows, so that a reference does not depend on how windows are cut) that calibrate the
threshold of a reference from a file: about a second of work."""


def build_monitor(
    file: MonitorFile,
    features: Sequence[FeatureSpec],
    *,
    pane_s: float | None = None,
    revision: int = 1,
    effective_us: int = 0,
) -> Monitor:
    """The monitor that a file describes. `pane_s`: where the file names no pane.

    Raises `MonitorInvalid` for windows that cannot be cut and names that there are not, `MonitorFileInvalid` for a
    budget that cannot be counted in these windows.
    """
    window, labels = file.window, file.label_window
    window_s = seconds(window.every) if window.every else 0.0
    monitor = Monitor(
        model=file.model,
        revision=revision,
        task=file.task,
        features=tuple(features),
        segments=tuple(file.columns.segments),
        window_rows=window.rows or _DEFAULTS.window_rows,
        window_s=window_s,
        slide_rows=window.slide if isinstance(window.slide, int) else 0,
        slide_s=seconds(window.slide) if isinstance(window.slide, str) else 0.0,
        label_window_rows=labels.rows or _DEFAULTS.label_window_rows,
        label_window_s=seconds(labels.every) if labels.every else 0.0,
        series_ttl_s=seconds(file.forget_after),
        spread=file.spread,
        pane_s=seconds(file.pane or LIVE_PANE) if file.pane or pane_s is None else pane_s,
        watermark_delay_s=seconds(file.watermark_delay),
        lateness_s=seconds(file.lateness),
        label_horizon_s=seconds(file.label_horizon),
        hot_horizon_s=seconds(file.hot_horizon),
        max_waiting_labels=file.waiting_labels,
        idle_s=seconds(file.idle),
        budget=_budget(file.alarms, window),
        concept=tuple(file.concept.detectors),
        silence_s=_silence_s(file.silence),
        measures=tuple(file.measures),
        importance=tuple(
            (one.name, one.importance)
            for one in file.columns.features or ()
            if isinstance(one, FeatureColumn) and one.importance is not None
        ),
        learning=_learning(file),
        autonomy=file.autonomy,
        effective_us=effective_us,
    )
    _check_pane(monitor, file)
    check_windows(monitor)
    check_names(monitor.concept)
    check_measures(monitor.measures)
    return monitor


def open_table(path: Path, file: MonitorFile) -> TableFile:
    """A data file of the monitor's model, its ids read as text."""
    return TableFile(path, text_columns(file))


def reference_of(file: MonitorFile) -> tuple[Reference, tuple[FeatureSpec, ...]]:
    """The reference built from the file that the monitor names, and its features. Raises `FileInvalid`."""
    if file.reference.file is None:
        raise MonitorFileInvalid(
            f"monitor of {file.model!r}: reference.file is not set; a reference can only be built from a file"
        )
    table = open_table(file.reference.file, file)
    roles = Roles.of(file, table)
    return build_from(file, roles, table.table(roles.needed))[0], roles.features


def build_from(file: MonitorFile, roles: Roles, table: pa.Table) -> tuple[Reference, Rows]:
    """A reference from the rows of a table, and these rows. Raises `FileInvalid`, or `ReferenceInvalid` for values out
    of range."""
    known, times_us = _rows_of(roles, table)
    named = ReferenceName(
        file.model, file.reference.version, file.task, tuple(file.classes), tuple(file.measures)
    )
    season = _season(file, roles)
    if season is None:
        return complete_reference(named, roles.features, known), known
    return seasonal_reference(named, roles.features, known, season, times_us)


def doubts(file: MonitorFile) -> str | None:
    """What differs between the halves of the file that the monitor names as its reference, in words; None where they
    are alike. Much quicker than the reference. Raises `FileInvalid`, or `ReferenceInvalid` for values out of range."""
    table = open_table(file.reference.file, file) if file.reference.file is not None else None
    if table is None:
        return None
    roles = Roles.of(file, table)
    known, _ = _rows_of(roles, table.table(roles.needed))
    named = ReferenceName(file.model, file.reference.version, file.task, tuple(file.classes))
    return in_words(contamination(*_bare(named, roles.features, known)))


def _rows_of(roles: Roles, table: pa.Table) -> tuple[Rows, tuple[Times, Times]]:
    """The rows, and when they and their labels were."""
    if not table.num_rows:
        raise FileInvalid("the reference has no rows")
    (batch,) = table.combine_chunks().to_batches()
    rows = roles.rows(batch, 0, 1)
    said, scored = roles.has_outputs, "score" in roles.by_role or rows.class_scores is not None
    if rows.unlike:
        _log.warning(
            "Class scores of the reference do not add up to 1: they are no probabilities, and taken for missing.",
            rows=rows.unlike,
            of=table.num_rows,
        )
    told = answers(rows.predictions, rows.class_scores) if roles.classes else rows.predictions
    known = Rows(
        rows.features,
        told if said else None,
        np.clip(rows.scores, 0.0, 1.0) if scored else None,
        rows.labels if said and roles.has_labels else None,
        segments=rows.segments,
    )
    return known, (rows.times_us, rows.label_times_us)


def season_asked(file: MonitorFile) -> Season | None:
    """The season that a monitor file asks for, if any."""
    name = file.reference.seasonal
    return None if name is None else season_named(name, clocks_of(file.timezone))


def _season(file: MonitorFile, roles: Roles) -> Season | None:
    season = season_asked(file)
    if season is not None and "time" not in roles.by_role:
        raise MonitorFileInvalid(
            f"monitor of {file.model!r}: reference.seasonal is {season.name!r}, which needs columns.time: without a "
            "time no row has an hour or a day"
        )
    return season


class ReferenceName(NamedTuple):
    """What a reference is of. `measures`: those that the monitor asks for, of which some take a sample of the rows."""

    model: str
    version: str
    task: Task
    classes: tuple[str, ...]
    measures: tuple[str, ...] = ()


def complete_reference(
    named: ReferenceName,
    features: Sequence[FeatureSpec],
    known: Rows,
    season: Season | None = None,
    outcomes_by_phase: bool = True,
) -> Reference:
    """A reference from rows in order of time, with all that can be learned of them. season: that of `known.phases`;
    outcomes_by_phase: see `build_baseline`. Raises `ReferenceInvalid`."""
    reference, known = _bare(named, features, known)
    complete = with_baseline(
        with_learned(reference, known),
        known,
        phases=() if season is None else season.phases,
        clocks=UTC if season is None else season.clocks,
        outcomes_by_phase=outcomes_by_phase,
        calibration_windows=CALIBRATION,
    )
    complete = with_segments(complete, known, outcomes_by_phase)
    if not alibi.NAMES.isdisjoint(named.measures):
        complete = with_sample(complete, known.features)
    return with_note(complete, in_words(contamination(reference, known)))


def _bare(named: ReferenceName, features: Sequence[FeatureSpec], known: Rows) -> tuple[Reference, Rows]:
    """What is counted alone, and the rows as they are counted."""
    specs, columns = with_parts(features, known.features)
    features, known = specs, replace(known, features=columns)
    reference = build_reference(
        named.model,
        named.version,
        known.features,
        features,
        scores=known.scores,
        predictions=known.predictions,
        labels=known.labels,
        task=named.task,
        classes=named.classes,
    )
    return reference, known


def seasonal_reference(
    named: ReferenceName,
    features: Sequence[FeatureSpec],
    known: Rows,
    season: Season,
    times_us: tuple[Times, Times],
) -> tuple[Reference, Rows]:
    """The same by the phases of a season, and the rows with their phases. times_us: of the rows, and of their labels.

    Outcomes are told apart by phase where nine of ten labels are known in the phase of their prediction: a window of
    labels that come later mixes what was predicted in all phases."""
    phases = season.phases_of(times_us[0])
    same = season.phases_of(times_us[1]) == phases
    told = np.zeros(0, dtype=np.bool_) if known.labels is None else same[~np.isnan(known.labels)]
    by_phase = bool(len(told)) and float(told.mean()) >= SAME_PHASE
    rows = replace(known, phases=phases)
    return complete_reference(named, features, rows, season, by_phase), rows


def _learning(file: MonitorFile) -> Learning | None:
    wanted = file.reference.rows
    if wanted is None:
        return None
    return Learning(
        rows=wanted,
        classes=tuple(file.classes),
        season=file.reference.seasonal or "",
        clocks=clocks_of(file.timezone),
    )


def _check_pane(monitor: Monitor, file: MonitorFile) -> None:
    season = season_asked(file)
    if season is None:
        return
    if season.pane_us % max(1, round(monitor.pane_s * MICROSECONDS)):
        raise MonitorFileInvalid(
            f"monitor of {monitor.model!r}: pane is {monitor.pane_s:g} s; with reference.seasonal: {season.name} it "
            f"must go into {season.pane_us / MICROSECONDS:,.0f} s without a rest, so that no pane lies in two "
            f"phases (timezone {season.clocks.name})"
        )


def _silence_s(told: str) -> float | None:
    if told == "auto":
        return None
    return 0.0 if told == "off" else seconds(told)


def _budget(alarms: Alarms, window: WindowShape) -> Budget:
    """`windows`: what a budget in time comes to in windows by time; the default where windows are counted in rows."""
    incidents, windows, time_s = alarms.parts()
    every_s = time_s or 0.0
    if windows is None:
        by_rows = max(_DEFAULTS.budget.windows, round(2 * incidents))
        windows = by_rows if window.every is None else max(1, round(every_s / seconds(window.every)))
    if not 0 < incidents < windows:
        raise MonitorFileInvalid(
            f"alarms.budget is {alarms.budget!r}: {incidents:g} in {windows} windows; it must be more than none "
            "and less than one per window"
        )
    return Budget(incidents=incidents, windows=windows, every_s=every_s)
