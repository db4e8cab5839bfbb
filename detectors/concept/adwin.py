"""ADWIN: a window that grows while its mean stays, and is cut where two of its parts differ.

Source: Bifet and Gavalda, Learning from time-changing data with adaptive windowing (2007).
"""

import math
from typing import Final

from detectors.columns import Floats
from detectors.compiled import compiled
from detectors.concept.steps import DRIFT, STEADY

BUCKETS: Final = 5
"""Buckets of each size before two become one of twice the size."""
ROWS: Final = 40
"""Sizes of buckets: windows of 2^40 panes."""
_ROOM: Final = BUCKETS + 1
_HEAD: Final = 4
ADWIN_SIZE: Final = _HEAD + ROWS + 3 * ROWS * _ROOM


@compiled
def _bucket(row: int, place: int) -> int:
    """Where a bucket's count, sum and squared deviations stand."""
    return _HEAD + ROWS + 3 * (row * _ROOM + place)


@compiled
def _joined(count: float, total: float, more: float, more_total: float) -> float:
    """Squared deviations that joining two samples adds."""
    apart = total / count - more_total / more
    return count * more * apart * apart / (count + more)


@compiled
def _put(memory: Floats, row: int, count: float, total: float, squares: float) -> None:
    place = _bucket(row, int(memory[_HEAD + row]))
    memory[place], memory[place + 1], memory[place + 2] = count, total, squares
    memory[_HEAD + row] += 1


@compiled
def _compress(memory: Floats) -> None:
    for row in range(ROWS - 1):
        if memory[_HEAD + row] <= BUCKETS:
            return
        one, two, end = _bucket(row, 0), _bucket(row, 1), _bucket(row, _ROOM)
        apart = _joined(memory[one], memory[one + 1], memory[two], memory[two + 1])
        count, total = memory[one] + memory[two], memory[one + 1] + memory[two + 1]
        squares = memory[one + 2] + memory[two + 2] + apart
        for place in range(_bucket(row, 2), end):
            memory[place - 6] = memory[place]
        memory[_HEAD + row] -= 2
        _put(memory, row + 1, count, total, squares)


@compiled
def _differs(memory: Floats, settings: Floats, before: float, total: float) -> bool:
    """Whether the first `before` events of the window, of this sum, differ from the others."""
    after = memory[1] - before
    if before < settings[2] or after < settings[2]:
        return False
    surprise = math.log(2 * math.log(memory[1]) / settings[0])
    spread = 1.0 / (before - settings[2] + 1) + 1.0 / (after - settings[2] + 1)
    bound = math.sqrt(2 * spread * memory[3] / memory[1] * surprise) + 2 / 3 * surprise * spread
    return abs(total / before - (memory[2] - total) / after) > bound


@compiled
def _cut_somewhere(memory: Floats, settings: Floats) -> bool:
    before, total = 0.0, 0.0
    for row in range(ROWS - 1, -1, -1):
        for place in range(int(memory[_HEAD + row])):
            found = _bucket(row, place)
            before += memory[found]
            total += memory[found + 1]
            if before < memory[1] and _differs(memory, settings, before, total):
                return True
    return False


@compiled
def adwin(memory: Floats, settings: Floats, count: float, total: float, squares: float) -> int:
    """Memory: events since the start, events of the window, their sum and squared deviations; buckets of each size;
    count, sum and squared deviations of each bucket. Settings: confidence, events between two looks, least events
    on either side, least events in all. `squares`: squared deviations within the pane."""
    ticks = math.floor(memory[0] / settings[1])
    if memory[1] > 0:
        memory[3] += _joined(memory[1], memory[2], count, total)
    memory[3] += squares
    memory[0] += count
    memory[1] += count
    memory[2] += total
    _put(memory, 0, count, total, squares)
    _compress(memory)
    looks = math.floor(memory[0] / settings[1]) > ticks and memory[1] > settings[3]
    if looks and _cut_somewhere(memory, settings):
        return DRIFT
    return STEADY
