"""Clocks that are wrong and data that are stale, from the records of the broker to the alerts; and what people say."""

import dataclasses
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from detectors.sequential.hearing import Saying, Statement
from detectors.values import Alert
from homeostat.contract import PredictionBatch, encode_predictions, headers_of
from streams.profile.stage import ProfileStage
from streams.replay.inprocess import InProcess
from streams.stages import InputRecord
from streams.topics import EVENTS
from tests.streams.stream_data import make_configuration

MODEL = "loan"
Third = Literal["repeats", "text"]
SECOND_US = 1_000_000
HOUR_S = 3_600.0
START_US = 1_760_000_400 * SECOND_US // (300 * SECOND_US) * (300 * SECOND_US)


class World:
    """Two producers that send a batch of 20 rows a minute each, the clock of the second one `skew_s` off."""

    def __init__(self, flush_every: int = 10) -> None:
        self.known = make_configuration(MODEL, lateness_s=600.0, window_rows=10_000, pane_s=10.0)
        self.process = InProcess(self.known, 1)
        self.minute = 0
        self.records: list[InputRecord] = []
        self.flush_every = flush_every

    def pass_slots(
        self, count: int, skew_s: float = 0.0, age_s: float = 1.0, third: Third | None = None
    ) -> list[Alert]:
        """third: a producer sends, too, what the first one sent, or text where a number belongs."""
        before = len(self.alerts())
        for _ in range(5 * count):
            arrived_us = START_US + self.minute * 60 * SECOND_US
            for producer, ahead_s in (("a", -age_s), ("b", skew_s - age_s)):
                self.feed(producer, arrived_us, int(ahead_s * SECOND_US))
            if third == "repeats":
                self.feed("c", arrived_us, int(-age_s * SECOND_US), ids="a")
            elif third == "text":
                self.feed("c", arrived_us, int(-age_s * SECOND_US), age=np.full(20, "old", dtype=object))
            self.minute += 1
        return self.alerts()[before:]

    def feed(
        self,
        producer: str,
        arrived_us: int,
        ahead_us: int,
        ids: str | None = None,
        age: npt.NDArray[Any] | None = None,
    ) -> None:
        batch = PredictionBatch.of(
            model=MODEL,
            version="1",
            producer=producer,
            sequence=self.minute,
            ids=[f"{ids or producer}{self.minute}-{row}" for row in range(20)],
            times_us=arrived_us + ahead_us - np.arange(20)[::-1] * 10_000,
            predictions=np.zeros(20),
            scores=np.full(20, 0.3),
            features={
                "age": np.full(20, 50.0) if age is None else age,
                "city": np.full(20, "Rome", dtype=object),
            },
        )
        value, headers = encode_predictions(batch), tuple(headers_of(batch))
        record = InputRecord(EVENTS, 0, len(self.records), MODEL.encode(), value, headers, arrived_us)
        self.records.append(record)
        self.process.feed([record])
        if len(self.records) % self.flush_every == 0:
            self.process.flush()

    def alerts(self) -> list[Alert]:
        return [one for one in self.process.results.alerts if one.kind == "data_quality"]

    def say(self, said: Saying, about: Alert, name: str = "s1") -> list[Alert]:
        before = len(self.alerts())
        self.known.add_statement(
            Statement(
                id=f"{name}-{said}",
                model=MODEL,
                version="1",
                axis="event",
                kind="data_quality",
                said=said,
                about="s1-expected" if said == "taken back" else about.id,
                after_us=about.end_us,
                by="ada",
            )
        )
        self.pass_slots(1, skew_s=HOUR_S)
        return self.alerts()[before:]


def test_a_producer_whose_clock_is_an_hour_ahead_is_told_and_its_correction_too() -> None:
    world = World()
    assert world.pass_slots(3) == []
    (first,) = world.pass_slots(3, skew_s=HOUR_S)
    assert (first.state, first.version, first.change_us) == ("firing", "1", START_US + 900 * SECOND_US)
    assert "a clock is ahead: 100 of 200 events (50 %) that came from 09:15 to 09:20 UTC" in first.reason
    assert "by up to 60 minutes" in first.reason
    assert "Set the clock or the time zone of the producer right." in first.reason
    assert (first.evidence[0].measure, first.evidence[0].value) == ("clock_ahead_share", 0.5)
    assert [one.state for one in world.pass_slots(4)] == ["cleared"]


def test_a_model_all_of_whose_events_are_refused_is_told_of_although_nothing_is_measured() -> None:
    world = World()
    (first,) = world.pass_slots(3, age_s=-HOUR_S)
    assert "200 of 200 events" in first.reason
    assert not world.process.results.seals


def test_a_clock_that_is_behind_makes_events_late() -> None:
    world = World()
    world.pass_slots(3)
    (first,) = world.pass_slots(2, skew_s=-HOUR_S)
    assert "events come too late: 100 of 200 (50 %)" in first.reason
    assert "What is late by more than 10 minutes is in no measure." in first.reason


def test_data_that_are_older_than_ever_are_stale_and_old_data_that_are_usual_are_not() -> None:
    world = World()
    assert world.pass_slots(14) == []
    world.minute += 120
    (first,) = world.pass_slots(5, age_s=2 * HOUR_S)
    assert first.evidence[0].measure == "event_age_s"
    assert "the data are stale: half of the 200 events" in first.reason
    assert "are older than 115 minutes, usually a second." in first.reason
    usual = World()
    assert usual.pass_slots(17, age_s=26 * HOUR_S) == []


def test_events_that_come_again_are_told_in_the_third_slot_and_not_when_a_service_tried_again_once() -> None:
    world = World()
    world.pass_slots(3)
    assert world.pass_slots(1, third="repeats") == []
    assert world.pass_slots(3) == []
    (first,) = world.pass_slots(4, third="repeats")
    assert (first.state, first.change_us) == ("firing", START_US + 2_100 * SECOND_US)
    assert (first.evidence[0].measure, round(first.evidence[0].value, 3)) == ("duplicate_share", 0.333)
    assert "events come more than once: 100 of 300 (33 %) that came from" in first.reason
    assert "They are counted once." in first.reason
    assert [one.state for one in world.pass_slots(4)] == ["cleared"]


def test_events_that_do_not_fit_their_schema_are_told_although_nothing_of_them_is_measured() -> None:
    world = World()
    world.pass_slots(3)
    (first,) = world.pass_slots(2, third="text")
    assert (first.state, first.change_us) == ("firing", START_US + 900 * SECOND_US)
    assert (first.evidence[0].measure, round(first.evidence[0].value, 3)) == ("refused_share", 0.333)
    assert "events are refused: 100 of 300 (33 %)" in first.reason
    assert "homeostat deadletters list" in first.reason
    assert [one.state for one in world.pass_slots(4)] == ["cleared"]


@pytest.mark.parametrize("said", ["false alarm", "expected", "new normal"])
def test_what_a_person_says_ends_it(said: Saying) -> None:
    world = World()
    world.pass_slots(3)
    (first,) = world.pass_slots(2, skew_s=HOUR_S)
    (over,) = world.say(said, first)
    assert over.state == "cleared"
    assert f"ada said: {said}" in over.reason
    assert over.end_us > first.end_us
    assert world.pass_slots(3, skew_s=HOUR_S) == []
    assert world.pass_slots(4) == [], "its end is no news"


def test_what_was_said_can_be_taken_back() -> None:
    world = World()
    world.pass_slots(3)
    (first,) = world.pass_slots(2, skew_s=HOUR_S)
    world.say("expected", first)
    (again,) = world.say("taken back", first)
    assert again.state == "firing"
    assert "took back" in again.reason
    assert [one.state for one in world.pass_slots(4)] == ["cleared"]


def test_flushes_crashes_and_replays_do_not_show() -> None:
    told: list[list[Alert]] = []
    for flush_every in (5, 7):
        world = World(flush_every)
        world.pass_slots(2)
        world.pass_slots(2, skew_s=HOUR_S)
        world.pass_slots(4)
        world.process.flush()
        told.append(world.alerts())
    assert told[0] == told[1]
    stage, known = ProfileStage(0, 1, world.known), world.known
    half = len(world.records) // 2 + 3
    for record in world.records[:half]:
        stage.process(record)
    flush = stage.flush()
    assert flush is not None
    outputs = list(flush.outputs)
    deltas = {topic: range(len(each)) for topic, each in flush.deltas.items()}
    log = {
        topic: [InputRecord(topic, 0, place, one.key, one.value, ()) for place, one in enumerate(each)]
        for topic, each in flush.deltas.items()
    }
    again = ProfileStage(0, 1, known)
    again.restore(stage.offset, stage.snapshot(deltas).state, log)
    for record in world.records[half:]:
        again.process(dataclasses.replace(record))
    flush = again.flush(final=True)
    assert flush is not None
    outputs += flush.outputs
    fresh = InProcess(known, 1)
    for output in outputs:
        fresh._route(output)  # pyright: ignore[reportPrivateUsage]
    fresh.flush()
    assert [one for one in fresh.results.alerts if one.kind == "data_quality"] == told[0]
