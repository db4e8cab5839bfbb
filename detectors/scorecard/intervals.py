"""Scores with the range in which the true one lies, from counts."""

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np

from detectors.columns import Column
from detectors.scorecard.kernels import area_variance
from detectors.values import Value

CONFIDENCE: Final = 0.95
NO_LABELS: Final = "no labels have arrived"


class Score(Value, frozen=True, kw_only=True):
    """One score of labelled rows.

    `low`, `high`: interval at the stated confidence, None where it cannot be had from what is kept (`detail` says
    why). `error`: standard error of one sample. `binning_error`: how far the exact value may be beside that, because
    scores within a bin are not told apart. `naive`: the score of the best answer that looks at nothing.
    `undefined`: why there is no value.
    """

    measure: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    rows: int = 0
    error: float | None = None
    binning_error: float = 0.0
    naive: float | None = None
    detail: str = ""
    undefined: str | None = None


@lru_cache(maxsize=16)
def quantile(confidence: float) -> float:
    """How many standard errors reach to either side."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(share: float, size: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of a share of `size` rows; Wilson (1927). It stays within 0 and 1 and holds for rare events."""
    z = quantile(confidence)
    spread = 1 + z * z / size
    middle = (share + z * z / (2 * size)) / spread
    reach = z * math.sqrt(share * (1 - share) / size + z * z / (4 * size * size)) / spread
    return min(max(middle - reach, 0.0), share), max(min(middle + reach, 1.0), share)


def around(
    value: float,
    error: float,
    least: float = -math.inf,
    greatest: float = math.inf,
    confidence: float = CONFIDENCE,
) -> tuple[float, float]:
    """Interval of a value with a normal error, cut off at its bounds."""
    reach = quantile(confidence) * error
    return max(value - reach, least), min(value + reach, greatest)


def on_the_logit(value: float, error: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The same of a value between 0 and 1, normal on the logit: it leaves room towards the middle."""
    if not 0 < value < 1:
        return around(value, error, 0.0, 1.0, confidence)
    middle, reach = math.log(value / (1 - value)), quantile(confidence) * error / (value * (1 - value))
    low, high = (
        1 / (1 + math.exp(-min(max(end, -700.0), 700.0))) for end in (middle - reach, middle + reach)
    )
    return low, high


def area_error(positives: Column, negatives: Column, worth: float) -> float:
    """Standard error of an area under the ROC curve from histograms of the scores of both classes, by the
    placements of each class among the other; DeLong, DeLong and Clarke-Pearson (1988)."""
    good, bad = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    least = 1 / float(good.sum() * bad.sum()) / 4
    return math.sqrt(max(area_variance(good, bad), least) / worth)


def missing(measure: str, rows: int, because: str) -> Score:
    """No score, and the reason."""
    return Score(measure=measure, rows=rows, undefined=because)
