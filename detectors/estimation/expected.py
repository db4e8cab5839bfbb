"""Measures of a binary classifier from counts and chances by cell, and how labels make them vary."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Floats
from detectors.estimation.kernels import measured
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
    """What the reference knows besides chances (see `BinaryCells`): of each cell means, losses of positives and of
    negatives, shape (3, cells), and of each bin the concordance."""

    by_cell: Floats
    concordance: Floats

    @classmethod
    def of(cls, cells: BinaryCells) -> "Facts":
        """As arrays."""
        return cls(np.array([cells.means, *cells.losses]), np.array(cells.concordance))


class Expected(NamedTuple):
    """Measures by name, each None where it has nothing to divide by; the standard deviation that drawing the labels of
    these rows gives each (`sampling`), and that drawing the rows gives what is expected of them (`mix`)."""

    values: dict[str, float | None]
    sampling: dict[str, float]
    mix: dict[str, float]


def known_values(values: Mapping[str, float | None]) -> dict[str, float]:
    """The measures that have a value."""
    return {name: value for name, value in values.items() if value is not None}


class Replicated(NamedTuple):
    """What is expected from all reference rows, and the values of the measures without each block of them, in the order
    of the names and NaN where there is none: shape (replicates, measures)."""

    first: Expected
    others: Floats

    @classmethod
    def of(cls, found: Sequence[Expected], names: Sequence[str]) -> "Replicated":
        """Of the one from all rows, and of those without a block."""
        others = [[one.values[name] for name in names] for one in found[1:]]
        return cls(found[0], np.array(others, dtype=np.float64).reshape(-1, len(names)))


def expect(counts: Floats, chances: Floats, facts: Facts) -> Expected:
    """The measures of the expected confusion matrix, scores and labels.

    counts, chances: rows and chance of the positive class by cell (2 bin + said). Both standard deviations are by the
    delta method, of independent rows.
    """
    return expect_each(counts, chances[None, :], facts).first


def expect_each(counts: Floats, chances: Floats, facts: Facts) -> Replicated:
    """The same for chances of shape (replicates, cells). The replicates after the first are near it: their measures
    are along its slopes."""
    values, sampling, mix, steps = measured(counts, chances, facts.by_cell, facts.concordance)
    known = [(place, name) for place, name in enumerate(MEASURES) if not isnan(values[place])]
    nothing: dict[str, float | None] = {} if len(known) == len(MEASURES) else dict.fromkeys(MEASURES)

    def named(numbers: list[float]) -> dict[str, float]:
        if not nothing:
            return dict(zip(MEASURES, numbers, strict=True))
        return {name: numbers[place] for place, name in known}

    first = Expected(nothing | named(values.tolist()), named(sampling.tolist()), named(mix.tolist()))
    return Replicated(first, values + steps)
