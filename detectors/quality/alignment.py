"""Columns that hold the values of other columns: swapped in a query, shifted by a lost delimiter, renamed.

Each numeric column of a window is compared with the reference of every column, and the assignment of columns to
references that fits best is sought. It is a misalignment when several columns fit others far better than
themselves; one that merely drifts fits none. Where correlations are known (a profile of the reference's rows), the
assignment has to put these right as well, which tells columns apart that are distributed alike.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

import numpy as np

from detectors.column_pairs import ColumnPair, column_pairs
from detectors.columns import Floats, Integers
from detectors.layout import BUCKETS, CROSS_COLUMNS, Layout
from detectors.measurement import MINIMUM_ROWS
from detectors.profile import Profile
from detectors.quality.shapes import Shape, bucket_ends, bucket_shares
from detectors.quality.values import Finding
from detectors.reference import Reference

GAIN: Final = 0.7
"""Divergence (nats a row) that a moved column must lose by the assignment, on average."""
LEAST_GAIN: Final = 0.25
"""And that at least two of them must lose by themselves."""
MOVED: Final = 0.10
"""KS distance, beyond chance, of a column that may hold another's values."""
_CHANCE = 1.36
FIT: Final = 0.75
"""Divergence per row, averaged over moved columns, above which the assignment explains nothing."""
MOST_COLUMNS: Final = CROSS_COLUMNS
"""With more numeric columns no misalignment is looked for: the work grows with their square."""
_MEMO_SIZE = 256
_BACKGROUND = 0.05
"""Share of every distribution that is taken for that of all columns together: what is not quite as before costs a
bounded price."""
_COARSE = 4
"""Buckets that are joined: a quarter of an octave then tells two distributions apart."""
_FARTHEST = 2.5
"""Fisher's z of a correlation is cut there (0.987)."""


class Costs(NamedTuple):
    """`divergence[i, j]`: of window column i from the reference of column j. `bonds`, `known`: Fisher's z of
    correlations in the window and in the reference, empty where unknown."""

    names: tuple[str, ...]
    divergence: Floats
    bonds: Floats
    known: Floats

    def of(self, order: Integers) -> float:
        """The cost of an assignment: divergences, and misfit of each column's correlations (mean square)."""
        total = float(self.divergence[np.arange(len(order)), order].sum())
        if len(self.bonds):
            far = np.square(self.bonds - self.known[np.ix_(order, order)])
            total += float(far.sum()) / (len(order) - 1)
        return total


def misalignment(
    profile: Profile, reference: Reference, pairs: Sequence[ColumnPair] | None = None
) -> Finding | None:
    """The columns that hold the values of others, or None. pairs: the columns, where they have been held beside each
    other already."""
    pairs = column_pairs(profile, reference) if pairs is None else pairs
    if profile.rows < MINIMUM_ROWS or _moved_columns(pairs) < 2:
        return None
    costs = column_costs(profile, reference)
    nearest = np.diagonal(costs.divergence) - costs.divergence.min(axis=1, initial=np.inf)
    if (nearest > LEAST_GAIN).sum() < 2:
        return None
    order = _improved(costs, _assigned(costs.divergence))
    stay = np.arange(len(order))
    moved = np.flatnonzero(order != stay)
    if len(moved) < 2:
        return None
    gains = costs.divergence[moved, moved] - costs.divergence[moved, order[moved]]
    gain = (costs.of(stay) - costs.of(order)) / len(moved)
    fit = float(costs.divergence[moved, order[moved]].mean())
    if gain < GAIN or (gains > LEAST_GAIN).sum() < 2 or fit > FIT:
        return None
    columns = tuple(costs.names[place] for place in moved)
    sources = tuple(costs.names[order[place]] for place in moved)
    held = ", ".join(f"{column} holds {source}" for column, source in zip(columns, sources, strict=True))
    return Finding(
        kind="misaligned_columns",
        columns=columns,
        sources=sources,
        value=gain,
        threshold=GAIN,
        rows=profile.rows,
        message=(
            f"columns are misaligned: {held}. Read that way each of them is {gain:.2f} nats a row nearer to what the "
            f"reference knows ({GAIN} are taken for a misalignment; {profile.rows} rows)"
        ),
    )


def _moved_columns(pairs: Sequence[ColumnPair]) -> int:
    """Numeric columns that are not as they were; an exchange moves two at least."""
    return sum(
        one.present >= MINIMUM_ROWS and one.ks > MOVED + _CHANCE / math.sqrt(one.present) for one in pairs
    )


def column_costs(profile: Profile, reference: Reference) -> Costs:
    """How far each numeric column of a window is from the reference of each; columns without a value, and those that
    are constant in the reference, are left out. Correlations count where the reference has learned them."""
    layout = profile.layout
    usable = [
        place
        for place in _shaped(layout, reference)
        if profile.counters[layout.numeric[place].buckets].sum() >= MINIMUM_ROWS
    ]
    found = np.zeros((len(usable), len(usable)))
    bonds = known = np.zeros((0, 0))
    if len(usable) > MOST_COLUMNS:
        return Costs((), bonds, bonds, known)
    for row, place in enumerate(usable):
        window = _coarse(profile.counters[layout.numeric[place].buckets].astype(np.float64))
        found[row] = divergences(window / window.sum(), _expected(layout, reference, place)[usable])
    names = tuple(layout.numeric[place].name for place in usable)
    if len(usable) > 2:
        ours, theirs = profile.correlation(), _learned(reference, len(layout.numeric))
        if ours is not None and theirs is not None:
            chosen = np.ix_(usable, usable)
            bonds, known = _fisher(ours[chosen]), _fisher(theirs[chosen])
    return Costs(names, found, bonds, known)


def _learned(reference: Reference, columns: int) -> Floats | None:
    """The correlations that the reference has learned, as a matrix; None where it has none."""
    told = reference.learned.correlations if reference.learned is not None else ()
    if len(told) != columns * (columns - 1) // 2 or not told:
        return None
    found = np.zeros((columns, columns))
    found[np.tril_indices(columns, -1)] = told
    return found + found.T


_memo: dict[tuple[str, int], Floats] = {}


def _expected(layout: Layout, reference: Reference, place: int) -> Floats:
    """The reference's distribution of every numeric column in the buckets of one of them, joined; zero where a column
    has no shape. Remembered, because every window asks for it."""
    key = (reference.revision, place)
    if key not in _memo:
        ends, shapes = bucket_ends(layout.numeric[place]), _shaped(layout, reference)
        width = 2 * BUCKETS // _COARSE + 1
        found = np.zeros((len(layout.numeric), width))
        for other, shape in shapes.items():
            found[other] = _coarse(bucket_shares(shape, ends))
        while len(_memo) >= _MEMO_SIZE:
            _memo.pop(next(iter(_memo)))
        _memo[key] = found
    return _memo[key]


def _shaped(layout: Layout, reference: Reference) -> dict[int, Shape]:
    """The shapes of the numeric columns that vary in the reference, by place in the layout."""
    found: dict[int, Shape] = {}
    for place, slots in enumerate(layout.numeric):
        part = reference.feature(slots.name)
        shape = None if part is None else Shape.of(part)
        if shape is not None and len(shape.points) > 1:
            found[place] = shape
    return found


def divergences(window: Floats, expected: Floats) -> Floats:
    """Kullback-Leibler divergence of a window's shares from each of several distributions (rows), nats per row."""
    background = expected.mean(axis=0)
    background = 0.99 * background + 0.01 / len(background)
    mixed = (1 - _BACKGROUND) * expected + _BACKGROUND * background
    there = window > 0
    return (window[there] * np.log(window[there] / mixed[:, there])).sum(axis=1)


def _coarse(counts: Floats) -> Floats:
    middle = len(counts) // 2
    low, high = counts[:middle], counts[middle + 1 :]
    joined = [low.reshape(-1, _COARSE).sum(axis=1), counts[middle : middle + 1]]
    return np.concatenate([*joined, high.reshape(-1, _COARSE).sum(axis=1)])


def _fisher(correlations: Floats) -> Floats:
    limit = np.tanh(_FARTHEST)
    return np.arctanh(np.clip(np.nan_to_num(correlations), -limit, limit)) * (1 - np.eye(len(correlations)))


def _assigned(divergence: Floats) -> Integers:
    # 40 MB that only a process needs in which columns have moved.
    from scipy.optimize import linear_sum_assignment

    return cast(Integers, linear_sum_assignment(divergence)[1]).astype(np.int64)


def _improved(costs: Costs, order: Integers) -> Integers:
    """Exchange pairs while that lowers the cost; also from the columns as they are. The better of the two ends."""
    ends = [_descended(costs, start) for start in (order, np.arange(len(order)))]
    return min(ends, key=costs.of)


def _descended(costs: Costs, order: Integers) -> Integers:
    order, best = order.copy(), costs.of(order)
    if not len(costs.bonds):
        return order
    better = True
    while better:
        better = False
        for one in range(len(order)):
            for other in range(one):
                order[[one, other]] = order[[other, one]]
                cost = costs.of(order)
                if cost < best - 1e-9:
                    best, better = cost, True
                else:
                    order[[one, other]] = order[[other, one]]
    return order
