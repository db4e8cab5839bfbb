"""What a reference keeps of one column."""

import numpy as np
from msgspec.structs import replace

from detectors.columns import Column, Floats, Singles, categories, numbers, singles, vectors_of
from detectors.kernels_rows import norms
from detectors.outcome_counts import binned
from detectors.reference_values import FeatureReference
from detectors.text import vocabulary
from detectors.values import FeatureSpec

BINS = 64
MASS_SHARE = 0.02
MASSES = 8
CATEGORIES = 64
STAND_INS = (0.0, -1.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0)
"""Numbers that systems write where nothing was measured; counted exactly in every numeric column."""


def feature_reference(spec: FeatureSpec, column: Column) -> FeatureReference:
    """What is kept of one column."""
    if spec.text:
        missing = int((categories(column)[1] < 0).sum())
        words = vocabulary(column)
        return FeatureReference(spec=spec, missing=missing, other=len(column) - missing, words=words)
    if spec.kind == "categorical":
        return _categorical(spec, column)
    if spec.kind == "embedding":
        return _embedding(spec, column)
    return _numeric(spec, numbers(column))


def _numeric(spec: FeatureSpec, values: Floats) -> FeatureReference:
    given = values[~np.isnan(values)]
    found = singles(given)
    whole = np.isfinite(found)
    if not whole.any():
        return FeatureReference(spec=spec, missing=len(values) - len(given), counts=(len(given),))
    finite, edges = given[whole], quantile_edges(found[whole])
    return FeatureReference(
        spec=spec,
        missing=len(values) - len(given),
        edges=tuple(float(edge) for edge in edges),
        counts=tuple(int(count) for count in binned(found, edges)),
        minimum=float(found[whole].min()),
        maximum=float(found[whole].max()),
        mean=float(finite.mean()),
        variance=float(finite.var()),
        top=_exact(found),
    )


def _embedding(spec: FeatureSpec, column: Column) -> FeatureReference:
    """The norm as a number, and mean and deviation of each place over the vectors that are there."""
    vectors = vectors_of(column, spec.size)
    there = vectors[np.isfinite(vectors).all(axis=1)].astype(np.float64)
    norm = _numeric(spec, norms(vectors))
    if not len(there):
        return replace(norm, centers=(0.0,) * spec.size, deviations=(1.0,) * spec.size)
    return replace(
        norm,
        centers=tuple(float(mean) for mean in there.mean(axis=0)),
        deviations=tuple(float(deviation) for deviation in there.std(axis=0)),
    )


def quantile_edges(values: Singles) -> Singles:
    """Inner edges that are values of the column: all distinct values where they are few, or quantiles."""
    distinct = np.unique(values)
    if len(distinct) > BINS:
        ordered = np.sort(values)
        ranks = (np.arange(1, BINS) * len(ordered) + BINS - 1) // BINS - 1
        distinct = np.unique(np.append(ordered[ranks], ordered[-1]))
    return distinct[:-1]


def _exact(values: Singles) -> tuple[tuple[float, int], ...]:
    found, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    order = np.lexsort((found, -counts))[:MASSES]
    masses = {float(found[i]) for i in order if counts[i] >= MASS_SHARE * len(values)}
    tracked = sorted(masses | set(STAND_INS))
    return tuple((value, int((values == np.float32(value)).sum())) for value in tracked)


def _categorical(spec: FeatureSpec, column: Column) -> FeatureReference:
    names, codes = categories(column)
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    ranked = sorted(
        ((name, int(count)) for name, count in zip(names, counts, strict=True) if name), key=_rank
    )
    return FeatureReference(
        spec=spec,
        missing=int((codes < 0).sum()),
        categories=tuple(ranked[:CATEGORIES]),
        other=sum(count for _, count in ranked[CATEGORIES:]),
    )


def _rank(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
