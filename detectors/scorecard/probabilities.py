"""Whether scores are probabilities: proper scores and calibration from two histograms of scores by label."""

import math
from typing import Final

import numpy as np

from detectors.columns import SCORE_BINS, Column, Floats
from detectors.scorecard.intervals import Score, around, missing
from detectors.scorecard.kernels import calibration_gap, logistic

GROUPS: Final = 16
"""Groups of scores that calibration is looked at by, of equal width."""
SMALLEST: Final = 1e-15
"""Scores nearer to 0 or 1 count as this near, as scikit-learn has it for float64."""
_EDGES: Final = np.arange(SCORE_BINS + 1) / SCORE_BINS
_MIDDLES: Final = (_EDGES[1:] + _EDGES[:-1]) / 2
_LOGITS: Final = np.log(_MIDDLES / (1 - _MIDDLES))
_LEAST: Final = 5
MEASURES: Final = ("brier", "log_loss", "calibration_error", "calibration_slope", "calibration_intercept")


def _costs(means: tuple[Floats, Floats], ends: tuple[Floats, Floats]) -> Floats:
    """What a row in a bin costs on average, its square, and how much that varies within the bin, shape (3, bins): of
    the positives' bins, then of the negatives'. ends: the costs at the bins' ends."""
    both = np.concatenate(means)
    return np.stack([both, np.square(both), np.concatenate([np.abs(np.diff(end)) for end in ends])])


def _square_means() -> tuple[Floats, Floats]:
    """Mean squared distance of a score from 1 and from 0, were the scores of a bin spread evenly."""
    spread = 1 / SCORE_BINS**2 / 12
    return np.square(1 - _MIDDLES) + spread, np.square(_MIDDLES) + spread


def _log_means() -> tuple[Floats, Floats]:
    """Mean of -ln s and of -ln (1 - s), likewise."""
    ends = np.where(_EDGES > 0, _EDGES * np.log(np.maximum(_EDGES, SMALLEST)), 0.0) - _EDGES
    one = -np.diff(ends) * SCORE_BINS
    return one, one[::-1].copy()


_SQUARES: Final = _costs(_square_means(), (np.square(1 - _EDGES), np.square(_EDGES)))
_LOGS: Final = _costs(
    _log_means(), (-np.log(np.clip(_EDGES, SMALLEST, 1.0)), -np.log(np.clip(1 - _EDGES, SMALLEST, 1.0)))
)


def probability_scores(positives: Column, negatives: Column, worth: float) -> list[Score]:
    """brier, log_loss, calibration_error (ECE), calibration_slope and calibration_intercept.

    positives, negatives: counts of scores in `SCORE_BINS` bins of equal width, of rows whose label is 1 and 0 (or
    which were right and wrong). worth: independent rows per row.
    """
    good, bad = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    rows = int(good.sum() + bad.sum())
    if rows == 0:
        return [missing(name, 0, "no labelled row has a score") for name in MEASURES]
    share = float(good.sum()) / rows
    entropy = -sum(p * math.log(p) for p in (share, 1 - share) if p > 0)
    counts = np.concatenate((good, bad))
    found = [
        _proper("brier", _SQUARES, counts, worth, share * (1 - share)),
        _proper("log_loss", _LOGS, counts, worth, entropy),
        _calibration_error(good, bad, worth),
    ]
    if min(good.sum(), bad.sum()) < _LEAST:
        because = f"it takes {_LEAST} rows of each class; there are {int(good.sum())} and {int(bad.sum())}"
        return [*found, *(missing(name, rows, because) for name in MEASURES[3:])]
    return [*found, *_logistic(good, bad, worth)]


def _proper(
    name: str,
    costs: Floats,
    counts: Floats,
    worth: float,
    naive: float,
) -> Score:
    """A mean over rows of what its score and label cost, with the range that the bins leave open."""
    rows = float(counts.sum())
    value, second, doubt = (costs @ counts / rows).tolist()
    error = math.sqrt(max(second - value * value, 0.0) / (rows * worth))
    low, high = around(value, error, 0.0)
    return Score(
        measure=name,
        value=value,
        low=low,
        high=high,
        rows=int(rows),
        error=error,
        binning_error=doubt,
        naive=naive,
        detail="read from 64 bins of scores, taken as evenly spread within",
    )


def _calibration_error(good: Floats, bad: Floats, worth: float) -> Score:
    """The mean gap between score and share of positives over the groups, weighted by rows; `naive` is what a
    calibrated model would show by chance: Gaussian gaps of sqrt(2 p q / (pi n))."""
    value, error, chance = calibration_gap(good, bad, _MIDDLES, GROUPS, worth).tolist()
    low, high = around(value, error, 0.0, 1.0)
    return Score(
        measure="calibration_error",
        value=value,
        low=low,
        high=high,
        rows=int(good.sum() + bad.sum()),
        error=error,
        binning_error=0.5 / SCORE_BINS,
        naive=chance,
    )


def _logistic(good: Floats, bad: Floats, worth: float) -> list[Score]:
    """The logistic regression of the label on the logit of the score; Cox (1958). Slope 1 and intercept 0: calibrated;
    a slope below 1: too sure of itself."""
    rows = int(good.sum() + bad.sum())
    found = logistic(good, bad, _LOGITS, worth).tolist()
    if found:
        return [_coefficient(*each, rows) for each in zip(MEASURES[3:], found[:2], found[2:], strict=True)]
    because = "the scores tell the classes apart without a mistake, or are all alike"
    return [missing(name, rows, because) for name in MEASURES[3:]]


def _coefficient(name: str, value: float, error: float, rows: int) -> Score:
    low, high = around(value, error)
    return Score(measure=name, value=value, low=low, high=high, rows=rows, error=error)
