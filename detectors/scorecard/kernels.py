"""Calibration of scores from their histograms by label, in one pass over the bins."""

import math

import numpy as np

from detectors.columns import Floats
from detectors.compiled import compiled

SINGULAR = 1e-12
"""Share of the product of the variances that the determinant must be: below it the scores are all alike."""
_STEPS = 50
_CLOSE = 1e-10


@compiled
def calibration_gap(good: Floats, bad: Floats, middles: Floats, groups: int, worth: float) -> Floats:
    """The mean gap between score and share of positives over `groups` groups of neighbouring bins, weighted by rows;
    its standard error; and what a calibrated model would show by chance: Gaussian gaps of sqrt(2 p q / (pi n))."""
    width = len(good) // groups
    rows, gap, variance, chance = good.sum() + bad.sum(), 0.0, 0.0, 0.0
    for group in range(groups):
        here, true, said = 0.0, 0.0, 0.0
        for i in range(group * width, (group + 1) * width):
            here += good[i] + bad[i]
            true += good[i]
            said += (good[i] + bad[i]) * middles[i]
        if here > 0:
            mean, weight = said / here, here / rows
            spread = mean * (1 - mean) / (here * worth)
            gap += weight * abs(true / here - mean)
            variance += weight * weight * spread
            chance += weight * math.sqrt(2 * spread / math.pi)
    return np.array([gap, math.sqrt(variance), chance])


@compiled
def logistic(good: Floats, bad: Floats, logits: Floats, worth: float) -> Floats:
    """The logistic regression of the label on the logit of the score: slope, intercept and their standard errors; empty
    where it has no answer."""
    intercept, slope = 0.0, 1.0
    for _ in range(_STEPS):
        total, once, twice, first, second = 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(len(good)):
            both, x = good[i] + bad[i], logits[i]
            chance = 1 / (1 + math.exp(-min(max(intercept + slope * x, -30.0), 30.0)))
            weight, left = both * chance * (1 - chance), good[i] - both * chance
            total += weight
            once += weight * x
            twice += weight * x * x
            first += left
            second += left * x
        determinant = total * twice - once * once
        if determinant <= SINGULAR * total * twice:
            break
        up = (twice * first - once * second) / determinant
        right = (total * second - once * first) / determinant
        intercept += min(max(up, -2.0), 2.0)
        slope += min(max(right, -2.0), 2.0)
        if max(abs(up), abs(right)) < _CLOSE:
            errors = math.sqrt(total / determinant / worth), math.sqrt(twice / determinant / worth)
            return np.array([slope, intercept, errors[0], errors[1]])
    return np.zeros(0)


@compiled
def area_variance(good: Floats, bad: Floats) -> float:
    """Variance of an area under the ROC curve by the placements of each class among the other, a bin's rows in the
    middle of it."""
    return _placed(good, bad) + _placed(bad, good)


@compiled
def _placed(rows: Floats, others: Floats) -> float:
    """The variance of the mean placement of rows among others."""
    count, whole = rows.sum(), others.sum()
    below, mean, square = 0.0, 0.0, 0.0
    for i in range(len(rows)):
        mean += rows[i] * (below + others[i] / 2) / whole
        below += others[i]
    mean, below = mean / count, 0.0
    for i in range(len(rows)):
        square += rows[i] * ((below + others[i] / 2) / whole - mean) ** 2
        below += others[i]
    return square / count / count
