"""What the mix of the features says beyond the model's own output: an additive correction on their bins.

A window's profile knows the bins of each feature one by one, not jointly. The mean of a sum of functions of
single features needs no more than that, so an additive model of the residuals, fitted once on the rows of the
reference, is evaluated exactly on any merged profile.
"""

from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Floats, Integers
from detectors.compiled import compiled
from detectors.estimation.groups import BLOCKS, Groups, told, window_shares
from detectors.estimation.values import Marginals
from detectors.profile import Profile
from detectors.remembered import Remembered

STRENGTHS: Final = (3_000.0, 300.0, 30.0)
"""Rows that "no effect" counts for in each group."""
_CAUTION: Final = 4.0
"""A change of two standard errors is believed by half, one of four by four fifths."""
_LEAST_GAIN: Final = 1e-6
"""Share of the squares of a block that must be explained: more than rounding."""


def fit_marginals(codes: Integers, targets: Floats, blocks: Integers) -> Marginals:
    """The additive model of the targets, or none where it does not help on blocks that it has not seen.

    codes: see `row_groups`. targets: shape (n, targets), of mean 0 given the model's output. blocks: the block of each
    row. The strength of the ridge is chosen by the error on the left-out blocks; the model is kept when it beats
    no model by more than a standard error of the difference.
    """
    if not codes.size or len(targets) < 10 * BLOCKS:
        return Marginals()
    sums = _sums(codes, int(codes.max()) + 1, targets, blocks)
    best, gain = 0.0, _LEAST_GAIN
    for strength in STRENGTHS:
        gains = _gains(sums, strength)
        margin = float(gains.std(ddof=1)) / np.sqrt(len(gains))
        if gains.mean() > max(margin, gain):
            best, gain = strength, float(gains.mean())
    if best == 0.0:
        return Marginals()
    whole = sums.total()
    effects = [_solve(whole, best), *(_solve(whole.less(sums.of(block)), best) for block in range(BLOCKS))]
    return Marginals(
        shares=told(whole.shares),
        effects=tuple(tuple(told(row) for row in one.T) for one in effects),
    )


def additive_effects(codes: Integers, target: Floats, width: int, strength: float) -> Floats:
    """Effects of the groups on the mean of one target, of mean 0 over the rows within each column; rows where the
    target is NaN are left out."""
    known = np.isfinite(target)
    codes, aimed = codes[known], target[known] - target[known].mean() if known.any() else target[known]
    if not codes.size:
        return np.zeros(width)
    sums = _sums(codes, width, aimed[:, None], np.arange(len(aimed)) * BLOCKS // len(aimed)).total()
    effects = _solve(sums, strength)[:, 0]
    for column in range(codes.shape[1]):
        place = np.unique(codes[:, column])
        effects[place] -= effects[place] @ sums.shares[place]
    return effects


def moved(marginals: Marginals, shares: Floats) -> Floats | None:
    """Change of the mean of each target from the reference to a window with these shares: shape (replicates,
    targets), shrunk by its own uncertainty; None where the features say nothing."""
    if not marginals.effects:
        return None
    effects, before = _ARRAYS.of(marginals)
    found = effects @ (shares[: len(before)] - before)
    noise = (BLOCKS - 1) / BLOCKS * np.square(found[1:] - found[1:].mean(axis=0)).sum(axis=0)
    size = np.square(found[0])
    return found * (size / np.maximum(size + _CAUTION * noise, 1e-300))


def moved_in(marginals: Marginals, groups: list[Groups], profile: Profile) -> Floats | None:
    """The same for a window."""
    return moved(marginals, window_shares(groups, profile)) if marginals.effects else None


def _arrays(marginals: Marginals) -> tuple[Floats, Floats]:
    """Effects (replicates, targets, groups), and the shares of the groups in the reference."""
    return np.array(marginals.effects), np.array(marginals.shares)


_ARRAYS: Final = Remembered(_arrays)


class _Sums(NamedTuple):
    """Sums over rows: their number, by group, by pair of groups, of targets, and of targets by group."""

    rows: Floats
    singles: Floats
    pairs: Floats
    targets: Floats
    crossed: Floats
    squares: Floats

    def of(self, block: int) -> "_Sums":
        return _Sums(*(part[block] for part in self))

    def total(self) -> "_Sums":
        return _Sums(*(part.sum(axis=0) for part in self))

    def less(self, other: "_Sums") -> "_Sums":
        return _Sums(*(whole - part for whole, part in zip(self, other, strict=True)))

    @property
    def shares(self) -> Floats:
        return self.singles / self.rows


def _sums(codes: Integers, width: int, targets: Floats, blocks: Integers) -> _Sums:
    shapes = (
        (),
        (width,),
        (width, width),
        (targets.shape[1],),
        (width, targets.shape[1]),
        (targets.shape[1],),
    )
    found = _Sums(*(np.zeros((BLOCKS, *shape)) for shape in shapes))
    _add_rows(np.ascontiguousarray(codes), np.ascontiguousarray(targets), blocks, *found)
    return found


@compiled
def _add_rows(
    codes: Integers,
    targets: Floats,
    blocks: Integers,
    rows: Floats,
    singles: Floats,
    pairs: Floats,
    sums: Floats,
    crossed: Floats,
    squares: Floats,
) -> None:
    count, columns = codes.shape
    for i in range(count):
        block = blocks[i]
        rows[block] += 1.0
        for t in range(targets.shape[1]):
            sums[block, t] += targets[i, t]
            squares[block, t] += targets[i, t] * targets[i, t]
        for column in range(columns):
            code = codes[i, column]
            singles[block, code] += 1.0
            for other in range(columns):
                pairs[block, code, codes[i, other]] += 1.0
            for t in range(targets.shape[1]):
                crossed[block, code, t] += targets[i, t]


def _solve(sums: _Sums, strength: float) -> Floats:
    """Effects of the groups, shape (groups, targets): ridge regression on centred indicators."""
    centred = sums.pairs - np.outer(sums.singles, sums.shares)
    crossed = sums.crossed - np.outer(sums.shares, sums.targets)
    return np.linalg.solve(centred + strength * np.eye(len(centred)), crossed).astype(np.float64)


def _gains(sums: _Sums, strength: float) -> Floats:
    """By left-out block, the share of the targets' squares that the model of the others explains."""
    whole = sums.total()
    found = np.zeros(BLOCKS)
    for block in range(BLOCKS):
        known, left = whole.less(sums.of(block)), sums.of(block)
        effects = _solve(known, strength)
        offset = known.shares @ effects
        cross = np.einsum("gt,gt->t", effects, left.crossed) - offset * left.targets
        square = np.einsum("gt,gh,ht->t", effects, left.pairs, effects)
        square += offset * offset * left.rows - 2 * offset * (left.singles @ effects)
        found[block] = float(((2 * cross - square) / np.maximum(whole.squares, 1e-300)).sum())
    return found
