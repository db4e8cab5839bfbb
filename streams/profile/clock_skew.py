"""Rows whose time lies in the future: a producer's clock is ahead, or somebody sends nonsense.

Such a row must not move the watermark: one event that says "next year" would make every real event late. What
counts as now is the broker's time of the record, not the worker's clock: a replay of the same record decides the same.
"""

import numpy as np
import numpy.typing as npt

from streams.times import MICROSECONDS

DEFAULT_MAX_AHEAD_S = 300.0
"""Five minutes: clocks that are kept by NTP differ by milliseconds, forgotten ones by minutes, wrong time zones by
hours."""


def from_the_future(
    times_us: npt.NDArray[np.int64], arrived_us: int, max_ahead_s: float = DEFAULT_MAX_AHEAD_S
) -> npt.NDArray[np.bool_]:
    """Which rows claim a time more than `max_ahead_s` after their record arrived.

    `times_us`: event times of one batch, shape (rows,), microseconds since the epoch. `arrived_us`: the record's own
    time by the broker (`InputRecord.timestamp_us`); 0 where it is not known (a file, a test): then no row is from the
    future. Raises `ValueError` for a negative bound.

    Example: `from_the_future(np.array([0, 400_000_000]), arrived_us=1)` gives `[False, True]`.
    """
    latest_us = _latest_us(arrived_us, max_ahead_s)
    return np.zeros(len(times_us), dtype=np.bool_) if latest_us is None else times_us > latest_us


def is_from_the_future(time_us: int, arrived_us: int, max_ahead_s: float = DEFAULT_MAX_AHEAD_S) -> bool:
    """The same for one time, such as the last of a batch."""
    latest_us = _latest_us(arrived_us, max_ahead_s)
    return latest_us is not None and time_us > latest_us


def _latest_us(arrived_us: int, max_ahead_s: float) -> int | None:
    if max_ahead_s < 0:
        raise ValueError(f"max_ahead_s is {max_ahead_s:g}; it must be 0 or more seconds")
    return arrived_us + round(max_ahead_s * MICROSECONDS) if arrived_us > 0 else None


def ahead_s(times_us: npt.NDArray[np.int64], arrived_us: int) -> float:
    """How far the furthest row lies after its record's arrival, in seconds; 0 where none does."""
    if arrived_us <= 0 or not len(times_us):
        return 0.0
    return max(0.0, (int(times_us.max()) - arrived_us) / MICROSECONDS)
