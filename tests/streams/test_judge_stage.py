"""The judge stage: windows never change membership, corrections raise the revision, alerts are not
rewritten."""

import msgspec
import numpy as np

from detectors.profile import Profile
from detectors.values import Axis, PaneSnapshot
from streams.judge.stage import JudgeStage
from streams.replay.inprocess import Results
from streams.stages import InputRecord
from streams.times import IDLE_US
from streams.topics import PROFILES
from tests.streams.stream_data import START_US, make_configuration, make_events

MODEL = "loan"
SECOND_US = 1_000_000


class Bench:
    """A judge that is fed panes of one second, 100 rows each."""

    def __init__(self) -> None:
        self.configuration = make_configuration(MODEL)
        self.stage = JudgeStage(0, 1, self.configuration)
        self.results = Results()
        self.events = make_events(3_000, 2)

    def pane(
        self,
        second: int,
        source: int = 0,
        watermark_s: float | None = None,
        sequence: int = 1,
        extra: int = 0,
        version: str = "1",
        axis: Axis = "event",
    ) -> None:
        """A snapshot of a sealed pane of 100 rows; `extra` rows came after sealing."""
        reference = self.configuration.reference(MODEL, version)
        profile = Profile.empty(reference)
        rows = np.arange(second * 100, second * 100 + 100 + extra)
        profile.fold(
            {"age": self.events.age[rows], "city": self.events.city[rows]},
            self.events.predictions[rows],
            self.events.scores[rows],
        )
        watermark = second + 1.5 if watermark_s is None else watermark_s
        self.send(
            PaneSnapshot(
                model=MODEL,
                version=version,
                axis=axis,
                pane_us=START_US + second * SECOND_US,
                pane_length_us=SECOND_US,
                source=source,
                sequence=sequence,
                rows=100 + extra,
                sealed_rows=100,
                watermark_us=START_US + int(watermark * SECOND_US),
                monitor_revision=1,
                reference_revision=reference.revision if reference else "",
                profile=profile.to_bytes(),
            )
        )

    def watermark(self, source: int, watermark_us: int) -> None:
        self.send(
            PaneSnapshot(
                model=MODEL,
                version="",
                axis="event",
                pane_us=0,
                pane_length_us=0,
                source=source,
                sequence=0,
                rows=0,
                sealed_rows=0,
                watermark_us=watermark_us,
                monitor_revision=0,
                reference_revision="",
                profile=b"",
            )
        )

    def send(self, snapshot: PaneSnapshot) -> None:
        self.stage.process(
            InputRecord(PROFILES, 0, self.stage.offset + 1, b"", msgspec.msgpack.encode(snapshot), ())
        )

    def flush(self) -> Results:
        flush = self.stage.flush()
        if flush is not None:
            self.stage.snapshot({topic: range(len(deltas)) for topic, deltas in flush.deltas.items()})
            for output in flush.outputs:
                self.results.take(output.topic, dict(output.headers).get("kind", b""), output.value)
        return self.results

    def windows(self) -> list[tuple[float, float, int]]:
        return [
            ((seal.start_us - START_US) / SECOND_US, (seal.end_us - START_US) / SECOND_US, seal.rows)
            for seal in self.flush().seals
        ]


def test_a_window_is_the_first_sealed_panes_that_hold_enough_rows() -> None:
    bench = Bench()
    for second in range(5):
        bench.pane(second)
    assert bench.windows() == [(0, 2, 200), (2, 4, 200)]


def test_a_source_that_is_behind_holds_back_and_an_idle_one_does_not() -> None:
    bench = Bench()
    bench.pane(0, source=1)
    for second in range(4):
        bench.pane(second, source=0)
    assert bench.windows() == [(0, 1, 200)], "source 1 has only sealed its first second"
    bench.watermark(1, IDLE_US)
    assert bench.windows() == [(0, 1, 200), (1, 3, 200)]


def test_the_order_in_which_sources_arrive_does_not_show() -> None:
    forward, backward = Bench(), Bench()
    for second in range(4):
        forward.pane(second, source=0)
        forward.pane(second, source=1)
    backward.pane(0, source=1, watermark_s=0.0)
    for second in range(4):
        backward.pane(second, source=0)
    for second in range(4):
        backward.pane(second, source=1, sequence=2 if second == 0 else 1)
    assert forward.windows() == backward.windows() == [(second, second + 1, 200) for second in range(4)]


def test_late_rows_raise_the_revision_of_the_point_and_keep_the_window() -> None:
    bench = Bench()
    for second in range(3):
        bench.pane(second)
    before = {point.measure: point for point in bench.flush().points.values() if point.feature == "age"}
    alerts = list(bench.results.alerts)
    bench.pane(0, sequence=2, extra=40, watermark_s=3.5)
    after = {point.measure: point for point in bench.flush().points.values() if point.feature == "age"}
    assert before["ks"].revision == 1
    assert after["ks"].revision == 2
    assert after["ks"].id == before["ks"].id
    assert (before["ks"].rows, after["ks"].rows) == (200, 240)
    assert bench.results.alerts == alerts
    assert len(bench.results.seals) == 1


def test_a_late_pane_inside_a_closed_window_belongs_to_it() -> None:
    bench = Bench()
    bench.pane(0)
    bench.pane(2)
    bench.pane(3)
    assert bench.windows() == [(0, 3, 200)]
    bench.pane(1, sequence=1, extra=1, watermark_s=4.5)
    (rows,) = {point.rows for point in bench.flush().points.values() if point.measure == "positive_rate"}
    assert rows == 301


def test_an_older_snapshot_of_a_pane_is_ignored() -> None:
    bench = Bench()
    bench.pane(0, sequence=1)
    bench.pane(0, sequence=3, extra=30)
    bench.pane(0, sequence=2, extra=10)
    bench.pane(1)
    bench.flush()
    (rows,) = {point.rows for point in bench.results.points.values() if point.measure == "positive_rate"}
    assert rows == 230


def test_a_version_without_a_reference_says_so() -> None:
    bench = Bench()
    for second in range(3):
        bench.pane(second, version="9")
    (point,) = bench.flush().points.values()
    assert (point.measure, point.value, point.verdict) == ("reference", None, "undefined")
    assert "version '9'" in (point.undefined or "")


def test_bytes_that_are_no_snapshot_go_to_the_dead_letters() -> None:
    bench = Bench()
    record = InputRecord(PROFILES, 0, 0, b"", b"\xc1junk", ())
    assert bench.stage.unconfigured(record) is None
    bench.stage.process(record)
    assert len(bench.flush().deadletters) == 1
