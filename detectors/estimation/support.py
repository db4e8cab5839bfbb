"""Whether a window lies where the reference can speak for it."""

from typing import Final

import numpy as np

from detectors.estimation.values import BinaryCells, Estimator, MulticlassCells
from detectors.outcome_slots import BinarySlots, MulticlassSlots, RegressionSlots
from detectors.profile import Profile

FEW: Final = 10
"""Reference rows below which a bin of scores or predictions is unknown ground."""
UNKNOWN_SHARE: Final = 0.5
"""Share of a window on unknown ground above which nothing is said."""
ERRATIC: Final = 0.20
"""Standard deviation of the accuracy's own error on unseen parts of the reference above which nothing is said."""


def unsupported(profile: Profile, estimator: Estimator) -> str | None:
    """Why the reference cannot speak for this window, or None."""
    cells, slots, layout = estimator.cells, profile.layout.outcomes, profile.layout
    if cells is None:
        return estimator.undefined
    if isinstance(cells, BinaryCells) and isinstance(slots, BinarySlots):
        window, what = profile.counters[layout.scores], "scores"
        known = np.array(cells.counts).reshape(-1, 2).sum(axis=1)
    elif isinstance(cells, MulticlassCells) and isinstance(slots, MulticlassSlots):
        window, what, known = profile.counters[slots.said], "predictions", np.array(cells.counts)
        known = known.reshape(slots.classes, -1).sum(axis=1)
        if not profile.counters[layout.scores].sum():
            return "the window has no scores"
    elif isinstance(slots, RegressionSlots):
        window, what, known = profile.counters[slots.said], "predictions", np.array(cells.counts)
    else:
        return f"the profile is not of the task {estimator.task}"
    rows = int(window.sum())
    if rows == 0:
        return f"the window has no {what}"
    unknown = int(window[known < FEW].sum()) / rows
    if unknown > UNKNOWN_SHARE:
        return f"{unknown:.0%} of the {what} lie where the reference has fewer than {FEW} rows each"
    erratic = estimator.excess.get("accuracy", 0.0) ** 0.5
    if erratic > ERRATIC:
        return (
            f"on parts of the reference that it had not seen the estimated accuracy erred by {erratic:.2f} beyond "
            "chance: what a score is worth changes too much to be relied on"
        )
    return None
