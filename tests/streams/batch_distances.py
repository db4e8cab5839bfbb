"""Distances from the reference and areas under the curve, computed with pandas and NumPy from single rows.

Taken from the product are the edges and the names of a reference, for they are part of what a measure means: a psi is
one of certain bins. How many rows lie between the edges, in the window and in the reference, is counted here.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from detectors.reference import FeatureReference, Reference
from detectors.values import MetricPoint
from streams.judge.seals import Seal
from tests.streams.batch_truth import Measure, Truth, is_missing, window_of

Floats = npt.NDArray[np.float64]
Values = npt.NDArray[Any]

_SCORE_EDGES = np.arange(1, 64) / 64
_GROUPS = 10
_LEAST_WORTH = 0.75
"""A psi adds half an observation to each group, and how many independent observations the rows are worth the product
estimates from 1,024 hashed cells: all rows here differ, and it says so within 4 % (one standard error). What psi would
be if each row were worth three quarters of one is the tolerance: .0005 for a psi of .03 of 260 rows."""
_EXACT = 1e-9
_LEAST_ROWS, _LEAST_OF_A_CLASS = 30, 5


class Before:
    """A reference (of a segment: its own) and the rows that it was made of: `values` of each column as `_values` gives
    them, without what is missing."""

    def __init__(self, reference: Reference, rows: pd.DataFrame) -> None:
        self.features = reference.features
        self.values = {part.spec.name: _values(rows, part) for part in reference.features}
        self.score_bins = _score_bins(rows["score"].dropna())


class Told(NamedTuple):
    """What a measure is, of how many rows, and how far from it the product may be."""

    value: float
    rows: int
    tolerance: float = _EXACT


def assert_distances(
    truth: Truth,
    seals: Iterable[Seal],
    points: Iterable[MetricPoint],
    before: Mapping[tuple[str, str, str], Before],
) -> dict[str, int]:
    """Compare the final psi, ks and auc of every window with those of its rows; how many there were of each. A segment
    that is not in `before` is one that the reference does not know: it has no distances."""
    found: dict[tuple[object, ...], MetricPoint] = {
        (*window_of(point), point.measure, point.feature): point for point in points
    }
    compared: dict[str, int] = {}
    for seal in seals:
        rows = truth.window(seal)
        told = areas(rows)
        mine = before.get((seal.model, seal.version, seal.segment))
        if seal.axis == "event" and mine is not None:
            told |= distances(rows, mine)
        elif seal.axis == "event":
            strange = [
                one for place, one in found.items() if place[: len(window_of(seal))] == window_of(seal)
            ]
            assert all(one.value is None for one in strange if one.measure in ("psi", "ks")), strange
        for (measure, feature), expected in told.items():
            where = (*window_of(seal), measure, feature)
            point = found.get(where)
            assert point is not None, f"no point {where}"
            assert point.value is not None, f"{where} is undefined: {point.undefined}"
            assert point.rows == expected.rows, f"{where} counts {point.rows} rows, pandas {expected.rows}"
            apart = abs(point.value - expected.value)
            assert apart <= expected.tolerance, f"{where} is {point.value!r}, by the rows {expected}"
            compared[measure] = compared.get(measure, 0) + 1
    return compared


def distances(rows: pd.DataFrame, before: Before) -> dict[Measure, Told]:
    """psi and ks of every feature and of the score, as far as there are 30 rows."""
    found: dict[Measure, Told] = {}
    for part in before.features:
        name, now = part.spec.name, _values(rows, part)
        then = before.values[name]
        if len(now) < _LEAST_ROWS:
            continue
        if part.spec.kind == "categorical":
            names = len(part.categories) + 1
            found["psi", name] = _psi(_counts(now, names), _counts(then, names), _by_rank)
            continue
        edges = np.asarray(part.edges, dtype=np.float32)
        bins = [_counts(np.searchsorted(edges, one), len(edges) + 1) for one in (now, then)]
        found["psi", name] = _psi(bins[0], bins[1], _by_share)
        found["ks", name] = Told(_ks(now, then, edges), len(now))
    now, then = _score_bins(rows["score"].dropna()), before.score_bins
    if len(now) >= _LEAST_ROWS:
        found["score_psi", None] = _psi(_counts(now, 64), _counts(then, 64), _by_share)
        found["score_ks", None] = Told(_ks(now, then, np.arange(63)), len(now))
    return found


def areas(rows: pd.DataFrame) -> dict[Measure, Told]:
    """auc by the ranks of the score bins, exact; the one by the ranks of the scores themselves must not be further from
    it than half the share of pairs that lie in one bin."""
    known = rows[rows["label"].notna() & rows["score"].notna()]
    true = known["label"] > 0.5
    if len(known) < _LEAST_ROWS or min(int(true.sum()), int((~true).sum())) < _LEAST_OF_A_CLASS:
        return {}
    bins = pd.Series(_score_bins(known["score"]), index=known.index)
    value = _area(bins, true)
    good, bad = (np.bincount(bins[one], minlength=64) for one in (true, ~true))
    ties = float((good * bad).sum()) / (good.sum() * bad.sum())
    assert abs(_area(known["score"], true) - value) <= ties / 2 + _EXACT
    return {("auc", None): Told(value, int(rows["label"].notna().sum()))}


def _area(values: pd.Series, true: pd.Series) -> float:
    """Mann and Whitney's statistic; equal values count half."""
    good, bad = int(true.sum()), int((~true).sum())
    return float(values.rank()[true].sum() - good * (good + 1) / 2) / (good * bad)


def _ks(now: Values, then: Values, edges: Values) -> float:
    """The largest difference of the shares at or below an edge."""
    shares = [np.searchsorted(np.sort(one), edges, side="right") / len(one) for one in (now, then)]
    return float(np.abs(shares[0] - shares[1]).max())


def _psi(now: Floats, then: Floats, groups_of: Callable[[Floats], list[int]]) -> Told:
    groups = np.unique(groups_of(then), return_inverse=True)[1]
    ours, theirs = (np.bincount(groups, weights=one) for one in (now, then))

    def value(worth: float) -> float:
        p, q = ((one + 0.5) / (one + 0.5).sum() for one in (ours * worth, theirs))
        return float(((p - q) * np.log(p / q)).sum())

    return Told(value(1.0), int(now.sum()), abs(value(_LEAST_WORTH) - value(1.0)) + _EXACT)


def _by_share(then: Floats) -> list[int]:
    """Neighbours together, about a tenth of the reference in each group."""
    total, seen, groups = then.sum(), 0.0, list[int]()
    for count in then:
        groups.append(min(int((seen + count / 2) / total * _GROUPS), _GROUPS - 1))
        seen += count
    return groups


def _by_rank(then: Floats) -> list[int]:
    """The most frequent names alone, the others together."""
    return [min(place, _GROUPS - 1) for place in range(len(then))]


def _values(rows: pd.DataFrame, part: FeatureReference) -> Values:
    """What a column holds besides missing values: numbers at single precision, names as their rank in the reference
    (behind the last one for a new name)."""
    column = rows[f"f.{part.spec.name}"]
    column = column[~is_missing(column)]
    if part.spec.kind != "categorical":
        return _single(column)
    ranks = {name: rank for rank, (name, _) in enumerate(part.categories)}
    return column.map(ranks).fillna(len(ranks)).to_numpy().astype(np.int64)


def _single(values: pd.Series) -> Values:
    with np.errstate(over="ignore"):
        return values.to_numpy().astype(np.float32)


def _counts(places: Values, number: int) -> Floats:
    return np.bincount(places, minlength=number).astype(float)


def _score_bins(scores: pd.Series) -> Values:
    return np.searchsorted(_SCORE_EDGES.astype(np.float32), _single(scores), side="right")
