"""Our own detector: sudden changes by the mixture over strata of confidence, small ones by the likelihood ratio.

The mixture is quick where answers turn on many rows, and looks at the errors that count. The likelihood ratio finds
what is small and lasts, says since when, and takes an improvement for the new baseline. Each has a part of the
budget, so the two together keep it.
"""

from typing import Final

import numpy as np

from detectors.columns import Floats, Integers
from detectors.compiled import compiled
from detectors.concept.glr import GLR_SIZE, glr
from detectors.concept.mixture import SHARES, mixture, mixture_size
from detectors.concept.steps import DRIFT

MIXTURE_SETTINGS: Final = 6 + SHARES
QUICK_SHARE: Final = 0.9
"""The part of the budget that sudden changes have."""


def watch_size(strata: int) -> int:
    """Length of the memory."""
    return GLR_SIZE + mixture_size(strata)


@compiled
def watch(memory: Floats, settings: Floats, counts: Floats, totals: Floats) -> int:
    """Memory: that of the likelihood ratio, then that of the mixture. Settings: those of the mixture, then those of
    the likelihood ratio."""
    quick = mixture(memory[GLR_SIZE:], settings[:MIXTURE_SETTINGS], counts, totals)
    slow = glr(memory[:GLR_SIZE], settings[MIXTURE_SETTINGS:], counts.sum(), totals.sum())
    return max(quick, slow)


@compiled
def watch_all(memory: Floats, settings: Floats, counts: Floats, totals: Floats, both: bool) -> Integers:
    """The verdict of each of many panes, counts and sums of shape (panes, strata), by both parts or by the mixture
    alone; those of no event say nothing. The memory changes in place."""
    found = np.zeros(len(counts), dtype=np.int64)
    for pane in range(len(counts)):
        if counts[pane].sum() > 0:
            if both:
                found[pane] = watch(memory, settings, counts[pane], totals[pane])
            else:
                found[pane] = mixture(memory, settings, counts[pane], totals[pane])
            if found[pane] == DRIFT:
                memory[:] = 0.0
    return found
