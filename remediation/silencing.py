"""What people do with silences: set one, extend it, end one. Every change is in the audit log."""

import secrets
from dataclasses import dataclass
from typing import Literal

import msgspec

from remediation.errors import SilenceRefused, UnknownSilence
from remediation.ports import Clock, Journal, Unit
from remediation.silences import Matcher, Silence, checked, is_too_long

Outcome = Literal["set", "extended", "known"]


@dataclass(frozen=True, slots=True)
class Told:
    """The silence that covers what was asked for, and whether it is new, lasts longer than before, or did so anyway."""

    silence: Silence
    outcome: Outcome


def set_silence(
    journal: Journal,
    clock: Clock,
    *,
    matchers: tuple[Matcher, ...],
    ends_us: int,
    author: str,
    reason: str,
    starts_us: int | None = None,
    schedule: str | None = None,
    lasts_s: float | None = None,
) -> Told:
    """Keep alerts that fit all `matchers` from becoming incidents until `ends_us` (see `Silence`). `starts_us`: now
    where it is not given. One that covers the same already is extended where it ends before; there is never a second
    one that a person would have to end, too. Raises `SilenceRefused`."""
    now_us = clock.now_us()
    if ends_us <= now_us:
        raise SilenceRefused("it would be over before it began: its end lies in the past")
    silence = checked(
        Silence(
            id=f"sil-{secrets.token_hex(4)}",
            matchers=matchers,
            starts_us=now_us if starts_us is None else starts_us,
            ends_us=ends_us,
            author=author,
            reason=reason,
            created_us=now_us,
            schedule=schedule,
            lasts_s=lasts_s,
        )
    )
    with journal.transaction() as unit:
        unit.alone("silences")
        found = [each for each in unit.silences(not_over_at_us=now_us) if _covers(each, silence)]
        same = max(found, key=lambda each: each.until_us, default=None)
        if same is None:
            unit.add_silence(silence)
            return Told(silence, "set")
        if same.until_us >= silence.ends_us:
            return Told(same, "known")
        return _extended(unit, same, silence)


def _covers(known: Silence, asked: Silence) -> bool:
    """Whether `known` is about the same alerts at the same hours, begins no later and without a gap before it, and may
    last as long as is asked."""
    return (
        known.ended_us is None
        and not is_too_long(known.starts_us, asked.ends_us)
        and set(known.matchers) == set(asked.matchers)
        and (known.schedule, known.lasts_s) == (asked.schedule, asked.lasts_s)
        and known.starts_us <= asked.starts_us <= known.until_us
    )


def _extended(unit: Unit, known: Silence, asked: Silence) -> Told:
    longer = checked(msgspec.structs.replace(known, ends_us=asked.ends_us))
    if not unit.extend_silence(longer, by=asked.author, why=asked.reason):
        raise SilenceRefused(f"Silence {known.id} was ended at this moment; ask again.")
    return Told(longer, "extended")


def end_silence(journal: Journal, clock: Clock, *, silence_id: str, by: str) -> Silence:
    """End a silence now. What it held and still fires becomes an incident within a second. Ending it a second time
    changes nothing. Raises `UnknownSilence`, and `SilenceRefused` for one that is over by itself."""
    now_us = clock.now_us()
    with journal.transaction() as unit:
        silence = unit.silence(silence_id)
        if silence is None:
            raise UnknownSilence(f"There is no silence {silence_id!r}.")
        if silence.ended_us is not None:
            return silence
        if now_us >= silence.ends_us:
            raise SilenceRefused(f"Silence {silence_id} is over already.")
        ended = msgspec.structs.replace(silence, ended_us=now_us, ended_by=by)
        unit.end_silence(ended)
        return ended
