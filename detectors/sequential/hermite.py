"""Scores of a histogram: how far its rows lie to the side, how wide, how skewed, with what tails."""

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Floats, Integers

_LEAST_NORM: Final = 1e-3
"""Of what is left of a polynomial after the lower ones: below, the bins are too few to tell it apart."""


class Scores(NamedTuple):
    """Scores of the bins of one histogram, shape (degrees, bins), with mean 0, variance 1 and no correlation in
    the reference; third and fourth cumulants of each. `degrees` may be fewer than 4 where the bins are few."""

    values: Floats
    skews: Floats
    kurtoses: Floats


LEAST_IN_BIN: Final = 16.0
"""Rows of the reference that a bin must hold: the rows of a window beyond the last few of the reference are far from
normal in number, whatever the distribution."""


def scores_of(counts: Integers, worth: float = 1.0) -> Scores | None:
    """Within each bin the mean of the Hermite polynomials He1 .. He4 of the normal score of the rank,
    orthonormalised under the reference's counts. Because they depend on ranks alone, heavy tails do no harm.

    counts: shape (bins,), rows of the reference in order of the values; worth: independent rows per row. Neighbours
    that hold too few are taken together. None where that leaves fewer than two bins.
    Source: Neyman's smooth tests (1937) on normal scores; Rayner and Best, Smooth Tests of Goodness of Fit (1989).
    """
    groups = _groups(counts.astype(np.float64) * worth)
    if groups[-1] == 0:
        return None
    shares = np.bincount(groups, weights=counts) / counts.sum()
    values = _orthonormal(_bin_means(shares), shares)
    skews, kurtoses = (values**3) @ shares, (values**4) @ shares - 3.0
    return Scores(values[:, groups], skews, kurtoses)


def _groups(rows: Floats) -> Integers:
    """The group of each bin, from 0, so that each holds enough rows; what is left at the end joins the last one."""
    found = np.empty(len(rows), dtype=np.int64)
    group, held = 0, 0.0
    for i, count in enumerate(rows):
        found[i] = group
        held += float(count)
        if held >= LEAST_IN_BIN:
            group, held = group + 1, 0.0
    return np.minimum(found, max(group - 1, 0))


def _bin_means(shares: Floats) -> Floats:
    """Mean of He1 .. He4 in each bin under the standard normal; all bins hold rows."""
    edges = normal_quantiles(np.concatenate(([0.0], np.cumsum(shares))))
    density = np.where(np.isfinite(edges), np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi), 0.0)
    at = np.where(np.isfinite(edges), edges, 0.0)
    lower = np.stack([np.ones_like(at), at, at**2 - 1, at**3 - 3 * at]) * density
    return (lower[:, :-1] - lower[:, 1:]) / shares


def _orthonormal(raw: Floats, shares: Floats) -> Floats:
    """Gram and Schmidt under the weights; what has nothing of its own is left out."""
    kept: list[Floats] = [np.ones_like(shares)]
    for row in raw:
        size = math.sqrt(float((row * row) @ shares)) or 1.0
        for _ in range(2):
            for other in kept:
                row = row - other * float((row * other) @ shares)
        norm = math.sqrt(float((row * row) @ shares))
        if norm <= _LEAST_NORM * size:
            break
        kept.append(row / norm)
    return np.array(kept[1:]) if len(kept) > 1 else np.zeros((0, len(shares)))


def normal_quantiles(shares: Floats) -> Floats:
    """Quantiles of the standard normal; infinite at 0 and 1."""
    return np.array([_quantile(float(share)) for share in shares])


@lru_cache(maxsize=65_536)
def _quantile(share: float) -> float:
    if share <= 0.0:
        return -math.inf
    return math.inf if share >= 1.0 - 1e-12 else NormalDist().inv_cdf(share)
