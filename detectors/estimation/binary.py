"""A binary classifier without labels: the expected confusion matrix of a window, from its profile.

The idea is that of confidence-based estimation (CBPE): a calibrated score says how probably each prediction is right.
Here it needs no rows: scores are counted in bins, each bin (and what was said) is a cell with a chance, and features
correct the chances where the score alone does not know that the mix has changed.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import SCORE_BINS, Floats, Integers, score_bins
from detectors.errors import ProfileInvalid
from detectors.estimation.calibration import Map, choose
from detectors.estimation.cells import CELLS, cells_of_profile, cells_of_rows, tilted
from detectors.estimation.checking import Checked, checked
from detectors.estimation.expected import Expected, Facts, Replicated, expect, expect_each, known_values
from detectors.estimation.groups import Groups, by_block, row_shares, told
from detectors.estimation.marginals import fit_marginals, moved, moved_in
from detectors.estimation.values import BinaryCells, Estimator, Marginals, Numbers
from detectors.outcome_slots import BinarySlots
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.remembered import Remembered

_LEAST, _MOST = 0.002, 0.998
_TINIEST = 2.0**-24
"""A score of 0 or 1 at single precision is taken for this far from it, so that a logarithm is finite."""


class Known(NamedTuple):
    """The cells of a reference as arrays: chances (replicates, cells), share said positive by bin, and facts."""

    chances: Floats
    said: Floats
    facts: Facts

    @classmethod
    def of(cls, cells: BinaryCells) -> "Known":
        """As arrays."""
        return cls(np.array(cells.chances), np.array(cells.said), Facts.of(cells))


KNOWN: Final = Remembered(Known.of)


class Rows(NamedTuple):
    """Rows of a reference with all three of score, prediction (0, 1) and label (0, 1)."""

    scores: Floats
    said: Floats
    labels: Floats
    blocks: Integers


def fit_binary(reference: Reference, codes: Integers, rows: Rows) -> Estimator:
    """Learn chances by cell and the correction by features; see `Estimator`."""
    places = cells_of_rows(rows.scores, rows.said)
    worth = reference.effective_rows / reference.rows
    counts = worth * by_block(places, rows.blocks, CELLS)
    positives = worth * by_block(places, rows.blocks, CELLS, rows.labels)
    whole = counts.sum(axis=0)
    seen = whole / worth
    means = _mean_scores(places, rows.scores, seen)
    chances, curve = _learned(counts, positives, means)
    residual = rows.labels - chances[0][places]
    targets = np.column_stack([residual * (rows.said <= 0.5), residual * (rows.said > 0.5)])
    marginals = fit_marginals(codes, targets, rows.blocks)
    cells = BinaryCells(
        counts=told(whole),
        chances=tuple(told(one) for one in chances),
        means=told(means),
        losses=_losses(places, rows.scores, seen, means),
        said=told(_said_shares(whole, reference.threshold)),
        concordance=told(_concordance(rows)),
        map=str(curve),
    )
    trials = _checked(cells, marginals, codes, places, rows)
    return Estimator(
        reference_revision=reference.revision,
        task="binary",
        rows=len(rows.labels),
        cells=cells,
        marginals=marginals,
        expected=known_values(expect(whole, chances[0], Facts.of(cells)).values),
        excess=trials.excess,
        wander=trials.wander,
    )


def _learned(counts: Floats, positives: Floats, means: Floats) -> tuple[Floats, Map]:
    """Chances by cell from all blocks, and without each; counts and positives by block and cell."""
    whole, good, none = counts.sum(axis=0), positives.sum(axis=0), np.zeros(CELLS)
    curve = choose(good, whole, means)
    pairs = zip([none, *positives], [none, *counts], strict=True)
    chances = [curve.chances(good - less, whole - gone, means) for less, gone in pairs]
    return np.clip(np.stack(chances), _TINIEST, 1 - _TINIEST), curve


def _checked(
    cells: BinaryCells, marginals: Marginals, codes: Integers, places: Integers, rows: Rows
) -> Checked:
    facts, chances, width = Facts.of(cells), np.array(cells.chances), int(codes.max(initial=-1)) + 1

    def trial(block: int, piece: Integers) -> tuple[Expected, Mapping[str, float | None]]:
        counts = np.bincount(places[piece], minlength=CELLS).astype(np.float64)
        good = np.bincount(places[piece], weights=rows.labels[piece], minlength=CELLS)
        shift, without = moved(marginals, row_shares(codes[piece], width)), slice(block + 1, block + 2)
        guess = expect_cells(counts, chances[without], None if shift is None else shift[without], facts)
        return guess.first, expect(counts, good / np.maximum(counts, 1), facts).values

    return checked(rows.blocks, trial)


def expect_binary(
    marginals: Marginals, cells: BinaryCells, profile: Profile, groups: list[Groups]
) -> Replicated:
    """The measures of a window: from all reference rows, and once without each block of them. Raises `ProfileInvalid`
    where the profile is of another task."""
    slots = profile.layout.outcomes
    if not isinstance(slots, BinarySlots):
        raise ProfileInvalid("the profile is not of the task binary that the estimator learned")
    known = KNOWN.of(cells)
    counts = cells_of_profile(profile, slots, known.said)
    return expect_cells(counts, known.chances, moved_in(marginals, groups, profile), known.facts)


def expect_cells(counts: Floats, chances: Floats, shift: Floats | None, facts: Facts) -> Replicated:
    """By replicate: chances (replicates, cells), moved so that the mean of the positive class among what was said
    negative and positive changes by `shift` (replicates, 2), told per row of the window."""
    if shift is not None:
        chances = chances.copy()
        for said in (0, 1):
            part, rows = chances[:, said::2], counts[said::2]
            whole = float(rows.sum())
            if whole > 0:
                mean = part @ rows / whole + shift[:, said] * float(counts.sum()) / whole
                weights = np.repeat(rows[:, None], len(part), axis=1)
                chances[:, said::2] = tilted(part.T, weights, np.clip(mean, _LEAST, _MOST)).T
    return expect_each(counts, chances, facts)


def _mean_scores(places: Integers, scores: Floats, counts: Floats) -> Floats:
    centres = (np.arange(CELLS) // 2 + 0.5) / SCORE_BINS
    sums = np.bincount(places, weights=scores, minlength=CELLS)
    return np.where(counts > 0, sums / np.maximum(counts, 1), centres)


def _losses(places: Integers, scores: Floats, counts: Floats, means: Floats) -> tuple[Numbers, Numbers]:
    return (
        _mean_loss(places, scores, counts, means),
        _mean_loss(places, 1 - scores, counts, 1 - means),
    )


def _mean_loss(places: Integers, scores: Floats, counts: Floats, means: Floats) -> Numbers:
    """Mean -ln by cell; where the reference has no row, that of the cell's middle."""
    sums = np.bincount(places, weights=-np.log(np.clip(scores, _TINIEST, 1.0)), minlength=CELLS)
    return told(np.where(counts > 0, sums / np.maximum(counts, 1), -np.log(np.clip(means, _TINIEST, 1.0))))


def _said_shares(counts: Floats, threshold: float) -> Floats:
    """Share of positive predictions by bin; where the reference has no row, by the threshold."""
    pairs = counts.reshape(-1, 2)
    rows = pairs.sum(axis=1)
    edges = np.arange(SCORE_BINS + 1) / SCORE_BINS
    guess = np.clip((edges[1:] - threshold) * SCORE_BINS, 0.0, 1.0)
    return np.where(rows > 0, pairs[:, 1] / np.maximum(rows, 1), guess)


def _concordance(rows: Rows) -> Floats:
    """By bin: the chance that a positive row has the greater score of a positive and a negative one, ties half."""
    found = np.full(SCORE_BINS, 0.5)
    bins = score_bins(rows.scores)
    order = np.lexsort((rows.scores, bins))
    for part in np.split(order, np.flatnonzero(np.diff(bins[order])) + 1):
        up = rows.labels[part] > 0.5
        pairs = int(up.sum()) * int((~up).sum())
        if pairs:
            values, ranks = np.unique(rows.scores[part], return_inverse=True)
            downs = np.bincount(ranks[~up], minlength=len(values)).astype(np.float64)
            wins = float((np.cumsum(downs) - downs / 2)[ranks[up]].sum())
            spread = max(float(len(part)), 1.0)
            found[bins[part[0]]] = (wins + 0.5 * spread) / (pairs + spread)
    return found
