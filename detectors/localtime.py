"""Local time: what the clocks of a place show, with its summer time, by a table of their changes."""

import math
from bisect import bisect_right
from typing import Final

import numpy as np

from detectors.columns import Integers
from detectors.values import Clocks

UTC: Final = Clocks()
STEP_S: Final = 900
"""Clocks are changed, and differ from each other, by quarters of an hour."""
_SECOND_US: Final = 1_000_000
_STEP_US: Final = STEP_S * _SECOND_US


def local(clocks: Clocks, times_us: Integers) -> Integers:
    """What the clocks show at each moment, as microseconds since they showed 1970."""
    place = np.searchsorted(np.array(clocks.since, dtype=np.int64), times_us // _STEP_US, side="right")
    return times_us + np.array(clocks.ahead_s, dtype=np.int64)[place] * _SECOND_US


def local_one(clocks: Clocks, time_us: int) -> int:
    """The same of one moment."""
    return time_us + clocks.ahead_s[bisect_right(clocks.since, time_us // _STEP_US)] * _SECOND_US


def grain_us(clocks: Clocks) -> int:
    """What all differences from UTC are multiples of; 0 for UTC itself."""
    return math.gcd(*clocks.ahead_s) * _SECOND_US
