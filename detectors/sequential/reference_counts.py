"""The counters that the rows of a reference would have, as far as it keeps them."""

import numpy as np

from detectors.columns import Integers
from detectors.layout import Layout
from detectors.outcome_slots import BinarySlots, MulticlassSlots
from detectors.reference import Reference


def counters_of(reference: Reference, layout: Layout) -> Integers:
    """Counters of a profile of the reference's own rows; those that it does not keep are 0."""
    found = np.zeros(layout.size, dtype=np.int64)
    found[layout.rows] = reference.rows
    found[layout.predicted] = reference.predicted
    found[layout.scores] = reference.scores or 0
    for slots in layout.numeric:
        part = reference.feature(slots.name)
        if part is not None:
            found[slots.bins], found[slots.missing] = part.counts, part.missing
            found[slots.exact] = [count for _, count in part.top]
    for slots in layout.categorical:
        part = reference.feature(slots.name)
        if part is not None:
            found[slots.categories] = [count for _, count in part.categories]
            found[slots.other], found[slots.missing] = part.other, part.missing
    _add_outcomes(found, reference, layout)
    return found


def _add_outcomes(found: Integers, reference: Reference, layout: Layout) -> None:
    slots = layout.outcomes
    if isinstance(slots, BinarySlots):
        found[slots.positive] = reference.predicted_positive
        found[slots.confusion] = (reference.tp, reference.fp, reference.fn, reference.tn)
        found[slots.positive_scores] = reference.positive_scores or 0
        found[slots.negative_scores] = reference.negative_scores or 0
    elif isinstance(slots, MulticlassSlots):
        found[slots.said] = reference.said or 0
        found[slots.confusion] = reference.confusion or 0
    else:
        found[slots.said] = reference.said or 0
        found[slots.errors] = reference.errors or 0
