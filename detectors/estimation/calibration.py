"""What a score is worth: the chance of the positive class by cell, from counts alone."""

import math
from typing import NamedTuple

import numpy as np

from detectors.columns import Floats

STRENGTHS = (math.inf, 1_000.0, 100.0, 10.0, 1.0)
"""How many rows the prior curve counts for in each cell; infinite: the curve alone."""
TAIL = 100.0
"""Rows at either end of the scores within which a bent curve is no longer followed."""
_STEPS = 25
_EDGE = 1e-4


class Map(NamedTuple):
    """A way from counts to chances: the family of the prior curve, and its strength."""

    family: str
    strength: float

    def __str__(self) -> str:
        rows = "alone" if math.isinf(self.strength) else f"worth {self.strength:g} rows a cell"
        return f"{'the score itself' if self.family == 'score' else 'a beta curve'}, {rows}"

    def chances(self, positives: Floats, counts: Floats, means: Floats) -> Floats:
        """The chance of the positive class by cell; cells in ascending order of the score.

        Beyond the outermost `TAIL` rows of either end the reference knows nothing. There a curve that the reference
        has bent is not followed further than it was seen: it is blended with the chance at that end.
        """
        curve = prior(self.family, positives, counts, means)
        trust = 1.0 if math.isinf(self.strength) else self.strength / (self.strength + 1_000.0)
        trust *= 1.0 if self.family == "score" else 0.5
        for order in (slice(None), slice(None, None, -1)):
            rows = np.cumsum(counts[order])
            end = int(np.searchsorted(rows, min(TAIL, float(rows[-1]))))
            known = float(positives[order][: end + 1].sum() + curve[order][end]) / (float(rows[end]) + 1)
            curve[order][:end] = trust * curve[order][:end] + (1 - trust) * known
        if math.isinf(self.strength):
            return curve
        return (positives + self.strength * curve) / (counts + self.strength)


def choose(positives: Floats, counts: Floats, means: Floats) -> Map:
    """The map with the greatest marginal likelihood of the counts.

    Each cell's chance is drawn around a curve (the score itself, or a beta calibration fitted to the counts) with a
    strength; strength infinite is the curve, strength 1 nearly the plain frequencies. The fitted curve pays
    for its three parameters (BIC). So scores that are calibrated stay as they are, crooked ones are bent, and where
    the reference has few rows the curve speaks. Needs no rows.
    positives, counts, means: rows of the positive class, rows, and mean score by cell.
    Source: Kull, Silva Filho and Flach, Beta calibration (2017); empirical Bayes for the strength.
    """
    seen = counts > 0
    best, found = -math.inf, Map("score", math.inf)
    for family, price in (("score", 0.0), ("beta", 1.5 * math.log(max(float(counts.sum()), 2.0)))):
        curve = prior(family, positives, counts, means)
        for strength in STRENGTHS:
            evidence = _evidence(positives[seen], counts[seen], curve[seen], strength) - price
            if evidence > best:
                best, found = evidence, Map(family, strength)
    return found


def prior(family: str, positives: Floats, counts: Floats, means: Floats) -> Floats:
    """The curve around which cells lie."""
    scores = np.clip(means, _EDGE, 1 - _EDGE)
    return scores.copy() if family == "score" else beta_curve(positives, counts, scores)


def beta_curve(positives: Floats, counts: Floats, scores: Floats) -> Floats:
    """Logistic regression of the label on ln s and -ln(1 - s) with slopes of at least 0, by Newton steps."""
    design = np.column_stack([np.ones_like(scores), np.log(scores), -np.log1p(-scores)])
    ridge = np.diag([1e-6, 1.0, 1.0])
    start = np.array([0.0, 1.0, 1.0])
    weights = start.copy()
    for _ in range(_STEPS):
        chance = _logistic(design @ weights)
        gradient = design.T @ (positives - counts * chance) - ridge @ (weights - start)
        curvature = (design * (counts * chance * (1 - chance))[:, None]).T @ design + ridge
        weights = weights + np.clip(np.linalg.solve(curvature, gradient), -2.0, 2.0)
        weights[1:] = np.maximum(weights[1:], 0.0)
    return np.clip(_logistic(design @ weights), _EDGE, 1 - _EDGE)


def _logistic(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(values, -35, 35)))


def _evidence(positives: Floats, counts: Floats, curve: Floats, strength: float) -> float:
    """Log of the beta-binomial likelihood of the rows, in their order."""
    if math.isinf(strength):
        return float((positives * np.log(curve) + (counts - positives) * np.log1p(-curve)).sum())
    total = 0.0
    for good, rows, chance in zip(positives, counts, curve, strict=True):
        a, b = strength * chance, strength * (1 - chance)
        total += math.lgamma(good + a) - math.lgamma(a)
        total += math.lgamma(rows - good + b) - math.lgamma(b)
        total += math.lgamma(strength) - math.lgamma(rows + strength)
    return total
