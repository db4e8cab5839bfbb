"""Which incident does an alert belong to? Decided from values alone, with the reason."""

from collections.abc import Callable, Sequence
from typing import Literal

from detectors.values import Alert, AlertKind, Value
from remediation.clock import seconds
from remediation.facets import concerns, of_operation, of_traffic
from remediation.inhibition import explaining
from remediation.silences import Held
from remediation.values import Desired, Incident

_GRAVITY: dict[AlertKind, int] = {
    "volume": 0,
    "prediction_drift": 1,
    "data_drift": 2,
    "data_quality": 3,
    "estimated_performance": 4,
    "concept_drift": 5,
    "performance": 6,
}


class Route(Value, frozen=True, kw_only=True):
    """`attach` to `incident_id`, `open` a new incident, `keep` the alert without one, or `hold` it while `silence_id`
    covers it; `reason` is for the log."""

    decision: Literal["attach", "open", "keep", "hold"]
    reason: str
    incident_id: str | None = None
    silence_id: str | None = None


class Situation(Value, frozen=True, kw_only=True):
    """What the journal holds about a model where its alerts are concerned: its open incident, the one that was closed
    last, what shall serve, and the alerts that silences hold."""

    current: Incident | None = None
    last_closed: Incident | None = None
    desired: Desired | None = None
    held: tuple[Held, ...] = ()


def still_firing(alerts: Sequence[Alert], version: str | None = None) -> list[Alert]:
    """The alerts, of `version` if given, that fired and were not cleared later: the last one per series."""
    last: dict[tuple[str, str, AlertKind, str], Alert] = {}
    for alert in sorted(alerts, key=lambda each: (each.end_us, each.state == "firing", each.id)):
        if version is None or concerns(alert, version):
            of = "" if of_traffic(alert) else alert.version
            last[of, alert.segment, alert.kind, alert.axis] = alert
    return [alert for alert in last.values() if alert.state == "firing"]


def route(
    alert: Alert,
    *,
    current: Incident | None,
    last_closed: Incident | None,
    closed_alerts: Callable[[], Sequence[Alert]],
    desired: Desired | None,
    now_us: int,
    uncured_hold_s: float,
    inhibit: bool = True,
) -> Route:
    """Decide where `alert` belongs.

    `current` is the model's open incident, `last_closed` its latest closed one with `closed_alerts`,
    `desired` what shall serve (None: not decided here, so the alert's version is taken for the serving one). With
    `inhibit` an illness that an uncured one explains is not told again (`remediation.inhibition`).
    """
    if current is not None:
        return _attach(current, f"incident {current.id} of {alert.model} is open")
    if last_closed is None or last_closed.closed_us is None:
        return _without_history(alert, desired)
    if alert.state == "cleared":
        return _attach(last_closed, "all clear after the incident was closed")
    if desired is not None and not concerns(alert, desired.version):
        return _attach(last_closed, f"version {alert.version} no longer serves, {desired.version} does")
    if _is_another_matter(alert, last_closed, closed_alerts):
        return Route(decision="open", reason=f"{last_closed.id} was about another matter")
    same = _of_the_same(alert, last_closed, closed_alerts)
    if _belongs_to_the_past(alert, last_closed, last_closed.closed_us, same=same):
        return _attach(last_closed, "the window and the change lie before the end of the incident")
    if same and _held_on(last_closed, now_us, uncured_hold_s):
        firing = still_firing(closed_alerts(), last_closed.version)
        if any(_GRAVITY[alert.kind] <= _GRAVITY[told.kind] for told in firing):
            return _attach(last_closed, f"the illness that {last_closed.id} left {last_closed.state} goes on")
        if inhibit and (cause := explaining(alert, firing)) is not None:
            return _attach(last_closed, f"explained by {cause.kind} alert {cause.id}, which goes on uncured")
    return Route(decision="open", reason=f"a new illness of version {alert.version}, which serves")


def _without_history(alert: Alert, desired: Desired | None) -> Route:
    if alert.state == "cleared":
        return Route(decision="keep", reason="all clear, and no incident that it belongs to")
    if desired is not None and not any(
        concerns(alert, each) for each in (desired.version, *desired.arrangement.shares)
    ):
        return Route(
            decision="keep", reason=f"version {alert.version} does not serve, {desired.version} does"
        )
    return Route(decision="open", reason=f"the first illness of {alert.model}")


def _is_another_matter(alert: Alert, closed: Incident, closed_alerts: Callable[[], Sequence[Alert]]) -> bool:
    """A slow service, or a traffic that stopped, does not explain that the model or its data are ill, however late the
    window comes; nor does an illness that was cured explain that the service is slow, or that nobody asks any more."""
    if of_operation(alert):
        alike = (
            each for each in closed_alerts() if of_operation(each) and of_traffic(each) == of_traffic(alert)
        )
        return closed.state == "resolved" and not any(alike)
    if closed.version != alert.version:
        return False
    told = [each for each in closed_alerts() if each.state == "firing"]
    return bool(told) and all(map(of_operation, told))


def _of_the_same(alert: Alert, closed: Incident, closed_alerts: Callable[[], Sequence[Alert]]) -> bool:
    """Whether an alert is about the version that was ill, or about the traffic that people were told of."""
    return alert.version == closed.version or (of_traffic(alert) and any(map(of_traffic, closed_alerts())))


def _belongs_to_the_past(alert: Alert, incident: Incident, closed_us: int, *, same: bool) -> bool:
    """A late window. Of the version that was ill: its change lies before the end of the incident. Of the
    version that cured it: it ended before the end, or its change lies before that version came back. (The
    judge tells an illness once; what is attached here by mistake would never be told again.)"""
    if same:
        return alert.start_us < closed_us and alert.change_us < closed_us
    if alert.end_us <= closed_us or incident.acted_us is None:
        return alert.end_us <= closed_us
    return incident.state == "resolved" and alert.change_us < incident.acted_us


def _held_on(incident: Incident, now_us: int, uncured_hold_s: float) -> bool:
    """Whether a closed incident, as one that cured nothing, can explain later alerts of the same: those that are no
    graver than what it told, and what comes of that, for as long as one of its alerts goes on firing."""
    if incident.state == "resolved" or incident.closed_us is None:
        return False
    return now_us - incident.closed_us <= seconds(uncured_hold_s)


def _attach(incident: Incident, reason: str) -> Route:
    return Route(decision="attach", incident_id=incident.id, reason=reason)
