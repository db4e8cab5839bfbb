"""What a person says about an alert of the traffic: into what is usual, told and to be taken back."""

from typing import Final, Literal

from msgspec.structs import replace

from detectors.quality.traffic import PHASES, Traffic, TrafficFeedback

Said = Literal["false alarm", "expected", "new normal"]
KEPT: Final = 2
"""Statements that can be taken back."""
CAUTION: Final = 1.5
"""By which a false alarm makes silences longer, and volumes further from the usual, that are told."""


def say(traffic: Traffic, said: Said, name: str) -> Traffic:
    """What is known after a person has spoken about what is told; unchanged where nothing is.

    It is silent until it has passed. "false alarm": the next one must be half as much again, and a gap like this one is
    usual. "new normal": a gap like this one is usual; of a volume what is usual is learned anew from now on.
    """
    if not traffic.fires:
        return traffic
    forgets = said == "new normal" and traffic.told == "volume"
    usual = (traffic.slots, traffic.events, traffic.seen, traffic.total) if forgets else None
    entry = TrafficFeedback(
        id=name, told=traffic.told, told_us=traffic.told_us, caution=traffic.caution, usual=usual
    )
    after = replace(
        traffic, muted=True, excused=said != "expected", feedback=(*traffic.feedback, entry)[-KEPT:]
    )
    if said == "false alarm":
        return replace(after, caution=traffic.caution * CAUTION)
    if not forgets:
        return after
    nothing = (0,) * PHASES
    return replace(
        after, told="", told_us=0, muted=False, slots=nothing, events=nothing, seen=0, total=0, unusual=0
    )


def take_back(traffic: Traffic, name: str) -> Traffic:
    """As if the statement of this name had not been made, nor a later one; what has passed since stays so."""
    place = next((i for i, one in enumerate(traffic.feedback) if one.id == name), None)
    if place is None:
        return traffic
    before = traffic.feedback[place]
    after = replace(traffic, caution=before.caution, feedback=traffic.feedback[:place])
    if before.usual is not None:
        slots, events, seen, total = before.usual
        after = replace(
            after,
            slots=slots,
            events=events,
            seen=seen,
            total=total,
            told=before.told,
            told_us=before.told_us,
        )
    goes_on = (after.told, after.told_us) == (before.told, before.told_us)
    return replace(after, muted=False, excused=False) if goes_on else after
