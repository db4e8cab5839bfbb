"""Concept drift on the stages: told once, with its beginning; the same however work was cut, and after every crash."""

import numpy as np
import pytest

from detectors.values import Alert
from streams.control.configuration import Configuration
from streams.judge.stage import JudgeStage
from streams.profile.stage import ProfileStage
from streams.replay.inprocess import InProcess, Results
from streams.topics import PROFILES
from tests.streams.stream_data import (
    START_US,
    Events,
    interleaved,
    make_events,
    make_monitor,
    make_reference,
)
from tests.streams.test_stage_properties import Crashing

MODEL = "loan"
ROWS = 6_000
TURN = ROWS // 2


def turned(share: float) -> Events:
    """From the middle on so many labels are the other way round."""
    events = make_events(ROWS, 5)
    wrong = np.random.default_rng(4).random(ROWS - TURN) < share
    events.labels[TURN:] = np.where(wrong, 1 - events.labels[TURN:], events.labels[TURN:])
    return events


def run(events: Events, flush_every: int = 4, **changes: object) -> Results:
    configuration = Configuration()
    configuration.add_monitor(make_monitor(MODEL, **changes))
    configuration.add_reference(make_reference(MODEL, "1"))
    process = InProcess(configuration, 1)
    process.feed(interleaved(events, MODEL), flush_every=flush_every)
    process.end()
    return process.results


def told(results: Results) -> list[Alert]:
    return [one for one in results.alerts if one.kind == "concept_drift"]


def test_answers_that_turned_are_told_once_with_when_they_did() -> None:
    results = run(turned(0.3))
    (alert,) = told(results)
    assert alert.state == "firing"
    assert alert.axis == "label"
    assert abs(alert.change_us - START_US - TURN * 10_000) < 3_000_000
    assert alert.end_us - START_US - TURN * 10_000 < 8_000_000
    assert "the error rate changed from" in alert.reason
    assert alert.evidence[0].measure == "error_rate"
    evidence = [one for one in results.points.values() if one.measure == "concept_drift_evidence"]
    assert {one.verdict for one in evidence} == {"ok", "breach"}


def test_without_a_change_nothing_is_told_and_what_is_not_looked_for_is_not_there() -> None:
    assert told(run(make_events(ROWS, 5))) == []
    off = run(turned(0.3), concept=())
    assert told(off) == []
    assert not [one for one in off.points.values() if one.measure == "concept_drift_evidence"]


def test_the_measures_of_the_monitor_are_told_for_every_window() -> None:
    results = run(make_events(1_000, 5), measures=("wasserstein", "hellinger"))
    found = [one for one in results.points.values() if one.measure in ("wasserstein", "hellinger")]
    windows = {one.window for one in results.points.values() if one.measure == "psi"}
    assert {(one.measure, one.feature) for one in found} == {
        ("wasserstein", "age"),
        ("hellinger", "age"),
        ("hellinger", "city"),
    }
    assert len(found) == 3 * len(windows)
    assert all(one.value is not None and one.threshold is None for one in found)


@pytest.mark.parametrize("flush_every", [1, 9])
def test_how_often_the_stages_flush_changes_no_verdict(flush_every: int) -> None:
    events = turned(0.3)
    assert told(run(events)) == told(run(events, flush_every))


def test_a_judge_that_dies_now_and_then_tells_the_same() -> None:
    expected = run(turned(0.3))
    rng = np.random.default_rng(8)
    profile = Crashing(ProfileStage, rng)
    profile.drive(interleaved(turned(0.3), MODEL), crash_rate=0.0)
    profile.end()
    judge = Crashing(JudgeStage, rng)
    judge.drive(profile.topics[PROFILES], crash_rate=0.05)
    judge.end()
    found = Results()
    for topic, stored in judge.topics.items():
        for record in stored:
            found.take(topic, dict(record.headers).get("kind", b""), record.value or b"")
    assert judge.crashes > 3
    assert told(found) == told(expected) != []
    evidence = {one.id: one for one in expected.points.values() if one.measure == "concept_drift_evidence"}
    assert {one.id: one for one in found.points.values() if one.id in evidence} == evidence
