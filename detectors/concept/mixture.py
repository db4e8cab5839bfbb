"""A worse error rate by the evidence of all moments at which it may have begun: a mixture of Shiryaev-Roberts sums.

A change of concept is taken for this: on a share of the rows the answer turned, so what was right is wrong there, and
(with two classes) what was wrong is right. The likelihood ratios of "it began at event v" are summed over all v;
without a change the sum grows by one per event on average, so it passes A once in A events at most, whatever
the error rate. Shares are mixed, and may grow while the change
goes on, so that neither has to be known. The rate is estimated from the events so far and raised
by one standard error, because a rate that is taken too low would count its own error as evidence.

Events come in strata, each with a rate of its own: by how sure the model was. Errors where it was unsure then say
little and errors where it was sure say much, and a stream that brings more hard cases is no change of concept.

Source: Pollak, Optimal detection of a change in distribution (1985); Shin, Ramdas and Rinaldo, E-detectors (2022).
"""

import math
from typing import Final

from detectors.columns import Floats
from detectors.compiled import compiled
from detectors.concept.steps import DRIFT, STEADY, WARNING

SHARES: Final = 3
_HEAD: Final = 3
_RATES: Final = _HEAD + SHARES
_BORROWED: Final = 4.0
"""Events of the common rate that every stratum begins with."""
_LEAST: Final = 1e-4
_MOST: Final = 0.98


def mixture_size(strata: int) -> int:
    """Length of the memory of so many strata, and of one more for what comes without."""
    return _RATES + 2 * (strata + 1 if strata > 1 else 1)


@compiled
def mixture(memory: Floats, settings: Floats, counts: Floats, totals: Floats) -> int:
    """Memory: events, errors, the mixture, a sum for each share, then events and errors of each stratum. Settings:
    least events before a change, sum of a drift, of a warning, standard errors that are added to a rate, the share of
    errors that turn right where the answer turned, how likely a share is to grow to the next with an event, the shares
    of rows on which it turned, ascending."""
    strata = len(counts)
    common = (memory[1] + 0.5) / (memory[0] + 1.0)
    known = memory[0] >= settings[0]
    found, grown = 0.0, 0.0
    for share in range(SHARES):
        growth, turned = 0.0, settings[6 + share]
        for stratum in range(strata):
            if counts[stratum] > 0:
                events, errors = memory[_RATES + stratum], memory[_RATES + strata + stratum]
                size = events + _BORROWED
                rate = (errors + _BORROWED * common) / size
                rate += settings[3] * math.sqrt(rate * (1 - rate) / size)
                rate = min(max(rate, _LEAST), _MOST)
                after = rate + turned * (1 - rate - settings[4] * rate)
                if after > rate:
                    growth += totals[stratum] * math.log(after / rate)
                    growth += (counts[stratum] - totals[stratum]) * math.log((1 - after) / (1 - rate))
        if known:
            begun = memory[_HEAD + share] + 1.0 / SHARES
            moving = begun * settings[5] if share < SHARES - 1 else 0.0
            memory[_HEAD + share] = (begun - moving + grown) * math.exp(growth)
            grown = moving
            found += memory[_HEAD + share]
    for stratum in range(strata):
        memory[0] += counts[stratum]
        memory[1] += totals[stratum]
        memory[_RATES + stratum] += counts[stratum]
        memory[_RATES + strata + stratum] += totals[stratum]
    memory[2] = found
    if found >= settings[1]:
        return DRIFT
    return WARNING if found >= settings[2] else STEADY
