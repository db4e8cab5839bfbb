"""Distances between two histograms on the same bins, and between two shares."""

import numpy as np

from detectors.columns import Column, Floats, Integers

COARSE_GROUPS = 10


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


def psi(window: Floats, reference: Floats) -> float:
    """Population stability index of two vectors of (effective) counts: sum of (p - q) ln(p / q).

    Half an observation is added to every group, so that an empty one is rare and not infinite. Without a
    change it is about (1/n + 1/m) chi-squared with one degree of freedom less than groups (Yurdakul
    2018).
    """
    p = (window + 0.5) / (window.sum() + 0.5 * len(window))
    q = (reference + 0.5) / (reference.sum() + 0.5 * len(reference))
    return float(((p - q) * np.log(p / q)).sum())


def ks(window: Integers, reference: Integers) -> float:
    """Kolmogorov-Smirnov distance of two samples at the edges of their common bins: at most the exact
    distance, and exact where the edges are all the distinct values."""
    return float(np.abs(np.cumsum(window) / window.sum() - np.cumsum(reference) / reference.sum()).max())


def deviance(share: Floats, size: float, reference: Floats, reference_size: float) -> Floats:
    """Likelihood ratio statistic of two shares: twice the log-likelihood lost by taking them for one.

    exp(-deviance / 2) bounds the chance of a difference like this (Chernoff), for rare and for common events.
    """
    pooled = (share * size + reference * reference_size) / (size + reference_size)
    return 2.0 * (size * _divergence(share, pooled) + reference_size * _divergence(reference, pooled))


def _divergence(p: Floats, q: Floats) -> Floats:
    """Kullback-Leibler divergence of two Bernoulli distributions, 0 ln 0 = 0."""
    tiny = np.finfo(np.float64).tiny
    low = p * np.log(np.maximum(p, tiny) / np.maximum(q, tiny))
    high = (1 - p) * np.log(np.maximum(1 - p, tiny) / np.maximum(1 - q, tiny))
    return np.maximum(low + high, 0.0)
