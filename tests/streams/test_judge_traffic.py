"""Silence on the judge stage: told by the passing of time, or by the next event as of then; not at a file's end."""

import msgspec
import numpy as np
import pytest

from detectors.profile import Profile
from detectors.quality.traffic import Told
from detectors.values import Alert, PaneSnapshot
from streams.control.configuration import Configuration
from streams.control.shadowing import Shadowing
from streams.judge.stage import JudgeStage
from streams.judge.traffic import Watched, count, pass_time
from streams.replay.inprocess import Results
from streams.stages import InputRecord
from streams.times import IDLE_US
from streams.topics import PROFILES
from tests.streams.learning_parts import World, sent
from tests.streams.stream_data import make_events, make_monitor, make_reference

MODEL = "loan"
SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
START_US = 1_760_000_400_000_000 // (600 * SECOND_US) * 600 * SECOND_US


class Bench:
    """A judge whose source sends a pane of ten minutes at a time, and says when it is idle."""

    def __init__(self, silence_s: float | None = None, stage: JudgeStage | None = None) -> None:
        self.configuration = Configuration()
        settings: dict[str, object] = {"pane_s": 600.0, "silence_s": silence_s, "window_rows": 100_000_000}
        self.configuration.add_monitor(make_monitor(MODEL, **settings))
        self.configuration.add_reference(make_reference(MODEL, "1"))
        self.stage = stage or JudgeStage(0, 1, self.configuration)
        self.results = Results()

    def pane(self, number: int, rows: int = 300, version: str = "1") -> None:
        reference = self.configuration.reference(MODEL, version)
        profile = Profile.empty(reference)
        profile.fold({"age": np.full(3, 50.0), "city": np.full(3, "Rome", dtype=object)}, None, None)
        start_us = START_US + number * 600 * SECOND_US
        self.send(start_us + 600 * SECOND_US, version, start_us, rows, profile.to_bytes())

    def idle(self, now_us: int) -> None:
        self.send(IDLE_US, "", 0, 0, b"", now_us)

    def send(
        self, watermark_us: int, version: str, pane_us: int, rows: int, profile: bytes, now_us: int = 0
    ) -> None:
        reference = self.configuration.reference(MODEL, version)
        snapshot = PaneSnapshot(
            model=MODEL,
            version=version,
            axis="event",
            pane_us=pane_us,
            pane_length_us=600 * SECOND_US,
            source=0,
            sequence=1,
            rows=rows,
            sealed_rows=rows,
            watermark_us=watermark_us,
            monitor_revision=1,
            reference_revision=reference.revision if reference and version else "",
            profile=profile,
        )
        record = InputRecord(
            PROFILES,
            0,
            self.stage.offset + 1,
            b"",
            msgspec.msgpack.encode(snapshot),
            (),
            timestamp_us=now_us or pane_us + 600 * SECOND_US,
        )
        self.stage.process(record)

    def alerts(self) -> list[Alert]:
        flush = self.stage.flush()
        if flush is not None:
            self.stage.snapshot({topic: range(len(deltas)) for topic, deltas in flush.deltas.items()})
            for output in flush.outputs:
                self.results.take(output.topic, dict(output.headers).get("kind", b""), output.value)
        return [one for one in self.results.alerts if one.kind == "volume"]


def two_days(bench: Bench) -> int:
    """Steady traffic; the end of it."""
    for number in range(2 * 144):
        bench.pane(number)
    end_us = START_US + 2 * 24 * HOUR_US
    bench.idle(end_us + 5 * SECOND_US)
    return end_us


def test_panes_that_are_sealed_late_are_no_silence() -> None:
    """Three events a minute; what is sealed an hour late is told an hour late."""
    rows = 26 * 60 * 3
    events = make_events(rows, 3)
    events.times_us[:] = START_US + np.arange(rows) * 20 * SECOND_US
    events.label_times_us[:] = events.times_us + SECOND_US
    told: dict[bool, list[Alert]] = {}
    for has_gap in (False, True):
        if has_gap:
            events.times_us[-200:] += 6 * HOUR_US
        world = World(
            pane_s=600.0, watermark_delay_s=3_600.0, lateness_s=7_200.0, window_rows=rows, learning=None
        )
        world.feed([one for one in sent(events) if dict(one.headers)["kind"] == b"predictions"])
        world.end()
        told[has_gap] = world.results.alerts
    assert told[False] == []
    assert [(one.kind, one.state) for one in told[True]] == [("volume", "firing"), ("volume", "cleared")]
    assert told[True][0].change_us <= events.times_us[-201] + 600 * SECOND_US


def test_what_only_scores_beside_the_version_that_answers_is_no_traffic() -> None:
    """Each of its events stands for a request that is counted; before and after that it is traffic as any other."""
    bench = Bench()
    bench.configuration.add_reference(make_reference(MODEL, "2"))
    begun_us, ended_us = (START_US + number * 600 * SECOND_US for number in (1, 3))
    shadowing = Shadowing(model=MODEL).decided(["2"], begun_us).decided([], ended_us)
    bench.configuration.apply(shadowing.key, shadowing.to_json())
    for number in range(4):
        bench.pane(number, 300)
        bench.pane(number, 20, version="2")
    (axis,) = bench.stage._axes.values()  # pyright: ignore[reportPrivateUsage]
    watched = axis.memory.watched
    assert watched.traffic is not None
    assert watched.traffic.total + sum(watched.open.values()) == 320 + 300 + 300 + 320


def test_the_shadows_of_a_model_follow_what_was_decided() -> None:
    first = Shadowing(model=MODEL).decided(["2"], 10)
    assert first.decided(["2"], 20) is first
    assert first.decided([], 5) is first, "what is older has been decided over"
    many = first
    for at_us in range(20, 400, 2):
        many = many.decided(["2", "3"], at_us).decided(["2"], at_us + 1)
    assert many.spans[-1] == first.spans[0], "one that goes on is never forgotten"
    assert len(many.spans) == 65


def test_silence_is_told_after_half_an_hour_of_the_clock_and_ends_with_the_next_event() -> None:
    bench = Bench()
    end_us = two_days(bench)
    bench.stage.tick(end_us + 1_700 * SECOND_US, caught_up=True)
    assert bench.alerts() == []
    bench.stage.tick(end_us + 1_900 * SECOND_US, caught_up=False)
    assert bench.alerts() == [], "what is not read yet may hold events"
    for seconds in (1_900, 2_000, 4_000):
        bench.stage.tick(end_us + seconds * SECOND_US, caught_up=True)
    (first,) = bench.alerts()
    assert (first.state, first.version, first.change_us) == ("firing", "1", end_us)
    assert first.end_us == end_us + 1_800 * SECOND_US
    assert "no event has come for 30 minutes, in which usually about 900 come" in first.reason
    bench.pane(2 * 144 + 9)
    assert [one.state for one in bench.alerts()] == ["firing", "cleared"]


def test_the_next_event_tells_the_same_silence_where_no_clock_did() -> None:
    live, later = Bench(), Bench()
    end_us = two_days(live)
    two_days(later)
    live.stage.tick(end_us + 3_000 * SECOND_US, caught_up=True)
    for bench in (live, later):
        bench.pane(2 * 144 + 9)
    assert live.alerts() == later.alerts()
    assert len(live.alerts()) == 2


def test_a_restored_judge_tells_it_too() -> None:
    bench = Bench()
    end_us = two_days(bench)
    flush = bench.stage.flush()
    assert flush is not None
    snapshot = bench.stage.snapshot({topic: range(len(deltas)) for topic, deltas in flush.deltas.items()})
    restored = JudgeStage(0, 1, bench.configuration)
    restored.restore(bench.stage.offset, snapshot.state, {})
    again = Bench(stage=restored)
    again.stage.tick(end_us + 3_000 * SECOND_US, caught_up=True)
    bench.stage.tick(end_us + 3_000 * SECOND_US, caught_up=True)
    assert again.alerts() == bench.alerts()
    assert len(again.alerts()) == 1


@pytest.mark.parametrize(("silence_s", "told"), [(0.0, False), (300.0, True), (7_200.0, False)])
def test_the_monitor_says_how_long_a_silence_may_last(silence_s: float, told: bool) -> None:
    bench = Bench(silence_s)
    end_us = two_days(bench)
    bench.stage.tick(end_us + 400 * SECOND_US, caught_up=True)
    assert bool(bench.alerts()) == told


def test_panes_that_are_longer_than_a_slot_tell_no_volume() -> None:
    watched, told, rng = Watched(), list[Told](), np.random.default_rng(1)
    monitor = make_monitor(MODEL)
    for number in range(200):
        pane = PaneSnapshot(
            model=MODEL,
            version="1",
            axis="event",
            pane_us=START_US + number * 12 * HOUR_US,
            pane_length_us=12 * HOUR_US,
            source=0,
            sequence=1,
            rows=80,
            sealed_rows=80,
            watermark_us=0,
            monitor_revision=1,
            reference_revision="",
            profile=b"",
        )
        told += count(watched, pane, int(rng.poisson(80)), monitor)
        told += pass_time(watched, pane.pane_us + pane.pane_length_us, IDLE_US, monitor)
    assert told == []


def test_the_end_of_a_file_is_no_silence_and_neither_is_a_first_night() -> None:
    bench = Bench()
    two_days(bench)
    bench.stage.end()
    assert bench.alerts() == []
    young = Bench()
    for number in range(12):
        young.pane(number)
    young.idle(START_US + 2 * HOUR_US + 5 * SECOND_US)
    young.stage.tick(START_US + 12 * HOUR_US, caught_up=True)
    assert young.alerts() == []
