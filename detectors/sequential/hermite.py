"""Scores of a histogram: how far its rows lie to the side, how wide, how skewed, with what tails."""

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.columns import Floats, Integers

DEGREES: Final = 4
_LEAST_NORM: Final = 1e-3
"""Of what is left of a polynomial after the lower ones: below, the bins are too few to tell it apart."""


class Scores(NamedTuple):
    """Scores of the bins of one histogram, shape (degrees, bins), with mean 0, variance 1 and no correlation in
    the reference; third and fourth cumulants of each. `degrees` may be fewer than 4 where the bins are few."""

    values: Floats
    skews: Floats
    kurtoses: Floats


def scores_of(counts: Integers) -> Scores | None:
    """Within each bin the mean of the Hermite polynomials He1 .. He4 of the normal score of the rank,
    orthonormalised under the reference's counts. Because they depend on ranks alone, heavy tails do no harm.

    counts: shape (bins,), rows of the reference in order of the values. None where fewer than two bins hold rows.
    Source: Neyman's smooth tests (1937) on normal scores; Rayner and Best, Smooth Tests of Goodness of Fit (1989).
    """
    total = int(counts.sum())
    if total == 0 or int((counts > 0).sum()) < 2:
        return None
    shares = counts / total
    raw = _bin_means(shares)
    values = _orthonormal(raw, shares)
    return Scores(values, (values**3) @ shares, (values**4) @ shares - 3.0)


def _bin_means(shares: Floats) -> Floats:
    """Mean of He1 .. He4 in each bin under the standard normal; in a bin without rows, that of the nearest one."""
    upper = np.cumsum(shares)
    edges = normal_quantiles(np.concatenate(([0.0], upper)))
    density = np.where(np.isfinite(edges), np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi), 0.0)
    at = np.where(np.isfinite(edges), edges, 0.0)
    lower = np.stack([np.ones_like(at), at, at**2 - 1, at**3 - 3 * at]) * density
    filled = np.flatnonzero(shares > 0)
    means = (lower[:, filled] - lower[:, filled + 1]) / shares[filled]
    places = np.arange(len(shares))
    after = np.clip(np.searchsorted(filled, places), 0, len(filled) - 1)
    before = np.clip(after - 1, 0, len(filled) - 1)
    near = np.where(abs(filled[after] - places) <= abs(filled[before] - places), after, before)
    return means[:, near]


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


Places = npt.NDArray[np.int64]
