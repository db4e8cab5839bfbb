"""Windows of labels beside other versions and segments: told the same however work was cut, and after every crash."""

import dataclasses

import msgspec
import numpy as np
import pytest

from detectors.values import Alert, MetricPoint
from homeostat.contract import LabelBatch, PredictionBatch, decode, encode_predictions
from streams.judge.stage import JudgeStage
from streams.profile.stage import ProfileStage
from streams.replay.inprocess import InProcess, Results
from streams.stages import InputRecord
from streams.topics import PROFILES
from tests.streams.stream_data import interleaved, make_configuration, make_events
from tests.streams.test_stage_properties import Crashing

MODEL = "loan"
ROWS = 4_000


def records() -> list[InputRecord]:
    """Version 2 takes over half of the traffic of version 1 in the middle; from there on it errs in Rome."""
    rng = np.random.default_rng(3)
    old, new = make_events(ROWS, 5), make_events(ROWS // 2, 6, prefix="n")
    new.times_us += (ROWS // 2) * 10_000
    new.label_times_us += (ROWS // 2) * 10_000
    wrong = (new.city == "Rome") & (rng.random(len(new.labels)) < 0.6)
    new.labels = np.where(wrong, 1 - new.predictions, new.labels)
    first = [of_cities(one, "p") for one in interleaved(old, MODEL, version="1")]
    second = [of_cities(one, "q") for one in interleaved(new, MODEL, version="2")]
    half = len(first) // 2
    mixed = [one for pair in zip(first[half:], second, strict=True) for one in pair]
    return [dataclasses.replace(one, offset=number) for number, one in enumerate([*first[:half], *mixed])]


def of_cities(record: InputRecord, producer: str) -> InputRecord:
    """The same from this producer, each prediction with its city as a segment."""
    headers = tuple(
        (name, producer.encode() if name == "producer" else value) for name, value in record.headers
    )
    batch = decode(record.value, headers)
    if isinstance(batch, LabelBatch):
        return dataclasses.replace(record, headers=headers)
    told = PredictionBatch.of(
        model=MODEL,
        version=batch.version,
        producer=producer,
        sequence=batch.sequence,
        ids=batch.ids,
        times_us=batch.times_us,
        predictions=batch.predictions,
        scores=batch.scores,
        features=batch.features,
        segments={"city": batch.features["city"].tolist()},
    )
    return dataclasses.replace(record, value=encode_predictions(told), headers=headers)


def run(flush_every: int = 4) -> Results:
    process = InProcess(make_configuration(MODEL, ("1", "2"), segments=("city",)), 1)
    process.feed(records(), flush_every=flush_every)
    process.end()
    return process.results


def beside(results: Results) -> dict[str, MetricPoint]:
    """Points that rest on other series, without how often they were corrected."""
    chosen = {"selection_rate_gap", "error_gap", "excess_error", "accuracy"}
    return {
        one.id: msgspec.structs.replace(one, revision=1)
        for one in results.points.values()
        if one.axis == "label" and one.measure in chosen
    }


def alerts(results: Results) -> list[Alert]:
    return [one for one in results.alerts if one.axis == "label"]


@pytest.fixture(scope="module")
def expected() -> Results:
    return run()


def test_a_version_is_told_beside_the_one_before(expected: Results) -> None:
    found = [one for one in beside(expected).values() if (one.measure, one.segment) == ("accuracy", "all")]
    assert {one.previous for one in found if one.version == "1"} == {None}
    new = [one.previous for one in found if one.version == "2"]
    assert len(new) > 10
    values = {one.value for one in found if one.version == "1"}
    assert len({one for one in new if one is not None} & values) > 5
    rome = [one for one in beside(expected).values() if (one.version, one.segment) == ("2", "city=Rome")]
    assert rome[-1].previous is not None
    assert rome[-1].previous > (rome[-1].value or 0.0) + 0.2


def test_segments_are_told_beside_each_other(expected: Results) -> None:
    points = list(beside(expected).values())
    gaps = [one for one in points if (one.measure, one.version) == ("error_gap", "2")]
    assert {one.feature for one in gaps} == {"city"}
    known = [one for one in gaps if one.value is not None]
    assert all(one.low is not None and one.low > 0 for one in known[3:])
    assert known[-1].detail.startswith("highest where city is Rome")
    worst = [
        one for one in points if (one.measure, one.feature, one.version) == ("excess_error", "city=Rome", "2")
    ]
    assert worst[-1].low is not None
    assert worst[-1].low > 0.2
    old = [one for one in points if (one.measure, one.version) == ("error_gap", "1") and one.low is not None]
    assert sum(one.low > 0 for one in old if one.low is not None) <= 0.2 * len(old)
    assert all(one.threshold is None and one.verdict != "breach" for one in points if one.feature)


def test_an_alert_says_which_part_carries_it(expected: Results) -> None:
    told = [one for one in alerts(expected) if one.state == "firing" and one.version == "2"]
    whole = [one for one in told if one.segment == "all" and one.parts]
    assert whole
    assert whole[0].parts[0].name in ("version=2", "city=Rome")
    assert "By " in whole[0].reason


@pytest.mark.parametrize("flush_every", [1])
def test_how_often_the_stages_flush_does_not_show(expected: Results, flush_every: int) -> None:
    found = run(flush_every)
    assert beside(found) == beside(expected)
    assert alerts(found) == alerts(expected)


def test_a_judge_that_dies_now_and_then_tells_the_same(expected: Results) -> None:
    rng = np.random.default_rng(8)
    profile = Crashing(ProfileStage, rng, segments=("city",))
    profile.drive(records(), crash_rate=0.0)
    profile.end()
    judge = Crashing(JudgeStage, rng, segments=("city",))
    judge.drive(profile.topics[PROFILES], crash_rate=0.05)
    judge.end()
    found = Results()
    for topic, stored in judge.topics.items():
        for record in stored:
            found.take(topic, dict(record.headers).get("kind", b""), record.value or b"")
    assert judge.crashes > 3
    assert beside(found) == beside(expected)
    assert alerts(found) == alerts(expected)
