"""What people do with silences: set one, end one. Every change is in the audit log."""

import secrets

import msgspec

from remediation.errors import SilenceRefused, UnknownSilence
from remediation.ports import Clock, Journal
from remediation.silences import Matcher, Silence, checked


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
) -> Silence:
    """Keep alerts that fit all `matchers` from becoming incidents until `ends_us` (see `Silence`). `starts_us`: now
    where it is not given. Raises `SilenceRefused`."""
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
        unit.add_silence(silence)
    return silence


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
