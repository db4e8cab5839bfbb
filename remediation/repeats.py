"""An illness that was left to people and goes on is told again, until somebody says something about it."""

from remediation import feedback
from remediation.clock import US_PER_S
from remediation.evidence import alerts_of
from remediation.incidents import OPEN_STATES
from remediation.notices import Notice
from remediation.ports import Reader
from remediation.routing import still_firing
from remediation.silences import silencing
from remediation.values import Incident, IncidentState

_LEFT: tuple[IncidentState, ...] = ("escalated", "expired")
_LOOK_BACK = 500
_MINUTE_S = 60.0


def repeats(unit: Reader, *, now_us: int, every_min: float, hold_s: float) -> list[Notice]:
    """What is due by now: for each model whose last incident was left to people less than `hold_s` ago, whose version
    still serves, of which an alert still fires and is not silenced, and about which nobody has said anything. Of
    several that would be due only the latest, so that who was away gets one."""
    newest: dict[str, Incident] = {}
    for incident in unit.incidents(states=[*OPEN_STATES, *_LEFT, "resolved", "rejected"], limit=_LOOK_BACK):
        newest.setdefault(incident.model, incident)
    found: list[Notice] = []
    for incident in newest.values():
        if incident.state not in _LEFT or incident.parent_id or incident.closed_us is None:
            continue
        since_s = (now_us - incident.closed_us) / US_PER_S
        number = int(since_s // (every_min * _MINUTE_S))
        if number and since_s <= hold_s and (what := _burning(unit, incident, now_us)) is not None:
            found.append(_again(incident, what, number, since_s, now_us))
    return found


def _burning(unit: Reader, incident: Incident, now_us: int) -> str | None:
    """What still fires, in words; None where nothing does, or where somebody has taken it up."""
    desired = unit.desired(incident.model)
    if desired is not None and desired.version != incident.version:
        return None
    # What remained of another incident was told by that one's alerts.
    firing = still_firing(unit.alerts(incident.id) or alerts_of(unit, incident), incident.version)
    silences = unit.silences(not_over_at_us=now_us)
    loud = [alert for alert in firing if silencing(silences, alert, now_us) is None]
    if not loud or unit.audit_entries(action=feedback.ACTION, subject=f"incident/{incident.id}", limit=1):
        return None
    return loud[-1].reason


def _again(incident: Incident, what: str, number: int, since_s: float, now_us: int) -> Notice:
    ended = "was left to people" if incident.state == "escalated" else "ended, for nobody decided,"
    text = (
        f"{incident.model} version {incident.version} is still ill: {what}. Incident {incident.id} {ended} "
        f"{since_s / _MINUTE_S:.0f} min ago, and nobody has said anything about it since. Who looks at it can say so: "
        f"`homeostat incidents feedback {incident.id}`, or a silence with a reason."
    )
    return Notice(
        id=f"still_burning/{incident.id}/{number}",
        kind="still_burning",
        model=incident.model,
        incident_id=incident.id,
        text=text,
        at_us=now_us,
    )
