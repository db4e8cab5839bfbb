"""From the profile of a pane of label arrival to what the detectors of concept drift take."""

from typing import Final

import numpy as np

from detectors.columns import SCORE_BINS, Integers
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
        sure = np.arange(SCORE_BINS)
    else:
        wrong = profile.confusion.fp + profile.confusion.fn
        right_scores, wrong_scores, sure = _binary_scores(profile, slots)
    counts, totals = _strata(right_scores, wrong_scores, sure, worth)
    scored = int((right_scores + wrong_scores).sum()) == rows and int(wrong_scores.sum()) == wrong
    return Pane(
        count=rows * worth,
        total=wrong * worth,
        counts=counts if scored else (),
        totals=totals if scored else (),
    )


def _binary_scores(profile: Profile, slots: BinarySlots) -> tuple[Integers, Integers, Integers]:
    """Scores of right and of wrong predictions, as far as a threshold of one half tells them, and their confidence."""
    positive, negative = profile.counters[slots.positive_scores], profile.counters[slots.negative_scores]
    half = SCORE_BINS // 2
    right = np.concatenate([negative[:half], positive[half:]])
    wrong = np.concatenate([positive[:half], negative[half:]])
    bins = np.arange(SCORE_BINS)
    return right, wrong, np.maximum(bins, SCORE_BINS - 1 - bins)


def _strata(
    right: Integers, wrong: Integers, sure: Integers, worth: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    places = np.searchsorted(CONFIDENCES, sure / SCORE_BINS, side="right")
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
