"""The strongest change of a mean, exactly and in a few steps: a generalised likelihood ratio on a convex hull.

Take the events one after another and draw their cumulative sum. Wherever a rise of the mean would be placed best, that
point lies on the greatest convex function below this line; for a fall, on the least concave one above it. The points of
the two hulls are all that has to be kept, about log n of them, and only they have to be tried. The mean before the
change is estimated from the same stream, so there is no learning phase with a rate that is then taken for the truth.

Source: Ward, Romano, Eckley and Fearnhead, A constant-per-iteration likelihood ratio test for online changepoint
detection for exponential family models (2024); the hulls are those of monotone regression.
"""

import math
from typing import Final

from detectors.columns import Floats
from detectors.compiled import compiled
from detectors.concept.steps import DRIFT, STEADY, WARNING

POINTS: Final = 64
"""Most points of a hull that are kept; about the logarithm of the events are needed."""
_HEAD: Final = 8
GLR_SIZE: Final = _HEAD + 4 * POINTS
RATE: Final = 0.0
"""Events are 0 or 1."""


@compiled
def _own(count: float, total: float) -> float:
    """Greatest log-likelihood of so many events of a rate with so many ones."""
    found = 0.0
    if total > 0:
        found += total * math.log(total / count)
    if total < count:
        found += (count - total) * math.log((count - total) / count)
    return found


@compiled
def evidence(before: float, ones: float, after: float, more: float, variance: float) -> float:
    """Log-likelihood ratio of two means against one; `variance`: of an event, or `RATE`."""
    if variance > 0:
        apart = more / after - ones / before
        return before * after / (before + after) * apart * apart / (2 * variance)
    return _own(before, ones) + _own(after, more) - _own(before + after, ones + more)


@compiled
def _append(memory: Floats, hull: int, size: float, sign: float) -> float:
    """The hull (counts, then sums) with the newest point; how many points it then has."""
    kept = int(size)
    count, total = memory[0], memory[1]
    sums = hull + POINTS
    while kept >= 2:
        run = memory[hull + kept - 1] - memory[hull + kept - 2]
        rise = memory[sums + kept - 1] - memory[sums + kept - 2]
        if sign * rise * (count - memory[hull + kept - 1]) < sign * (total - memory[sums + kept - 1]) * run:
            break
        kept -= 1
    if kept == POINTS:
        for place in range(1, POINTS - 1):
            memory[hull + place] = memory[hull + place + 1]
            memory[sums + place] = memory[sums + place + 1]
        kept -= 1
    memory[hull + kept], memory[sums + kept] = count, total
    return kept + 1.0


@compiled
def _strongest(
    memory: Floats, hull: int, size: float, sign: float, least: float, floor: float, variance: float
) -> tuple[float, int]:
    """The greatest evidence of a change at a point of the hull, and which point."""
    best, where = 0.0, -1
    sums = hull + POINTS
    for point in range(int(size) - 1):
        before, ones = memory[hull + point], memory[sums + point]
        after, more = memory[0] - before, memory[1] - ones
        if before < least or after <= 0 or sign * (more / after - ones / before) <= floor:
            continue
        found = evidence(before, ones, after, more, variance)
        if found > best:
            best, where = found, point
    return best, where


@compiled
def _restart(memory: Floats, hull: int, point: int) -> None:
    """Forget all before a point of a hull: what follows it is the new baseline."""
    count, total = memory[hull + point], memory[hull + POINTS + point]
    memory[0] -= count
    memory[1] -= total
    for start in (_HEAD, _HEAD + 2 * POINTS):
        size = int(memory[2]) if start == _HEAD else int(memory[3])
        kept = 1
        for old in range(size):
            if memory[start + old] > count:
                memory[start + kept] = memory[start + old] - count
                memory[start + POINTS + kept] = memory[start + POINTS + old] - total
                kept += 1
        memory[start], memory[start + POINTS] = 0.0, 0.0
        if start == _HEAD:
            memory[2] = kept
        else:
            memory[3] = kept


@compiled
def glr(memory: Floats, settings: Floats, count: float, total: float) -> int:
    """Memory: events and sum since the baseline began, points of the lower and of the upper hull, then of the best
    change: evidence, events before it, their sum; falls of the mean so far; the points of the lower hull (counts, sums)
    and of the upper one. Settings: least events before a change, evidence of a drift, of a warning, of an improvement
    (a fall, from which the baseline begins anew), least change of the mean, variance of an event or `RATE`."""
    if memory[2] == 0:
        memory[2], memory[3] = 1.0, 1.0
    memory[0] += count
    memory[1] += total
    upper = _HEAD + 2 * POINTS
    memory[2] = _append(memory, _HEAD, memory[2], 1.0)
    memory[3] = _append(memory, upper, memory[3], -1.0)
    found, where = _strongest(memory, _HEAD, memory[2], 1.0, settings[0], settings[4], settings[5])
    memory[4] = found
    if where >= 0:
        memory[5], memory[6] = memory[_HEAD + where], memory[_HEAD + POINTS + where]
    if found >= settings[1]:
        return DRIFT
    fall, where = _strongest(memory, upper, memory[3], -1.0, settings[0], settings[4], settings[5])
    if fall >= settings[3]:
        _restart(memory, upper, where)
        memory[7] += 1
    return WARNING if found >= settings[2] else STEADY
