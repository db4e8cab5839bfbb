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
    """Measures by name, each None where it has nothing to divide by, and the standard deviation that drawing the
    labels gives each."""

    values: dict[str, float | None]
    sampling: dict[str, float]


def known_values(values: Mapping[str, float | None]) -> dict[str, float]:
    """The measures that have a value."""
    return {name: value for name, value in values.items() if value is not None}


def expect(counts: Floats, chances: Floats, facts: Facts) -> Expected:
    """The measures of the expected confusion matrix, scores and labels.

    counts, chances: rows and chance of the positive class by cell (2 bin + said). The sampling error is that of
    independent labels, by the delta method.
    """
    good, bad = counts * chances, counts * (1 - chances)
    said, rows = np.arange(len(counts)) % 2 == 1, float(counts.sum())
    tp, fp, fn, tn = (
        float(part) for part in (good[said].sum(), bad[said].sum(), good[~said].sum(), bad[~said].sum())
    )
    values: dict[str, float | None] = dict.fromkeys(MEASURES)
    slopes: dict[str, Floats] = {}
    if rows <= 0:
        return Expected(values, {})
    values["accuracy"], slopes["accuracy"] = (tp + tn) / rows, np.where(said, 1.0, -1.0) / rows
    losses = (good @ facts.positive_losses + bad @ facts.negative_losses) / rows
    values["log_loss"], slopes["log_loss"] = (
        float(losses),
        (facts.positive_losses - facts.negative_losses) / rows,
    )
    far = (good @ np.square(1 - facts.means) + bad @ np.square(facts.means)) / rows
    values["brier"], slopes["brier"] = float(far), (1 - 2 * facts.means) / rows
    positives, negatives = tp + fn, fp + tn
    if tp + fp > 0:
        values["precision"], slopes["precision"] = tp / (tp + fp), said / (tp + fp)
    if positives > 0:
        values["recall"], slopes["recall"] = tp / positives, said / positives - tp / positives**2
        whole = tp + fp + positives
        values["f1"], slopes["f1"] = 2 * tp / whole, 2 * said / whole - 2 * tp / whole**2
    if positives > 0 and negatives > 0:
        sound = tn / negatives**2 - ~said / negatives
        values["balanced_accuracy"] = (tp / positives + tn / negatives) / 2
        slopes["balanced_accuracy"] = (slopes["recall"] + sound) / 2
        values["auc"], slopes["auc"] = _area(good, bad, facts.concordance)
    noise = counts * chances * (1 - chances)
    sampling = {name: float(np.sqrt(noise @ np.square(slope))) for name, slope in slopes.items()}
    return Expected(values, sampling)


def _area(good: Floats, bad: Floats, concordance: Floats) -> tuple[float, Floats]:
    """The area under the ROC curve and its slope in the positives of each cell (each replacing a negative)."""
    ups, downs = good.reshape(-1, 2).sum(axis=1), bad.reshape(-1, 2).sum(axis=1)
    positives, negatives = float(ups.sum()), float(downs.sum())
    below = np.cumsum(downs) - downs + concordance * downs
    above = positives - np.cumsum(ups) + concordance * ups
    area = float(ups @ below) / (positives * negatives)
    slope = (below - above) / (positives * negatives) - area * (1 / positives - 1 / negatives)
    return area, np.repeat(slope, 2)
