"""The laws that every measure keeps, tried on samples that are made for it: equal ones, empty ones, odd ones."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Final, TypeVar

import numpy as np

from detectors.columns import Floats
from detectors.library.measure import Found, Measure
from detectors.library.samples import ColumnSample, Knots, RowsSample
from detectors.sketches import Moments

_EDGES: Final = np.array([-1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
_CLOSE: Final = 1e-9
_TIMES: Final = 3
Sample = TypeVar("Sample", ColumnSample, RowsSample)


def broken_law(measure: Measure) -> str | None:
    """Which law a measure breaks, in words, or None.

    It raises nothing; it gives a finite number within its bounds or a reason; it is 0 between equal samples; it
    leaves its arguments alone; it is symmetric and free of the number of rows where it says so.
    """
    if (measure.column is None) == (measure.rows is None):
        return "has to have one of column and rows"
    if measure.column is not None:
        for kind in measure.kinds:
            because = _checked(measure, measure.column, list(_columns(kind == "categorical")), _more_columns)
            if because:
                return because
        return None
    return _checked(measure, measure.rows, list(_rows()), _more_rows) if measure.rows else None


def _checked(
    measure: Measure,
    of: Callable[[Sample, Sample], Found],
    samples: Sequence[Sample],
    more: Callable[[Sample], Sample],
) -> str | None:
    for before, now in product(samples, samples):
        kept = repr(before), repr(now)
        found = of(before, now)
        if (repr(before), repr(now)) != kept:
            return "changes its arguments"
        because = _in_bounds(measure, found) or (before is now and _not_zero(found)) or None
        if because:
            return because
        if measure.symmetric and not _same(found, of(now, before)):
            return f"says it is symmetric, and is {found.value} one way and {of(now, before).value} the other"
        if measure.of_shares and not _same(found, of(more(before), more(now))):
            return f"says it depends on shares alone, and is not {found.value} with {_TIMES} times the rows"
    return None


def _in_bounds(measure: Measure, found: Found) -> str | None:
    if found.value is None:
        return None if found.because else "gives neither a value nor a reason"
    if not math.isfinite(found.value) or not math.isfinite(found.error):
        return f"gives {found.value} with error {found.error}; undefined is told by a reason"
    if not measure.least - _CLOSE <= found.value <= measure.greatest + _CLOSE:
        return f"gives {found.value}, outside {measure.least} to {measure.greatest}"
    return None


def _not_zero(found: Found) -> str | None:
    if found.value is not None and abs(found.value) > _CLOSE:
        return f"is {found.value} between equal samples; it must be 0"
    return None


def _same(one: Found, other: Found) -> bool:
    """Whether two numbers are one; where there is none, there is nothing to compare."""
    if one.value is None or other.value is None:
        return True
    return math.isclose(one.value, other.value, rel_tol=1e-6, abs_tol=1e-9)


def _columns(categorical: bool) -> Iterator[ColumnSample]:
    spread, drawn = np.linspace(-2.0, 2.0, 41), np.sin(np.arange(60) * 1.7)
    for values in (spread, drawn, drawn + 0.7, spread * 1.5, np.full(30, 0.5), spread[:1], np.zeros(0)):
        yield _categories(values) if categorical else _numbers(values)


def _numbers(values: Floats) -> ColumnSample:
    counts = np.bincount(np.searchsorted(_EDGES, values), minlength=len(_EDGES) + 1).astype(np.int64)
    if not len(values):
        return ColumnSample("x", "numeric", 5, 5, 0, counts, counts.astype(np.float64), _EDGES, None, None)
    moments = Moments(len(values), float(values.mean()), float(values.var()))
    places, repeats = np.unique(values, return_counts=True)
    shares = np.cumsum(repeats) / len(values)
    lower = np.nextafter(places, -np.inf)
    knots = Knots(
        np.stack([lower, places], 1).ravel(), np.stack([np.append(0.0, shares[:-1]), shares], 1).ravel()
    )
    return ColumnSample(
        "x",
        "numeric",
        len(values) + 5,
        5,
        len(values),
        counts,
        counts.astype(np.float64),
        _EDGES,
        moments,
        knots,
    )


def _categories(values: Floats) -> ColumnSample:
    counts = np.bincount(np.searchsorted(_EDGES, values), minlength=len(_EDGES) + 1).astype(np.int64)
    groups = counts.astype(np.float64)
    return ColumnSample(
        "x", "categorical", len(values) + 5, 5, len(values), counts, groups, np.zeros(0), None, None
    )


def _rows() -> Iterator[RowsSample]:
    turns = np.arange(50)[:, None] * np.array([[1.7, 2.3, 0.9]])
    drawn = np.sin(turns)
    joined = drawn.copy()
    joined[:, 1] = drawn[:, 0]
    for values in (drawn, drawn + 0.5, joined, drawn * 1.3, drawn * 0.0, drawn[:1], drawn[:0]):
        mean = values.mean(axis=0) if len(values) else np.zeros(3)
        centred = values - mean
        waves = np.cos(values @ np.ones((3, 8)) + np.arange(8)).mean(axis=0) if len(values) else np.zeros(8)
        covariance = centred.T @ centred / max(len(values), 1)
        yield RowsSample(("a", "b", "c"), len(values), mean, covariance, {"": waves})


def _more_columns(sample: ColumnSample) -> ColumnSample:
    moments = sample.moments and sample.moments._replace(rows=sample.moments.rows * _TIMES)
    rows, missing, present = (_TIMES * part for part in (sample.rows, sample.missing, sample.present))
    return sample._replace(
        rows=rows,
        missing=missing,
        present=present,
        counts=sample.counts * _TIMES,
        groups=sample.groups * _TIMES,
        moments=moments,
    )


def _more_rows(sample: RowsSample) -> RowsSample:
    return sample._replace(rows=sample.rows * _TIMES)
