"""The slices of the rows in which a model errs most, beyond what searching for them finds by chance."""

from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from detectors.columns import Floats

LEAST_ROWS: Final = 50
MOST_VALUES: Final = 12
"""Values of a category that are looked at, the commonest; numbers are cut into quarters."""
PAIRED: Final = 12
"""The worst single conditions, of which pairs are looked at."""
_NORMAL: Final = 1.96

Mask = npt.NDArray[np.bool_]


class Condition(NamedTuple):
    """What rows of a slice have in common, in words, and which rows these are."""

    column: str
    words: str
    rows: Mask


class Slice(NamedTuple):
    """Rows with a mean loss above that of all others. low, high: of the difference, an interval of 95 % for this slice
    alone; `chance`: probability of so large a difference anywhere in the search, were there none."""

    conditions: tuple[str, ...]
    rows: int
    loss: float
    rest: float
    low: float
    high: float
    chance: float


class Searched(NamedTuple):
    """Slices, surest first, of `candidates` that were counted as looked at."""

    slices: tuple[Slice, ...]
    candidates: int


def worst_slices(
    features: Mapping[str, npt.NDArray[Any]], losses: Floats, *, most: int = 5, level: float = 0.05
) -> Searched:
    """Slices of one condition and of two in which the loss is higher than elsewhere.

    features: name -> n values, numbers (NaN is missing) or text (None). losses: n values, such as 1 for an error;
    rows with NaN are left out. most: how many are given. level: greatest chance, over the whole search, that is told.

    All single conditions are looked at, and pairs of the 12 worst; every pair counts in the correction (Bonferroni), so
    that choosing by looking costs nothing. A slice whose part is as bad and smaller is not told besides it. Compared
    are means of two samples (Welch), with at least 50 rows on either side.
    """
    known = np.isfinite(losses)
    loss = losses[known]
    singles = [
        one for name, column in features.items() for one in _conditions(name, np.asarray(column)[known])
    ]
    pairs = sum(first.column != second.column for first, second in combinations(singles, 2))
    candidates = len(singles) + pairs
    rated = [(_rate((one,), loss, candidates), (one,)) for one in singles]
    worst = sorted((each for each in rated if each[0] is not None), key=_surest)[:PAIRED]
    for (_, (first,)), (_, (second,)) in combinations(worst, 2):
        if first.column != second.column:
            rated.append((_rate((first, second), loss, candidates), (first, second)))  # pyright: ignore[reportArgumentType]
    found: list[tuple[Slice, Mask]] = []
    for told, conditions in sorted((each for each in rated if each[0] is not None), key=_surest):
        rows = np.logical_and.reduce([one.rows for one in conditions])
        if told is None or told.chance > level or len(found) == most:
            break
        if not any(_overlap(rows, other) > 0.5 for _, other in found):
            found.append((told, rows))
    return Searched(tuple(told for told, _ in found), candidates)


def _conditions(name: str, column: npt.NDArray[Any]) -> list[Condition]:
    if column.dtype.kind in "OUS":
        values = np.array([None if one is None else str(one) for one in column.tolist()], dtype=object)
        names, counts = np.unique([one for one in values if one is not None], return_counts=True)
        common = names[np.argsort(-counts, kind="stable")][:MOST_VALUES]
        found = [Condition(name, f"{name} is {one}", values == one) for one in common]
        missing = np.array([one is None for one in values], dtype=np.bool_)
        return [*found, Condition(name, f"{name} is missing", missing)]
    numbers = column.astype(np.float64)
    present = np.isfinite(numbers)
    found = [Condition(name, f"{name} is missing", ~present)]
    values = np.unique(numbers[present])
    if len(values) <= MOST_VALUES // 2:
        return found + [Condition(name, f"{name} is {one:g}", numbers == one) for one in values]
    edges = np.unique(np.quantile(numbers[present], [0.25, 0.5, 0.75]))
    bounds = [-np.inf, *edges.tolist(), np.inf]
    for low, high in pairwise(bounds):
        words = f"{name} up to {high:.4g}" if low == -np.inf else f"{name} above {low:.4g}"
        if low != -np.inf and high != np.inf:
            words += f" up to {high:.4g}"
        found.append(Condition(name, words, present & (numbers > low) & (numbers <= high)))
    return found


def _rate(conditions: tuple[Condition, ...], loss: Floats, candidates: int) -> Slice | None:
    """The slice, or None where it is too small, too large, or no worse."""
    rows = np.logical_and.reduce([one.rows for one in conditions])
    inside, outside = loss[rows], loss[~rows]
    if min(len(inside), len(outside)) < LEAST_ROWS:
        return None
    apart = float(inside.mean() - outside.mean())
    # One more row at the mean of all keeps a slice without any error from having no variance.
    error = float(np.sqrt(sum(_variance(one, loss) / len(one) for one in (inside, outside))))
    if apart <= 0 or error <= 0:
        return None
    chance = min(1.0, float(np.exp(log_ndtr(-apart / error))) * candidates)
    return Slice(
        conditions=tuple(one.words for one in conditions),
        rows=len(inside),
        loss=float(inside.mean()),
        rest=float(outside.mean()),
        low=apart - _NORMAL * error,
        high=apart + _NORMAL * error,
        chance=chance,
    )


def _variance(part: Floats, every: Floats) -> float:
    return float((part.var() * len(part) + every.var()) / (len(part) + 1))


def _surest(rated: tuple[Slice | None, tuple[Condition, ...]]) -> tuple[float, float]:
    told = rated[0]
    if told is None:
        raise AssertionError("only slices that were rated are ranked")
    return told.chance, -told.low


def _overlap(first: Mask, second: Mask) -> float:
    """Rows of the smaller that are in the other, too."""
    return float((first & second).sum()) / max(1, min(int(first.sum()), int(second.sum())))
