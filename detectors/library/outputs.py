"""What a model said, as measures see it: scores as a column of numbers, classes and predictions as shares."""

from typing import Final

import numpy as np

from detectors.columns import SCORE_BINS, Floats, Integers
from detectors.distances import coarse_groups
from detectors.library.samples import ColumnSample, Knots
from detectors.outcome_slots import BinarySlots, MulticlassSlots
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.sketches import Moments

_EDGES: Final = np.arange(1, SCORE_BINS) / SCORE_BINS
_MIDDLES: Final = (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS


def output_samples(profile: Profile) -> tuple[ColumnSample, ...]:
    """Of the outputs that the profile's reference knows: "score" (places within a 64th of the scale are not known),
    "class" of several classes, "prediction" of a regression, in about ten groups of equal shares of the reference. Of
    two classes the share of the positive ones says all."""
    reference, layout, counters = profile.reference, profile.layout, profile.counters
    if reference is None:
        return ()
    found: list[ColumnSample] = []
    if reference.scores and any(reference.scores):
        found.append(_score(counters[layout.scores], reference, profile.rows))
    slots = layout.outcomes
    if not isinstance(slots, BinarySlots) and reference.said and any(reference.said):
        known = isinstance(slots, MulticlassSlots)
        name, counts = ("class" if known else "prediction"), counters[slots.said]
        group = coarse_groups(np.array(reference.said, dtype=np.int64), ordered=not known)
        groups = np.bincount(group, weights=counts).astype(np.float64)
        shown = counts if known else groups.astype(np.int64)
        found.append(_sample(name, profile.rows, shown, groups))
    return tuple(found)


def _sample(name: str, rows: int, counts: Integers, groups: Floats) -> ColumnSample:
    there = int(counts.sum())
    return ColumnSample(
        name, "categorical", rows, rows - there, there, counts, groups, np.zeros(0), None, None
    )


def _score(counts: Integers, reference: Reference, rows: int) -> ColumnSample:
    group = coarse_groups(np.array(reference.scores, dtype=np.int64))
    groups = np.bincount(group, weights=counts).astype(np.float64)
    sample = _sample("score", rows, counts, groups)._replace(kind="numeric", edges=_EDGES)
    if not sample.present:
        return sample
    shares = counts / sample.present
    mean = float(shares @ _MIDDLES)
    moments = Moments(sample.present, mean, float(shares @ (_MIDDLES - mean) ** 2))
    knots = Knots(np.concatenate([[0.0], _EDGES, [1.0]]), np.concatenate([[0.0], np.cumsum(shares)]))
    return sample._replace(moments=moments, knots=knots)
