"""Taking alerts in: each is given to its incident, opens one, or is held by a silence.

Many are taken in by one transaction, with the outcome of one by one: what the journal holds about their models is read
once, and kept up to date by what each of them does.
"""

from collections.abc import Sequence

import msgspec

from detectors.values import Alert
from remediation.config import AgentConfig
from remediation.evidence import alerts_of
from remediation.facets import of_traffic
from remediation.identity import incident_id
from remediation.incidents import AGENT, opened_by
from remediation.notices import Notice
from remediation.ports import Journal, Reader, Unit
from remediation.routing import Route, Situation, route, still_firing
from remediation.silences import Held, Link, Silence, silencing
from remediation.values import Incident

_ATTEMPTS = 5


class _AlertKnown(Exception):
    """Rolls back what a second delivery of an alert began, or what somebody else did at the same time."""


def receive_alerts(
    journal: Journal, alerts: Sequence[Alert], *, now_us: int, config: AgentConfig
) -> list[Route | None]:
    """Keep the alerts, in their order, and give each to its incident, opening one where it is a new illness. Returns
    where each went; None for one that is known. All of them are taken in, or none."""
    for _ in range(_ATTEMPTS):
        try:
            with journal.transaction() as unit:
                return _Desk(unit, now_us, config).receive(alerts)
        except _AlertKnown:
            continue
    raise TimeoutError(f"somebody else takes the same {len(alerts)} alerts in, again and again")


def receive_alert(journal: Journal, alert: Alert, *, now_us: int, config: AgentConfig) -> Route | None:
    """One alert; see `receive_alerts`."""
    return receive_alerts(journal, [alert], now_us=now_us, config=config)[0]


def release_alerts(journal: Journal, *, now_us: int, config: AgentConfig) -> list[Route]:
    """Let alerts go whose silence is over: those that still fire become incidents, or belong to one, and people are
    told that the silence is over."""
    with journal.reading() as unit:
        if not _freed(unit, unit.held(), now_us):
            return []
    for _ in range(_ATTEMPTS):
        try:
            with journal.transaction() as unit:
                held = unit.held()
                return _Desk(unit, now_us, config).release({each.alert.model for each in held})
        except _AlertKnown:
            continue
    return []


class _Desk:
    """One transaction's worth of alerts."""

    def __init__(self, unit: Unit, now_us: int, config: AgentConfig) -> None:
        self._unit = unit
        self._now_us = now_us
        self._config = config
        self._situations: dict[str, Situation] = {}
        self._past: dict[str, list[Alert]] = {}
        self._silences: list[Silence] | None = None

    def receive(self, alerts: Sequence[Alert]) -> list[Route | None]:
        known = self._unit.known_alerts([each.id for each in alerts])
        fresh: list[Alert] = []
        for alert in alerts:
            if alert.id not in known:
                known.add(alert.id)
                fresh.append(alert)
        self.release({each.model for each in fresh})
        routes: dict[str, Route] = {}
        links: list[Link] = []
        for alert in fresh:
            found = self._decided(alert)
            routes[alert.id] = found
            links.append(Link(alert=alert, incident_id=found.incident_id, silence_id=found.silence_id))
            if found.incident_id in self._past:
                self._past[found.incident_id].append(alert)
        if self._unit.link_alerts(links) != len(links):
            raise _AlertKnown
        return [routes.pop(each.id, None) for each in alerts]

    def release(self, models: set[str]) -> list[Route]:
        """Let go what is held of these models and covered no more."""
        self._situations = self._unit.situations(sorted(models))
        held = [one for each in self._situations.values() for one in each.held]
        freed = _freed(self._unit, held, self._now_us)
        burning = {alert.id for alert in still_firing([each.alert for each in freed])}
        routes: list[Route] = []
        told: dict[str, list[tuple[Alert, Route, str]]] = {}
        for each in freed:
            note = _silenced_note(self._unit.silence(each.silence_id), self._now_us)
            found = Route(decision="keep", reason="it ended while it was silenced")
            if each.alert.id in burning:
                found = self._decided(each.alert, note)
            why = f"{note}: {found.reason}"
            if not self._unit.release_alert(
                each, incident_id=found.incident_id, silence_id=found.silence_id, why=why
            ):
                raise _AlertKnown
            if each.alert.id in burning and found.silence_id is None:
                told.setdefault(each.silence_id, []).append((each.alert, found, note))
            routes.append(found)
        for silence_id, burns in told.items():
            self._unit.add_notice(_burning(silence_id, burns, self._now_us))
        return routes

    def _decided(self, alert: Alert, note: str = "") -> Route:
        """Where the alert belongs now; its incident is opened, or takes it in."""
        situation = self._situations[alert.model]
        found = route(
            alert,
            current=situation.current,
            last_closed=situation.last_closed,
            closed_alerts=lambda: self._alerts_of(situation.last_closed),
            desired=situation.desired,
            now_us=self._now_us,
            uncured_hold_s=self._config.diagnosis.uncured_hold_s,
            inhibit=self._config.policy.grouping.inhibit,
        )
        if found.incident_id is None:
            found = _held_by(silencing(self._silences_now(), alert, self._now_us), found)
        if found.decision == "open":
            version = alert.version
            if of_traffic(alert) and situation.desired is not None:
                version = situation.desired.version
            opened = opened_by(alert, version, incident_id(alert.id, self._now_us), self._now_us, note)
            self._unit.add_incident(opened, actor=AGENT)
            self._note(alert.model, opened)
            return msgspec.structs.replace(found, incident_id=opened.id)
        if situation.current is not None and alert.state == "firing":
            self._take_in(situation.current, alert)
        return found

    def _take_in(self, incident: Incident, alert: Alert) -> None:
        """An alert of the ill version can show that the illness is graver, or began earlier, than was known."""
        if alert.version != incident.version or incident.state not in ("open", "diagnosed"):
            return
        graver = "critical" if alert.kind == "performance" else incident.severity
        change_us = min(incident.change_us, alert.change_us)
        if (graver, change_us) == (incident.severity, incident.change_us):
            return
        grown = msgspec.structs.replace(incident, severity=graver, change_us=change_us)
        why = f"alert {alert.id}: {alert.reason}"
        if not self._unit.save_incident(grown, expected=incident.state, actor=AGENT, why=why):
            raise _AlertKnown
        self._note(alert.model, grown)

    def _note(self, model: str, current: Incident) -> None:
        self._situations[model] = msgspec.structs.replace(self._situations[model], current=current)

    def _alerts_of(self, incident: Incident | None) -> Sequence[Alert]:
        if incident is None:
            return ()
        if incident.id not in self._past:
            # What remained of another incident was told by that one's alerts.
            known = self._unit.alerts(incident.id) or alerts_of(self._unit, incident)
            self._past[incident.id] = [*known]
        return self._past[incident.id]

    def _silences_now(self) -> Sequence[Silence]:
        if self._silences is None:
            self._silences = self._unit.silences(not_over_at_us=self._now_us)
        return self._silences


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


def _silenced_note(silence: Silence | None, now_us: int) -> str:
    if silence is None:
        return "its silence is gone"
    over = "a window of the silence ended" if now_us < silence.until_us else "the silence is over"
    return f"{over} that {silence.author} had set ({silence.reason})"


def _burning(silence_id: str, burns: Sequence[tuple[Alert, Route, str]], now_us: int) -> Notice:
    """What people are told when a silence is over and not what it was for."""
    alert, found, note = burns[0]
    more = f" So have {len(burns) - 1} more." if len(burns) > 1 else ""
    place = f" It belongs to incident {found.incident_id}." if found.incident_id else ""
    kind = alert.kind.replace("_", " ")
    return Notice(
        id=f"silence_over/{silence_id}/{alert.id}",
        kind="silence_over",
        model=alert.model,
        incident_id=found.incident_id or "",
        text=f"{note[:1].upper()}{note[1:]}, and {alert.model} version {alert.version} still has its {kind} alert: "
        f"{alert.reason}.{place}{more}",
        at_us=now_us,
    )
