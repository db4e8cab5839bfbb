"""Where the counts of what the model said and of what was true stand in a profile: one class per task."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detectors.columns import SCORE_BINS, Singles
from detectors.outcome_counts import CLASSES, SUMS, usable_scale
from detectors.reference import Reference

Room = Callable[[int], slice]
"""Takes so many counters, and says where they are."""


@dataclass(frozen=True)
class BinarySlots:
    """Positive predictions; tp, fp, fn and tn; the scores of the positive and of the negative class."""

    positive: int
    confusion: slice
    positive_scores: slice
    negative_scores: slice

    @classmethod
    def of(cls, room: Room) -> "BinarySlots":
        """The slots, each where there is room."""
        return cls(room(1).start, room(4), room(SCORE_BINS), room(SCORE_BINS))


@dataclass(frozen=True)
class MulticlassSlots:
    """Predictions by class; a matrix of counts (row: predicted, column: true); top scores of right and wrong
    predictions; where the reference knows the probabilities of all classes, the counts of `detectors.ranks`. `classes`
    counts "other", the last one."""

    classes: int
    said: slice
    confusion: slice
    right_scores: slice
    wrong_scores: slice
    ranks: slice

    @classmethod
    def of(cls, reference: Reference, room: Room) -> "MulticlassSlots":
        """The slots of the reference's classes."""
        classes = min(len(reference.classes), CLASSES) + 1
        said, pairs, right, wrong = (room(n) for n in (classes, classes * classes, SCORE_BINS, SCORE_BINS))
        return cls(classes, said, pairs, right, wrong, room(len(reference.ranks)))


@dataclass(frozen=True)
class RegressionSlots:
    """Predictions, and errors (prediction less label), by quantile bins of the reference; `SUMS`, each as whole
    parts and as 2^-30ths, of numbers standardised by `center` and `scale`."""

    said: slice
    errors: slice
    sums: slice
    edges: Singles
    error_edges: Singles
    center: float
    scale: float

    @classmethod
    def of(cls, reference: Reference, room: Room) -> "RegressionSlots":
        """The slots on the reference's edges."""
        said, errors = reference.said_edges, reference.error_edges
        return cls(
            said=room(len(said) + 1),
            errors=room(len(errors) + 1),
            sums=room(2 * len(SUMS)),
            edges=np.array(said, dtype=np.float32),
            error_edges=np.array(errors, dtype=np.float32),
            center=reference.label_mean,
            scale=usable_scale(reference.label_mean, reference.label_deviation),
        )


OutcomeSlots = BinarySlots | MulticlassSlots | RegressionSlots
