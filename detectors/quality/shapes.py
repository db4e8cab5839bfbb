"""The distribution of a numeric column as a function: of a reference from its quantile bins, of a window from its
logarithmic buckets."""

from typing import NamedTuple

import numpy as np

from detectors.columns import Floats
from detectors.kernels_rows import MANTISSA_BITS
from detectors.layout import NumericSlots
from detectors.reference import FeatureReference
from detectors.reference_columns import BINS


class Shape(NamedTuple):
    """A cumulative distribution: shares at or below each of the ascending `points`; steps where `atoms`, else lines."""

    points: Floats
    shares: Floats
    atoms: bool

    @classmethod
    def of(cls, part: FeatureReference) -> "Shape | None":
        """Of a reference's column; None without a finite value.

        A column with fewer distinct values than bins has one value per bin.
        """
        if part.minimum is None or part.maximum is None or not sum(part.counts):
            return None
        shares = np.cumsum(part.counts) / sum(part.counts)
        if len(part.counts) < BINS:
            return cls(np.array([*part.edges, part.maximum]), shares, True)
        points = np.array([part.minimum, *part.edges, part.maximum])
        return cls(points, np.concatenate([[0.0], shares]), False)

    def at(self, values: Floats) -> Floats:
        """The share of rows at or below each value."""
        if self.atoms:
            place = np.searchsorted(self.points, values, side="right")
            return np.concatenate([[0.0], self.shares])[place]
        return np.interp(values, self.points, self.shares, left=0.0, right=1.0)


def bucket_bounds(slots: NumericSlots) -> Floats:
    """Bounds between the logarithmic buckets of a column, ascending, one fewer than buckets."""
    bits = np.arange(1, slots.bucket_count + 1, dtype=np.int64) + slots.bucket_first
    magnitudes = (bits << (23 - MANTISSA_BITS)).astype(np.int32).view(np.float32).astype(np.float64)
    return np.concatenate([-magnitudes[::-1], magnitudes])


def bucket_ends(slots: NumericSlots) -> Floats:
    """The greatest values of the buckets of a column but the last: a bucket holds the magnitude at which it begins."""
    bounds = bucket_bounds(slots)
    return np.where(bounds > 0, np.nextafter(bounds, -np.inf), bounds)


def bucket_shares(shape: Shape, ends: Floats) -> Floats:
    """The share of a distribution in each bucket."""
    return np.diff(np.concatenate([[0.0], shape.at(ends), [1.0]]))
