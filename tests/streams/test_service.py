"""Latency and errors of the service, from the events to the points."""

import numpy as np
import pytest

from detectors.profile import Profile
from detectors.service.measures import count_latencies, count_statuses, service_measures
from homeostat.contract import PredictionBatch, encode_predictions, headers_of
from streams.replay.inprocess import InProcess
from streams.stages import InputRecord
from streams.topics import EVENTS
from tests.streams.stream_data import Events, make_configuration, make_events

MODEL = "loan"


def record(events: Events, rows: np.ndarray, number: int, *, told: bool) -> InputRecord:
    rng = np.random.default_rng(number)
    failed = rng.random(len(rows)) < 0.1
    codes = np.where(failed, "timeout", np.where(rng.random(len(rows)) < 0.5, "OK", "200"))
    batch = PredictionBatch.of(
        model=MODEL,
        version="1",
        producer="p",
        sequence=number,
        ids=[events.ids[row] for row in rows],
        times_us=events.times_us[rows],
        predictions=np.where(failed & told, np.nan, events.predictions[rows]),
        scores=events.scores[rows],
        features={"age": events.age[rows], "city": events.city[rows]},
        latencies_ms=rng.lognormal(3.0, 0.5, len(rows)) if told else None,
        statuses=codes.tolist() if told else None,
    )
    return InputRecord(EVENTS, 0, number, MODEL.encode(), encode_predictions(batch), tuple(headers_of(batch)))


def points(*, told: bool) -> dict[str, list[float]]:
    events, found = make_events(4_000, 3), dict[str, list[float]]()
    process = InProcess(make_configuration(MODEL), 1)
    pieces = np.array_split(np.arange(4_000), 80)
    process.feed(
        [record(events, rows, number, told=told) for number, rows in enumerate(pieces)], flush_every=4
    )
    process.end()
    for one in process.results.points.values():
        if one.value is not None and (one.measure.startswith("latency") or one.measure == "error_rate"):
            assert one.verdict == "ok"
            found.setdefault(one.measure, []).append(one.value)
    return found


def test_windows_tell_quantiles_of_the_latency_and_the_share_of_failed_requests() -> None:
    found = points(told=True)
    assert np.mean(found["latency_p50_ms"]) == pytest.approx(np.exp(3.0), rel=0.06)
    assert np.mean(found["latency_p95_ms"]) == pytest.approx(np.exp(3.0 + 0.5 * 1.645), rel=0.08)
    assert np.mean(found["error_rate"]) == pytest.approx(0.1, abs=0.02)


def test_events_that_tell_neither_have_neither() -> None:
    assert points(told=False) == {}


def test_quantiles_are_those_of_the_values_whatever_their_size() -> None:
    rng = np.random.default_rng(1)
    for scale in (0.2, 30.0, 60_000.0):
        values = rng.gamma(2.0, scale, 20_000)
        profile = Profile.empty(None)
        count_latencies(profile, np.append(values, [np.nan, np.inf]))
        found = {one.measure: one.value for one in service_measures(profile)}
        assert found["latency_p50_ms"] == pytest.approx(np.quantile(values, 0.5), rel=0.06)
        assert found["latency_p99_ms"] == pytest.approx(np.quantile(values, 0.99), rel=0.06)


def test_few_rows_are_undefined() -> None:
    profile = Profile.empty(None)
    count_latencies(profile, np.full(50, 10.0))
    count_statuses(profile, np.ones(10, dtype=np.bool_))
    found = {one.measure: one for one in service_measures(profile)}
    assert found["latency_p50_ms"].value is not None
    assert "it takes 100" in (found["latency_p99_ms"].undefined or "")
    assert "it takes 30" in (found["error_rate"].undefined or "")
