"""The rows of a window whose labels are known: what they were worth, and what would have been estimated for them."""

from typing import Final

import numpy as np
from msgspec.structs import replace

from detectors.estimation.estimate import estimate
from detectors.estimation.expected import MEASURES
from detectors.estimation.multiclass import MULTICLASS_MEASURES
from detectors.estimation.regression import REGRESSION_MEASURES
from detectors.estimation.values import Estimate, Estimator, Marginals
from detectors.outcome_slots import BinarySlots, MulticlassSlots
from detectors.profile import Profile
from detectors.scores import Confusion, binned_auc
from detectors.task_scores import ClassCounts, ErrorSums

MOSTLY: Final = 0.9
"""Share of rows that must be labelled for the features of all of them to stand for these."""


def labelled_part(profile: Profile) -> tuple[Profile, bool]:
    """What the labelled rows of a profile said, as a profile of them alone, and whether its features can be used.

    Scores and predictions are read from the outcomes. Features are counted for all rows at once, so they stand
    for the labelled ones where nearly all are labelled.
    """
    layout, slots, counters = profile.layout, profile.layout.outcomes, profile.counters.copy()
    features = profile.rows > 0 and profile.labelled >= MOSTLY * profile.rows
    if isinstance(slots, BinarySlots):
        counters[layout.scores] = counters[slots.positive_scores] + counters[slots.negative_scores]
        tp, fp, fn, tn = (int(count) for count in counters[slots.confusion])
        counters[slots.positive], counters[layout.predicted] = tp + fp, tp + fp + fn + tn
    elif isinstance(slots, MulticlassSlots):
        counters[layout.scores] = counters[slots.right_scores] + counters[slots.wrong_scores]
        counters[slots.said] = counters[slots.confusion].reshape(slots.classes, -1).sum(axis=1)
        counters[layout.predicted] = counters[slots.said].sum()
    if not features:
        counters[layout.rows] = profile.labelled
    return Profile(profile.reference, layout, counters, profile.registers), features


def against_labels(profile: Profile, estimator: Estimator) -> tuple[list[Estimate], dict[str, float | None]]:
    """What would have been estimated for the labelled rows of a profile, and what their labels show; for `reconcile`.

    Raises `ProfileInvalid` when the profile was counted against another reference.
    """
    part, features = labelled_part(profile)
    known = estimator if features else replace(estimator, marginals=Marginals())
    return estimate(part, known), realized(profile)


def realized(profile: Profile) -> dict[str, float | None]:
    """The measures that `estimate` tells, from the outcomes of a profile; None where one has nothing to rest on.

    The area under the ROC curve is that of the binned scores. log_loss and brier are None: a profile does not keep
    their sums.
    """
    slots, rows = profile.layout.outcomes, profile.labelled
    if isinstance(slots, BinarySlots):
        found: dict[str, float | None] = dict.fromkeys(MEASURES)
        found |= Confusion(*(int(count) for count in profile.counters[slots.confusion])).measures()
        ups, downs = profile.counters[slots.positive_scores], profile.counters[slots.negative_scores]
        return found | {"auc": binned_auc(ups, downs).value}
    if isinstance(slots, MulticlassSlots):
        return (
            dict.fromkeys(MULTICLASS_MEASURES) | ClassCounts.of(profile.counters[slots.confusion]).measures()
        )
    reference = profile.reference
    scale = (reference.label_mean, reference.label_deviation) if reference else (0.0, 1.0)
    found = ErrorSums.of(np.asarray(profile.counters[slots.sums]), rows, *scale).measures()
    return {name: found[name] for name in REGRESSION_MEASURES}
