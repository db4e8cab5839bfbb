"""What a person says of an incident, and what it changes; it can be taken back."""

import math

import numpy as np
import pytest

from detectors.sequential.feedback import say, take_back
from tests.detectors.sequential_parts import Stream, gaussian


def _opened_stream():
    rng = np.random.default_rng(13)
    stream = Stream(gaussian(rng, 4_000))

    def shifted(rows=500):
        table = gaussian(rng, rows)
        return table | {"x2": table["x2"] + 0.5}

    for _ in range(5):
        stream.window(gaussian(rng, 500))
    while not stream.seen:
        stream.window(shifted())
    return rng, stream, shifted


def test_a_new_normal_ends_the_incident_and_is_what_is_compared_with():
    rng, stream, shifted = _opened_stream()
    for _ in range(4):
        stream.window(shifted())
    before = stream.memory
    stream.memory = say(stream.plan, before, "data_drift", "new normal")
    assert stream.memory.tracks["data_drift"].opened is None
    assert [one.said for one in stream.memory.feedback] == ["new normal"]
    assert take_back(stream.memory).tracks == before.tracks
    for _ in range(30):
        stream.window(shifted())
    assert len(stream.seen) == 1
    for _ in range(10):
        stream.window(gaussian(rng, 500))
    assert stream.seen[1][1:] == ("data_drift", "opened")


def test_a_false_alarm_raises_the_threshold_and_can_be_taken_back():
    _, stream, shifted = _opened_stream()
    threshold = stream.window(shifted())[1].threshold
    before = stream.memory
    stream.memory = say(stream.plan, before, "data_drift", "false alarm")
    assert take_back(stream.memory).tracks == before.tracks
    assert take_back(stream.memory).feedback == ()
    again = next(one for one in stream.window(shifted()) if one.kind == "data_drift")
    assert again.threshold == pytest.approx(1.5 * threshold)


def test_an_expected_change_stays_silent_until_it_has_passed():
    rng, stream, shifted = _opened_stream()
    stream.memory = say(stream.plan, stream.memory, "data_drift", "expected")
    assert stream.memory.tracks["data_drift"].opened.expected
    for _ in range(5):
        stream.window(shifted())
    for _ in range(15):
        stream.window(gaussian(rng, 500))
    assert [one[1:] for one in stream.seen] == [("data_drift", "opened"), ("data_drift", "closed")]
    assert say(stream.plan, stream.memory, "data_drift", "expected") == stream.memory, "nothing is open"


def test_another_reference_begins_anew_and_ends_what_was_open():
    rng, stream, _ = _opened_stream()
    other = Stream(gaussian(rng, 2_000))
    stream.plan, stream.reference = other.plan, other.reference
    stream.window(gaussian(rng, 500))
    assert stream.seen[-1][1:] == ("data_drift", "closed")
    assert stream.memory.windows == 1
    assert math.isfinite(stream.memory.repeats)
