"""Counters of windows of independent Gaussian columns, drawn as what they are: multinomial counts by bin."""

import numpy as np
import numpy.typing as npt
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from detectors.kernels_rows import CROSS_UNIT
from detectors.layout import layout_of
from detectors.reference import Reference
from detectors.sequential.line import places_of


class GaussianCounters:
    """Draws the counters that `sequential.step` reads of windows of standard normal columns.

    Exact by column; the sum of the products of two independent columns over n rows is half the difference of two
    chi-squared variables of n degrees, which is exact for each pair, but drawn independently of the columns' counts.
    """

    def __init__(self, reference: Reference) -> None:
        self._layout = layout_of(reference)
        normal = stats.norm
        self._shares: list[npt.NDArray[np.float64]] = []
        self._tails: list[tuple[float, float]] = []
        for slots in self._layout.numeric:
            edges = np.concatenate(([-np.inf], slots.edges.astype(np.float64), [np.inf]))
            shares = np.diff(normal.cdf(edges))
            self._shares.append(shares / shares.sum())
            below, above = float(normal.cdf(slots.minimum)), float(normal.sf(slots.maximum))
            self._tails.append((below / shares[0], above / shares[-1]))
        centers = np.array([slots.center for slots in self._layout.numeric])
        scales = np.array([CROSS_UNIT / slots.scale for slots in self._layout.numeric])
        upper = np.triu_indices(len(centers))
        self._centers, self._scales = (np.outer(one, one)[upper] for one in (centers, scales))

    def draw(self, rng: np.random.Generator, rows: int) -> npt.NDArray[np.int64]:
        """The counters of a window."""
        layout = self._layout
        found = np.zeros(layout.size, dtype=np.int64)
        found[layout.rows] = rows
        for slots, shares, (below, above) in zip(layout.numeric, self._shares, self._tails, strict=True):
            counts = rng.multinomial(rows, shares)
            found[slots.bins] = counts
            found[slots.below] = rng.binomial(counts[0], min(below, 1.0))
            found[slots.above] = rng.binomial(counts[-1], min(above, 1.0))
        crossed = places_of(layout.cross)
        products = (rng.chisquare(rows, len(crossed)) - rng.chisquare(rows, len(crossed))) / 2
        found[crossed] = np.rint((products + rows * self._centers) * self._scales)
        return found
