"""Incidents: opened, fed with alerts, and moved from state to state."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from detectors.values import Alert
from remediation.config import AgentConfig
from remediation.identity import incident_id
from remediation.ports import Journal, Reader, Unit
from remediation.routing import Route, route, still_firing
from remediation.silences import Held, Silence, silencing
from remediation.values import CLOSED_INCIDENTS, Incident, IncidentState

AGENT = "agent"
"""The actor of everything that the agent does by itself."""

Ending = Literal["resolved", "escalated", "rejected", "expired"]

OPEN_STATES: tuple[IncidentState, ...] = (
    "open",
    "diagnosed",
    "awaiting_approval",
    "executing",
    "verifying",
)

TRANSITIONS: dict[IncidentState, frozenset[IncidentState]] = {
    "open": frozenset({"diagnosed", "verifying", "resolved"}),
    "diagnosed": frozenset({"open", "awaiting_approval", "escalated"}),
    "awaiting_approval": frozenset({"open", "executing", "rejected", "expired"}),
    "executing": frozenset({"open", "verifying", "escalated"}),
    "verifying": frozenset({"resolved", "escalated"}),
}
"""What may follow what. A closed incident is never opened again: a new illness is a new incident."""


class _AlertKnown(Exception):
    """Rolls back what a second delivery of an alert began."""


def receive_alert(journal: Journal, alert: Alert, *, now_us: int, config: AgentConfig) -> Route | None:
    """Keep `alert` and give it to its incident, opening one where it is a new illness; None when it is
    known."""
    try:
        with journal.transaction() as unit:
            return _receive(unit, alert, now_us, config)
    except _AlertKnown:
        return None


def release_alerts(journal: Journal, *, now_us: int, config: AgentConfig) -> list[Route]:
    """Let alerts go whose silence is over: those that still fire become incidents, or belong to one."""
    with journal.reading() as unit:
        if not _freed(unit, unit.held(), now_us):
            return []
    with journal.transaction() as unit:
        return _release(unit, unit.held(), now_us, config)


def current_incident(unit: Unit, model: str) -> Incident | None:
    """The open incident of a model; there is at most one."""
    found = unit.incidents(model=model, states=OPEN_STATES, limit=1)
    return found[0] if found else None


def last_closed(unit: Unit, model: str) -> Incident | None:
    """The incident of a model that was closed last."""
    found = unit.incidents(model=model, states=sorted(CLOSED_INCIDENTS), limit=1)
    return found[0] if found else None


def move(
    unit: Unit, incident: Incident, *, to: IncidentState, why: str, **changes: object
) -> Incident | None:
    """Put `incident` into the state `to` with `changes` of its fields; None when somebody moved it before.

    Raises ValueError for a transition that is not in `TRANSITIONS`.
    """
    if to not in TRANSITIONS.get(incident.state, frozenset()):
        raise ValueError(f"incident {incident.id}: {incident.state} may not become {to}")
    moved = msgspec.structs.replace(incident, state=to, **changes)
    return moved if unit.save_incident(moved, expected=incident.state, actor=AGENT, why=why) else None


def close(unit: Unit, incident: Incident, *, to: Ending, outcome: str, now_us: int) -> Incident | None:
    """End the incident with a sentence that says how."""
    return move(unit, incident, to=to, why=outcome, outcome=outcome, closed_us=now_us)


def _receive(unit: Unit, alert: Alert, now_us: int, config: AgentConfig) -> Route:
    _release(unit, unit.held(model=alert.model), now_us, config)
    decision = _decided(unit, alert, now_us, config)
    if not unit.link_alert(alert, decision.incident_id, decision.silence_id):
        raise _AlertKnown
    return decision


def _decided(unit: Unit, alert: Alert, now_us: int, config: AgentConfig, note: str = "") -> Route:
    """Where the alert belongs now; its incident is opened, or takes it in."""
    current = current_incident(unit, alert.model)
    closed = last_closed(unit, alert.model)
    decision = route(
        alert,
        current=current,
        last_closed=closed,
        closed_alerts=unit.alerts(closed.id) if closed else (),
        desired=unit.desired(alert.model),
        now_us=now_us,
        uncured_hold_s=config.diagnosis.uncured_hold_s,
    )
    if decision.incident_id is None:
        decision = _held_by(silencing(unit.silences(not_over_at_us=now_us), alert, now_us), decision)
    if decision.decision == "open":
        decision = msgspec.structs.replace(decision, incident_id=incident_id(alert.id, now_us))
        unit.add_incident(_opened_by(alert, decision.incident_id or "", now_us, note), actor=AGENT)
    if current is not None and alert.state == "firing":
        _take_in(unit, current, alert)
    return decision


def _held_by(silence: Silence | None, decision: Route) -> Route:
    if silence is None:
        return decision
    reason = f"silenced by {silence.author} with {silence.id}: {silence.reason}"
    return Route(decision="hold", reason=reason, silence_id=silence.id)


def _freed(unit: Reader, held: Sequence[Held], now_us: int) -> list[Held]:
    """The held alerts whose silence covers nothing any more. An alert and its all clear are let go together."""
    silences = {each.silence_id: unit.silence(each.silence_id) for each in held}
    return [
        each
        for each in held
        if (silence := silences[each.silence_id]) is None or not silence.in_force(now_us)
    ]


def _release(unit: Unit, held: Sequence[Held], now_us: int, config: AgentConfig) -> list[Route]:
    freed = _freed(unit, held, now_us)
    burning = {alert.id for alert in still_firing([each.alert for each in held])}
    routes: list[Route] = []
    for each in freed:
        silence = unit.silence(each.silence_id)
        note = _silenced_note(silence, now_us)
        if each.alert.id in burning:
            decision = _decided(unit, each.alert, now_us, config, note)
        else:
            decision = Route(decision="keep", reason="it ended while it was silenced")
        if unit.release_alert(
            each,
            incident_id=decision.incident_id,
            silence_id=decision.silence_id,
            why=f"{note}: {decision.reason}",
        ):
            routes.append(decision)
        else:
            raise _AlertKnown
    return routes


def _silenced_note(silence: Silence | None, now_us: int) -> str:
    if silence is None:
        return "its silence is gone"
    over = "a window of the silence ended" if now_us < silence.until_us else "the silence is over"
    return f"{over} that {silence.author} had set ({silence.reason})"


def _opened_by(alert: Alert, identity: str, now_us: int, note: str) -> Incident:
    told = f"{alert.reason}; {note}, and it still fires" if note else alert.reason
    return Incident(
        id=identity,
        model=alert.model,
        version=alert.version,
        severity=_severity(alert),
        summary=f"{alert.model} version {alert.version}: {told}",
        change_us=alert.change_us,
        opened_us=now_us,
    )


def _severity(alert: Alert) -> Literal["warning", "critical"]:
    return "critical" if alert.kind == "performance" else "warning"


def _take_in(unit: Unit, incident: Incident, alert: Alert) -> None:
    """An alert of the ill version can show that the illness is graver, or began earlier, than was known."""
    if alert.version != incident.version or incident.state not in ("open", "diagnosed"):
        return
    graver = "critical" if alert.kind == "performance" else incident.severity
    change_us = min(incident.change_us, alert.change_us)
    if (graver, change_us) != (incident.severity, incident.change_us):
        grown = msgspec.structs.replace(incident, severity=graver, change_us=change_us)
        unit.save_incident(
            grown, expected=incident.state, actor=AGENT, why=f"alert {alert.id}: {alert.reason}"
        )
