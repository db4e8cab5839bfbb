"""How long the judge takes for one window, all default measures and decisions, and what a series' memory costs.

CPU time of measuring and deciding about a window of 1,000 rows, behind the first 100 windows of a stream: 13 numeric
features; 200 of them; and 1,000 segments of 13. The peer does less on the same rows in the same run: the two-sample
Kolmogorov-Smirnov test of SciPy per column, against as many rows of the reference.

    uv run python -m benchmarks.judge --json
"""

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from benchmarks.report import Scenario, parser, say, show
from detectors.decide import decide
from detectors.judgement import SeriesState, Window
from detectors.measures import measure
from detectors.performance import performance
from detectors.profile import Profile
from detectors.reference import Reference, build_reference
from detectors.sequential.baseline import with_baseline
from detectors.sequential.blocks import Rows
from detectors.values import Axis, FeatureSpec, Monitor
from streams.judge.kept import pieces
from streams.judge.windows import SeriesName

FEATURES, MANY = 13, 200
REFERENCE_ROWS = 10_000
WINDOW_ROWS = 1_000
DIFFERENT = 10
"""Windows that are drawn; a stream takes them in turn."""
SEGMENTS = 1_000
SEGMENT_WINDOWS = 3
SETTLED = 100
STRETCH, STRETCHES = 20, 5
"""Windows that are timed together, and how often, behind the first `SETTLED` ones."""
TARGET_MS = 2.0
LINEAR = 1.5
"""Times the cost in proportion that is no cliff yet."""


@dataclass
class World:
    """A model with its reference, and windows without drift."""

    monitor: Monitor
    reference: Reference
    profiles: list[Profile]
    tables: list[dict[str, Any]]
    drawn: dict[str, Any]

    @classmethod
    def of(cls, features: int, rng: np.random.Generator) -> "World":
        """`features` normal columns and scores with labels."""
        drawn, scores, labels = _draw(rng, features, REFERENCE_ROWS)
        specs = [FeatureSpec(name=name) for name in drawn]
        plain = build_reference("benchmark", "1", drawn, specs, scores=scores, labels=labels)
        reference = with_baseline(plain, Rows(drawn, None, scores, labels))
        profiles: list[Profile] = []
        tables: list[dict[str, Any]] = []
        for _ in range(DIFFERENT):
            table, scores, labels = _draw(rng, features, WINDOW_ROWS)
            profiles.append(Rows(table, None, scores, labels).profile(reference))
            tables.append(table)
        monitor = Monitor(model="benchmark", revision=1, features=tuple(specs))
        return cls(monitor, reference, profiles, tables, drawn)


def _draw(rng: np.random.Generator, features: int, rows: int) -> tuple[dict[str, Any], Any, Any]:
    columns = {f"feature_{i:03d}": rng.normal(size=rows) for i in range(features)}
    scores = rng.random(rows)
    return columns, scores, (rng.random(rows) < scores).astype(float)


def judged(world: World, axis: Axis, number: int, state: SeriesState, segment: str = "all") -> SeriesState:
    """Measure and decide about one window, as the judge does."""
    profile, start_us = world.profiles[number % DIFFERENT], number * 1_000_000
    window = Window(
        model="benchmark",
        version="1",
        segment=segment,
        axis=axis,
        window=str(number),
        start_us=start_us,
        end_us=start_us + 1_000_000,
        rows=WINDOW_ROWS,
    )
    reference, monitor = world.reference, world.monitor
    found = measure(profile, reference, monitor) if axis == "event" else performance(profile, reference)
    return decide(window, found, monitor, reference, state, profile).state


def window_ms(world: World, axis: Axis) -> tuple[float, SeriesState]:
    """CPU milliseconds of a window, the median over stretches behind `SETTLED` windows (the clock itself takes long),
    and what is remembered at the end."""
    state, number = SeriesState(), 0
    for number in range(SETTLED):
        state = judged(world, axis, number, state)
    taken: list[float] = []
    for _ in range(STRETCHES):
        begun = time.process_time()
        for _ in range(STRETCH):
            number += 1
            state = judged(world, axis, number, state)
        taken.append((time.process_time() - begun) / STRETCH)
    return 1_000 * float(np.median(taken)), state


def peer_ms(world: World) -> float:
    """The tests of SciPy on the same columns."""
    table: Any = world.tables[0]
    begun = time.process_time()
    for name, column in table.items():
        stats.ks_2samp(world.drawn[name], column, method="asymp")
    return 1_000 * (time.process_time() - begun)


def sizes(world: World, features: int, target: float | None) -> list[Scenario]:
    """Time and bytes of a series of all rows, both axes together."""
    event, remembered = window_ms(world, "event")
    label, performed = window_ms(world, "label")
    name = SeriesName("benchmark", "1", "all", "event")
    packed = sum(len(part) for state in (remembered, performed) for part in pieces(name, state))
    say(f"{features} features: {event:.2f} ms by event time, {label:.2f} ms by label time, {packed:,} bytes")
    return [
        Scenario(
            id=f"judge.window.{features}",
            value=event + label,
            unit="CPU-milliseconds",
            higher_is_better=False,
            peers={"SciPy's ks_2samp per column": peer_ms(world)},
            target=target,
        ),
        Scenario(
            id=f"judge.memory.{features}",
            value=float(packed),
            unit="bytes written after a window",
            higher_is_better=False,
        ),
    ]


def segments(world: World) -> Scenario:
    """Windows of 1,000 segments, each with a state of its own: time per segment beside that of one of them alone."""
    by_count: dict[int, float] = {}
    for count in (10, SEGMENTS):
        states, begun = [SeriesState()] * count, time.process_time()
        for number in range(SEGMENT_WINDOWS):
            states = [
                judged(world, "event", number, state, f"s={place}") for place, state in enumerate(states)
            ]
        by_count[count] = 1_000 * (time.process_time() - begun) / SEGMENT_WINDOWS / count
        say(f"{count} segments: {by_count[count]:.2f} ms a segment and window")
    return Scenario(
        id=f"judge.segments.{SEGMENTS}",
        value=by_count[SEGMENTS],
        unit="CPU-milliseconds a segment and window",
        higher_is_better=False,
        peers={"10 segments": by_count[10]},
        target=LINEAR * by_count[10],
    )


def main() -> int:
    """Run all scenarios."""
    options = parser(__doc__ or "").parse_args()
    rng = np.random.default_rng(options.seed)
    few, many = World.of(FEATURES, rng), World.of(MANY, rng)
    window_ms(few, "event")
    found = sizes(few, FEATURES, TARGET_MS)
    found += sizes(many, MANY, LINEAR * found[0].value * MANY / FEATURES)
    return show([*found, segments(few)], as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
