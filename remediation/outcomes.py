"""How well a version did, counted from the points of its windows: what a mean is a mean of.

F1 and balanced accuracy are no means of rows, so nothing can be proven about them row by row. What they are made of
are: the share of right answers, of the positives that are found (recall), of the negatives that are recognised
(specificity), and of the positive answers that are right (precision). They are counted again from the points.

With several classes the recall of each is a share of its labels. The mean recall of the classes, the mean F1, and
losses by probability are taken as the means that they are about, with the error that their interval tells.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from detectors.values import MetricPoint, Value

CLASS_RECALL: Final = "class_recall"
"""The measure of a point about one class, which is its `feature`."""

SHARES: Final = ("accuracy", "recall", "specificity", "precision")
ERROR: Final = "mae"
LOSSES: Final = ("log_loss", "brier")
MEANS: Final = ("balanced_accuracy", "macro_f1", *LOSSES)
"""Looked at where an alert named them."""

MEASURES: Final = (
    "accuracy",
    "balanced_accuracy",
    "recall",
    "precision",
    "f1",
    ERROR,
    "rmse",
    "macro_f1",
    CLASS_RECALL,
    *LOSSES,
)
"""Points that are needed to count."""

_OF_CLASS: Final = "recall of class "

_EQUAL: Final = 1e-9
_NORMAL_95: Final = 1.96

Form = Literal["share", "mean", "error"]


class Tally(Value, frozen=True, kw_only=True):
    """Rows and what they sum up to. Of a share: the right ones; of errors: their sizes, and the squares of those; of
    another mean: what the rows would sum up to if each told it with its part of the error."""

    rows: float
    total: float
    squares: float = 0.0

    @property
    def mean(self) -> float:
        """The share, or the mean error."""
        return self.total / self.rows

    @property
    def variance(self) -> float:
        """Of one row."""
        return max(self.squares / self.rows - self.mean**2, 0.0)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            rows=self.rows + other.rows, total=self.total + other.total, squares=self.squares + other.squares
        )


class Period(Value, frozen=True, kw_only=True):
    """Labelled windows of a version, side by side. `tallies` by measure; `expected`: what the version's own reference
    says of a measure."""

    windows: int = 0
    tallies: Mapping[str, Tally]
    expected: Mapping[str, float]


def form(measure: str) -> Form:
    """Whether more of it is better (a share of right rows, or another mean) or worse (a mean error)."""
    if measure in (ERROR, *LOSSES):
        return "error"
    return "mean" if measure in MEANS else "share"


def of_class(measure: str) -> bool:
    """Whether a tally is about one class of several."""
    return measure.startswith(_OF_CLASS)


def period(points: Iterable[MetricPoint], *, segment: str = "all", last: int | None = None) -> Period:
    """Count the windows in `points` that do not overlap; the `last` of them if given."""
    grouped: dict[tuple[int, int, str], dict[str, MetricPoint]] = {}
    for point in points:
        name = _name(point) if point.segment == segment else None
        if name is not None:
            grouped.setdefault((point.end_us, point.start_us, point.window), {})[name] = point
    counted = [tallies for _, window in _side_by_side(grouped) if (tallies := _tallies(window))]
    if last is not None:
        counted = counted[-last:]
    total: dict[str, Tally] = {}
    for tallies in counted:
        for measure, tally in tallies.items():
            total[measure] = total[measure] + tally if measure in total else tally
    return Period(windows=len(counted), tallies=total, expected=_expected(grouped))


def _name(point: MetricPoint) -> str | None:
    """What a point is counted as; None where it is not."""
    if point.measure == CLASS_RECALL:
        return f"{_OF_CLASS}{point.feature}"
    return point.measure if point.feature is None and point.measure in MEASURES else None


def _side_by_side(
    grouped: Mapping[tuple[int, int, str], dict[str, MetricPoint]],
) -> Iterable[tuple[int, dict[str, MetricPoint]]]:
    until_us = -math.inf
    for end_us, start_us, name in sorted(grouped):
        if start_us >= until_us:
            until_us = end_us
            yield end_us, grouped[end_us, start_us, name]


def _tallies(window: Mapping[str, MetricPoint]) -> dict[str, Tally]:
    values = {
        name: point.value for name, point in window.items() if point.value is not None and point.rows > 0
    }
    if ERROR in values:
        rows, mean = window[ERROR].rows, values[ERROR] or 0.0
        square = values.get("rmse") or 0.0
        return {ERROR: Tally(rows=rows, total=mean * rows, squares=square**2 * rows)}
    accuracy = values.get("accuracy")
    if accuracy is None:
        return {}
    rows = window["accuracy"].rows
    shares = _confusion(rows, values) | _classes(window)
    counted = {
        name: Tally(rows=of, total=right, squares=right)
        for name, (right, of) in {"accuracy": (round(accuracy * rows), rows), **shares}.items()
        if of > 0
    }
    means = LOSSES if "recall" in shares else MEANS
    told = {name: _told(window[name]) for name in means if name in values}
    return {name: tally for name, tally in told.items() if tally is not None} | counted


def _classes(window: Mapping[str, MetricPoint]) -> dict[str, tuple[int, int]]:
    """Right rows and all rows of each class."""
    return {
        name: (round(point.value * point.rows), point.rows)
        for name, point in window.items()
        if of_class(name) and point.value is not None
    }


def _told(point: MetricPoint) -> Tally | None:
    """By the interval of 95 % that stands with it; None without one."""
    if point.value is None or point.low is None or point.high is None or point.high <= point.low:
        return None
    error = (point.high - point.low) / (2 * _NORMAL_95)
    variance = error**2 * point.rows
    return Tally(
        rows=point.rows, total=point.value * point.rows, squares=(variance + point.value**2) * point.rows
    )


def _confusion(rows: int, values: Mapping[str, float | None]) -> dict[str, tuple[int, int]]:
    """Right rows and all rows of recall, specificity and precision, from measures that determine them; nothing where
    they do not (one of them is missing, or no answer was wrong)."""
    accuracy, recall, balanced = (values.get(name) for name in ("accuracy", "recall", "balanced_accuracy"))
    if accuracy is None or recall is None or balanced is None:
        return {}
    specificity = 2 * balanced - recall
    positives = _positives(rows, accuracy, recall, specificity, values.get("f1"))
    if positives is None:
        return {}
    hits, known = round(recall * positives), round(specificity * (rows - positives))
    said = hits + rows - positives - known
    return {"recall": (hits, positives), "specificity": (known, rows - positives), "precision": (hits, said)}


def _positives(rows: int, accuracy: float, recall: float, specificity: float, f1: float | None) -> int | None:
    """How many labels are positive: accuracy is the mean of recall and specificity, by how many there are of each.
    Where the two are equal, F1 = 2 hits / (2 hits + wrong ones) tells."""
    if abs(recall - specificity) > _EQUAL:
        found = rows * (accuracy - specificity) / (recall - specificity)
    elif f1 is not None and 0 < f1 < 1 and recall > 0:
        found = f1 * rows * (1 - accuracy) / (2 * (1 - f1)) / recall
    else:
        return None
    return round(found) if 0 <= found <= rows else None


def _expected(grouped: Mapping[tuple[int, int, str], dict[str, MetricPoint]]) -> dict[str, float]:
    """By the newest window that tells it."""
    found: dict[str, float] = {}
    for key in sorted(grouped):
        found |= {
            name: point.reference for name, point in grouped[key].items() if point.reference is not None
        }
    return found
