"""From the profile of a pane of label arrival to what the detectors of concept drift take."""

from typing import Final

import numpy as np

from detectors.columns import SCORE_BINS, Floats, Integers
from detectors.compiled import compiled
from detectors.concept.values import Pane
from detectors.outcome_slots import BinarySlots, MulticlassSlots, RegressionSlots
from detectors.profile import Profile
from detectors.task_scores import ClassCounts

CONFIDENCES: Final = (0.6, 0.75, 0.9)
"""Where the strata of the model's confidence meet."""
CONFIDENCE_STRATA: Final = len(CONFIDENCES) + 1
LARGE: Final = 0.2
"""The share of the reference's errors, those farthest from zero, that count as errors of a regression."""


def outcome_pane(profile: Profile) -> Pane | str:
    """Labelled rows and how many of them were wrong, by strata of confidence where there are scores; or why there is
    nothing to see.

    Of a regression an error is one beyond all but `LARGE` of the reference's, on either side: a share is robust
    where a mean is not. Repeats of a subject count as the independent rows that they are worth.
    """
    rows = profile.labelled
    if rows == 0:
        return "no label arrived"
    worth, slots = profile.effective_labelled / rows, profile.layout.outcomes
    if isinstance(slots, RegressionSlots):
        wrong = _large(profile, slots)
        return wrong if isinstance(wrong, str) else Pane(count=rows * worth, total=wrong * worth)
    if isinstance(slots, MulticlassSlots):
        wrong = rows - int(ClassCounts.of(profile.counters[slots.confusion]).right.sum())
        right_scores, wrong_scores = (
            profile.counters[slots.right_scores],
            profile.counters[slots.wrong_scores],
        )
        scores = right_scores, wrong_scores, np.arange(SCORE_BINS) / SCORE_BINS
    else:
        wrong = profile.confusion.fp + profile.confusion.fn
        scores = _binary_scores(profile, slots)
    if scores is None or int((scores[0] + scores[1]).sum()) != rows or int(scores[1].sum()) != wrong:
        return Pane(count=rows * worth, total=wrong * worth)
    counts, totals = _strata(*scores, worth)
    return Pane(count=rows * worth, total=wrong * worth, counts=counts, totals=totals)


def _binary_scores(profile: Profile, slots: BinarySlots) -> tuple[Integers, Integers, Floats] | None:
    """Scores of right and of wrong predictions and how far they are from the threshold; None where no threshold on the
    scores gives these predictions.

    The threshold is found in the counts: below it positives are errors, above it negatives are. The bin that it
    cuts has the errors that are left.
    """
    positive, negative = profile.counters[slots.positive_scores], profile.counters[slots.negative_scores]
    counts = profile.confusion
    missed, false = counts.fn, counts.fp
    cut, wrong = _split(positive, negative, missed, false)
    return None if cut < 0 else (positive + negative - wrong, wrong, _SURE[cut])


@compiled
def _split(positive: Integers, negative: Integers, missed: int, false: int) -> tuple[int, Integers]:
    """The bin that holds the threshold, the one nearest to the middle of those that can (-1: none can), and how many
    rows of each bin were wrong."""
    cut, below, above = -1, 0, negative.sum()
    wrong, rest = np.zeros_like(positive), 0
    for place in range(len(positive)):
        fits = below <= missed <= below + positive[place] and above - negative[place] <= false <= above
        if fits and (cut < 0 or abs(place - _MIDDLE) < abs(cut - _MIDDLE)):
            cut, rest = place, missed - below + false - (above - negative[place])
        below += positive[place]
        above -= negative[place]
    for place in range(len(positive)):
        wrong[place] = positive[place] if place < cut else negative[place]
    if cut >= 0:
        wrong[cut] = rest
    return cut, wrong


def _how_sure(cut: int) -> Floats:
    """How far each bin is from a threshold in one of them, from 0.5 to 1."""
    bins = np.arange(SCORE_BINS)
    far = np.where(bins < cut, (cut - bins) / max(cut, 1), (bins - cut) / (SCORE_BINS - cut))
    return (1 + far) / 2


_MIDDLE: Final = SCORE_BINS // 2
_SURE: Final = tuple(_how_sure(cut) for cut in range(SCORE_BINS))


def _strata(
    right: Integers, wrong: Integers, sure: Floats, worth: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    places = np.searchsorted(CONFIDENCES, sure, side="right")
    counts, totals = (
        np.bincount(places, weights=one, minlength=CONFIDENCE_STRATA) * worth
        for one in (right + wrong, wrong)
    )
    return tuple(counts.tolist()), tuple(totals.tolist())


def _large(profile: Profile, slots: RegressionSlots) -> int | str:
    reference, edges = profile.reference, slots.error_edges
    if reference is None or not reference.errors:
        return "the reference has no labels"
    low, high = np.append(-np.inf, edges), np.append(edges, np.inf)
    nearest = np.where((low < 0) & (high > 0), 0.0, np.minimum(np.abs(low), np.abs(high)))
    known = np.array(reference.errors, dtype=np.int64)
    far = np.zeros(len(known), dtype=np.bool_)
    total = 0
    for place in np.argsort(-nearest, kind="stable"):
        if total + known[place] > LARGE * known.sum():
            break
        far[place] = True
        total += int(known[place])
    if not total:
        return "the reference's errors are all alike"
    return int(profile.counters[slots.errors][far].sum())
