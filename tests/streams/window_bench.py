"""A judge that is fed panes by hand: sources with panes of one second, corrections, flushes, crashes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec
import numpy as np

from detectors.profile import Profile
from detectors.reference import Reference
from detectors.values import Axis, Monitor, PaneSnapshot
from streams.control.configuration import Configuration
from streams.judge.model_axis import Plans
from streams.judge.stage import JudgeStage
from streams.judge.windows import Series
from streams.replay.inprocess import Results
from streams.stages import InputRecord
from streams.times import IDLE_US
from streams.topics import JUDGE_PANES, PROFILES
from tests.streams.stream_data import START_US, make_events, make_monitor, make_reference

MODEL = "loan"
SECOND_US = 1_000_000
BASE_US = START_US // (3_600 * SECOND_US) * 3_600 * SECOND_US
"""The start of an hour."""
EVENTS = make_events(4_000, 2)


@lru_cache(maxsize=1)
def reference() -> Reference:
    return make_reference(MODEL, "1")


def configuration(*monitors: Monitor) -> Configuration:
    found = Configuration()
    for monitor in monitors:
        found.add_monitor(monitor)
    found.add_reference(reference())
    return found


def monitor(**changes: object) -> Monitor:
    return make_monitor(MODEL, **changes)


@lru_cache(maxsize=4_096)
def profile_bytes(first: int, rows: int) -> bytes:
    """Rows `first` .. of the events, as a profile."""
    profile = Profile.empty(reference())
    place = np.arange(first, first + rows) % len(EVENTS.ids)
    profile.fold(
        {"age": EVENTS.age[place], "city": EVENTS.city[place]},
        EVENTS.predictions[place],
        EVENTS.scores[place],
    )
    return profile.to_bytes()


def snapshot(second: float, rows: int, sealed: int | None = None, **changes: object) -> PaneSnapshot:
    """The pane that begins at this second, `rows` rows of which `sealed` (all) were there at sealing."""
    values: dict[str, object] = {
        "model": MODEL,
        "version": "1",
        "axis": "event",
        "pane_us": BASE_US + int(second * SECOND_US),
        "pane_length_us": SECOND_US,
        "source": 0,
        "sequence": 1,
        "rows": rows,
        "sealed_rows": rows if sealed is None else sealed,
        "watermark_us": BASE_US + int((second + 1.5) * SECOND_US),
        "monitor_revision": 1,
        "reference_revision": reference().revision,
        "profile": profile_bytes(int(second) * 10, rows),
    }
    return PaneSnapshot(**(values | changes))  # pyright: ignore[reportArgumentType]


def watermark(source: int = 0, at_us: int = IDLE_US, axis: Axis = "event") -> PaneSnapshot:
    """Only how far a source is."""
    return snapshot(
        0, 0, source=source, version="", watermark_us=at_us, axis=axis, profile=b"", reference_revision=""
    )


@dataclass
class Judge:
    """The stage with its log, its state topic and what has come out."""

    settings: Configuration
    plans: Plans | None = None
    results: Results = field(default_factory=Results)
    log: list[InputRecord] = field(default_factory=list[InputRecord])
    merged: list[InputRecord] = field(default_factory=list[InputRecord])
    state: tuple[int, bytes, dict[str, list[tuple[int, int]]]] | None = None

    def __post_init__(self) -> None:
        self.stage = JudgeStage(0, 1, self.settings, self.plans)

    def send(self, *snapshots: PaneSnapshot, at_us: int = 0) -> None:
        for one in snapshots:
            record = InputRecord(PROFILES, 0, len(self.log), b"", msgspec.msgpack.encode(one), (), at_us)
            self.log.append(record)
            self.stage.process(record)

    def flush(self) -> Results:
        offset, flush = self.stage.offset, self.stage.flush()
        if flush is None:
            return self.results
        deltas = flush.deltas.get(JUDGE_PANES, [])
        places = range(len(self.merged), len(self.merged) + len(deltas))
        self.merged += [
            InputRecord(JUDGE_PANES, 0, place, one.key, one.value, ())
            for place, one in zip(places, deltas, strict=True)
        ]
        for output in flush.outputs:
            self.results.take(output.topic, dict(output.headers).get("kind", b""), output.value)
        made = self.stage.snapshot({JUDGE_PANES: places} if deltas else {})
        self.state = (offset, made.state, made.needed)
        return self.results

    def crash(self) -> None:
        """Lose the memory, start from the last checkpoint, and read again what came after it."""
        self.stage = JudgeStage(0, 1, self.settings, self.plans)
        if self.state is not None:
            offset, state, needed = self.state
            topics = {PROFILES: self.log, JUDGE_PANES: self.merged}
            log = {
                topic: [topics[topic][at] for first, last in ranges for at in range(first, last + 1)]
                for topic, ranges in needed.items()
            }
            self.stage.restore(offset, state, log)
        for record in self.log[self.stage.offset + 1 :]:
            self.stage.process(record)

    def series(self) -> list[Series]:
        """What the stage judges."""
        return self.stage._all_series()  # pyright: ignore[reportPrivateUsage]

    def end(self) -> Results:
        self.stage.end()
        return self.flush()

    def windows(self) -> list[tuple[float, float, int, bool]]:
        """Start, end (in seconds from the base), rows as sealed, and whether it was decided on."""
        return [
            (
                (seal.start_us - BASE_US) / SECOND_US,
                (seal.end_us - BASE_US) / SECOND_US,
                seal.rows,
                seal.decided,
            )
            for seal in self.flush().seals
        ]

    def rows(self) -> dict[tuple[float, float], float | None]:
        """The rows that the points tell now, by start and end of the window."""
        return {
            ((point.start_us - BASE_US) / SECOND_US, (point.end_us - BASE_US) / SECOND_US): point.value
            for point in self.flush().points.values()
            if point.measure == "rows"
        }


@dataclass(frozen=True)
class Pane:
    """Rows of a source in one second: at sealing, and those that came later, so many panes of the source
    afterwards."""

    second: int
    rows: int
    late: int = 0
    after: int = 1


def stream(source: int, panes: Sequence[Pane], lateness: int, tells_final: bool) -> Iterator[PaneSnapshot]:
    """What a source says, in its order: first that it is there, at last that it is idle."""
    mark_us = BASE_US
    yield watermark(source, mark_us)
    owed: list[tuple[int, Pane]] = []
    for number, pane in enumerate(panes):
        next_us = BASE_US + int((pane.second + 1.5) * SECOND_US)
        final_us = next_us - lateness * SECOND_US
        for at, late in list(owed):
            if at <= number or BASE_US + (late.second + 1) * SECOND_US <= final_us:
                owed.remove((at, late))
                yield _corrected(source, late, mark_us)
        mark_us = next_us
        told = {"final_us": final_us} if tells_final else {}
        yield snapshot(pane.second, pane.rows, source=source, watermark_us=mark_us, **told)
        if pane.late:
            owed.append((number + pane.after, pane))
    for _, late in owed:
        yield _corrected(source, late, mark_us)
    yield watermark(source)


def _corrected(source: int, pane: Pane, mark_us: int) -> PaneSnapshot:
    rows = pane.rows + pane.late
    return snapshot(pane.second, rows, pane.rows, source=source, sequence=2, watermark_us=mark_us)
