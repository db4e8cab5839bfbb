"""Measures of a binary classifier from counts and chances by cell, and how labels make them vary."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Floats
from detectors.estimation.values import BinaryCells

MEASURES: Final = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "auc",
    "log_loss",
    "brier",
)


class Facts(NamedTuple):
    """What the reference knows of each cell or bin besides chances; see `BinaryCells`."""

    means: Floats
    positive_losses: Floats
    negative_losses: Floats
    concordance: Floats

    @classmethod
    def of(cls, cells: BinaryCells) -> "Facts":
        """As arrays."""
        first, second = (np.array(one) for one in cells.losses)
        return cls(np.array(cells.means), first, second, np.array(cells.concordance))


class Expected(NamedTuple):
    """Measures by name, each None where it has nothing to divide by; the standard deviation that drawing the labels of
    these rows gives each (`sampling`), and that drawing the rows gives what is expected of them (`mix`)."""

    values: dict[str, float | None]
    sampling: dict[str, float]
    mix: dict[str, float]


def known_values(values: Mapping[str, float | None]) -> dict[str, float]:
    """The measures that have a value."""
    return {name: value for name, value in values.items() if value is not None}


def expect(counts: Floats, chances: Floats, facts: Facts) -> Expected:
    """The measures of the expected confusion matrix, scores and labels.

    counts, chances: rows and chance of the positive class by cell (2 bin + said). Both standard deviations are by the
    delta method, of independent rows.
    """
    return expect_each(counts, chances[None, :], facts)[0]


def expect_each(counts: Floats, chances: Floats, facts: Facts) -> list[Expected]:
    """The same for chances of shape (replicates, cells). The replicates after the first are near it: their measures
    are along its slopes, and have no standard deviations."""
    first, slopes = _expect(counts, chances[0], facts)
    steps = counts * (chances[1:] - chances[0])
    moves = {name: steps @ (up - down) for name, (up, down) in slopes.items()}
    none = [None] * len(steps)
    columns = [
        none if value is None else (value + moves[name]).tolist() for name, value in first.values.items()
    ]
    others = [dict(zip(first.values, row, strict=True)) for row in zip(*columns, strict=True)]
    return [first, *(Expected(values, {}, {}) for values in others)]


def _expect(
    counts: Floats, chances: Floats, facts: Facts
) -> tuple[Expected, dict[str, tuple[Floats, Floats]]]:
    """The measures, and their slopes in the positives and the negatives of each cell."""
    good, bad = counts * chances, counts * (1 - chances)
    yes, rows = (np.arange(len(counts)) % 2).astype(np.float64), float(counts.sum())
    values: dict[str, float | None] = dict.fromkeys(MEASURES)
    slopes: dict[str, tuple[Floats, Floats]] = {}
    if rows <= 0:
        return Expected(values, {}, {}), slopes
    tp, fp = float(good @ yes), float(bad @ yes)
    positives, negatives = float(good.sum()), float(bad.sum())
    means = {
        "accuracy": (yes, 1 - yes),
        "log_loss": (facts.positive_losses, facts.negative_losses),
        "brier": (np.square(1 - facts.means), np.square(facts.means)),
    }
    for name, (up, down) in means.items():
        value = float(good @ up + bad @ down) / rows
        values[name], slopes[name] = value, ((up - value) / rows, (down - value) / rows)
    if tp + fp > 0:
        value = tp / (tp + fp)
        values["precision"] = value
        slopes["precision"] = (yes * (1 - value) / (tp + fp), -yes * value / (tp + fp))
    if positives > 0:
        value, whole = tp / positives, tp + fp + positives
        values["recall"], slopes["recall"] = value, ((yes - value) / positives, np.zeros_like(yes))
        value = 2 * tp / whole
        values["f1"] = value
        slopes["f1"] = ((2 * yes - value * (1 + yes)) / whole, -value * yes / whole)
    if positives > 0 and negatives > 0:
        recall, specificity = tp / positives, 1 - fp / negatives
        values["balanced_accuracy"] = (recall + specificity) / 2
        sound = (1 - yes - specificity) / negatives
        slopes["balanced_accuracy"] = ((yes - recall) / positives / 2, sound / 2)
        values["auc"], slopes["auc"] = _area(good, bad, facts.concordance)
    noise = counts * chances * (1 - chances)
    sampling = {name: _spread(noise, up - down) for name, (up, down) in slopes.items()}
    mix = {name: _spread(counts, chances * up + (1 - chances) * down) for name, (up, down) in slopes.items()}
    return Expected(values, sampling, mix), slopes


def _spread(weights: Floats, slope: Floats) -> float:
    return float(np.sqrt(weights @ np.square(slope)))


def _area(good: Floats, bad: Floats, concordance: Floats) -> tuple[float, tuple[Floats, Floats]]:
    """The area under the ROC curve, and its slopes in the positives and the negatives of each cell."""
    ups, downs = good.reshape(-1, 2).sum(axis=1), bad.reshape(-1, 2).sum(axis=1)
    positives, negatives = float(ups.sum()), float(downs.sum())
    pairs = positives * negatives
    below = np.cumsum(downs) - downs + concordance * downs
    above = positives - np.cumsum(ups) + concordance * ups
    area = float(ups @ below) / pairs
    return area, (
        np.repeat(below / pairs - area / positives, 2),
        np.repeat(above / pairs - area / negatives, 2),
    )
