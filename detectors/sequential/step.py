"""One window after the other: what it says, and what is remembered of it."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec.structs import replace

from detectors.columns import SKETCH_CELLS, Integers, sums
from detectors.errors import ProfileInvalid
from detectors.layout import layout_of
from detectors.sequential.advance import advance
from detectors.sequential.budget import part_of, threshold_of
from detectors.sequential.plan import Plan
from detectors.sequential.values import Calibration, Memory, Step, Track
from detectors.values import Budget

SURE: Final = 3.0
"""Standard errors by which rows must coincide more often than by chance to count as repeats."""

SUDDEN: Final = 3.0
"""Times the usual share of repeats that a window may have."""
FEWEST: Final = 60.0
"""Subjects that a stream is taken to come from at least."""


def step(
    plan: Plan,
    memory: Memory,
    counters: Sequence[Integers],
    start_us: int,
    end_us: int,
    budget: Budget,
    *,
    calibration: Calibration | None = None,
    labels: bool = False,
    segments: int = 0,
    is_segment: bool = False,
    besides: tuple[str, ...] = (),
) -> tuple[Memory, tuple[Step, ...]]:
    """Take one window; windows of a series come in order, each once.

    counters: of the window's profile, one vector per stratum of the plan (one in all where it has none), the
    window's rows of each phase. labels, segments, is_segment: see `budget.part_of`; besides: kinds that
    are decided on elsewhere and share the budget of the axis.
    Gives back the memory for the next window, and for each kind of alert what the window did to it. A memory that
    was made under another plan is begun anew: its open incidents close. Raises `ProfileInvalid` for too many or too
    few profiles.
    """
    if len(counters) != max(len(plan.strata), 1):
        raise ProfileInvalid(
            f"{len(counters)} profiles were given for a reference with the phases {list(plan.strata)}; it takes one of "
            "each phase, or one in all where there are none"
        )
    before = memory
    if memory.plan != plan.name:
        memory = Memory(plan=plan.name)
    memory = _with_repeats(plan, memory, counters)
    pool = pool_of(memory)
    kinds = (*(str(track.kind) for track in plan.tracks), *besides)
    tracks = dict(memory.tracks)
    steps: list[Step] = []
    for track_plan, window in zip(plan.tracks, plan.of_window(counters), strict=True):
        kind = str(track_plan.kind)
        part = part_of(kind, kinds, labels=labels, segments=segments, is_segment=is_segment)
        limit = threshold_of(budget, part, (end_us - start_us) / 1e6, calibration)
        track = tracks.get(kind)
        if track is None:
            track = Track()
        tracks[kind], found = advance(track_plan, track, window, start_us, limit, pool)
        steps.append(found)
    if before.plan and before.plan != plan.name:
        steps += [
            Step(
                kind=kind,
                statistic=0.0,
                threshold=0.0,
                closed_us=start_us,
                expected=track.opened.expected,
                reason="the reference is another one",
            )
            for kind, track in before.tracks.items()
            if track.opened is not None
        ]
    return replace(memory, windows=memory.windows + 1, tracks=tracks), tuple(steps)


def _with_repeats(plan: Plan, memory: Memory, counters: Sequence[Integers]) -> Memory:
    """Count the rows of the window that are the same subject, where the reference's rows identify one.

    Two rows of a window share a cell of the sketch by chance with probability 1 / cells; what is more are repeats.
    Far more than in the windows before is damage, such as columns that are all missing, and not fewer subjects.
    Source: Alon, Matias and Szegedy (1996)."""
    if not plan.reference.rows_identify:
        return memory
    layout = layout_of(plan.reference)
    room = layout.repeats if plan.axis == "event" else layout.label_repeats
    parts = [each[room] for each in counters]
    rows, squares = sums(parts[0] if len(parts) == 1 else np.sum(parts, axis=0))
    excess = (squares - rows * rows / SKETCH_CELLS) * SKETCH_CELLS / (SKETCH_CELLS - 1) - rows
    chance = SURE * rows * (2 / SKETCH_CELLS) ** 0.5
    if memory.pairs > 0:
        excess = min(excess, max(SUDDEN * memory.repeats / memory.pairs * rows * rows, chance))
    excess = min(excess, rows * rows / FEWEST)
    return replace(memory, repeats=memory.repeats + excess, pairs=memory.pairs + rows * rows)


def pool_of(memory: Memory) -> float:
    """The probability that two rows of the stream are the same subject; 0 where it may be chance."""
    if memory.pairs <= 0 or memory.repeats <= SURE * (2 * memory.pairs / SKETCH_CELLS) ** 0.5:
        return 0.0
    return memory.repeats / memory.pairs
