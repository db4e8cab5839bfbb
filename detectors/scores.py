"""Performance of a binary classifier from counts: a confusion matrix and two histograms of scores."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detectors.columns import Flags, Floats, Integers
from detectors.compiled import compiled


class Confusion(NamedTuple):
    """Predictions against labels; the positive class is 1."""

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(cls, predicted: Flags, actual: Flags) -> "Confusion":
        """Counts of two arrays of the same length."""
        tp = int((predicted & actual).sum())
        fp, fn = int(predicted.sum()) - tp, int(actual.sum()) - tp
        return cls(tp, fp, fn, len(predicted) - tp - fp - fn)

    def as_dict(self) -> dict[str, int]:
        """The four counts by name."""
        return self._asdict()

    @property
    def rows(self) -> int:
        """All rows with a prediction and a label."""
        return sum(self)

    @property
    def positives(self) -> int:
        """Rows whose label is 1."""
        return self.tp + self.fn

    @property
    def negatives(self) -> int:
        """Rows whose label is 0."""
        return self.fp + self.tn

    def measures(self) -> dict[str, float | None]:
        """The measures of the matrix; None where one has nothing to divide by."""
        sensitivity, specificity = _share(self.tp, self.positives), _share(self.tn, self.negatives)
        balanced = None if sensitivity is None or specificity is None else (sensitivity + specificity) / 2
        return {
            "accuracy": _share(self.tp + self.tn, self.rows),
            "balanced_accuracy": balanced,
            "precision": _share(self.tp, self.tp + self.fp),
            "recall": sensitivity,
            "f1": _share(2 * self.tp, 2 * self.tp + self.fp + self.fn),
        }

    def bases(self) -> dict[str, int]:
        """The number of rows that each share is a share of (f1: of its Jaccard index)."""
        return {
            "accuracy": self.rows,
            "precision": self.tp + self.fp,
            "recall": self.positives,
            "f1": self.tp + self.fp + self.fn,
        }


class Auc(NamedTuple):
    """Area under the ROC curve from binned scores (None with one class only).

    `binning_error`: the exact area lies within value +- binning_error, half the share of (positive,
    negative) pairs that fall into one bin.
    """

    value: float | None
    binning_error: float = 0.0


def binned_auc(positives: Sequence[int] | Integers, negatives: Sequence[int] | Integers) -> Auc:
    """Mann-Whitney's statistic from the histograms of both classes' scores; ties in a bin count half."""
    good, bad = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    pairs, wins, ties = _pairs(good, bad)
    return Auc((wins + ties / 2) / pairs, ties / 2 / pairs) if pairs else Auc(None)


@compiled
def _pairs(good: Floats, bad: Floats) -> tuple[float, float, float]:
    """Pairs of both classes, those whose positive is in the higher bin, and those of one bin."""
    goods, bads, wins, ties = 0.0, 0.0, 0.0, 0.0
    for place in range(len(good)):
        wins += good[place] * bads
        ties += good[place] * bad[place]
        goods += good[place]
        bads += bad[place]
    return goods * bads, wins, ties


def auc_error(value: float, positives: float, negatives: float) -> float:
    """Standard error of an area over so many (effective) rows of each class; Hanley and McNeil (1982)."""
    area = min(max(value, 1 / (2 * positives + 2)), 1 - 1 / (2 * positives + 2))
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    return math.sqrt(max(spread, 0.0) / (positives * negatives))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
