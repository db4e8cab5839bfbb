"""Distances of two samples of whole rows, from the products of pairs of columns and from random features."""

import math
from typing import Final

import numpy as np

from detectors.columns import Floats
from detectors.kernels_rows import CROSS_UNIT
from detectors.library.measure import Found, absent
from detectors.library.samples import RowsSample

EXPLAINED: Final = 0.9
"""The share of the reference's variance that the leading components are to hold."""
WAVE_POWER: Final = 8 / 15
"""Mean square of a parabola wave of height 1 over its period."""
_RIDGE: Final = 1e-6
_ROWS: Final = 2
_FEW = "it takes two rows"


def correlations(sample: RowsSample) -> Floats:
    """Correlations; NaN with a column that is constant."""
    deviation = np.sqrt(np.maximum(np.diagonal(sample.covariance), 0.0))
    deviation = np.where(deviation < 1 / CROSS_UNIT, np.nan, deviation)
    return np.clip(sample.covariance / np.outer(deviation, deviation), -1.0, 1.0)


def correlation_change(before: RowsSample, now: RowsSample) -> Found:
    """The greatest difference of a correlation; `detail` names the pair."""
    if min(before.rows, now.rows) < _ROWS:
        return absent(_FEW)
    apart = np.abs(np.triu(correlations(now) - correlations(before), 1))
    if np.isnan(apart[np.triu_indices(len(apart), 1)]).all():
        return absent("all pairs have a constant column")
    place = int(np.nanargmax(apart))
    i, j = divmod(place, len(apart))
    return Found(float(apart[i, j]), detail=f"{before.names[i]} with {before.names[j]}")


def covariance_change(before: RowsSample, now: RowsSample) -> Found:
    """Frobenius' norm of the difference of the covariances, as a share of the reference's."""
    if min(before.rows, now.rows) < _ROWS:
        return absent(_FEW)
    size = float(np.linalg.norm(before.covariance))
    if size <= 0:
        return absent("the reference is constant")
    return Found(float(np.linalg.norm(now.covariance - before.covariance)) / size)


def reconstruction(before: RowsSample, now: RowsSample) -> Found:
    """Logarithm of the ratio of the mean squared distances to the reference's leading components."""
    if min(before.rows, now.rows) < _ROWS:
        return absent(_FEW)
    values, vectors = np.linalg.eigh(before.covariance)
    shares = np.cumsum(values[::-1]) / max(float(values.sum()), 1e-300)
    kept = int(np.searchsorted(shares, EXPLAINED)) + 1
    rest = vectors[:, : len(values) - kept]
    usual = _left_over(rest, before, before)
    if rest.shape[1] == 0 or usual <= _RIDGE:
        return absent(f"{kept} components hold all of the reference: nothing is left to reconstruct")
    found = _left_over(rest, before, now)
    return Found(math.log(max(found, _RIDGE) / usual), detail=f"{kept} of {len(values)} components")


def _left_over(rest: Floats, before: RowsSample, now: RowsSample) -> float:
    apart = now.mean - before.mean
    return float(np.trace(rest.T @ (now.covariance + np.outer(apart, apart)) @ rest))


def mahalanobis(before: RowsSample, now: RowsSample) -> Found:
    """The distance of the mean rows in standard deviations of the reference along its own axes."""
    if min(before.rows, now.rows) < _ROWS:
        return absent(_FEW)
    size = float(np.trace(before.covariance)) / len(before.mean)
    if size <= 0:
        return absent("the reference is constant")
    ridged = before.covariance + _RIDGE * size * np.eye(len(before.mean))
    apart = now.mean - before.mean
    return Found(math.sqrt(max(float(apart @ np.linalg.solve(ridged, apart)), 0.0)))


def mean_embedding(before: RowsSample, now: RowsSample) -> Found:
    """The maximum mean discrepancy of the standardised rows, from random features, without the part that
    chance alone brings."""
    return discrepancy(before.waves[""], now.waves[""], before.rows, now.rows)


def discrepancy(before: Floats, now: Floats, rows: int, more: int) -> Found:
    """The same of the means of random features over so many rows."""
    if min(rows, more) < _ROWS:
        return absent(_FEW)
    apart = now - before
    spread = max(WAVE_POWER - float(before @ before) / len(before), 0.0)
    squared = float(apart @ apart) / len(apart) - spread * (1 / rows + 1 / more)
    return Found(math.sqrt(max(squared, 0.0)))
