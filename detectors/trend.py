"""Where a measure is heading, in a word: improving, stable or degrading.

Mann and Kendall's test of the last windows (Mann 1945; Kendall 1975): it asks whether later windows are further from
what is good than earlier ones, whatever the shape of the way, and is not fooled by one extreme window. What is proven
but small is stable.
"""

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from detectors.columns import Floats
from detectors.thresholds import FLOORS
from detectors.values import MetricPoint, Value

Trend = Literal["improving", "stable", "degrading"]

LAST: Final = 20
"""Windows that are looked at."""
LEAST: Final = 6
"""Fewer say nothing: of six in perfect order chance makes one in 360."""
SURE: Final = 2.576
"""Standard deviations of the statistic, two-sided at 1 %."""
WORTH: Final = 0.25
"""Of the way from the reference to the threshold: a smaller change of the whole is stable."""
NOTICEABLE: Final = 0.05
"""Of where it was at first: a smaller change of a measure that is not decided on is stable."""
_HIGHER_IS_BETTER: Final = frozenset({"precision", "recall", "class_recall", "f1", "auc", "macro_f1", "r2"})
_LOWER_IS_BETTER: Final = frozenset(
    {
        "mae",
        "rmse",
        "mape",
        "log_loss",
        "brier",
        "calibration_error",
        "latency_p50_ms",
        "latency_p95_ms",
        "latency_p99_ms",
        "error_rate",
        "large_error_share",
        "out_of_range_rate",
        "new_category_rate",
    }
)
_BEST: Final = {"calibration_slope": 1.0, "calibration_intercept": 0.0, "estimation_error": 0.0}
"""Values that measures should have, whatever they are in the reference."""
_ACCURACY: Final = "accuracy"
_ESTIMATED: Final = "estimated_"
_QUANTILE: Final = "quantile_loss"


class Heading(Value, frozen=True, kw_only=True):
    """The trend of one measure over its last `windows`: from the median of the first third to that of the last one.
    `trend` is None where it is undefined, because of `undefined`."""

    trend: Trend | None
    windows: int
    start: float | None = None
    now: float | None = None
    undefined: str | None = None


def heading(points: Sequence[MetricPoint]) -> Heading:
    """The trend of the points of one measure of one series, in order of time.

    Worse is: less of what should be high, more of what should be low, and for everything else further from what it
    should be, or from the reference.
    """
    known = [point for point in points if point.value is not None and math.isfinite(point.value)][-LAST:]
    if len(known) < LEAST:
        return Heading(
            trend=None,
            windows=len(known),
            undefined=f"there are {len(known)} windows with a value; it takes {LEAST}",
        )
    values = np.array([point.value for point in known], dtype=np.float64)
    badness = _badness(known, values)
    third = len(known) // 3
    start, now = float(np.median(values[:third])), float(np.median(values[-third:]))
    moved = float(np.median(badness[-third:]) - np.median(badness[:third]))
    found: Trend = "stable"
    if abs(moved) >= _least(known[-1], start) and abs(_kendall(badness)) >= SURE:
        found = "degrading" if moved > 0 else "improving"
    return Heading(trend=found, windows=len(known), start=start, now=now)


def _badness(points: Sequence[MetricPoint], values: Floats) -> Floats:
    name = points[-1].measure.removeprefix(_ESTIMATED)
    if name in _HIGHER_IS_BETTER or name.endswith(_ACCURACY):
        return -values
    if name in _BEST:
        return np.abs(values - _BEST[name])
    if name in _LOWER_IS_BETTER or name.startswith(_QUANTILE):
        return values
    return np.abs(values - np.array([point.reference or 0.0 for point in points]))


def _least(point: MetricPoint, start: float) -> float:
    """The least change that is worth a word."""
    if point.threshold is not None:
        return WORTH * abs(point.threshold - (point.reference or 0.0))
    floor = FLOORS.get(point.measure)
    return NOTICEABLE * abs(start) if floor is None else WORTH * floor


def _kendall(values: Floats) -> float:
    """The standardised statistic: positive where values rise; 0 where all are equal."""
    count = len(values)
    signs = np.sign(values[None, :] - values[:, None])
    total = float(np.triu(signs, 1).sum())
    _, ties = np.unique(values, return_counts=True)
    variance = (
        count * (count - 1) * (2 * count + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())
    ) / 18.0
    return 0.0 if variance <= 0 else (total - np.sign(total)) / math.sqrt(variance)
