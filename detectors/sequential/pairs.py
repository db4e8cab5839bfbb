"""Products of two columns in the reference: what their mean is worth as a score."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from detectors.columns import Column, numbers
from detectors.embedded import flattened
from detectors.kernels_rows import CROSS_FARTHEST, CROSS_UNIT
from detectors.layout import CROSS_COLUMNS, Layout
from detectors.sequential.values import PairMoments

_CHUNK: Final = 16_384


def pair_moments(layout: Layout, columns: Mapping[str, Column]) -> tuple[PairMoments, ...]:
    """Mean, variance and cumulants of the products of all pairs of numeric columns, as the layout counts them:
    standardised by the reference, missing ones 0. Empty where it counts none. columns: name -> n values."""
    slots = [one for one in layout.numeric if one.name in columns]
    if len(slots) < 2 or len(layout.numeric) > CROSS_COLUMNS:
        return ()
    single = flattened({one.name: columns[one.name] for one in slots})
    rows = len(single[slots[0].name])
    powers = [np.zeros((len(slots), len(slots))) for _ in range(4)]
    farthest = CROSS_FARTHEST / CROSS_UNIT
    for start in range(0, rows, _CHUNK):
        part = np.stack([numbers(single[one.name][start : start + _CHUNK]) for one in slots])
        centers = np.array([one.center for one in slots])[:, None]
        scales = np.array([one.scale for one in slots])[:, None]
        standard = np.clip(np.nan_to_num((part - centers) / scales, nan=0.0), -farthest, farthest)
        power = np.ones_like(standard)
        for degree in range(4):
            power = power * standard
            powers[degree] += power @ power.T
    means = [total / max(rows, 1) for total in powers]
    names = [one.name for one in slots]
    return tuple(
        _moments(names[i], names[j], [float(mean[i, j]) for mean in means])
        for i in range(len(names))
        for j in range(i + 1, len(names))
    )


def _moments(first: str, second: str, raw: list[float]) -> PairMoments:
    """From the first four raw moments."""
    m1, m2, m3, m4 = raw
    variance = max(m2 - m1 * m1, 0.0)
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1 * m1 * m2 - 3 * m1**4
    known = variance > 1e-9
    return PairMoments(
        first=first,
        second=second,
        mean=m1,
        variance=variance,
        skew=third / variance**1.5 if known else 0.0,
        kurtosis=fourth / variance**2 - 3.0 if known else 0.0,
    )
