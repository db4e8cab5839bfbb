"""What the labelled rows of one series have shown, in few numbers: what other series are compared with."""

from collections.abc import Sequence
from typing import Final

from detectors.measurement import MINIMUM_ROWS, Measurement
from detectors.outcome_slots import BinarySlots, MulticlassSlots
from detectors.profile import Profile
from detectors.slices.values import Loss, Tally
from detectors.task_scores import ClassCounts, ErrorSums

RECENT: Final = 8
"""Windows that are kept one by one, so that what came before a change is told from what came after."""


def tallied(
    before: Tally | None, start_us: int, end_us: int, profile: Profile, measured: Sequence[Measurement]
) -> Tally | None:
    """The tally after a window of labels. measured: its performance. What it was, where no row has a label."""
    rows = profile.labelled
    if rows == 0:
        return before
    mean, square, confusion = _loss(profile, rows)
    recent = (*(before.recent if before else ()), (end_us, Loss(rows, mean * rows)))
    older = before.older if before else Loss()
    for _, gone in recent[:-RECENT]:
        older = older.plus(gone)
    return Tally(
        since_us=before.since_us if before else start_us,
        end_us=end_us,
        rows=rows,
        size=max(profile.effective_labelled, min(rows, MINIMUM_ROWS)),
        loss=mean,
        variance=max(square - mean * mean, 0.0),
        confusion=confusion,
        scores={one.measure: one.value for one in measured if one.value is not None and not one.feature},
        recent=recent[-RECENT:],
        older=older,
    )


def _loss(profile: Profile, rows: int) -> tuple[float, float, tuple[int, ...]]:
    """Mean and mean square of the loss, and the confusion."""
    slots, counters = profile.layout.outcomes, profile.counters
    if isinstance(slots, BinarySlots):
        confusion = tuple(int(count) for count in counters[slots.confusion])
        wrong = (confusion[1] + confusion[2]) / rows
        return wrong, wrong, confusion
    if isinstance(slots, MulticlassSlots):
        wrong = 1 - int(ClassCounts.of(counters[slots.confusion]).right.sum()) / rows
        return wrong, wrong, ()
    sums = ErrorSums.of(counters[slots.sums], rows, slots.center, slots.scale)
    return sums.absolute_error, sums.squared_error, ()
