"""Compile, or read from disk, what measuring a window needs, so that no window waits for it."""

import numpy as np

from detectors.distances import grouped_psi, ks, most_deviant
from detectors.estimation.cells import CELLS, tilted
from detectors.estimation.expected import Facts, expect
from detectors.scorecard.intervals import area_error
from detectors.scorecard.probabilities import probability_scores


def warm() -> None:
    """Made-up numbers through the compiled parts of distances, score cards and estimates."""
    bins = CELLS // 2
    counts = np.arange(1, bins + 1, dtype=np.int64)
    shares = np.linspace(0.1, 0.9, bins)
    probability_scores(counts, counts[::-1].copy(), 1.0)
    area_error(counts, counts[::-1].copy(), 1.0)
    ks(counts, counts)
    grouped_psi(counts, 1.0, np.arange(bins), counts.astype(np.float64))
    most_deviant(counts, np.arange(bins), int(counts.sum()), 1.0, shares, 100.0)
    tilted(shares[:, None], counts.astype(np.float64)[:, None], np.array([0.5]))
    cells = np.linspace(0.1, 0.9, CELLS)
    expect(np.ones(CELLS), cells, Facts(np.stack([cells, cells, cells]), shares))
