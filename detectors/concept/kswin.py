"""KSWIN: the last values of a sliding window against others drawn from it, by the Kolmogorov-Smirnov distance.

Source: Raab, Heusinger and Schleif, Reactive soft prototype computing for concept drift streams (2020).
"""

import math
from typing import Final

import numpy as np

from detectors.columns import Floats, Integers
from detectors.compiled import compiled
from detectors.concept.steps import DRIFT, STEADY

_HEAD: Final = 2
LEAST_DISTANCE: Final = 0.1
"""Distances up to this are never a drift, however surely they are there."""
_WEYL: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


def kswin_size(window: int) -> int:
    """Length of the memory."""
    return _HEAD + window


def critical_step(alpha: float, size: int) -> int:
    """The least n D of two samples of n = `size` values that is a drift: its exact two-sided chance (Gnedenko and
    Korolyuk 1951) is at most alpha, and D above `LEAST_DISTANCE`; n + 1 where no distance is."""
    for step in range(1, size + 1):
        terms = ((-1) ** (j - 1) * math.comb(2 * size, size - j * step) for j in range(1, size // step + 1))
        chance = 2 * sum(terms) / math.comb(2 * size, size)
        if chance <= alpha and step / size > LEAST_DISTANCE:
            return step
    return size + 1


@compiled
def _random(seed: int, turn: int, place: int) -> np.uint64:
    """A number of 64 bits that depends on nothing else (SplitMix64, Steele, Lea and Flood 2014)."""
    state = np.uint64(seed) * _MIX_1 + np.uint64(turn) * _MIX_2 + np.uint64(place + 1) * _WEYL
    state = (state ^ (state >> _S30)) * _MIX_1
    state = (state ^ (state >> _S27)) * _MIX_2
    return state ^ (state >> _S31)


@compiled
def draw(seed: int, turn: int, of: int, size: int) -> Integers:
    """`size` different places below `of`: the same for the same seed and turn."""
    places = np.arange(of)
    for i in range(size):
        share = float(_random(seed, turn, i) >> _S11) * 2.0**-53
        j = i + int(share * (of - i))
        places[i], places[j] = places[j], places[i]
    return places[:size]


@compiled
def _distance(one: Floats, two: Floats) -> int:
    """n times the Kolmogorov-Smirnov distance of two sorted samples of n values."""
    size, i, j, most = len(one), 0, 0, 0
    while i < size and j < size:
        here = min(one[i], two[j])
        while i < size and one[i] == here:
            i += 1
        while j < size and two[j] == here:
            j += 1
        most = max(most, abs(i - j))
    return most


@compiled
def kswin(memory: Floats, settings: Floats, count: float, total: float) -> int:
    """Memory: panes since the start, values in the window; the window, oldest first. Settings: length of the window,
    of the last part, `critical_step`, seed. A pane is one value, its mean."""
    window, last = int(settings[0]), int(settings[1])
    kept = int(memory[1])
    memory[0] += 1
    if kept == window:
        for place in range(_HEAD, _HEAD + window - 1):
            memory[place] = memory[place + 1]
        kept -= 1
    memory[_HEAD + kept] = total / count
    memory[1] = kept + 1.0
    if kept + 1 < window:
        return STEADY
    older = np.empty(last)
    for place, drawn in enumerate(draw(int(settings[3]), int(memory[0]), window - last, last)):
        older[place] = memory[_HEAD + drawn]
    newest = np.sort(memory[_HEAD + window - last : _HEAD + window])
    if _distance(np.sort(older), newest) >= settings[2]:
        return DRIFT
    return STEADY
