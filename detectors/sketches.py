"""What the mergeable sketches of a profile say: quantiles, distinct values, moments, correlations."""

import math
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Floats, Integers
from detectors.kernels import WAVE_GREATEST
from detectors.kernels_rows import CROSS_UNIT, FRACTION, MANTISSA_BITS, REGISTER_BITS, Bytes

QUANTILE_ERROR: Final = 1 / (2 ** (MANTISSA_BITS + 1) + 1)
"""Relative error of a quantile: half a bucket of 1/16 octave, seen from both of its ends: 1/33."""
DISTINCT_ERROR: Final = 1.04 / math.sqrt(2**REGISTER_BITS)
"""Relative standard error of a distinct count: 4.6 %."""


GREATEST_RANK: Final = 32 - REGISTER_BITS + 1
"""The greatest value of a register."""


class Moments(NamedTuple):
    """Rows with a value, their mean and their variance; values beyond 2^16 standard deviations of the reference
    count as that far."""

    rows: int
    mean: float
    variance: float


def moments(sums: Integers, rows: int, center: float, scale: float) -> Moments:
    """From sums of u and u^2 of the standardised values, each as whole parts and 2^-30ths."""
    first = (int(sums[0]) + int(sums[1]) / FRACTION) / rows
    second = (int(sums[2]) + int(sums[3]) / FRACTION) / rows
    return Moments(rows, center + scale * first, scale * scale * max(second - first * first, 0.0))


def quantile(counts: Integers, share: float, first: int) -> float | None:
    """The value below which a share of the rows lies, from counts by logarithmic bucket; None without rows.

    It differs from the order statistic of rank floor(share (n - 1)) by at most `QUANTILE_ERROR` of it; nearer to
    zero than the first bucket it is 0; beyond the last it is infinite. Source: Masson, Rim and Lee, DDSketch
    (2019).
    """
    rows = int(counts.sum())
    if rows <= 0:
        return None
    rank = math.floor(share * (rows - 1))
    place = int(np.searchsorted(np.cumsum(counts), rank, side="right")) - len(counts) // 2
    if place == 0:
        return 0.0
    if abs(place) == len(counts) // 2:
        return math.copysign(math.inf, place)
    low, high = (_edge(first + abs(place) + step) for step in (0, 1))
    return math.copysign(2 * low * high / (low + high), place)


def _edge(bucket: int) -> float:
    """The magnitude at which a bucket begins."""
    bits = np.array([bucket << (23 - MANTISSA_BITS)], dtype=np.int32)
    return float(bits.view(np.float32)[0])


def distinct(registers: Bytes) -> float:
    """How many distinct values were seen, from HyperLogLog registers of 32-bit hashes.

    The improved estimator of Ertl, New cardinality estimation algorithms for HyperLogLog sketches (2017): one
    formula for small and large counts.
    """
    size = len(registers)
    ranks = GREATEST_RANK - 1
    counts = np.bincount(registers, minlength=ranks + 2).astype(np.float64)
    total = size * _tau(1 - counts[ranks + 1] / size)
    for rank in range(ranks, 0, -1):
        total = (total + counts[rank]) / 2
    total += size * _sigma(counts[0] / size)
    return size * size / (2 * math.log(2)) / total if total > 0 else math.inf


def _sigma(x: float) -> float:
    if x == 1:
        return math.inf
    power, total, last = 1.0, x, -1.0
    while total != last:
        x, last = x * x, total
        total += x * power
        power *= 2
    return total


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    power, total, last = 1.0, 1 - x, -1.0
    while total != last:
        x, last = math.sqrt(x), total
        power /= 2
        total -= (1 - x) ** 2 * power
    return total / 3


def correlation(products: Integers, sums: Integers, rows: int) -> Floats:
    """Pearson's correlations from the sums of pairs (i <= j) and of single columns; NaN where one is constant.

    Values enter as whole 2^-12ths of the reference's standard deviation, 64 of them at most, missing ones as the
    reference's mean. Without missing values, and with a spread near the reference's, rounding puts an entry off
    by about 1e-4 / sqrt(rows): an error of 2^-12 / sqrt(12) in each factor, averaged over the rows.
    """
    count = len(sums)
    upper = np.triu_indices(count)
    mean = sums / max(rows, 1)
    covariance = np.zeros((count, count), dtype=np.float64)
    covariance[upper] = products / max(rows, 1) - mean[upper[0]] * mean[upper[1]]
    deviation = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    deviation[deviation < 1 / CROSS_UNIT] = np.nan
    found = covariance / np.outer(deviation, deviation)
    found[upper[::-1]] = found[upper]
    return np.clip(found, -1.0, 1.0)


def random_features(sums: Integers, rows: int) -> Floats:
    """Means of the waves, each within [-1, 1]."""
    return sums / (WAVE_GREATEST * max(rows, 1))
