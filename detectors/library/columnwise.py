"""Distances of one column in two samples, from its counts."""

import math

import numpy as np

from detectors.columns import Floats
from detectors.distances import ks, psi
from detectors.library.measure import Found, absent
from detectors.library.samples import ColumnSample, Knots

_EMPTY = "the column has no value"
_CONSTANT = "the reference is constant"


def _shares(before: ColumnSample, now: ColumnSample) -> tuple[Floats, Floats] | None:
    """Shares of the groups, or None where one sample is empty."""
    rows, more = before.present, now.present
    return (before.groups / rows, now.groups / more) if rows > 0 and more > 0 else None


def population_stability(before: ColumnSample, now: ColumnSample) -> Found:
    """psi."""
    if before.present == 0 or now.present == 0:
        return absent(_EMPTY)
    return Found(psi(now.groups, before.groups))


def kolmogorov_smirnov(before: ColumnSample, now: ColumnSample) -> Found:
    """ks."""
    if before.kind == "categorical":
        return absent("categories have no order")
    if before.present == 0 or now.present == 0:
        return absent(_EMPTY)
    return Found(ks(now.counts, before.counts))


def jensen_shannon(before: ColumnSample, now: ColumnSample) -> Found:
    """The square root of the Jensen-Shannon divergence in bits: 0 to 1."""
    shares = _shares(before, now)
    if shares is None:
        return absent(_EMPTY)
    middle = (shares[0] + shares[1]) / 2
    total = 0.0
    for share in shares:
        used = share > 0
        total += float((share[used] * np.log2(share[used] / middle[used])).sum()) / 2
    return Found(math.sqrt(min(max(total, 0.0), 1.0)))


def hellinger(before: ColumnSample, now: ColumnSample) -> Found:
    """Hellinger's distance: 0 to 1."""
    shares = _shares(before, now)
    if shares is None:
        return absent(_EMPTY)
    return Found(float(np.linalg.norm(np.sqrt(shares[0]) - np.sqrt(shares[1]))) / math.sqrt(2))


def total_variation(before: ColumnSample, now: ColumnSample) -> Found:
    """Half the sum of the differences of the shares: 0 to 1."""
    shares = _shares(before, now)
    return absent(_EMPTY) if shares is None else Found(float(np.abs(shares[0] - shares[1]).sum()) / 2)


def l_infinity(before: ColumnSample, now: ColumnSample) -> Found:
    """The greatest difference of a share; of categories, each by itself."""
    if before.present == 0 or now.present == 0:
        return absent(_EMPTY)
    if before.kind == "categorical":
        return Found(float(np.abs(before.counts / before.present - now.counts / now.present).max()))
    return Found(float(np.abs(before.groups / before.present - now.groups / now.present).max()))


def chi_squared(before: ColumnSample, now: ColumnSample) -> Found:
    """Pearson's statistic of the table of two samples by groups; `detail` tells its degrees of freedom."""
    if before.present == 0 or now.present == 0:
        return absent(_EMPTY)
    table = np.array([before.groups, now.groups])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return absent(_CONSTANT)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    freedom = table.shape[1] - 1
    return Found(float(((table - expected) ** 2 / expected).sum()), detail=f"{freedom} degrees of freedom")


def wasserstein(before: ColumnSample, now: ColumnSample) -> Found:
    """The area between the distribution functions, in standard deviations of the reference. `error`: how far the exact
    distance may be, because places within a bin are not known."""
    if before.kind == "categorical":
        return absent("categories have no order")
    if before.knots is None or now.knots is None or before.moments is None:
        return absent(_EMPTY)
    scale = math.sqrt(before.moments.variance)
    if scale <= 0:
        return absent(_CONSTANT)
    places = np.union1d(before.knots.places, now.knots.places)
    first, second = (np.interp(places, *one, left=0.0, right=1.0) for one in (before.knots, now.knots))
    apart = np.abs(first - second)
    area = float((np.diff(places) * (apart[1:] + apart[:-1]) / 2).sum())
    return Found(area / scale, error=(_doubt(before.knots) + _doubt(now.knots)) / scale)


def _doubt(knots: Knots) -> float:
    """How far the area below a distribution function may be from the one between its knots."""
    return float((np.diff(knots.places) * np.diff(knots.shares)).sum()) / 2


def mean_shift(before: ColumnSample, now: ColumnSample) -> Found:
    """The difference of the means in standard deviations of the reference."""
    if before.kind == "categorical":
        return absent("categories have no mean")
    if before.moments is None or now.moments is None:
        return absent(_EMPTY)
    if before.moments.variance <= 0:
        return absent(_CONSTANT)
    return Found((now.moments.mean - before.moments.mean) / math.sqrt(before.moments.variance))


def variance_ratio(before: ColumnSample, now: ColumnSample) -> Found:
    """The logarithm of the ratio of the variances: 0.18 is a fifth more."""
    if before.kind == "categorical":
        return absent("categories have no variance")
    if before.moments is None or now.moments is None:
        return absent(_EMPTY)
    if before.moments.variance <= 0 or now.moments.variance <= 0:
        return absent(_CONSTANT if before.moments.variance <= 0 else "the column is constant")
    return Found(math.log(now.moments.variance / before.moments.variance))
