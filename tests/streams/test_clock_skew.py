"""Rows from the future."""

from dataclasses import replace

import numpy as np
import pytest

from homeostat.contract import decode
from streams.profile.clock_skew import ahead_s, from_the_future
from streams.profile.stage import ProfileStage
from streams.telemetry_names import EVENTS
from tests.streams.stream_data import START_US, interleaved, make_configuration, make_events

NOW_US = 1_760_000_000_000_000
HOUR_US = 3_600_000_000


def times(*ahead_us: int) -> np.ndarray:
    return np.array([NOW_US + ahead for ahead in ahead_us], dtype=np.int64)


def test_the_bound_itself_is_still_now() -> None:
    found = from_the_future(times(-HOUR_US, 0, 300_000_000, 300_000_001, HOUR_US, 365 * 24 * HOUR_US), NOW_US)
    assert found.tolist() == [False, False, False, True, True, True]


def test_a_bound_of_nothing_takes_every_row_after_the_arrival() -> None:
    assert from_the_future(times(0, 1), NOW_US, 0.0).tolist() == [False, True]


def test_without_a_time_of_arrival_nothing_is_from_the_future() -> None:
    assert not from_the_future(times(365 * 24 * HOUR_US), 0).any()
    assert ahead_s(times(HOUR_US), 0) == 0.0


def test_no_overflow_at_the_end_of_time() -> None:
    far = np.array([2**63 - 1, -(2**63)], dtype=np.int64)
    assert from_the_future(far, NOW_US).tolist() == [True, False]
    assert ahead_s(far, NOW_US) == pytest.approx((2**63 - 1 - NOW_US) / 1e6)


def test_how_far_ahead() -> None:
    assert ahead_s(times(-5, HOUR_US), NOW_US) == 3_600.0
    assert ahead_s(times(-5), NOW_US) == 0.0
    assert ahead_s(times(), NOW_US) == 0.0


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="max_ahead_s is -1"):
        from_the_future(times(0), NOW_US, -1.0)


def test_prometheus_hears_of_rows_from_the_future_also_after_a_restart() -> None:
    configuration = make_configuration("loan")
    records = interleaved(make_events(100, 1), "loan")
    ahead = [replace(record, timestamp_us=START_US - HOUR_US) for record in records]
    rows = sum(decode(record.value, record.headers).rows for record in records)
    stage = ProfileStage(0, 1, configuration)
    for record in ahead:
        stage.process(record)
    assert future(stage) == rows == 200
    stage.flush()
    restored = ProfileStage(0, 1, configuration)
    restored.restore(stage.offset, stage.snapshot({}).state, {})
    assert future(restored) == rows


def future(stage: ProfileStage) -> float:
    (value,) = [value for name, labels, value in stage.samples() if name is EVENTS and labels[2] == "future"]
    return value
