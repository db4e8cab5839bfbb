"""Detectors of a worse error rate, one step per pane: loops that numba compiles, with their memory in a vector.

A step takes the memory, the settings, and the count and the sum of a pane; it gives back `STEADY`, `WARNING` or
`DRIFT`. After a drift the caller blanks the memory (all zeros). A pane of one event is what the papers describe, and
what river computes; a pane of more stands for as many events of the pane's mean.
"""

import math
from typing import Final

import numpy as np

from detectors.columns import Floats
from detectors.compiled import compiled

STEADY: Final = 0
WARNING: Final = 1
DRIFT: Final = 2

PAGE_HINKLEY_SIZE: Final = 6
DDM_SIZE: Final = 6
EDDM_SIZE: Final = 8
HDDM_A_SIZE: Final = 6
HDDM_W_SIZE: Final = 17

_SETTLED: Final = 1_000.0
"""Events after which the bound's condition of a weighted mean no longer changes at any usual weight."""


@compiled
def page_hinkley(memory: Floats, settings: Floats, count: float, total: float) -> int:
    """Cumulative deviations from the running mean. Memory: events, mean, sums of deviations (up, down) and their
    extremes. Settings: least events, delta, threshold, forgetting factor, upwards (0 or 1), downwards."""
    if memory[0] == 0:
        memory[4], memory[5] = np.inf, -1.0
    memory[0] += count
    memory[1] += (count / memory[0]) * (total / count - memory[1])
    deviation = total - count * memory[1]
    fade = settings[3] ** count
    memory[2] = fade * memory[2] + deviation - count * settings[1]
    memory[3] = fade * memory[3] + deviation + count * settings[1]
    memory[4] = min(memory[4], memory[2])
    memory[5] = max(memory[5], memory[3])
    if memory[0] < settings[0]:
        return STEADY
    up = settings[4] > 0 and memory[2] - memory[4] > settings[2]
    down = settings[5] > 0 and memory[5] - memory[3] > settings[2]
    if up or down:
        return DRIFT
    return STEADY


@compiled
def ddm(memory: Floats, settings: Floats, count: float, total: float) -> int:
    """The error rate plus its standard error against their least so far. Memory: events, rate, rate and standard error
    where their sum was least, that sum, whether there is one. Settings: least events, warning, drift (in
    standard errors)."""
    memory[0] += count
    memory[1] += (count / memory[0]) * (total / count - memory[1])
    if memory[0] <= settings[0]:
        return STEADY
    rate = memory[1]
    error = math.sqrt(max(rate * (1 - rate), 0.0) / memory[0])
    if memory[5] == 0 or rate + error <= memory[4]:
        memory[2], memory[3], memory[4], memory[5] = rate, error, rate + error, 1.0
    if rate + error > memory[2] + settings[2] * memory[3]:
        return DRIFT
    return WARNING if rate + error > memory[2] + settings[1] * memory[3] else STEADY


@compiled
def eddm(memory: Floats, settings: Floats, count: float, total: float) -> int:
    """The distance between two errors against its greatest so far. Memory: events, event of the last error, errors,
    mean distance, sum of its squared deviations, greatest distance plus two deviations, whether there is one,
    the last verdict. Settings: least errors, warning, drift (shares of the greatest). The errors of a pane count as
    evenly spread."""
    memory[0] += count
    if total <= 0:
        return int(memory[7])
    memory[2] += total
    distance = (memory[0] - memory[1]) / total
    before = memory[3]
    memory[3] += (total / memory[2]) * (distance - before)
    memory[4] += total * (distance - before) * (distance - memory[3])
    memory[1] = memory[0]
    if memory[0] <= settings[0]:
        return int(memory[7])
    variance = memory[4] / (memory[2] - 1) if memory[2] > 1 else 0.0
    reach = memory[3] + 2 * math.sqrt(max(variance, 0.0))
    if memory[6] == 0 or reach > memory[5]:
        memory[5], memory[6] = reach, 1.0
    elif memory[2] > settings[0]:
        level = reach / memory[5]
        if level < settings[2]:
            return DRIFT
        memory[7] = WARNING if level < settings[1] else STEADY
    return int(memory[7])


@compiled
def _hoeffding(count: float, confidence: float) -> float:
    return math.sqrt(1.0 / (2 * count) * math.log(1.0 / confidence))


@compiled
def _apart(low: float, high: float, part: float, whole: float, confidence: float) -> bool:
    """Whether the mean of the whole is above that of its first part beyond Hoeffding's bound."""
    if part == whole:
        return False
    share = (whole - part) / part * (1.0 / whole)
    return high - low >= math.sqrt(share / 2 * math.log(2.0 / confidence))


@compiled
def hddm_a(memory: Floats, settings: Floats, count: float, total: float) -> int:
    """The mean of all against the mean up to the best cut, by Hoeffding's inequality. Memory: events and mean, of all,
    up to the lowest cut, up to the highest one. Settings: confidence of drift, of warning, downwards too."""
    memory[0] += count
    memory[1] += (count / memory[0]) * (total / count - memory[1])
    bound = _hoeffding(memory[0], settings[0])
    if memory[2] == 0 or memory[3] + _hoeffding(memory[2], settings[0]) >= memory[1] + bound:
        memory[2], memory[3] = memory[0], memory[1]
    if memory[4] == 0 or memory[5] - _hoeffding(memory[4], settings[0]) <= memory[1] - bound:
        memory[4], memory[5] = memory[0], memory[1]
    verdict = STEADY
    for step in range(2):
        confidence, found = settings[step], DRIFT if step == 0 else WARNING
        up = _apart(memory[3], memory[1], memory[2], memory[0], confidence)
        down = settings[2] > 0 and _apart(memory[1], memory[5], memory[4], memory[0], confidence)
        if up or down:
            verdict = found
            break
    return verdict


@compiled
def _weigh(memory: Floats, place: int, count: float, mean: float, weight: float) -> None:
    """Add the events of a pane to an exponentially weighted mean: (mean, bound's condition, whether there is one)."""
    if memory[place + 2] == 0:
        memory[place] = mean
        memory[place + 1] = 1.0
        memory[place + 2] = 1.0
    else:
        left = (1 - weight) ** count
        memory[place] = (
            (1 - left) * mean + left * memory[place]
            if count > 1
            else (weight * mean + (1 - weight) * memory[place])
        )
    for _ in range(int(min(count, _SETTLED))):
        memory[place + 1] = weight * weight + (1 - weight) * (1 - weight) * memory[place + 1]


@compiled
def _mcdiarmid(condition: float, confidence: float) -> float:
    return math.sqrt(condition * math.log(1 / confidence) / 2)


@compiled
def _moved(memory: Floats, low: int, high: int, confidence: float) -> bool:
    if memory[low + 2] == 0 or memory[high + 2] == 0:
        return False
    return memory[high] - memory[low] > _mcdiarmid(memory[low + 1] + memory[high + 1], confidence)


@compiled
def _cut(
    memory: Floats, first: int, second: int, count: float, mean: float, weight: float, here: bool
) -> None:
    """Take this event for the end of the first sample, or add it to the second."""
    if here:
        for place in range(3):  # slices would take seconds more to compile
            memory[first + place], memory[second + place] = memory[place], 0.0
    else:
        _weigh(memory, second, count, mean, weight)


@compiled
def hddm_w(memory: Floats, settings: Floats, count: float, total: float) -> int:
    """Exponentially weighted means before and after the best cut, by McDiarmid's inequality. Memory: five weighted
    means (of all; before and after the cut of an increase; the same of a decrease), the two cut points.
    Settings: confidence of drift, of warning, weight of an event, downwards too."""
    mean = total / count
    if memory[2] == 0:
        memory[15], memory[16] = np.inf, -np.inf
    _weigh(memory, 0, count, mean, settings[2])
    bound = _mcdiarmid(memory[1], settings[0])
    lower = memory[0] + bound < memory[15]
    if lower:
        memory[15] = memory[0] + bound
    _cut(memory, 3, 6, count, mean, settings[2], lower)
    higher = memory[0] - bound > memory[16]
    if higher:
        memory[16] = memory[0] - bound
    _cut(memory, 9, 12, count, mean, settings[2], higher)
    verdict = STEADY
    for step in range(2):
        found = DRIFT if step == 0 else WARNING
        down = settings[3] > 0 and _moved(memory, 12, 9, settings[step])
        if _moved(memory, 3, 6, settings[step]) or down:
            verdict = found
            break
    return verdict
