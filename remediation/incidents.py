"""Incidents: found, and moved from state to state."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from detectors.values import Alert
from remediation.names import AGENT
from remediation.ports import Unit
from remediation.values import Incident, IncidentState, Kin

_SAME = ". The same is seen in "

Ending = Literal["resolved", "escalated", "rejected", "expired"]

OPEN_STATES: tuple[IncidentState, ...] = (
    "open",
    "diagnosed",
    "awaiting_approval",
    "executing",
    "verifying",
)

TRANSITIONS: dict[IncidentState, frozenset[IncidentState]] = {
    "open": frozenset({"diagnosed", "verifying", "resolved", "escalated"}),
    "diagnosed": frozenset({"open", "awaiting_approval", "escalated"}),
    "awaiting_approval": frozenset({"open", "executing", "rejected", "expired"}),
    "executing": frozenset({"open", "diagnosed", "verifying", "escalated"}),
    "verifying": frozenset({"open", "diagnosed", "resolved", "escalated"}),
}
"""What may follow what. From `open` to `escalated` goes only who was treated with another (`remediation.families`).
A closed incident is never opened again: a new illness is a new incident."""


def move(
    unit: Unit, incident: Incident, *, to: IncidentState, why: str, **changes: object
) -> Incident | None:
    """Put `incident` into the state `to` with `changes` of its fields; None when somebody moved it before.

    Raises ValueError for a transition that is not in `TRANSITIONS`.
    """
    if to not in TRANSITIONS.get(incident.state, frozenset()):
        raise ValueError(f"incident {incident.id}: {incident.state} may not become {to}")
    if isinstance(told := changes.get("summary"), str):
        changes["summary"] = with_family(told, incident.family)
    moved = msgspec.structs.replace(incident, state=to, **changes)
    return moved if unit.save_incident(moved, expected=incident.state, actor=AGENT, why=why) else None


def with_family(summary: str, family: Sequence[Kin]) -> str:
    """The summary, and who else is ill of the same."""
    alone = summary.partition(_SAME)[0]
    others = ", ".join(f"{each.model} version {each.version}" for each in family)
    return f"{alone.rstrip('.')}{_SAME}{others}." if family else alone


def close(unit: Unit, incident: Incident, *, to: Ending, outcome: str, now_us: int) -> Incident | None:
    """End the incident with a sentence that says how."""
    return move(unit, incident, to=to, why=outcome, outcome=outcome, closed_us=now_us)


def opened_by(alert: Alert, version: str, identity: str, now_us: int, note: str) -> Incident:
    """The incident that an alert opens about `version`. note: why only now, though the alert came earlier; or empty."""
    told = f"{alert.reason}; {note}, and it still fires" if note else alert.reason
    return Incident(
        id=identity,
        model=alert.model,
        version=version,
        severity="critical" if alert.kind == "performance" else "warning",
        summary=f"{alert.model} version {version}: {told}",
        change_us=alert.change_us,
        opened_us=now_us,
    )
