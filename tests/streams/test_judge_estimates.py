"""Estimates on the stages: told for every window, corrected and withdrawn by labels, the same however work was cut."""

import numpy as np
import pytest

from detectors.learning import with_learned
from detectors.sequential.blocks import Rows
from detectors.values import MetricPoint
from streams.control.configuration import Configuration
from streams.replay.inprocess import InProcess, Results
from tests.streams.stream_data import (
    START_US,
    Events,
    interleaved,
    make_events,
    make_monitor,
    make_reference,
)

MODEL = "loan"
ROWS = 12_000
TURN = ROWS // 2


def configuration() -> Configuration:
    found, events = Configuration(), make_events(2_000, 7)
    found.add_monitor(make_monitor(MODEL))
    known = Rows({"age": events.age, "city": events.city}, events.predictions, events.scores, events.labels)
    found.add_reference(with_learned(make_reference(MODEL, "1"), known))
    return found


def uncertain(events: Events) -> Events:
    """From the middle on everybody is near the age at which the model does not know."""
    rng = np.random.default_rng(3)
    events.age[TURN:] = rng.normal(50, 3, ROWS - TURN)
    events.scores[:] = 1 / (1 + np.exp(-(events.age - 50) / 5))
    events.predictions[:] = events.scores >= 0.5
    events.labels[:] = events.age + rng.normal(0, 5, ROWS) > 50
    return events


def turned(events: Events) -> Events:
    """From the middle on three labels of ten are the other way round."""
    wrong = np.random.default_rng(4).random(ROWS - TURN) < 0.3
    events.labels[TURN:] = np.where(wrong, 1 - events.labels[TURN:], events.labels[TURN:])
    return events


def run(events: Events, flush_every: int = 4) -> Results:
    process = InProcess(configuration(), 1)
    process.feed(interleaved(events, MODEL), flush_every=flush_every)
    process.end()
    return process.results


def series(results: Results, measure: str, axis: str = "event") -> list[MetricPoint]:
    found = [one for one in results.points.values() if (one.measure, one.axis) == (measure, axis)]
    return sorted(found, key=lambda one: one.start_us)


def number(value: float | None) -> float:
    assert value is not None
    return value


def test_every_window_is_estimated_and_the_labels_confirm_it() -> None:
    results = run(make_events(ROWS, 5))
    guessed, shown = series(results, "estimated_accuracy"), series(results, "accuracy")
    assert len(guessed) == len(shown) > 40
    inside = [
        number(one.low) <= number(truth.value) <= number(one.high)
        for one, truth in zip(guessed, shown, strict=True)
    ]
    assert np.mean(inside) > 0.85
    assert not [one for one in results.alerts if one.kind == "estimated_performance"]
    assert all(abs(number(one.value)) < 0.03 for one in series(results, "estimation_error", "label"))


def test_a_mix_that_is_harder_is_told_before_its_labels_come() -> None:
    events = uncertain(make_events(ROWS, 5))
    late = [one for one in interleaved(events, MODEL) if dict(one.headers)["kind"] == b"predictions"]
    process = InProcess(configuration(), 1)
    process.feed(late, flush_every=4)
    process.end()
    first = next(one for one in process.results.alerts if one.kind == "estimated_performance")
    assert first.state == "firing"
    assert 0 <= first.change_us - START_US - TURN * 10_000 < 5_000_000
    assert "estimated accuracy" in first.reason
    assert first.evidence[0].measure.startswith("estimated_")


def test_labels_that_contradict_it_withdraw_an_estimate_with_the_reason() -> None:
    results = run(turned(make_events(ROWS, 5)))
    guessed = series(results, "estimated_accuracy")
    before = [one for one in guessed if one.end_us < START_US + TURN * 10_000]
    assert len(before) > 15
    assert all(one.value is not None for one in before)
    last = guessed[-1]
    assert last.verdict == "undefined"
    assert last.value is None
    assert "the labels show concept drift" in (last.undefined or "")
    (error,) = series(results, "estimation_error", "label")[-1:]
    assert number(error.value) < -0.15
    assert number(error.high) < 0


@pytest.mark.parametrize("flush_every", [1, 9])
def test_how_often_the_stages_flush_changes_no_estimate(flush_every: int) -> None:
    events = turned(make_events(ROWS, 5))
    one, other = run(events), run(events, flush_every)
    told = ("estimated_accuracy", "estimated_auc", "estimation_error")
    assert {each.id: each for each in one.points.values() if each.measure in told} == {
        each.id: each for each in other.points.values() if each.measure in told
    }
