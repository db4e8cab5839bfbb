"""Performance of a classifier with several classes, and of a regression, from counts and sums."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Floats, Integers
from detectors.outcome_counts import SUMS, usable_scale


class ClassCounts(NamedTuple):
    """Pairs of prediction (row) and label (column); the last class is "other"."""

    pairs: Integers

    @classmethod
    def of(cls, flat: Sequence[int] | Integers) -> "ClassCounts":
        """From the matrix, row by row."""
        counts = np.asarray(flat, dtype=np.int64)
        size = math.isqrt(len(counts))
        return cls(counts.reshape(size, size))

    @property
    def rows(self) -> int:
        """All pairs."""
        return int(self.pairs.sum())

    @property
    def labels(self) -> Integers:
        """Labels by class."""
        return self.pairs.sum(axis=0)

    @property
    def right(self) -> Integers:
        """Right predictions by class. Nothing in "other" is right: it is not known to be one class."""
        found = np.diagonal(self.pairs).copy()
        found[-1:] = 0
        return found

    def recalls(self) -> Floats:
        """Of the classes with labels, which share was found, "other" left out."""
        labels = self.labels[:-1]
        return self.right[:-1][labels > 0] / labels[labels > 0]

    def measures(self) -> dict[str, float | None]:
        """accuracy; balanced_accuracy, the mean recall; macro_f1, the mean F1 of the classes that are predicted
        or true somewhere. None without rows."""
        if self.rows == 0:
            return dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"))
        recalls = self.recalls()
        either = (self.labels + self.pairs.sum(axis=1))[:-1]
        return {
            "accuracy": int(self.right.sum()) / self.rows,
            "balanced_accuracy": float(recalls.mean()) if len(recalls) else None,
            "macro_f1": float((2 * self.right[:-1][either > 0] / either[either > 0]).mean())
            if (either > 0).any()
            else None,
        }

    def balanced_error(self, worth: float) -> float:
        """Standard error of the mean recall when a row is worth `worth` independent ones."""
        labels, right = self.labels[:-1], self.right[:-1]
        size = labels[labels > 0] * worth
        careful = (right[labels > 0] * worth + 1) / (size + 2)
        return math.sqrt(float((careful * (1 - careful) / size).sum())) / max(len(size), 1)


class ErrorSums(NamedTuple):
    """Means over the rows of a regression, in units of the labels: of the label and the error (prediction less label),
    their powers and products; see `outcome_counts.SUMS`. `nonzero`: share of the labels that are not 0."""

    rows: int
    label: float
    label_squared: float
    absolute_error: float
    error: float
    squared_error: float
    squared_above: float
    fourth_error: float
    label_cubed: float
    label_fourth: float
    squared_error_label: float
    squared_error_label_squared: float
    nonzero: float
    relative: float
    relative_squared: float

    @classmethod
    def of(cls, sums: Sequence[int] | Integers, rows: int, center: float, deviation: float) -> "ErrorSums":
        """From the sums of `outcome_counts.SUMS` over so many rows, in units of `deviation`. Powers are of the label
        less `center`."""
        if rows == 0 or not len(sums):
            return cls(0, *[0.0] * len(SUMS))
        scale = usable_scale(center, deviation)
        whole, part = (np.asarray(sums[start::2], dtype=np.float64) for start in (0, 1))
        means = (whole + part * 2.0**-30) / rows
        return cls(rows, *(float(mean) for mean in means * scale**_POWERS))

    def measures(self) -> dict[str, float | None]:
        """mae, rmse, bias (positive: predictions are too high), and r2, which is None where labels are constant."""
        if self.rows == 0:
            return dict.fromkeys(("mae", "rmse", "bias", "r2"))
        spread = self.spread
        return {
            "mae": self.absolute_error,
            "rmse": math.sqrt(self.squared_error),
            "bias": self.error,
            "r2": 1 - self.squared_error / spread if spread > 1e-12 * self.label_squared else None,
        }

    @property
    def spread(self) -> float:
        """Variance of the labels."""
        return max(self.label_squared - self.label * self.label, 0.0)

    def errors(self, worth: float) -> dict[str, float]:
        """Standard errors of mae and bias when a row is worth `worth` independent ones."""
        size = max(self.rows * worth, 1.0)
        return {
            "mae": math.sqrt(max(self.squared_error - self.absolute_error**2, 0.0) / size),
            "bias": math.sqrt(max(self.squared_error - self.error**2, 0.0) / size),
        }

    @property
    def squared_variance(self) -> float | None:
        """Variance of the squared error; None where errors are so large that their fourth powers were cut off."""
        found = self.fourth_error - self.squared_error**2
        return None if found < -1e-9 * self.squared_error**2 else max(found, 0.0)

    def quantile_loss(self, share: float) -> tuple[float, float]:
        """The mean of Koenker and Bassett's loss (1978) of a quantile, and its variance."""
        above, below = (self.absolute_error + self.error) / 2, (self.absolute_error - self.error) / 2
        mean = share * below + (1 - share) * above
        second = share**2 * (self.squared_error - self.squared_above) + (1 - share) ** 2 * self.squared_above
        return mean, max(second - mean * mean, 0.0)

    def r2_variance(self, unexplained: float) -> float | None:
        """Variance of a row's influence on R2, by the delta method. unexplained: 1 - R2.

        R2 falls by (e^2 - unexplained * d^2) / variance, d being the label less the mean of the labels.
        """
        if self.squared_variance is None or self.spread <= 0:
            return None
        m = self.label
        fourth = (
            self.label_fourth - 4 * m * self.label_cubed + 6 * m * m * self.label_squared - 3 * m * m * m * m
        )
        both = (
            self.squared_error_label_squared - 2 * m * self.squared_error_label + m * m * self.squared_error
        )
        total = self.fourth_error - 2 * unexplained * both + unexplained**2 * fourth
        return max(total, 0.0) / self.spread**2


_POWERS: Final = np.array([1, 2, 1, 1, 2, 2, 4, 3, 4, 3, 4, 0, 0, 0])
"""Of the unit of the labels in each of the means."""
