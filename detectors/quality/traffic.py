"""Whether events come as they should: how many, how old, and from clocks that agree. Silence is not health.

Counts per slot of time are learned with their own overdispersion, so bursty traffic is not taken for an incident.
Nothing here reads a clock: ages and gaps are given.
"""

import math
from typing import Final

from detectors.quality.values import Finding
from detectors.values import Value

LEAST_SLOTS: Final = 20
"""Slots of time from which the usual volume is known."""
SURPRISE: Final = math.log(1e6)
"""Odds against chance beyond which a volume or a silence is told: a million to one."""
LEAST_RATIO: Final = 2.0
"""Half or double the usual volume is the least that is told."""


class Volume(Value, frozen=True, kw_only=True):
    """The usual number of events in slots of `slot_s` seconds: how many slots, their mean, and the sum of squared
    deviations from it (Welford 1962). One per phase of the day or week where traffic has seasons."""

    slot_s: float
    slots: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def dispersion(self) -> float:
        """Variance over mean, at least 1 (that of independent events)."""
        if self.slots < 2 or self.mean <= 0:
            return 1.0
        return max(self.squares / (self.slots - 1) / self.mean, 1.0)


def learned(volume: Volume, events: int) -> Volume:
    """The usual volume, having seen one more slot that was well."""
    slots = volume.slots + 1
    step = events - volume.mean
    mean = volume.mean + step / slots
    squares = volume.squares + step * (events - mean)
    return Volume(slot_s=volume.slot_s, slots=slots, mean=mean, squares=squares)


def unusual_volume(volume: Volume, events: int) -> Finding | None:
    """Too few or too many events in one slot, or None.

    A Poisson count with inflated variance: the log of its tail (Chernoff) is divided by the dispersion.
    """
    if volume.slots < LEAST_SLOTS or volume.mean <= 0:
        return None
    ratio = max(events / volume.mean, volume.mean / max(events, 1e-9))
    lost = events * math.log(events / volume.mean) if events else 0.0
    surprise = (lost - events + volume.mean) / (volume.dispersion * (1 + 1 / volume.slots))
    if ratio < LEAST_RATIO or surprise < SURPRISE:
        return None
    word = "fewer" if events < volume.mean else "more"
    return Finding(
        kind="volume",
        value=float(events),
        threshold=volume.mean,
        rows=events,
        message=f"{events} events in {volume.slot_s:g} s, far {word} than the usual {volume.mean:.0f}",
    )


def silence(volume: Volume, quiet_s: float) -> Finding | None:
    """No event for `quiet_s` seconds where that cannot be chance, or None."""
    if volume.slots < LEAST_SLOTS or volume.mean <= 0:
        return None
    limit_s = SURPRISE * volume.dispersion * volume.slot_s / volume.mean
    if quiet_s <= limit_s:
        return None
    return Finding(
        kind="silence",
        value=quiet_s,
        threshold=limit_s,
        rows=0,
        message=(
            f"no events for {quiet_s:.0f} s; usually {volume.mean / volume.slot_s:.3g} a second come, and a gap of "
            f"{limit_s:.0f} s would already be no chance"
        ),
    )


def stale(age_s: float, usual_s: float, limit_s: float, rows: int) -> Finding | None:
    """Events that arrive old: `age_s`, the median time from event to arrival, beyond `limit_s`; or None."""
    if rows == 0 or age_s <= limit_s:
        return None
    return Finding(
        kind="freshness",
        value=age_s,
        threshold=limit_s,
        rows=rows,
        message=f"events arrive {age_s:.0f} s old (usually {usual_s:.0f} s, at most {limit_s:.0f} s; {rows} events)",
    )


def skewed(ahead: int, rows: int, furthest_s: float, limit_s: float) -> Finding | None:
    """Events from the future: more than 1 % of the rows lie `limit_s` or more ahead of their arrival; or None."""
    if rows == 0 or ahead <= 0.01 * rows:
        return None
    return Finding(
        kind="clock_skew",
        value=ahead / rows,
        threshold=0.01,
        rows=rows,
        message=(
            f"{ahead} of {rows} events are dated more than {limit_s:g} s after their arrival, by up to "
            f"{furthest_s:.0f} s: a clock of the producer is wrong"
        ),
    )
