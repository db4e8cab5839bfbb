"""Labels that have not come yet."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.campaign.population import Floats
from benchmarks.campaign.scenarios import Scenario
from benchmarks.campaign.world import Rows, told_labels

_LATER_WINDOWS = 40.0
"""When a label comes that an illness of the labels has held back."""


class Due(NamedTuple):
    """Labels that come now."""

    ids: list[str]
    values: Floats
    times_us: npt.NDArray[np.int64]


class Outstanding:
    """What became of people, until it is told."""

    def __init__(self) -> None:
        self._waiting: list[tuple[list[str], Floats, Floats]] = []

    def add(self, ids: list[str], rows: Rows) -> None:
        """Wait for the labels of rows that were answered."""
        answered = np.flatnonzero(~rows.failed)
        self._waiting.append(
            (
                [ids[one] for one in answered],
                rows.labels[answered],
                rows.label_times_us[answered].astype(np.float64),
            )
        )

    def due(
        self, scenario: Scenario, at: float, now_us: int, window_us: float, rng: np.random.Generator
    ) -> Due | None:
        """Those that are due; what is wrong with them is wrong by when they come. None: none is."""
        ids: list[str] = []
        values: list[Floats] = []
        times: list[Floats] = []
        for place, (names, labels, due_us) in enumerate(self._waiting):
            due = due_us <= now_us
            if not due.any():
                continue
            told = told_labels(scenario, at, labels[due], rng)
            ids += [names[one] for one in np.flatnonzero(due)[np.isfinite(told)]]
            values.append(told[np.isfinite(told)])
            times.append(due_us[due][np.isfinite(told)])
            later = ~due
            later[np.flatnonzero(due)[~np.isfinite(told)]] = True
            due_us[due] += _LATER_WINDOWS * window_us
            self._waiting[place] = (
                [names[one] for one in np.flatnonzero(later)],
                labels[later],
                due_us[later],
            )
        self._waiting = [one for one in self._waiting if one[0]]
        if not ids:
            return None
        return Due(ids, np.concatenate(values), np.concatenate(times).astype(np.int64))
