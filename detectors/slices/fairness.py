"""Gaps between groups of rows in what a model says and in how it errs."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.columns import Floats

Names = npt.NDArray[np.object_]
Mask = npt.NDArray[np.bool_]
LEAST_ROWS: Final = 30
_NORMAL: Final = 1.96
MEASURES: Final = ("selection_rate", "true_positive_rate", "false_positive_rate", "accuracy")


class Gap(NamedTuple):
    """The greatest difference between two groups: `highest` less `lowest`, with an interval of 95 % for these two.
    Undefined, because ..., where fewer than two groups have 30 rows that count."""

    measure: str
    value: float | None
    low: float | None = None
    high: float | None = None
    highest: str = ""
    lowest: str = ""
    undefined: str | None = None


def gaps(groups: Sequence[str | None], predictions: Floats, labels: Floats) -> list[Gap]:
    """Selection rate (demographic parity), true and false positive rate (equalised odds), and accuracy, of 0 and 1.

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
    return [_gap(measure, names, values, counted) for measure, (values, counted) in parts.items()]


def _gap(measure: str, names: Names, values: Floats, counted: Mask) -> Gap:
    rates: list[tuple[float, int, str]] = []
    for name in sorted(set(names[counted].tolist())):
        mine = values[counted & (names == name)]
        if len(mine) >= LEAST_ROWS:
            rates.append((float(mine.mean()), len(mine), str(name)))
    if len(rates) < 2:
        because = f"{len(rates)} of the groups have {LEAST_ROWS} rows that count; it takes two"
        return Gap(measure, None, undefined=because)
    (low_rate, low_rows, lowest), (high_rate, high_rows, highest) = min(rates), max(rates)
    careful = [(rate * n + 1) / (n + 2) for rate, n in ((low_rate, low_rows), (high_rate, high_rows))]
    sizes = (low_rows, high_rows)
    error = sum(p * (1 - p) / n for p, n in zip(careful, sizes, strict=True)) ** 0.5
    apart = high_rate - low_rate
    return Gap(measure, apart, max(apart - _NORMAL * error, 0.0), apart + _NORMAL * error, highest, lowest)
