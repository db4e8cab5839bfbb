"""Whether events come as they always did. Silence is not health: no events is an alarm of its own.

The usual traffic of a model is learned by hour of the week, from slots of ten minutes of event time, with its own
overdispersion, so that neither a quiet night nor a burst is taken for an incident. Nothing here reads a clock.
"""

import math
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from detectors.quality.spans import span
from detectors.sequential.budget import KIND_SHARES, VOLUME
from detectors.values import Budget, Value

SLOT_US: Final = 600_000_000
PHASES: Final = 168
"""Hours of a week."""
SURPRISE: Final = math.log(1e6)
"""Odds against chance beyond which a silence or a volume is told at least: a million to one."""
LEAST_RATIO: Final = 2.0
"""Half or double the usual volume is the least that is told."""
AUTO_S: Final = 1_800.0
"""Silence that is never told in less, where nobody has said how long it may last."""
UNKNOWN_S: Final = 57_600.0
"""The same before a whole day has been seen: it may be the night."""
KEPT_GAPS: Final = 16
LASTING: Final = 3
"""Slots in a row with an unusual volume that begin an alert, and with a usual one that end it."""
_DAY_SLOTS: Final = 144
_WEEK_US: Final = PHASES * 6 * SLOT_US
_ALIKE_US: Final = 3 * 6 * SLOT_US
_FULL: Final = 48
"""Slots of a phase (eight weeks) from which on the older ones count less."""
_LENT: Final = 6.0
"""Slots that a phase borrows from its hour of the day, and this from all hours."""
_FADING: Final = 1 / 500
"""Weight of a slot in the dispersion."""

Kind = Literal["", "silence", "volume"]


class TrafficFeedback(Value, frozen=True, kw_only=True):
    """A statement of a person, and what was told and known before it. `usual`: slots, events, and how many of both in
    all, where it was forgotten."""

    id: str
    told: Kind
    told_us: int
    caution: float
    usual: tuple[tuple[int, ...], tuple[int, ...], int, int] | None = None


class Traffic(Value, frozen=True, kw_only=True):
    """What is known of the traffic of a model; times in microseconds of events.

    `since_us`: start of the first slot; `next_us`: of the first one that is not learned yet; `last_us`: end of the
    newest events. `slots`, `events`: by hour of the week, how many slots were seen and how many events came; `seen`,
    `total`: of all hours.
    `dispersion`: variance over mean. `gaps`: the last gaps of a slot or more, and whether they were told.
    `told`: what is being told, since `told_us`; `unusual`: slots in a row that are (above 0) or are not (below 0)
    unusual. By what people said: `muted`: the end of what is told is no news; `excused`: and its gap is a usual one;
    `caution`: by which it must be more to be told.
    """

    since_us: int
    next_us: int
    last_us: int
    slots: tuple[int, ...] = (0,) * PHASES
    events: tuple[int, ...] = (0,) * PHASES
    seen: int = 0
    total: int = 0
    dispersion: float = 1.0
    gaps: tuple[tuple[int, int, bool], ...] = ()
    told: Kind = ""
    told_us: int = 0
    unusual: int = 0
    muted: bool = False
    excused: bool = False
    caution: float = 1.0
    feedback: tuple[TrafficFeedback, ...] = ()

    @property
    def fires(self) -> bool:
        """Whether an alert is open that no person has spoken about."""
        return self.told != "" and not self.muted

    @property
    def knows_days(self) -> bool:
        """Whether a whole day has been seen."""
        return self.seen >= _DAY_SLOTS


class Told(NamedTuple):
    """An alert about the traffic that begins or ends: from when on, and when that was sure."""

    state: Literal["firing", "cleared"]
    change_us: int
    at_us: int
    reason: str
    value: float = 0.0
    usual: float = 0.0


def surprise_of(budget: Budget) -> float:
    """The odds against chance beyond which a silence or a volume is told: so that all slots of a budget's period have
    no more than the share of it that is for the volume."""
    if budget.every_s <= 0:
        return SURPRISE
    slots = budget.every_s / budget.incidents / (SLOT_US / 1e6)
    return max(SURPRISE, math.log(slots / KIND_SHARES[VOLUME]))


def expected(traffic: Traffic, slot_us: int) -> float:
    """Events that the slot beginning there would have: its hour of the week, leaning on the same hour of all days, and
    this on all hours."""
    phase = slot_us // 3_600_000_000 % PHASES
    hour = phase % 24
    overall = traffic.total / max(traffic.seen, 1)
    day_slots, day_events = sum(traffic.slots[hour::24]), sum(traffic.events[hour::24])
    day = (day_events + _LENT * overall) / (day_slots + _LENT)
    return (traffic.events[phase] + _LENT * day) / (traffic.slots[phase] + _LENT)


def missed(traffic: Traffic, start_us: int, end_us: int) -> float:
    """Events that would have come between two moments; of more than a week those of the first one."""
    total, at_us = 0.0, start_us
    while at_us < min(end_us, start_us + _WEEK_US):
        slot_us = at_us // SLOT_US * SLOT_US
        stop_us = min(slot_us + SLOT_US, end_us)
        total += expected(traffic, slot_us) * (stop_us - at_us) / SLOT_US
        at_us = stop_us
    return total


def silent_from_us(traffic: Traffic, least_s: float | None, surprise: float = SURPRISE) -> int | None:
    """The moment from which on a silence since the newest events is no chance; None within the next four weeks.

    It has lasted `least_s` (None: half an hour, and most of a day before a whole day was seen), so many events are
    missing that chance is out (Poisson, by the dispersion), and twice as many as in any of the last gaps: what is
    usual is measured in events that did not come, so that a night counts for little. A gap that was told excuses
    only what begins at the same hour of another week: a weekend, and not the next outage.
    """
    known_s = AUTO_S if traffic.knows_days else UNKNOWN_S
    floor_us = traffic.last_us + int((known_s if least_s is None else least_s) * 1e6)
    alike = [gap for gap in traffic.gaps if not gap[2] or _weeks_apart(gap[0], traffic.last_us)]
    usual = max((missed(traffic, start_us, end_us) for start_us, end_us, _ in alike), default=0.0)
    need = max(surprise * traffic.dispersion, 2 * usual) * traffic.caution
    total, at_us = 0.0, traffic.last_us
    for _ in range(4 * _WEEK_US // SLOT_US):
        slot_us = at_us // SLOT_US * SLOT_US
        rate = expected(traffic, slot_us) / SLOT_US
        room_us = slot_us + SLOT_US - at_us
        if total + rate * room_us >= need:
            return max(floor_us, at_us + math.ceil((need - total) / rate))
        total, at_us = total + rate * room_us, slot_us + SLOT_US
    return None


def silence(traffic: Traffic, at_us: int) -> tuple[Traffic, Told]:
    """Tell a silence that was sure at `at_us`."""
    quiet_s = (at_us - traffic.last_us) / 1e6
    usual = missed(traffic, traffic.last_us, at_us)
    reason = f"Volume: no event has come for {span(quiet_s)}, in which usually about {usual:,.0f} come."
    told = Told("firing", traffic.last_us, at_us, reason, 0.0, usual)
    return _telling(replace(traffic, unusual=0), "silence", traffic.last_us), told


def resumed(traffic: Traffic, start_us: int, end_us: int) -> tuple[Traffic, Told | None]:
    """Events have come in [start_us, end_us), later than the newest so far."""
    gap = start_us - traffic.last_us
    after = replace(traffic, last_us=max(end_us, traffic.last_us))
    if traffic.told == "silence":
        reason = f"Volume: events come again, after {span(gap / 1e6)} without any."
        told = Told("cleared", start_us, end_us, reason) if traffic.fires else None
        gaps = _with_gap(traffic, start_us, told=not traffic.excused)
        return _telling(replace(after, gaps=gaps), "", 0), told
    if gap >= SLOT_US:
        after = replace(after, gaps=_with_gap(traffic, start_us, told=False))
    return after, None


def _with_gap(traffic: Traffic, end_us: int, *, told: bool) -> tuple[tuple[int, int, bool], ...]:
    return (*traffic.gaps, (traffic.last_us, end_us, told))[-KEPT_GAPS:]


def _weeks_apart(one_us: int, other_us: int) -> bool:
    """Whether two moments are at the same hour of different weeks, three hours more or less."""
    weeks = round((other_us - one_us) / _WEEK_US)
    return weeks != 0 and abs(other_us - one_us - weeks * _WEEK_US) <= _ALIKE_US


def learned(traffic: Traffic, events: int, surprise: float = SURPRISE) -> tuple[Traffic, Told | None]:
    """Take the next slot, which is complete: how many events it had."""
    start_us = traffic.next_us
    usual = expected(traffic, start_us)
    phase = start_us // 3_600_000_000 % PHASES
    silent = bool(events == 0 and traffic.gaps and start_us + SLOT_US > traffic.gaps[-1][0])
    odd = not silent and _is_unusual(traffic, events, usual, surprise)
    unusual = max(traffic.unusual, 0) + 1 if odd else min(traffic.unusual, 0) - 1
    had, held = traffic.slots[phase], traffic.events[phase]
    had, held = (had // 2, held // 2) if had >= _FULL else (had, held)
    spread = (events - usual) ** 2 / max(usual, 1.0)
    dispersion = traffic.dispersion
    if not odd and not silent and traffic.seen >= LASTING:
        dispersion = max(dispersion + (spread - dispersion) * max(1 / (traffic.seen + 1), _FADING), 1.0)
    after = replace(
        traffic,
        next_us=start_us + SLOT_US,
        slots=(*traffic.slots[:phase], had + 1, *traffic.slots[phase + 1 :]),
        events=(*traffic.events[:phase], held + events, *traffic.events[phase + 1 :]),
        seen=traffic.seen + 1 + had - traffic.slots[phase],
        total=traffic.total + events + held - traffic.events[phase],
        dispersion=dispersion,
        unusual=unusual,
    )
    if traffic.told == "" and unusual >= LASTING:
        return _begun(after, events, usual)
    if traffic.told == "volume" and unusual <= -LASTING:
        return _ended(after, events, usual)
    return after, None


def _is_unusual(traffic: Traffic, events: int, usual: float, surprise: float) -> bool:
    """Half or double, and no chance: a Poisson count with inflated variance, the log of its tail (Chernoff) divided by
    the dispersion. Not before an hour of the week has been seen on two days."""
    phase = traffic.next_us // 3_600_000_000 % PHASES
    if traffic.slots[phase] < 2 * LASTING or usual <= 0:
        return False
    ratio = max(events / usual, usual / max(events, 1e-9))
    lost = events * math.log(events / usual) if events else 0.0
    return ratio >= LEAST_RATIO * traffic.caution and (lost - events + usual) / traffic.dispersion > surprise


def _begun(traffic: Traffic, events: int, usual: float) -> tuple[Traffic, Told]:
    change_us = traffic.next_us - LASTING * SLOT_US
    word = "fewer" if events < usual else "more"
    reason = (
        f"Volume: {events:,} events in ten minutes, {word} than the usual {usual:,.0f} of this hour of the week, for "
        f"{LASTING * SLOT_US // 60_000_000} minutes now."
    )
    after = _telling(traffic, "volume", change_us)
    return after, Told("firing", change_us, traffic.next_us, reason, float(events), usual)


def _ended(traffic: Traffic, events: int, usual: float) -> tuple[Traffic, Told | None]:
    change_us = traffic.next_us - LASTING * SLOT_US
    reason = f"Volume: as many events as usual again ({events:,} in ten minutes, usually {usual:,.0f})."
    told = Told("cleared", change_us, traffic.next_us, reason) if traffic.fires else None
    return _telling(traffic, "", 0), told


def _telling(traffic: Traffic, kind: Kind, since_us: int) -> Traffic:
    return replace(traffic, told=kind, told_us=since_us, muted=False, excused=False)
