"""What a person says about an alert: heard before the next window, told, taken back, and the same in a replay."""

from collections import deque

import msgspec
import numpy as np
import pytest

from detectors.profile import Profile
from detectors.sequential.hearing import Saying, Statement
from detectors.values import Alert
from streams.control.configuration import Configuration, statement_record
from streams.judge.seals import Planned
from streams.judge.windows import SeriesName
from tests.streams.window_bench import EVENTS, MODEL, Judge, configuration, monitor, reference, snapshot

NAME = SeriesName(MODEL, "1", "all", "event")
SHIFT = 20.0
KIND = "data_drift"


def pane(second: int, shift: float) -> bytes:
    """100 rows, with ages that have moved."""
    profile, rows = Profile.empty(reference()), np.arange(second * 100, second * 100 + 100) % len(EVENTS.ids)
    features = {"age": EVENTS.age[rows] + shift, "city": EVENTS.city[rows]}
    profile.fold(features, EVENTS.predictions[rows], EVENTS.scores[rows])
    return profile.to_bytes()


class World:
    """A judge with windows of 2 s, its control topic, and the clock of the stream."""

    def __init__(self) -> None:
        self.control = configuration(monitor(window_s=2.0))
        self.judge = Judge(self.control)
        self.second = 0
        self.sent: list[Statement] = []

    def pass_windows(self, count: int, shift: float = 0.0) -> list[tuple[str, str]]:
        """Windows with ages that have moved; kind and state of the alerts that came."""
        before = len(self.judge.flush().alerts)
        for _ in range(2 * count):
            self.judge.send(snapshot(self.second, 100, profile=pane(self.second, shift)))
            self.second += 1
        return [(one.kind, one.state) for one in self.judge.flush().alerts[before:] if one.kind == KIND]

    def last(self) -> Alert:
        return [one for one in self.judge.results.alerts if one.kind == KIND][-1]

    def say(self, said: Saying, about: str | None = None) -> Statement:
        alert = self.last()
        name = f"s{len(self.sent)}"
        statement = Statement(
            id=name,
            model=MODEL,
            version="1",
            axis="event",
            kind=KIND,
            said=said,
            about=about or alert.id,
            after_us=alert.end_us,
            by="ada",
            why="a campaign",
        )
        self.sent.append(statement)
        self.control.apply(*statement_record(statement))
        return statement


def drifting(shift: float = SHIFT) -> World:
    world = World()
    assert world.pass_windows(6) == []
    assert (KIND, "firing") in world.pass_windows(3, shift)
    return world


def test_a_false_alarm_ends_the_incident_and_is_told() -> None:
    world = drifting()
    world.say("false alarm")
    assert world.pass_windows(1, SHIFT)[0] == (KIND, "cleared")
    told = next(one for one in world.judge.results.alerts if one.kind == KIND and one.state == "cleared")
    assert told.reason == (
        "Data drift: ada said: false alarm (a campaign); the incident has ended, its windows joined the baseline, "
        "and the threshold grew by half."
    )
    assert [one.heard for one in world.judge.results.seals if one.heard] == [("s0",)]


def test_a_new_normal_is_what_is_compared_with() -> None:
    world = drifting()
    world.say("new normal")
    assert world.pass_windows(5, SHIFT) == [(KIND, "cleared")]
    assert (KIND, "firing") in world.pass_windows(5), "what was normal before has changed now"


def test_what_is_expected_is_silent_until_it_has_passed_and_then_counts_again() -> None:
    world = drifting()
    world.say("expected")
    assert world.pass_windows(5, SHIFT) == [(KIND, "cleared")]
    assert world.pass_windows(12) == [], "its end is no news"
    assert (KIND, "firing") in world.pass_windows(4, SHIFT)


@pytest.mark.parametrize(
    ("said", "shift", "after"),
    [("false alarm", 4.0, 0.0), ("expected", SHIFT, SHIFT), ("new normal", SHIFT, SHIFT)],
)
def test_what_was_said_can_be_taken_back(said: Saying, shift: float, after: float) -> None:
    world = drifting(shift)
    first = world.last()
    statement = world.say(said)
    assert world.pass_windows(1, after) == [(KIND, "cleared")]
    world.say("taken back", statement.id)
    assert world.pass_windows(1, after)[0] == (KIND, "firing")
    again = [one for one in world.judge.results.alerts if one.kind == KIND and one.state == "firing"][-1]
    assert again.reason == "Data drift: ada took back what was said (a campaign); it is as it was before."
    assert again.change_us == first.change_us
    assert {one.feature for one in again.evidence} == {"age"}
    assert (KIND, "cleared") in world.pass_windows(12), "and it ends as it would have"


def test_what_comes_too_late_or_for_another_series_changes_nothing() -> None:
    world = drifting()
    assert (KIND, "cleared") in world.pass_windows(12)
    world.say("new normal")
    other = msgspec.structs.replace(world.sent[0], id="other", segment="s=1")
    world.control.apply(*statement_record(other))
    assert world.pass_windows(3) == []
    (series,) = world.judge.series()
    assert series.state.heard == ("s0",)


def test_crashes_do_not_show_and_a_replay_hears_what_live_has_heard_when_live_has() -> None:
    world, plain = drifting(), drifting()
    for one, crashes in ((world, True), (plain, False)):
        one.say("expected")
        for number in range(4):
            one.pass_windows(2, SHIFT if number < 2 else 0.0)
            if crashes:
                one.judge.crash()
                one.judge.flush()
    live = plain.judge.results
    assert world.judge.results.alerts == live.alerts
    known = Configuration()
    known.add_monitor(monitor(window_s=2.0))
    known.add_reference(reference())
    for statement in plain.sent:
        known.apply(*statement_record(statement))
    replayed = Judge(known, {NAME: deque(map(Planned, live.seals))})
    for record in plain.judge.log:
        replayed.stage.process(record)
    replayed.flush()
    assert replayed.results.alerts == live.alerts
    assert replayed.results.points == live.points
    assert [one.heard for one in replayed.results.seals] == [one.heard for one in live.seals]
