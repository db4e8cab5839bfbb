"""Segments that always differ: false incidents where none of them changes, and delay where one does.

20 Gaussian columns, scores, labels known at once, and a column of segments. "gold" (a fifth of the rows) lies one
standard deviation higher in three columns and is predicted worse; "new" has too few rows in the reference. Beside it
the same windows against the reference of all rows.
"""

import argparse
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.detection_whole import AXES, drawn
from benchmarks.report import Scenario, say
from detectors.columns import Integers
from detectors.decide import decide
from detectors.judgement import SeriesState, Window
from detectors.learning import with_learned
from detectors.reference import Reference, build_reference
from detectors.segment_profiles import with_segments
from detectors.sequential.baseline import with_baseline
from detectors.sequential.blocks import Rows
from detectors.sequential.budget import SEGMENTS
from detectors.sequential.plan import plan_of
from detectors.sequential.step import step
from detectors.sequential.values import Memory
from detectors.values import Axis, Budget, FeatureSpec, Monitor
from streams.judge.points import performed, unlabelled

SHARES = {"gold": 0.2, "silver": 0.3, "bronze": 0.3, "tin": 0.1, "iron": 0.095, "new": 0.005}
WINDOW_ROWS = 500
HIGHER = ("x03", "x04", "x05")
CHANGED = "x07"


def of_segment(rng: np.random.Generator, segment: str, rows: int, shift: float = 0.0) -> Rows:
    """Rows of one segment. shift: of one column, in standard deviations."""
    sample = drawn(rng, rows)
    columns = dict(sample.features)
    columns[CHANGED] = np.asarray(columns[CHANGED]) + shift
    if segment == "gold":
        columns |= {name: np.asarray(columns[name]) + 1.0 for name in HIGHER}
        strange = rng.random(rows) < 0.4
        labels = np.where(strange, rng.random(rows) < 0.5, np.asarray(sample.labels)).astype(float)
        return replace(sample, features=columns, labels=labels)
    return replace(sample, features=columns)


def reference_of(rng: np.random.Generator, rows: int, simulated: int) -> Reference:
    """Of all segments, each with its share of the rows."""
    names = rng.choice(list(SHARES), size=rows, p=list(SHARES.values()))
    parts = {name: of_segment(rng, name, int((names == name).sum())) for name in SHARES}
    place = np.argsort(np.concatenate([np.flatnonzero(names == name) for name in SHARES]))
    features = {
        name: np.concatenate([np.asarray(part.features[name]) for part in parts.values()])[place]
        for name in parts["gold"].features
    }
    scores, labels = (
        np.concatenate([np.asarray(getattr(part, name)) for part in parts.values()])[place]
        for name in ("scores", "labels")
    )
    known = Rows(features, None, scores, labels, segments={"plan": names.tolist()})
    specs = [FeatureSpec(name=name) for name in features]
    plain = build_reference("m", "1", features, specs, scores=scores, labels=labels)
    learned = with_learned(plain, known)
    return with_segments(with_baseline(learned, known, calibration_windows=simulated), known)


@dataclass
class SegmentBench:
    """The series of the segments under one reference. `told`, `before`: alerts that began, as it is and as it was."""

    reference: Reference
    monitor: Monitor
    states: dict[tuple[str, Axis], SeriesState] = field(default_factory=dict[tuple[str, Axis], SeriesState])
    memories: dict[tuple[str, Axis], Memory] = field(default_factory=dict[tuple[str, Axis], Memory])
    windows: int = 0
    told: list[str] = field(default_factory=list[str])
    before: int = 0

    def window(self, segment: str, rows: Rows) -> int:
        """Judge a window of a segment on both axes; how many alerts began."""
        profile, told = rows.profile(self.reference), len(self.told)
        start_us = self.windows * 1_000_000
        for axis in AXES:
            name = Window(
                model="m",
                version="1",
                segment=f"plan={segment}",
                axis=axis,
                window=str(self.windows),
                start_us=start_us,
                end_us=start_us + 1_000_000,
                rows=profile.rows,
            )
            reference, monitor = self.reference, self.monitor
            found = (
                unlabelled(name, profile, monitor, reference, ())
                if axis == "event"
                else performed(name, profile, reference)
            )
            state = self.states.get((segment, axis), SeriesState())
            judged = decide(name, found, monitor, reference, state, profile)
            was = {kind for kind, known in state.kinds.items() if known.firing}
            self.told += [
                f"{segment} window {self.windows}: {one.reason}"
                for one in judged.transitions
                if one.state == "firing" and one.kind not in was
            ]
            self.states[segment, axis] = judged.state
            self._as_it_was(segment, axis, start_us, profile.counters)
        return len(self.told) - told

    def _as_it_was(self, segment: str, axis: Axis, start_us: int, counters: Integers) -> None:
        baseline = self.reference.baseline
        memory, steps = step(
            plan_of(self.reference, axis, small=True),
            self.memories.get((segment, axis), Memory()),
            [counters],
            start_us,
            start_us + 1_000_000,
            self.monitor.budget,
            calibration=baseline.calibration if baseline is not None else None,
            labels=True,
            segments=SEGMENTS,
            is_segment=True,
        )
        self.memories[segment, axis] = memory
        self.before += sum(one.opened is not None and not one.further for one in steps)


def _benches(options: argparse.Namespace, budget: Budget, count: int, number: int) -> list[SegmentBench]:
    found: list[SegmentBench] = []
    for each in range(count):
        rng = np.random.default_rng([options.seed, number, each])
        reference = reference_of(rng, 10_000, 0)
        specs = tuple(part.spec for part in reference.features)
        monitor = Monitor(model="m", revision=1, features=specs, segments=("plan",), budget=budget)
        found.append(SegmentBench(reference, monitor))
    return found


def segments_budget(options: argparse.Namespace, budget: Budget) -> Scenario:
    """False incidents of all segments together where none changes."""
    count = max(1, options.references // 10)
    each = max(1, options.windows // options.references)
    benches = _benches(options, budget, count, 4)
    for number, bench in enumerate(benches):
        rng = np.random.default_rng([options.seed, 5, number])
        for _ in range(each):
            for segment in SHARES:
                bench.window(segment, of_segment(rng, segment, WINDOW_ROWS))
            bench.windows += 1
        for told in bench.told:
            say(f"  reference {number}: {told}")
    rounds = sum(one.windows for one in benches)
    alarms, before = sum(len(one.told) for one in benches), sum(one.before for one in benches)
    say(
        f"segments: {alarms} false incidents in {rounds} windows of {len(SHARES)} segments each; compared with all "
        f"rows {before}; {count} references"
    )
    return Scenario(
        id="budget.segments",
        value=1_000 * alarms / rounds,
        unit="false incidents of all segments per 1,000 windows",
        higher_is_better=False,
        peers={
            "compared with all rows, per 1,000 windows": 1_000 * before / rounds,
            "compared with all rows, per reference": before / count,
        },
        target=budget.incidents / 2,
    )


def segment_power(options: argparse.Namespace, budget: Budget) -> Scenario:
    """The share of seeds in which a shift of one column of "gold" by 0.2 is found in 4 of its windows, and the column
    named; and the same of "new", which the reference does not know, after 20 windows."""
    within, count = 4, max(1, options.seeds // 4)
    delays: dict[str, list[int]] = {"gold": [], "new": []}
    for number, bench in enumerate(_benches(options, budget, count, 6)):
        rng = np.random.default_rng([options.seed, 7, number])
        for segment, found in delays.items():
            for _ in range(20 if segment == "new" else 5):
                bench.window(segment, of_segment(rng, segment, WINDOW_ROWS))
                bench.windows += 1
            found.append(_delay(bench, segment, rng))
    share = {name: float(np.mean(np.array(found) <= within)) for name, found in delays.items()}
    say(
        f"power.segment: found in time {share}, median delays { {n: np.median(d) for n, d in delays.items()} }"
    )
    return Scenario(
        id="power.segment",
        value=share["gold"],
        unit=f"share of seeds within {within} windows of {WINDOW_ROWS}",
        higher_is_better=True,
        peers={
            "median delay, windows": float(np.median(delays["gold"])),
            "compared with its own 20 windows, share of seeds": share["new"],
        },
        target=0.8,
    )


def _delay(bench: SegmentBench, segment: str, rng: np.random.Generator) -> int:
    for delay in range(1, 17):
        bench.windows += 1
        if bench.window(segment, of_segment(rng, segment, WINDOW_ROWS, 0.2)):
            return delay if CHANGED in bench.told[-1] else 10**6
    return 10**6
