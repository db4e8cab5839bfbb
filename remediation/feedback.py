"""What a person says about an incident, for the judge: kept in the audit log, made known, and taken back."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from detectors.sequential.hearing import HEARD_KINDS, Saying, Statement
from detectors.values import Alert
from remediation.errors import FeedbackRefused, UnknownIncident
from remediation.ports import Clock, Journal, Reader
from remediation.routing import still_firing

ACTION = "incident.feedback"
"""What the audit log calls it."""
_INTENDED = f"{ACTION}_intended"
_ENTRIES = 200

Tell = Callable[[Statement], Awaitable[None]]
"""Puts a statement on the control topic."""


async def give_feedback(
    journal: Journal, tell: Tell, clock: Clock, *, incident_id: str, said: Saying, by: str, why: str = ""
) -> tuple[Statement, ...]:
    """Say something about the alerts of an incident that still fire, or take back what was said last.

    The judge hears it before the next window of each series, and its alerts then tell what has become of it. Saying
    the same again before it shows in the audit log is the same statement. Raises `UnknownIncident`, and
    `FeedbackRefused` where there is nothing that this could be said about.
    """
    found = await asyncio.to_thread(_statements, journal, clock, incident_id, said, by, why)
    # The judge hears it before the entry that says so: a process that dies in between leaves at least the intent.
    await asyncio.to_thread(_record, journal, incident_id, by, _INTENDED, {"said": said, "why": why})
    for statement in found:
        await tell(statement)
    kept = [msgspec.to_builtins(_without_person(each)) for each in found]
    detail = {"said": said, "why": why, "statements": kept}
    await asyncio.to_thread(_record, journal, incident_id, by, ACTION, detail)
    return found


def _statements(
    journal: Journal, clock: Clock, incident_id: str, said: Saying, by: str, why: str
) -> tuple[Statement, ...]:
    with journal.reading() as unit:
        if unit.incident(incident_id) is None:
            raise UnknownIncident(f"There is no incident {incident_id!r}.")
        entries = _entries(unit, incident_id)
        alerts = unit.alerts(incident_id)
    if said == "taken back":
        return tuple(
            msgspec.structs.replace(
                one, id=_name(one.id, said), said=said, about=one.id, by=by, why=why, said_us=clock.now_us()
            )
            for one in _last_said(incident_id, entries)
        )
    heard = [alert for alert in still_firing(alerts) if alert.kind in HEARD_KINDS]
    if not heard:
        raise FeedbackRefused(_nothing(incident_id, alerts))
    return tuple(_about(alert, said, by, why, clock.now_us(), len(entries)) for alert in heard)


def _about(alert: Alert, said: Saying, by: str, why: str, now_us: int, before: int) -> Statement:
    return Statement(
        id=_name(alert.id, said, str(before)),
        model=alert.model,
        version=alert.version,
        segment=alert.segment,
        axis=alert.axis,
        kind=alert.kind,
        said=said,
        about=alert.id,
        after_us=alert.end_us,
        by=by,
        why=why,
        said_us=now_us,
    )


def _entries(unit: Reader, incident_id: str) -> list[Mapping[str, object]]:
    """What was said about the incident before, oldest first."""
    found = unit.audit_entries(
        action=ACTION, subject=f"incident/{incident_id}", limit=_ENTRIES, newest_first=False
    )
    return [entry.detail for entry in found]


def _last_said(incident_id: str, entries: Sequence[Mapping[str, object]]) -> list[Statement]:
    standing: list[list[Statement]] = []
    for entry in entries:
        if entry["said"] != "taken back":
            standing.append(msgspec.convert(entry["statements"], list[Statement]))
        elif standing:
            standing.pop()
    if not standing:
        raise FeedbackRefused(
            f"nothing that was said about incident {incident_id} is left to be taken back; what was said a moment ago "
            "takes a second to be on record"
        )
    return standing[-1]


def _nothing(incident_id: str, alerts: Sequence[Alert]) -> str:
    others = sorted({alert.kind for alert in still_firing(alerts)})
    firing = f"only {', '.join(others)} still fires" if others else "none of its alerts still fires"
    return f"{firing} of incident {incident_id}; something can be said about {', '.join(sorted(HEARD_KINDS))}"


def _record(journal: Journal, incident_id: str, by: str, action: str, detail: Mapping[str, object]) -> None:
    with journal.transaction() as unit:
        unit.audit(actor=by, action=action, subject=f"incident/{incident_id}", detail=detail)


def _without_person(statement: Statement) -> Statement:
    """Who said it and why stand beside it in the entry, where they can be redacted; deeper they could not."""
    return msgspec.structs.replace(statement, by="", why="")


def _name(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
