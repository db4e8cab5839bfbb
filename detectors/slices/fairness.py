"""Gaps between groups of rows in what a model says and in how it errs."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.columns import Floats

Names = npt.NDArray[np.object_]
Mask = npt.NDArray[np.bool_]
LEAST_ROWS: Final = 30
CONFIDENCE: Final = 0.95
MEASURES: Final = ("selection_rate", "true_positive_rate", "false_positive_rate", "accuracy")


class Gap(NamedTuple):
    """The greatest difference between two groups: `highest` less `lowest`, with an interval of 95 % that holds for all
    pairs of groups at once, so that choosing the greatest costs nothing. Undefined, because ..., where fewer than two
    groups have 30 rows that count."""

    measure: str
    value: float | None
    low: float | None = None
    high: float | None = None
    highest: str = ""
    lowest: str = ""
    undefined: str | None = None


class Group(NamedTuple):
    """The mean of a group: of `rows`, worth `size` independent ones, that vary by `variance`."""

    name: str
    mean: float
    rows: int
    size: float
    variance: float

    @classmethod
    def share(cls, name: str, count: float, rows: int, worth: float = 1.0) -> "Group":
        """A share of rows, with the variance of one that is never quite 0 or 1 (Agresti and Caffo 2000)."""
        mean, size = count / max(rows, 1), rows * worth
        careful = (mean * size + 1) / (size + 2)
        return cls(name, mean, rows, size, careful * (1 - careful))


def gaps(groups: Sequence[str | None], predictions: Floats, labels: Floats) -> list[Gap]:
    """Selection rate (demographic parity), true positive rate (equal opportunity), false positive rate (predictive
    equality; both: equalised odds), and accuracy.

    groups, predictions, labels: n values; None and NaN are left out. predictions, labels: 1 or 0. Source of the
    measures: Hardt, Price and Srebro (2016).
    """
    names = np.array([one or "" for one in groups], dtype=object)
    right = (predictions == labels).astype(np.float64)
    said, known = np.isfinite(predictions) & (names != ""), np.isfinite(labels)
    parts = {
        "selection_rate": (predictions, said),
        "true_positive_rate": (predictions, said & (labels == 1)),
        "false_positive_rate": (predictions, said & (labels == 0)),
        "accuracy": (right, said & known),
    }
    return [widest(measure, _groups(names, *part)) for measure, part in parts.items()]


def widest(measure: str, groups: Sequence[Group]) -> Gap:
    """The gap between the groups with the highest and the lowest mean; groups of fewer than 30 rows are left out."""
    known = [one for one in groups if one.rows >= LEAST_ROWS]
    if len(known) < 2:
        because = f"{len(known)} of the groups have {LEAST_ROWS} rows that count; it takes two"
        return Gap(measure, None, undefined=because)
    lowest, highest = (end(known, key=lambda one: (one.mean, one.name)) for end in (min, max))
    reach = deviates(len(known) * (len(known) - 1) // 2)
    error = (lowest.variance / lowest.size + highest.variance / highest.size) ** 0.5
    apart = highest.mean - lowest.mean
    low, high = max(apart - reach * error, 0.0), apart + reach * error
    return Gap(measure, apart, low, high, highest.name, lowest.name)


def deviates(candidates: int) -> float:
    """How many standard errors reach to either side so that all of so many intervals hold at once (Bonferroni)."""
    return NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2 / max(candidates, 1))


def _groups(names: Names, values: Floats, counted: Mask) -> list[Group]:
    found: list[Group] = []
    for name in sorted(set(names[counted].tolist())):
        mine = values[counted & (names == name)]
        found.append(Group.share(str(name), float(mine.sum()), len(mine)))
    return found
