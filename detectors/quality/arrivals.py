"""Whether events come when they happen, once, and as agreed: clocks that are ahead, events that come too late, data
that are stale, events that come again, events that do not fit their schema.

What is looked at are slots of arrival, by the broker's time: how many rows came, how old they were, how many could
not be measured, and how many had come before. Nothing here reads a clock.
"""

import math
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from detectors.explain import percent
from detectors.quality.spans import hours, span
from detectors.quality.values import SURPRISE
from detectors.values import ArrivalSlot, Value

Cause = Literal["ahead", "late", "stale", "twice", "refused"]
Said = Literal["false alarm", "expected", "new normal"]

LEAST_SHARE: Final = 0.01
"""Of the rows of a slot, that are ahead, late, refused or here again to be told."""
LEAST_ROWS: Final = 5
BEYOND: Final = 3.0
"""Times what is usual of the model."""
CLEAN_ROWS: Final = 2_000.0
LEAST_LAG_S: Final = 600.0
"""Age of half of the events below which nothing is stale."""
KNOWN: Final = 12
"""Slots that it takes to know how old events usually are: an hour."""
KEPT: Final = 48
LASTING: Final = 3
"""Slots in a row in which events are older than ever, or come again, to be told: a service that sends once more what it
was not sure of harms nothing. A wrong clock and another schema are told at once."""
CALM: Final = 2
"""Slots in a row without it that end an alert."""
CAUTION: Final = 1.5
FEEDBACK: Final = 2
_FADING: Final = 1 / 50
"""Weight of a slot in the usual shares."""
_ORDER: Final[tuple[Cause, ...]] = ("ahead", "late", "stale", "twice", "refused")
_MEASURES: Final[dict[Cause, str]] = {
    "ahead": "clock_ahead_share",
    "late": "late_share",
    "stale": "event_age_s",
    "twice": "duplicate_share",
    "refused": "refused_share",
}


class Standing(Value, frozen=True, kw_only=True):
    """What is known of one cause. `usual`: share of the rows, in `known` of them, as if the stream had begun with
    `CLEAN_ROWS` that were right; `odd`, `calm`: slots in a row with it and without; `told`: since which moment it is;
    `muted`: a person has spoken, so that its end is no news; `caution`: by which it must be more to be told."""

    usual: float = 0.0
    known: float = CLEAN_ROWS
    odd: int = 0
    calm: int = 0
    told: int | None = None
    muted: bool = False
    caution: float = 1.0


class ArrivalFeedback(Value, frozen=True, kw_only=True):
    """A statement of a person, and what was known before it."""

    id: str
    standings: dict[Cause, Standing]
    lags_s: tuple[float, ...]


class ArrivalMemory(Value, frozen=True, kw_only=True):
    """What is known of how the events of a model arrive. `lags_s`: age of half of the events, in the last usual slots;
    `recent`: of the newest slot share or age by cause."""

    standings: dict[Cause, Standing] = msgspec.field(default_factory=dict[Cause, Standing])
    lags_s: tuple[float, ...] = ()
    recent: dict[Cause, float] = msgspec.field(default_factory=dict[Cause, float])
    feedback: tuple[ArrivalFeedback, ...] = ()

    @property
    def told(self) -> bool:
        """Whether an alert is open that no person has spoken about."""
        return any(one.told is not None and not one.muted for one in self.standings.values())


class Arrived(NamedTuple):
    """An alert about arrivals that begins or ends. `value`, `usual`, `least`: shares of the rows, or seconds of age."""

    state: Literal["firing", "cleared"]
    change_us: int
    at_us: int
    reason: str
    measure: str = ""
    value: float = 0.0
    usual: float = 0.0
    least: float = 0.0
    rows: int = 0


class _Seen(NamedTuple):
    """`odds`: against chance, as a logarithm."""

    value: float
    least: float
    wanted: int
    odds: float = math.inf


def take(
    memory: ArrivalMemory, slot: ArrivalSlot, allowed_s: dict[Cause, float]
) -> tuple[ArrivalMemory, list[Arrived]]:
    """Take a complete slot; slots come in order. allowed_s: by how much events may be ahead or late to be measured."""
    standings, told = dict(memory.standings), list[Arrived]()
    seen = _seen(memory, slot)
    was_told = memory.told
    for cause in _ORDER:
        if cause not in seen:
            continue
        before, found = standings.get(cause, Standing()), seen[cause]
        odd = found.value >= found.least and found.odds >= SURPRISE
        after = replace(before, odd=before.odd + 1 if odd else 0, calm=0 if odd else before.calm + 1)
        if cause != "stale":
            # What is told becomes the usual as slowly as after many slots, however little is known yet.
            kept, rows = (1 - _FADING) * before.known, float(slot.rows)
            rows = min(rows, _FADING * before.known) if odd else rows
            usual = (before.usual * kept + found.value * rows) / max(kept + rows, 1.0)
            after = replace(after, usual=usual, known=kept + rows)
        if after.told is None and after.odd >= found.wanted:
            since_us = slot.start_us - (after.odd - 1) * slot.length_us
            after = replace(after, told=since_us, muted=False)
            told.append(_begun(cause, slot, since_us, found, before, memory, allowed_s))
        elif after.told is not None and after.calm >= CALM:
            after = replace(after, told=None, muted=False)
        standings[cause] = after
    usual_lag = "stale" not in seen or seen["stale"].value < seen["stale"].least
    lags = (*memory.lags_s, slot.lag_s)[-KEPT:] if usual_lag and slot.measured else memory.lags_s
    after = replace(
        memory, standings=standings, lags_s=lags, recent={cause: one.value for cause, one in seen.items()}
    )
    if was_told and not after.told:
        start_us = slot.start_us - (CALM - 1) * slot.length_us
        reason = "Data quality: events arrive again as they usually do."
        told.append(Arrived("cleared", start_us, slot.start_us + slot.length_us, reason))
    return after, told


def say(memory: ArrivalMemory, said: Said, name: str) -> ArrivalMemory:
    """The memory after a person has spoken about what is told; unchanged where nothing is.

    All of it is silent until it has passed. "false alarm": it must be half as much again to be told. "new normal": as
    it is now is as it usually is.
    """
    if not memory.told:
        return memory
    entry = ArrivalFeedback(id=name, standings=memory.standings, lags_s=memory.lags_s)
    standings, lags = dict(memory.standings), memory.lags_s
    for cause, one in memory.standings.items():
        if one.told is None:
            continue
        caution = one.caution * CAUTION if said == "false alarm" else one.caution
        now = memory.recent.get(cause, one.usual)
        usual = now if said == "new normal" and cause != "stale" else one.usual
        standings[cause] = replace(one, muted=True, caution=caution, usual=usual)
        if said == "new normal" and cause == "stale":
            lags = (now,) * KNOWN
    return replace(memory, standings=standings, lags_s=lags, feedback=(*memory.feedback, entry)[-FEEDBACK:])


def take_back(memory: ArrivalMemory, name: str) -> ArrivalMemory:
    """As if the statement of this name had not been made, nor a later one; what has passed since stays so."""
    place = next((i for i, one in enumerate(memory.feedback) if one.id == name), None)
    if place is None:
        return memory
    before = memory.feedback[place]
    standings = {
        cause: replace(one, told=memory.standings[cause].told, odd=memory.standings[cause].odd)
        for cause, one in before.standings.items()
    }
    return replace(memory, standings=standings, lags_s=before.lags_s, feedback=memory.feedback[:place])


def _seen(memory: ArrivalMemory, slot: ArrivalSlot) -> dict[Cause, _Seen]:
    """Of each cause what the slot shows, from where on it is told, and in how many slots in a row."""
    found: dict[Cause, _Seen] = {}
    counts: dict[Cause, int] = {
        "ahead": slot.ahead,
        "late": slot.late,
        "twice": slot.twice,
        "refused": slot.refused,
    }
    for cause, count in counts.items():
        one = memory.standings.get(cause, Standing())
        least = max(LEAST_SHARE, BEYOND * one.usual, LEAST_ROWS / max(slot.rows, 1)) * one.caution
        wanted = LASTING if cause == "twice" else 1
        found[cause] = _Seen(count / max(slot.rows, 1), least, wanted, _odds(count, slot.rows, one))
    if slot.measured and len(memory.lags_s) >= KNOWN:
        caution = memory.standings.get("stale", Standing()).caution
        least = max(LEAST_LAG_S, BEYOND * max(memory.lags_s)) * caution
        found["stale"] = _Seen(slot.lag_s, least, LASTING)
    return found


def _odds(count: int, rows: int, standing: Standing) -> float:
    """How much likelier so many rows of a slot are if it has a share of its own than with what came before: the
    logarithm of the ratio of two Poisson likelihoods."""
    before = standing.usual * standing.known
    share = (before + count) / max(rows + standing.known, 1.0)
    if not count or count <= rows * share:
        return 0.0
    found = count * math.log(count / (rows * share))
    return found + (before * math.log(before / (standing.known * share)) if before else 0.0)


def _begun(
    cause: Cause,
    slot: ArrivalSlot,
    since_us: int,
    found: _Seen,
    before: Standing,
    memory: ArrivalMemory,
    allowed_s: dict[Cause, float],
) -> Arrived:
    usual = before.usual if cause != "stale" else sorted(memory.lags_s)[len(memory.lags_s) // 2]
    words = _words(cause, slot, percent(found.value), span(allowed_s.get(cause, 0.0)), span(usual))
    reason, end_us = f"Data quality: {words}.", slot.start_us + slot.length_us
    return Arrived(
        "firing", since_us, end_us, reason, _MEASURES[cause], found.value, usual, found.least, slot.rows
    )


def _words(cause: Cause, slot: ArrivalSlot, share: str, allowed: str, usual: str) -> str:
    """What is wrong with the rows of a slot, and what to do. usual: of the age of events."""
    came = f"that came {hours(slot.start_us, slot.start_us + slot.length_us)}"
    if cause == "ahead":
        return (
            f"a clock is ahead: {slot.ahead:,} of {slot.rows:,} events ({share}) {came} are dated after "
            f"their arrival, by up to {span(slot.ahead_s)}. What is ahead by more than {allowed} is refused (dead "
            "letters) and is in no measure. Set the clock or the time zone of the producer right"
        )
    if cause == "late":
        return (
            f"events come too late: {slot.late:,} of {slot.rows:,} ({share}) {came} are dated up to "
            f"{span(slot.late_s)} before the newest one. What is late by more than {allowed} is in no measure. A "
            "producer's clock is behind, or something holds its events back"
        )
    if cause == "twice":
        return (
            f"events come more than once: {slot.twice:,} of {slot.rows:,} ({share}) {came} have the id of an earlier "
            "one of their version. They are counted once. A producer sends again what has arrived, or its ids do not "
            "name single events"
        )
    if cause == "refused":
        return (
            f"events are refused: {slot.refused:,} of {slot.rows:,} ({share}) {came} do not fit the schema of their "
            "version, and are in no measure. `homeostat deadletters list` says which column, what was found in it and "
            "what would be right"
        )
    return (
        f"the data are stale: half of the {slot.measured:,} events {came} are older than {span(slot.lag_s)}, "
        f"usually {usual}. Something holds them back, or the producer's clock is behind"
    )
