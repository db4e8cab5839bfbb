"""What the mix of the features says beyond the model's own output: an additive correction on their bins.

A window's profile knows the bins of each feature one by one, not jointly. The mean of a sum of functions of
single features needs no more than that, so an additive model of the residuals, fitted once on the rows of the
reference, is evaluated exactly on any merged profile.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Column, Floats, Integers, categories, single_column
from detectors.estimation.values import Marginals
from detectors.layout import CategoricalSlots, Layout, NumericSlots
from detectors.profile import Profile
from detectors.reference import Reference

BLOCKS: Final = 8
"""Contiguous parts of the reference that are left out in turn."""
STRENGTHS: Final = (3_000.0, 300.0, 30.0)
"""Rows that "no effect" counts for in each group."""
_CATEGORIES: Final = 16
_CUTS: Final = np.array([0.016, 0.05, *np.arange(0.1, 0.95, 0.1), 0.95, 0.984])
"""Shares of the reference at which groups end."""
_CHUNK: Final = 16_384
_LEAST_GAIN: Final = 1e-6
"""Share of the squares of a block that must be explained: more than rounding."""


def told(values: Floats) -> tuple[float, ...]:
    """Numbers as they are kept: seven digits."""
    return tuple(float(f"{value:.7g}") for value in values.tolist())


def by_block(places: Integers, blocks: Integers, width: int, weights: Floats | None = None) -> Floats:
    """Counts (or sums of weights) of the rows by block and place, shape (blocks, width)."""
    found = np.bincount(blocks * width + places, weights=weights, minlength=BLOCKS * width)
    return found.reshape(BLOCKS, width).astype(np.float64)


class Groups(NamedTuple):
    """Groups of the bins of one column: `group` of each bin (or category, then other), missing being the last."""

    slots: NumericSlots | CategoricalSlots
    group: Integers
    first: int
    width: int

    def of_rows(self, column: Column) -> Integers:
        """The group of each row."""
        if isinstance(self.slots, NumericSlots):
            values = single_column(column)
            found = self.group[np.searchsorted(self.slots.edges, values, side="left")]
            return np.where(np.isnan(values), self.width - 1, found) + self.first
        names, codes = categories(column)
        other = len(self.slots.index)
        places = [self.group[self.slots.index.get(name, other)] for name in names]
        return np.array([*places, self.width - 1], dtype=np.int64)[codes] + self.first

    def of_window(self, counters: Integers) -> Floats:
        """Rows of a profile by group."""
        slots = self.slots
        if isinstance(slots, NumericSlots):
            known = counters[slots.bins]
        else:
            known = np.append(counters[slots.categories], counters[slots.other])
        found = np.bincount(self.group, weights=known, minlength=self.width).astype(np.float64)
        found[-1] = counters[slots.missing]
        return found


def groups_of(layout: Layout, reference: Reference) -> list[Groups]:
    """Ten groups of equal share for numbers, the outer ones cut in three; the 16 most frequent categories and all the
    others for categories; missing values are a group of their own."""
    found: list[Groups] = []
    first = 0
    for slots in (*layout.numeric, *layout.categorical):
        part = reference.feature(slots.name)
        if part is None:
            continue
        if isinstance(slots, NumericSlots):
            group = _ranked_groups(np.array(part.counts, dtype=np.float64))
        else:
            group = np.minimum(np.arange(len(slots.index) + 1), _CATEGORIES)
        width = int(group.max()) + 2
        found.append(Groups(slots, group, first, width))
        first += width
    return found


def _ranked_groups(counts: Floats) -> Integers:
    """Groups of neighbouring bins, finer towards the ends: a window that moves lands there."""
    middle = np.cumsum(counts) - counts / 2
    raw = np.searchsorted(_CUTS, middle / max(float(counts.sum()), 1.0))
    return np.unique(raw, return_inverse=True)[1].astype(np.int64)


def window_shares(groups: list[Groups], profile: Profile) -> Floats:
    """Share of the rows of a profile in each group."""
    parts = [one.of_window(profile.counters) for one in groups]
    return np.concatenate(parts) / max(profile.rows, 1) if parts else np.zeros(0)


def row_groups(groups: list[Groups], features: Mapping[str, Column], rows: int) -> Integers:
    """The group of each row in each column, shape (rows, columns)."""
    if not groups:
        return np.zeros((rows, 0), dtype=np.int64)
    return np.column_stack([one.of_rows(np.asarray(features[one.slots.name])) for one in groups])


def row_shares(codes: Integers, width: int) -> Floats:
    """Share of the rows in each group."""
    return np.bincount(codes.reshape(-1), minlength=width) / max(len(codes), 1)


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
    targets); None where the features say nothing."""
    if not marginals.effects:
        return None
    effects = np.array(marginals.effects)
    known = effects.shape[2]
    return effects @ (shares[:known] - np.array(marginals.shares))


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
    for block in range(BLOCKS):
        rows = np.flatnonzero(blocks == block)
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            design = np.zeros((len(part), width), dtype=np.float32)
            np.put_along_axis(design, codes[part], np.float32(1), axis=1)
            aimed = targets[part]
            found.rows[block] += len(part)
            found.singles[block] += design.sum(axis=0)
            found.pairs[block] += design.T @ design
            found.targets[block] += aimed.sum(axis=0)
            found.crossed[block] += design.T.astype(np.float64) @ aimed
            found.squares[block] += np.square(aimed).sum(axis=0)
    return found


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
