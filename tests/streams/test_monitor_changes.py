"""A monitor that changes while its model runs: a pane belongs to the revision that was in force when it began, however
the events were cut into batches and spread over partitions."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from detectors.values import Accounting, Monitor
from streams.control.configuration import Configuration
from streams.profile.cold_store import FolderSegments
from streams.profile.cold_tier import ColdConfig
from streams.profile.stage import ProfileStage
from streams.replay.inprocess import InProcess, Results
from streams.stages import OutputRecord
from streams.topics import METRICS, PROFILES
from tests.streams.batch_truth import window_of
from tests.streams.stream_data import (
    START_US,
    make_events,
    make_monitor,
    make_reference,
    prediction_record,
)
from tests.streams.test_stage_properties import final_points
from tests.streams.test_windows_split import records_of

MODEL = "loan"
SECOND_US = 1_000_000
ROWS = 600
"""In six seconds."""
REFERENCE = make_reference(MODEL, "1")


def configuration(after_us: int, pane_s: float, spread: int, windows: dict[str, object]) -> Configuration:
    """The second monitor is in force from so long after the first event."""
    first = make_monitor(MODEL, spread=spread, window_s=2.0, label_window_s=2.0)
    second = make_monitor(
        MODEL, revision=2, effective_us=START_US + after_us, spread=spread, pane_s=pane_s, **windows
    )
    known = Configuration()
    for monitor in (first, second):
        known.add_monitor(monitor)
    known.add_reference(REFERENCE)
    return known


def run(known: Configuration, spread: int, batch_rows: int) -> Results:
    events = make_events(ROWS, 5, shift=15.0)
    events.label_times_us = events.times_us
    process = InProcess(known, spread)
    process.feed(records_of(events, spread, batch_rows), 4)
    process.end()
    return process.results


@settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow])
@example(after_us=2_630_000, pane_s=1.0, windows={"window_rows": 100}, spread=2, batch_rows=80)
@example(after_us=1_900_000, pane_s=2.0, windows={"window_s": 2.0}, spread=1, batch_rows=300)
@given(
    after_us=st.integers(1_000_000, 4_000_000),
    pane_s=st.sampled_from([0.5, 1.0, 2.0]),
    windows=st.sampled_from([{"window_rows": 100}, {"window_s": 2.0, "label_window_s": 2.0}]),
    spread=st.integers(1, 3),
    batch_rows=st.integers(10, 300),
)
def test_batches_and_partitions_do_not_show_where_a_monitor_changes(
    after_us: int, pane_s: float, windows: dict[str, object], spread: int, batch_rows: int
) -> None:
    expected = run(configuration(after_us, pane_s, 1, windows), 1, 1)
    found = run(configuration(after_us, pane_s, spread, windows), spread, batch_rows)
    assert {point.monitor_revision for point in expected.points.values()} == {1, 2}
    assert final_points(found) == final_points(expected)
    rows = [{(*window_of(seal), seal.rows) for seal in one.seals} for one in (found, expected)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("before_s", "after_s", "changes_s", "in_force_s"),
    [(1.0, 1.0, 2.0, 2), (1.0, 1.0, 2.3, 3), (1.0, 5.0, 2.3, 5), (5.0, 1.0, 2.3, 5), (2.0, 5.0, 2.3, 5)],
)
def test_a_pane_that_has_begun_is_no_other_monitors(
    before_s: float, after_s: float, changes_s: float, in_force_s: int
) -> None:
    known = Configuration()
    effective_us = round(changes_s * SECOND_US)
    for monitor in (
        Monitor(model=MODEL, pane_s=before_s),
        Monitor(model=MODEL, revision=2, effective_us=effective_us, pane_s=after_s),
    ):
        known.add_monitor(monitor)
    at_us = in_force_s * SECOND_US
    assert [known.monitor(MODEL, one).revision for one in (at_us - 1, at_us)] == [1, 2]


def test_a_monitor_that_another_one_follows_within_a_pane_is_never_in_force() -> None:
    known = Configuration()
    for revision, at_s, pane_s in ((1, 0, 60.0), (2, 70, 1.0), (3, 80, 1.0)):
        known.add_monitor(
            Monitor(model=MODEL, revision=revision, effective_us=at_s * SECOND_US, pane_s=pane_s)
        )
    found = [known.monitor(MODEL, at_s * SECOND_US).revision for at_s in (0, 70, 80, 119, 120)]
    assert found == [1, 1, 1, 1, 3]


def test_rows_of_one_batch_are_of_two_monitors() -> None:
    """Also where the first row that comes of a pane is younger than the change."""
    known, events = configuration(2_630_000, 1.0, 1, {}), make_events(ROWS, 5)
    stage = ProfileStage(0, 1, known)
    (record, _) = records_of(events, 1, ROWS)
    stage.process(record)
    stage.end()
    flush = stage.flush(final=True)
    assert flush is not None
    panes = [_pane(output) for output in flush.outputs if output.topic == PROFILES]
    found = {(start_us - START_US) // SECOND_US: revision for start_us, revision, rows in panes if rows}
    assert found == {0: 1, 1: 1, 2: 1, 3: 2, 4: 2, 5: 2}


def _flushed(stage: ProfileStage) -> list[OutputRecord]:
    flush = stage.flush()
    assert flush is not None
    stage.snapshot({topic: range(len(deltas)) for topic, deltas in flush.deltas.items()})
    return flush.outputs


def _changing(first: dict[str, float], second: dict[str, float]) -> Configuration:
    """The second monitor is in force after two seconds."""
    known = Configuration()
    known.add_monitor(make_monitor(MODEL, **first))
    known.add_monitor(make_monitor(MODEL, revision=2, effective_us=START_US + 2 * SECOND_US, **second))
    known.add_reference(REFERENCE)
    return known


def _sent(stage: ProfileStage, number: int, at_s: float, row: int) -> None:
    events = make_events(10, 5)
    events.times_us[row] = START_US + round(at_s * SECOND_US)
    stage.process(prediction_record(events, np.array([row]), MODEL, number, offset=number))


def test_a_repeat_is_told_behind_a_change_to_shorter_panes(tmp_path: Path) -> None:
    """It is not late by the monitor that was in force when it happened."""
    before, after = {"lateness_s": 1.0, "hot_horizon_s": 0.5}, {"lateness_s": 0.2, "hot_horizon_s": 0.5}
    known = _changing(before, {**after, "pane_s": 0.5})
    stage = ProfileStage(0, 1, known, ColdConfig(FolderSegments(tmp_path), 0))
    for number, (at_s, row) in enumerate([(1.9, 0), (2.8, 1)]):
        _sent(stage, number, at_s, row)
    _flushed(stage)
    _sent(stage, 2, 1.9, 0)
    (told,) = [one for one in _flushed(stage) if one.topic == METRICS]
    found = msgspec.json.decode(told.value, type=Accounting)
    assert (found.received, found.profiled, found.duplicates) == (3, 2, 1)


def test_a_pane_is_kept_for_as_long_as_its_own_monitor_says() -> None:
    stage = ProfileStage(0, 1, _changing({"lateness_s": 10.0}, {"lateness_s": 0.5}))
    for number, (at_s, row) in enumerate([(0.5, 0), (3.6, 1), (4.8, 2)]):
        _sent(stage, number, at_s, row)
        _flushed(stage)
    _sent(stage, 3, 0.7, 3)
    stage.end()
    flush = stage.flush(final=True)
    assert flush is not None
    panes = [_pane(output) for output in flush.outputs if output.topic == PROFILES]
    assert (START_US, 1, 2) in panes


class _Told(msgspec.Struct):
    pane_us: int
    monitor_revision: int
    rows: int


def _pane(output: OutputRecord) -> tuple[int, int, int]:
    told = msgspec.msgpack.decode(output.value, type=_Told)
    return told.pane_us, told.monitor_revision, told.rows
