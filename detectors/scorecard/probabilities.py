"""Whether scores are probabilities: proper scores and calibration from two histograms of scores by label."""

import math
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import SCORE_BINS, Column, Floats
from detectors.scorecard.intervals import Score, around, missing

GROUPS: Final = 16
"""Groups of scores that calibration is looked at by, of equal width."""
SMALLEST: Final = 1e-15
"""Scores nearer to 0 or 1 count as this near, as scikit-learn has it for float64."""
_EDGES: Final = np.arange(SCORE_BINS + 1) / SCORE_BINS
_MIDDLES: Final = (_EDGES[1:] + _EDGES[:-1]) / 2
_LOGITS: Final = np.log(_MIDDLES / (1 - _MIDDLES))
_SQUARED_LOGITS: Final = np.square(_LOGITS)
_STEPS: Final = 50
_SINGULAR: Final = 1e-12
"""Share of the product of the variances that the determinant must be: below it the scores are all alike."""
_LEAST: Final = 5
MEASURES: Final = ("brier", "log_loss", "calibration_error", "calibration_slope", "calibration_intercept")


class _Costs(NamedTuple):
    """What a row in a bin costs on average, its square, and how much that varies within the bin: of the positives'
    bins, then of the negatives'."""

    means: Floats
    squares: Floats
    widths: Floats

    @classmethod
    def of(cls, means: tuple[Floats, Floats], ends: tuple[Floats, Floats]) -> "_Costs":
        """From the mean cost of each bin and the costs at the bins' ends."""
        both = np.concatenate(means)
        return cls(both, np.square(both), np.concatenate([np.abs(np.diff(end)) for end in ends]))


def _square_means() -> tuple[Floats, Floats]:
    """Mean squared distance of a score from 1 and from 0, were the scores of a bin spread evenly."""
    spread = 1 / SCORE_BINS**2 / 12
    return np.square(1 - _MIDDLES) + spread, np.square(_MIDDLES) + spread


def _log_means() -> tuple[Floats, Floats]:
    """Mean of -ln s and of -ln (1 - s), likewise."""
    ends = np.where(_EDGES > 0, _EDGES * np.log(np.maximum(_EDGES, SMALLEST)), 0.0) - _EDGES
    one = -np.diff(ends) * SCORE_BINS
    return one, one[::-1].copy()


_SQUARES: Final = _Costs.of(_square_means(), (np.square(1 - _EDGES), np.square(_EDGES)))
_LOGS: Final = _Costs.of(
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
    found = [
        _proper("brier", _SQUARES, (good, bad), worth, share * (1 - share)),
        _proper("log_loss", _LOGS, (good, bad), worth, entropy),
        _calibration_error(good, bad, worth),
    ]
    if min(good.sum(), bad.sum()) < _LEAST:
        because = f"it takes {_LEAST} rows of each class; there are {int(good.sum())} and {int(bad.sum())}"
        return [*found, *(missing(name, rows, because) for name in MEASURES[3:])]
    return [*found, *_logistic(good, bad, worth)]


def _proper(
    name: str,
    costs: "_Costs",
    counts: tuple[Floats, Floats],
    worth: float,
    naive: float,
) -> Score:
    """A mean over rows of what its score and label cost, with the range that the bins leave open."""
    both = np.concatenate(counts)
    rows = float(both.sum())
    value, second, doubt = (
        float(both @ costs.means) / rows,
        float(both @ costs.squares) / rows,
        both @ costs.widths,
    )
    error = math.sqrt(max(second - value * value, 0.0) / (rows * worth))
    low, high = around(value, error, 0.0)
    return Score(
        measure=name,
        value=value,
        low=low,
        high=high,
        rows=int(rows),
        error=error,
        binning_error=float(doubt) / rows,
        naive=naive,
        detail="read from 64 bins of scores, taken as evenly spread within",
    )


def _calibration_error(good: Floats, bad: Floats, worth: float) -> Score:
    """The mean gap between score and share of positives over the groups, weighted by rows; `naive` is what a
    calibrated model would show by chance: Gaussian gaps of sqrt(2 p q / (pi n))."""
    both = (good + bad).reshape(GROUPS, -1)
    rows = both.sum(axis=1)
    used = rows > 0
    said = (both * _MIDDLES.reshape(GROUPS, -1)).sum(axis=1)[used] / rows[used]
    true = good.reshape(GROUPS, -1).sum(axis=1)[used] / rows[used]
    weights = rows[used] / rows.sum()
    value = float((weights * np.abs(true - said)).sum())
    variances = said * (1 - said) / (rows[used] * worth)
    error = math.sqrt(float((weights**2 * variances).sum()))
    low, high = around(value, error, 0.0, 1.0)
    return Score(
        measure="calibration_error",
        value=value,
        low=low,
        high=high,
        rows=int(rows.sum()),
        error=error,
        binning_error=0.5 / SCORE_BINS,
        naive=float((weights * np.sqrt(2 * variances / math.pi)).sum()),
    )


def _logistic(good: Floats, bad: Floats, worth: float) -> list[Score]:
    """The logistic regression of the label on the logit of the score; Cox (1958). Slope 1 and intercept 0: calibrated;
    a slope below 1: too sure of itself."""
    rows = int(good.sum() + bad.sum())
    intercept, slope, both = 0.0, 1.0, good + bad
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(intercept + slope * _LOGITS, -30, 30)))
        weights, left = both * chance * (1 - chance), good - both * chance
        once, twice = float(weights @ _LOGITS), float(weights @ _SQUARED_LOGITS)
        total = float(weights.sum())
        determinant = total * twice - once * once
        if determinant <= _SINGULAR * total * twice:
            break
        first, second = float(left.sum()), float(left @ _LOGITS)
        steps = (twice * first - once * second) / determinant, (total * second - once * first) / determinant
        intercept += min(max(steps[0], -2.0), 2.0)
        slope += min(max(steps[1], -2.0), 2.0)
        if max(abs(steps[0]), abs(steps[1])) < 1e-10:
            errors = (math.sqrt(one / determinant / worth) for one in (total, twice))
            names = ("calibration_slope", "calibration_intercept")
            return [
                _coefficient(name, value, error, rows)
                for name, value, error in zip(names, (slope, intercept), errors, strict=True)
            ]
    because = "the scores tell the classes apart without a mistake, or are all alike"
    return [missing(name, rows, because) for name in MEASURES[3:]]


def _coefficient(name: str, value: float, error: float, rows: int) -> Score:
    low, high = around(value, error)
    return Score(measure=name, value=value, low=low, high=high, rows=rows, error=error)
