"""Distances between two histograms on the same bins, and between two shares."""

import math
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Column, Floats, Integers
from detectors.compiled import compiled

COARSE_GROUPS: Final = 10
_TINY: Final = float(np.finfo(np.float64).tiny)


def coarse_groups(reference_counts: Column, ordered: bool = True) -> Integers:
    """The group of each bin, so that about ten groups hold equal shares of the reference (numbered from 0).

    ordered: bins of a number line are joined with their neighbours; categories, ranked by frequency, keep
    a group each up to the ninth and share the last.
    """
    if not ordered:
        return np.minimum(np.arange(len(reference_counts)), COARSE_GROUPS - 1)
    middle = np.cumsum(reference_counts) - reference_counts / 2
    raw = np.floor(middle * COARSE_GROUPS / max(float(reference_counts.sum()), 1.0))
    return np.unique(np.minimum(raw, COARSE_GROUPS - 1), return_inverse=True)[1].astype(np.int64)


class Grouped(NamedTuple):
    """A histogram of the reference whose bins are joined: the group of each bin, what each group holds, and how many
    hold anything."""

    group: Integers
    counts: Floats
    occupied: int

    @classmethod
    def of(cls, counts: Floats, *, ordered: bool) -> "Grouped":
        """Of (effective) counts by bin; see `coarse_groups`."""
        group = coarse_groups(counts, ordered)
        joined = np.bincount(group, weights=counts).astype(np.float64)
        return cls(group, joined, int((joined > 0).sum()))


@compiled
def psi(window: Floats, reference: Floats) -> float:
    """Population stability index of two vectors of (effective) counts: sum of (p - q) ln(p / q).

    Half an observation is added to every group, so that an empty one is rare and not infinite. Without a
    change it is about (1/n + 1/m) chi-squared with one degree of freedom less than groups (Yurdakul
    2018).
    """
    count = len(window)
    rows, before, total = 0.5 * count, 0.5 * count, 0.0
    for i in range(count):
        rows += window[i]
        before += reference[i]
    for i in range(count):
        p, q = (window[i] + 0.5) / rows, (reference[i] + 0.5) / before
        total += (p - q) * math.log(p / q)
    return total


@compiled
def grouped_psi(window: Integers, worth: float, group: Integers, reference: Floats) -> float:
    """The same of a histogram whose bins are joined: `group` of each bin, `reference` by group, `worth` of a row."""
    joined = np.zeros(len(reference))
    for i in range(len(window)):
        joined[group[i]] += window[i] * worth
    return psi(joined, reference)


@compiled
def ks(window: Integers, reference: Integers) -> float:
    """Kolmogorov-Smirnov distance of two samples at the edges of their common bins: at most the exact
    distance, and exact where the edges are all the distinct values."""
    rows, before = window.sum(), reference.sum()
    if rows == 0 or before == 0:
        return math.nan
    below, known, most = 0.0, 0.0, 0.0
    for i in range(len(window)):
        below += window[i]
        known += reference[i]
        most = max(most, abs(below / rows - known / before))
    return most


@compiled
def _divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence of two Bernoulli distributions, 0 ln 0 = 0."""
    low = p * math.log(max(p, _TINY) / max(q, _TINY))
    high = (1.0 - p) * math.log(max(1.0 - p, _TINY) / max(1.0 - q, _TINY))
    return max(low + high, 0.0)


@compiled
def deviance(share: Floats, size: float, reference: Floats, reference_size: float) -> Floats:
    """Likelihood ratio statistic of two shares: twice the log-likelihood lost by taking them for one.

    exp(-deviance / 2) bounds the chance of a difference like this (Chernoff), for rare and for common events.
    """
    found = np.empty(len(share))
    for i in range(len(share)):
        pooled = (share[i] * size + reference[i] * reference_size) / (size + reference_size)
        lost = size * _divergence(share[i], pooled) + reference_size * _divergence(reference[i], pooled)
        found[i] = 2.0 * lost
    return found


@compiled
def most_deviant(
    counts: Integers, places: Integers, rows: int, worth: float, reference: Floats, reference_size: float
) -> int:
    """Which of the counts at `places`, as shares of `rows` rows, has the greatest deviance from its share in the
    reference; the first of them."""
    shares = np.empty(len(places))
    for i in range(len(places)):
        shares[i] = counts[places[i]] / rows
    return int(np.argmax(deviance(shares, rows * worth, reference, reference_size)))
