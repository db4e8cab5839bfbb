"""One entry to all steps, for panes by the thousand and for loops that numba compiles."""

from typing import Final

import numpy as np

from detectors.columns import Floats, Integers
from detectors.compiled import compiled
from detectors.concept.adwin import adwin
from detectors.concept.glr import glr
from detectors.concept.kswin import kswin
from detectors.concept.steps import DRIFT, STEADY, ddm, eddm, hddm_a, hddm_w, page_hinkley

PAGE_HINKLEY: Final = 0
DDM: Final = 1
EDDM: Final = 2
HDDM_A: Final = 3
HDDM_W: Final = 4
ADWIN: Final = 5
GLR: Final = 6
KSWIN: Final = 7


@compiled
def step(detector: int, memory: Floats, settings: Floats, count: float, total: float, squares: float) -> int:
    """One pane: the memory changes in place, and after a drift it has to be blanked. count: events; total, squares:
    sums of their values and squares."""
    if detector == GLR:
        return glr(memory, settings, count, total)
    if detector == HDDM_W:
        return hddm_w(memory, settings, count, total)
    if detector == HDDM_A:
        return hddm_a(memory, settings, count, total)
    if detector == DDM:
        return ddm(memory, settings, count, total)
    if detector == EDDM:
        return eddm(memory, settings, count, total)
    if detector == ADWIN:
        return adwin(memory, settings, count, total, max(squares - total * total / count, 0.0))
    if detector == KSWIN:
        return kswin(memory, settings, count, total)
    return page_hinkley(memory, settings, count, total)


@compiled
def steps(
    detector: int, memory: Floats, settings: Floats, counts: Floats, totals: Floats, squares: Floats
) -> Integers:
    """The verdict of each of many panes; those of no event say nothing. The memory changes in place."""
    found = np.zeros(len(counts), dtype=np.int64)
    for pane in range(len(counts)):
        if counts[pane] > 0:
            found[pane] = step(detector, memory, settings, counts[pane], totals[pane], squares[pane])
            if found[pane] == DRIFT:
                memory[:] = 0.0
        else:
            found[pane] = STEADY
    return found
