"""Whether a window lies where the reference can speak for it."""

from typing import Final

import numpy as np

from detectors.columns import Floats, Integers
from detectors.errors import ProfileInvalid
from detectors.estimation.values import BinaryCells, Estimator, MulticlassCells, RegressionCells
from detectors.outcome_slots import BinarySlots, MulticlassSlots, RegressionSlots
from detectors.profile import Profile
from detectors.remembered import Remembered

FEW: Final = 10
"""Reference rows around a score, or of a predicted class, below which it is unknown ground."""
NEIGHBOURS: Final = 3
"""Bins of the score on either side that speak for a bin: a tenth of the scale in all."""
UNKNOWN_SHARE: Final = 0.8
"""Share of a window on unknown ground above which nothing is said."""
ERRATIC: Final = 0.20
"""Standard deviation of the accuracy's own error on unseen parts of the reference above which nothing is said."""


def unknown_share(profile: Profile, estimator: Estimator) -> float | None:
    """Share of a window's scores (of predictions, where a task counts these) on ground that the reference does not
    know; None where the window has none."""
    window, known = _ground(profile, estimator)
    rows = int(window.sum())
    return float(window[known < FEW].sum()) / rows if rows else None


def unsupported(
    profile: Profile, estimator: Estimator, unknown: float | None, *, withhold: bool = True
) -> str | None:
    """Why the reference cannot speak for this window, or None; without `withhold` only what makes it impossible.
    unknown: see `unknown_share`."""
    slots, scored = profile.layout.outcomes, int(profile.counters[profile.layout.scores].sum())
    if estimator.cells is None:
        return estimator.undefined
    if not isinstance(slots, RegressionSlots) and not scored:
        return "the window has no scores"
    if unknown is None:
        return "the window has no predictions"
    if not withhold:
        return None
    if unknown > UNKNOWN_SHARE:
        what = "scores" if isinstance(slots, BinarySlots) else "predictions"
        return f"{unknown:.0%} of the {what} lie where the reference has fewer than {FEW} rows"
    erratic = estimator.excess.get("accuracy", 0.0) ** 0.5
    if erratic > ERRATIC:
        return (
            f"on parts of the reference that it had not seen the estimated accuracy erred by {erratic:.2f} beyond "
            "chance: what a score is worth changes too much to be relied on"
        )
    return None


def _near(cells: BinaryCells) -> Floats:
    """Reference rows around each bin of the score."""
    known = np.array(cells.counts).reshape(-1, 2).sum(axis=1)
    return np.convolve(known, np.ones(2 * NEIGHBOURS + 1), mode="same").astype(np.float64)


_NEAR: Final = Remembered(_near)


def _ground(profile: Profile, estimator: Estimator) -> tuple[Integers, Floats]:
    """Rows by bin, in the window and in the reference."""
    cells, slots, counters = estimator.cells, profile.layout.outcomes, profile.counters
    if isinstance(cells, BinaryCells):
        return counters[profile.layout.scores], _NEAR.of(cells)
    if isinstance(cells, MulticlassCells) and isinstance(slots, MulticlassSlots):
        return counters[slots.said], np.array(cells.counts).reshape(slots.classes, -1).sum(axis=1)
    if isinstance(cells, RegressionCells) and isinstance(slots, RegressionSlots):
        return counters[slots.said], np.array(cells.counts)
    raise ProfileInvalid(f"the profile is not of the task {estimator.task} that the estimator learned")
