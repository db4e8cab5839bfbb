"""From a profile to rows by cell: bin of the score times what was said about the row."""

import math
from typing import Final

import numpy as np

from detectors.columns import SCORE_BINS, Floats, Integers, score_bins
from detectors.compiled import compiled
from detectors.outcome_slots import BinarySlots
from detectors.profile import Profile

CELLS: Final = 2 * SCORE_BINS
_STEPS = 60
_CLOSE = 1e-10
_SURE = 1e-6
_REACH = 30.0


def cells_of_rows(scores: Floats, said: Floats) -> Integers:
    """The cell of each row."""
    return 2 * score_bins(scores) + (said > 0.5)


def cells_of_profile(profile: Profile, slots: BinarySlots, said: Floats) -> Floats:
    """Rows of a window by cell.

    A profile counts scores, and how many rows were called positive, but not both at once. Where predictions follow
    a threshold only the bin that holds it is mixed, and the number of positive predictions says how: the split is
    exact. In general the reference's share of positive predictions in each bin (`said`) is moved along the logit
    until the sum is right.
    """
    scores = profile.counters[profile.layout.scores].astype(np.float64)
    predicted = int(profile.counters[profile.layout.predicted])
    shares = np.minimum(np.maximum(said, _SURE), 1 - _SURE)
    if predicted:
        shares = _tilted(shares, scores, float(profile.counters[slots.positive]) / predicted)
    found = np.empty(2 * len(scores))
    found[1::2] = scores * shares
    found[::2] = scores * (1 - shares)
    return found


def tilted(chances: Floats, weights: Floats, means: Floats) -> Floats:
    """Chances moved along the logit, each column by one step of its own, until their weighted mean is `means`.

    chances: shape (cells, columns), within (0, 1). weights: shape (cells, columns); where a column has none it stays.
    """
    found = np.empty(chances.shape)
    for column in range(len(means)):
        found[:, column] = _tilted(
            np.ascontiguousarray(chances[:, column]),
            np.ascontiguousarray(weights[:, column]),
            float(means[column]),
        )
    return found


@compiled
def _tilted(chances: Floats, weights: Floats, mean: float) -> Floats:
    total = weights.sum()
    if total <= 0:
        return chances
    logits = np.log(chances) - np.log1p(-chances)
    low, high, step = -_REACH, _REACH, 0.0
    for _ in range(_STEPS):
        found, slope = 0.0, 0.0
        for i in range(len(logits)):
            chance = 1 / (1 + math.exp(-(logits[i] + step)))
            found += weights[i] * chance
            slope += weights[i] * chance * (1 - chance)
        over = found - mean * total
        if abs(over) <= _CLOSE * total:
            break
        if over > 0:
            high = step
        else:
            low = step
        newton = step - over / max(slope, 1e-300)
        step = newton if low < newton < high else (low + high) / 2
    return 1 / (1 + np.exp(-(logits + step)))
