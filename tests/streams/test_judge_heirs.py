"""A version that is slow from its first window is told; the same however work was cut, and after every crash."""

from functools import cache

import numpy as np

from detectors.values import Alert
from homeostat.contract import PredictionBatch, encode_predictions, headers_of
from streams.judge.stage import JudgeStage
from streams.profile.stage import ProfileStage
from streams.replay.inprocess import InProcess, Results
from streams.stages import InputRecord
from streams.topics import EVENTS, PROFILES
from tests.streams.stream_data import make_configuration, make_events
from tests.streams.test_stage_properties import Crashing

MODEL = "loan"
BATCH = 100
FIRST, SECOND = 4_600, 3_600
"""Rows of each version, twenty a second, in windows of 200 of which 16 teach; the second is slow. Its name stands
before that of the first."""
SLOWER = {"2": 1.0, "1": 2.5}


@cache
def records(busy_since: int | None = None) -> tuple[InputRecord, ...]:
    """One version after the other; `busy_since`: from this row on everything is slow, and nothing else is."""
    events, found = make_events(FIRST + SECOND, 5, rate=20.0), list[InputRecord]()
    for number, start in enumerate(range(0, FIRST + SECOND, BATCH)):
        chosen = np.arange(start, start + BATCH)
        version = "2" if start < FIRST else "1"
        slower = SLOWER[version] if busy_since is None else (2.5 if start >= busy_since else 1.0)
        batch = PredictionBatch.of(
            model=MODEL,
            version=version,
            producer="p",
            sequence=number,
            ids=[events.ids[row] for row in chosen],
            times_us=events.times_us[chosen],
            predictions=events.predictions[chosen],
            scores=events.scores[chosen],
            features={"age": events.age[chosen], "city": events.city[chosen]},
            latencies_ms=np.random.default_rng(number).lognormal(4.0, 0.3, BATCH) * slower,
        )
        value, headers = encode_predictions(batch), tuple(headers_of(batch))
        found.append(InputRecord(EVENTS, 0, number, MODEL.encode(), value, headers))
    return tuple(found)


def run(chosen: tuple[InputRecord, ...], flush_every: int = 8) -> Results:
    process = InProcess(make_configuration(MODEL, tuple(SLOWER)), 1)
    process.feed(chosen, flush_every=flush_every)
    process.end()
    return process.results


def slow(alerts: list[Alert]) -> list[Alert]:
    return [one for one in alerts if one.state == "firing" and "the service is worse" in one.reason]


def test_a_version_that_is_slow_from_its_first_window_is_told_once_it_is_warm_and_however_work_is_cut() -> (
    None
):
    expected = run(records())
    (told,) = slow(expected.alerts)
    began_us = min(one.start_us for one in expected.points.values() if one.version == "1")
    assert told.version == "1"
    assert 110e6 < told.change_us - began_us < 130e6
    assert slow(run(records(), flush_every=31).alerts) == [told]
    assert slow(crashing().alerts) == [told]


def crashing() -> Results:
    """What a judge tells that dies now and then."""
    rng = np.random.default_rng(8)
    profile, judge = (Crashing(kind, rng) for kind in (ProfileStage, JudgeStage))
    profile.drive(records(), crash_rate=0.0)
    profile.end()
    judge.drive(profile.topics[PROFILES], crash_rate=0.1)
    judge.end()
    told = Results()
    for topic, stored in judge.topics.items():
        for record in stored:
            told.take(topic, dict(record.headers).get("kind", b""), record.value or b"")
    assert judge.crashes > 3
    return told


def test_a_machine_that_is_slow_for_every_version_is_told_of_the_one_before_first() -> None:
    assert [one.version for one in slow(run(records(busy_since=FIRST - 1_000)).alerts)] == ["2", "1"]
