"""A regression without labels: the expected error of a window, from the bins of its predictions and features.

The idea is that of direct loss estimation (DLE): how far off a model is can itself be predicted. Here by the
mean over the bin of the prediction, and an additive correction by the features' bins, so that no rows are kept.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Floats, Integers, singles
from detectors.estimation.checking import checked
from detectors.estimation.expected import Expected, known_values
from detectors.estimation.groups import Groups, by_block, row_shares, told
from detectors.estimation.marginals import fit_marginals, moved, moved_in
from detectors.estimation.values import Estimator, Marginals, RegressionCells
from detectors.outcome_slots import RegressionSlots
from detectors.profile import Profile
from detectors.reference import Reference

REGRESSION_MEASURES: Final = ("mae", "rmse", "bias")
_PRIOR_ROWS = 20.0
"""Rows that the mean over all bins counts for in each."""
_SIZE, _ERROR, _SQUARE, _FOURTH = range(4)


class ErrorRows(NamedTuple):
    """Rows of a reference: prediction, label, block."""

    said: Floats
    labels: Floats
    blocks: Integers


def fit_regression(reference: Reference, codes: Integers, rows: ErrorRows) -> Estimator:
    """Learn the error by bin of the prediction and its correction by features; see `Estimator`."""
    edges = np.array(reference.said_edges, dtype=np.float32)
    places, width = np.searchsorted(edges, singles(rows.said), side="left"), len(edges) + 1
    errors = rows.said - rows.labels
    powers = np.stack([np.abs(errors), errors, np.square(errors), np.square(np.square(errors))])
    worth = reference.effective_rows / reference.rows
    counts = worth * by_block(places, rows.blocks, width)
    sums = worth * np.stack([by_block(places, rows.blocks, width, one) for one in powers], axis=1)
    whole, total = counts.sum(axis=0), sums.sum(axis=0)
    means = [_means(whole, total)] + [_means(whole - n, total - s) for n, s in zip(counts, sums, strict=True)]
    targets = (powers[:_FOURTH] - means[0][:_FOURTH, places]).T
    marginals = fit_marginals(codes, targets, rows.blocks)

    def trial(block: int, piece: Integers) -> tuple[Expected, Mapping[str, float | None]]:
        shift = moved(marginals, row_shares(codes[piece], int(codes.max(initial=-1)) + 1))
        found = np.bincount(places[piece], minlength=width).astype(np.float64)
        guess = expect_errors(found, means[block + 1], None if shift is None else shift[block + 1])
        size, error, square, _ = powers[:, piece].mean(axis=1).tolist()
        return guess, {"mae": size, "rmse": float(np.sqrt(square)), "bias": error}

    trials = checked(rows.blocks, trial)
    return Estimator(
        reference_revision=reference.revision,
        task="regression",
        rows=len(rows.labels),
        cells=RegressionCells(counts=told(whole), means=tuple(told(one.reshape(-1)) for one in means)),
        marginals=marginals,
        expected=known_values(expect_errors(whole, means[0], None).values),
        excess=trials.excess,
        wander=trials.wander,
    )


def expect_regression(
    marginals: Marginals, cells: RegressionCells, profile: Profile, groups: list[Groups]
) -> list[Expected]:
    """The measures of a window: from all reference rows, and once without each block of them."""
    slots = profile.layout.outcomes
    if not isinstance(slots, RegressionSlots):
        return []
    counts = profile.counters[slots.said].astype(np.float64)
    shift = moved_in(marginals, groups, profile)
    return [
        expect_errors(counts, np.array(one).reshape(4, -1), None if shift is None else shift[place])
        for place, one in enumerate(cells.means)
    ]


def expect_errors(counts: Floats, means: Floats, shift: Floats | None) -> Expected:
    """mae, rmse and bias. counts: rows by bin of the prediction. means: shape (4, bins). shift: of the first three."""
    rows = float(counts.sum())
    if rows <= 0:
        return Expected(dict.fromkeys(REGRESSION_MEASURES), {}, {})
    size, error, square, fourth = (means @ counts / rows).tolist()
    if shift is not None:
        size = max(size + float(shift[_SIZE]), size / 10)
        error += float(shift[_ERROR])
        square = max(square + float(shift[_SQUARE]), size * size)
    root = float(np.sqrt(square))
    per_root = 1 / max(2 * root, 1e-300)
    across = np.sqrt(np.square(means - means @ counts[:, None] / rows) @ counts).tolist()
    return Expected(
        {"mae": size, "rmse": root, "bias": error},
        {
            "mae": float(np.sqrt(max(square - size * size, 0.0) / rows)),
            "rmse": float(np.sqrt(max(fourth - square * square, 0.0) / rows)) * per_root,
            "bias": float(np.sqrt(max(square - error * error, 0.0) / rows)),
        },
        {
            "mae": across[_SIZE] / rows,
            "rmse": across[_SQUARE] / rows * per_root,
            "bias": across[_ERROR] / rows,
        },
    )


def _means(counts: Floats, sums: Floats) -> Floats:
    overall = sums.sum(axis=1, keepdims=True) / max(float(counts.sum()), 1.0)
    return (sums + _PRIOR_ROWS * overall) / (counts + _PRIOR_ROWS)
