"""From a profile to rows by cell: bin of the score times what was said about the row."""

from typing import Final

import numpy as np

from detectors.columns import SCORE_BINS, Floats, Integers, score_bins
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
    shares = np.clip(said, _SURE, 1 - _SURE)
    if predicted and scores.sum():
        wanted = float(profile.counters[slots.positive]) / predicted
        shares = tilted(shares[:, None], scores[:, None], np.array([wanted]))[:, 0]
    return np.stack([scores * (1 - shares), scores * shares], axis=1).reshape(-1)


def tilted(chances: Floats, weights: Floats, means: Floats) -> Floats:
    """Chances moved along the logit, each column by one step of its own, until their weighted mean is `means`.

    chances: shape (cells, columns), within (0, 1). weights: shape (cells, columns); where a column has none it stays.
    """
    total, wanted = weights.sum(axis=0), means * weights.sum(axis=0)
    logits = np.log(chances) - np.log1p(-chances)
    low, high = np.full(len(means), -_REACH), np.full(len(means), _REACH)
    step = np.zeros(len(means))
    for _ in range(_STEPS):
        found = _logistic(logits + step)
        over = (weights * found).sum(axis=0) - wanted
        if (np.abs(over) <= _CLOSE * total).all():
            break
        low, high = np.where(over > 0, low, step), np.where(over > 0, step, high)
        slope = (weights * found * (1 - found)).sum(axis=0)
        newton = step - over / np.maximum(slope, 1e-300)
        step = np.where((newton > low) & (newton < high), newton, (low + high) / 2)
    return np.where(total > 0, _logistic(logits + step), chances)


def _logistic(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-values))
