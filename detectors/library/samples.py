"""What a measure is shown of a profile: one column, or all numeric columns together, as counts and never as rows."""

from typing import NamedTuple

import numpy as np

from detectors.columns import Floats, Integers
from detectors.distances import coarse_groups
from detectors.kernels_rows import CROSS_UNIT, MANTISSA_BITS
from detectors.layout import CategoricalSlots, NumericSlots
from detectors.profile import Profile
from detectors.sampling import standardised
from detectors.sketches import Moments
from detectors.values import FeatureKind


class Knots(NamedTuple):
    """Places on the number line, ascending, and the share of a sample at or below each of them."""

    places: Floats
    shares: Floats


class ColumnSample(NamedTuple):
    """One column of a profile: `rows`, of them `missing` without a value and `present` with one.

    `counts`: by quantile bin of the reference (bin i holds edges[i-1] < x <= edges[i]), or by category, the last one
    being all that the reference does not name; `groups`: by about ten groups that hold equal shares of the reference.
    `moments` and `knots`: of numbers with a value, else None.
    """

    name: str
    kind: FeatureKind
    rows: int
    missing: int
    present: int
    counts: Integers
    groups: Floats
    edges: Floats
    moments: Moments | None
    knots: Knots | None


class RowsSample(NamedTuple):
    """All numeric columns of a profile together, standardised by the reference, missing values being its mean.

    `mean`, shape (k,), and `covariance`, shape (k, k), in standard deviations of the reference; `waves`: means of
    random features by name of their columns ("" for the numeric ones). `drawn`: a sample of the rows, shape (rows, k),
    in the same units, where the reference asks for one (see `detectors.sampling`).
    """

    names: tuple[str, ...]
    rows: int
    mean: Floats
    covariance: Floats
    waves: dict[str, Floats]
    drawn: Floats | None = None


def column_sample(profile: Profile, slots: NumericSlots | CategoricalSlots, group: Integers) -> ColumnSample:
    """The column that stands in these slots; `group`: of each bin."""
    counters, rows, missing = profile.counters, profile.rows, int(profile.counters[slots.missing])
    if isinstance(slots, CategoricalSlots):
        counts = np.append(counters[slots.categories], counters[slots.other])
        groups = np.bincount(group, weights=counts).astype(np.float64)
        there = int(counts.sum())
        return ColumnSample(
            slots.name, "categorical", rows, missing, there, counts, groups, np.zeros(0), None, None
        )
    embedded = any(slots.name == one.name for one in profile.layout.embeddings)
    counts, there = counters[slots.bins], int(counters[slots.bins].sum())
    return ColumnSample(
        name=slots.name,
        kind="embedding" if embedded else "numeric",
        rows=rows,
        missing=missing,
        present=there,
        counts=counts,
        groups=np.bincount(group, weights=counts).astype(np.float64),
        edges=slots.edges.astype(np.float64),
        moments=profile.moments(slots.name) if there else None,
        knots=_knots(profile, slots, counts, there) if there else None,
    )


def column_samples(profile: Profile) -> list[ColumnSample]:
    """All columns."""
    places = (*profile.layout.numeric, *profile.layout.categorical)
    groups = _groups_of(profile)
    return [column_sample(profile, slots, group) for slots, group in zip(places, groups, strict=True)]


_memo: dict[str, tuple[Integers, ...]] = {}
_MEMO_SIZE = 256


def _groups_of(profile: Profile) -> tuple[Integers, ...]:
    """The groups of the bins of each column; the last references are remembered by their revision."""
    reference, layout = profile.reference, profile.layout
    if reference is None:
        return ()
    found = _memo.get(reference.revision)
    if found is None:
        parts = {part.spec.name: part for part in reference.features}
        numbers = [
            coarse_groups(np.array(parts[slots.name].counts, dtype=np.int64)) for slots in layout.numeric
        ]
        text = [
            coarse_groups(np.zeros(len(slots.index) + 1, dtype=np.int64), ordered=False)
            for slots in layout.categorical
        ]
        if len(_memo) >= _MEMO_SIZE:
            _memo.pop(next(iter(_memo)))
        found = _memo[reference.revision] = (*numbers, *text)
    return found


def rows_sample(profile: Profile) -> RowsSample | str:
    """The numeric columns together, or why there is nothing to see."""
    layout, rows = profile.layout, profile.rows
    if len(layout.numeric) < 2:
        return "it takes two numeric columns"
    waves = {"": profile.random_features()}
    waves |= {slots.name: profile.random_features(slots.name) for slots in layout.embeddings}
    count = len(layout.numeric)
    products = profile.counters[layout.cross]
    if not len(products):
        return f"the products of {count} numeric columns are not kept: they are too many"
    upper = np.triu_indices(count)
    mean = profile.counters[layout.cross_sums] / (max(rows, 1) * CROSS_UNIT)
    second = np.zeros((count, count), dtype=np.float64)
    second[upper] = products / (max(rows, 1) * float(CROSS_UNIT) ** 2)
    second[upper[::-1]] = second[upper]
    drawn = None if profile.drawn is None else standardised(layout, profile.drawn)
    return RowsSample(layout.numeric_names, rows, mean, second - np.outer(mean, mean), waves, drawn)


def _knots(profile: Profile, slots: NumericSlots, counts: Integers, there: int) -> Knots:
    """Shares at the edges of the bins and of the logarithmic buckets: both are counted exactly. A bin holds its upper
    edge, a bucket does not: its shares stand one number lower."""
    edges, below = slots.edges.astype(np.float64), np.cumsum(counts)[:-1] / there
    buckets = profile.counters[slots.buckets]
    used = np.flatnonzero(buckets)
    tops = np.cumsum(buckets)[used] / there
    first, last = _bucket_ends(used - slots.bucket_count, slots.bucket_first, slots.bucket_count)
    places = np.concatenate([edges, np.nextafter(first, -np.inf), np.nextafter(last, -np.inf)])
    shares = np.concatenate([below, tops - buckets[used] / there, tops])
    order = np.lexsort((shares, places))
    return Knots(places[order], np.maximum.accumulate(shares[order]))


def _bucket_ends(signed: Integers, first: int, count: int) -> tuple[Floats, Floats]:
    """Where the logarithmic buckets of these numbers (0: around zero, negative: below it) begin and end."""
    magnitude = np.abs(signed)
    inner = np.where(magnitude == 0, 0.0, _magnitude(first + magnitude))
    outer = _magnitude(first + np.minimum(magnitude, count - 1) + 1)
    low, high = np.where(signed < 0, -outer, inner), np.where(signed < 0, -inner, outer)
    return np.where(signed == 0, -outer, low), high


def _magnitude(bucket: Integers) -> Floats:
    bits = (np.asarray(bucket, dtype=np.int64) << (23 - MANTISSA_BITS)).astype(np.int32)
    return bits.view(np.float32).astype(np.float64)
