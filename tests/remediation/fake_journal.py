"""The journal in memory: serialised transactions over a copy of the state."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from detectors.values import Alert, Axis, MetricPoint
from remediation.changes import Change
from remediation.incidents import OPEN_STATES
from remediation.notices import AUDITED_AS, Notice
from remediation.routing import Situation
from remediation.silences import Held, Link, Silence
from remediation.switches import Switch, verb
from remediation.tokens import Token
from remediation.values import CLOSED_INCIDENTS, Action, Approval, AuditEntry, Desired, Incident, Plan
from tests.remediation.fakes import Faults, ManualClock


@dataclass
class State:
    """What a database would hold."""

    incidents: dict[str, Incident] = field(default_factory=dict)
    alerts: dict[str, tuple[Alert, str | None]] = field(default_factory=dict)
    holds: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    silences: dict[str, Silence] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    approvals: dict[str, Approval] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    desired: dict[str, Desired] = field(default_factory=dict)
    deployments: list[Desired] = field(default_factory=list)
    audit: list[AuditEntry] = field(default_factory=list)
    points: list[MetricPoint] = field(default_factory=list)
    notices: dict[str, Notice] = field(default_factory=dict)
    heartbeats: dict[str, int] = field(default_factory=dict)
    switches: dict[str, Switch] = field(default_factory=dict)

    def copy(self) -> "State":
        return State(**{name: type(value)(value) for name, value in vars(self).items()})


class FakeUnit:
    """One transaction over a copy of the state."""

    def __init__(self, state: State, clock: ManualClock) -> None:
        self.state = state
        self._clock = clock

    def add_incident(self, incident: Incident, *, actor: str) -> None:
        assert incident.id not in self.state.incidents
        self.state.incidents[incident.id] = incident
        self._log(actor, "incident.open", incident.id)

    def save_incident(self, incident: Incident, *, expected: str, actor: str, why: str) -> bool:
        return self._replace(self.state.incidents, incident, expected, actor, "incident", why)

    def incident(self, incident_id: str) -> Incident | None:
        return self.state.incidents.get(incident_id)

    def incidents(
        self,
        *,
        model: str | None = None,
        states: Sequence[str] | None = None,
        cause: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Incident]:
        found = [
            each
            for each in reversed(self.state.incidents.values())
            if (model is None or each.model == model)
            and (states is None or each.state in states)
            and (cause is None or each.cause == cause)
        ]
        return found[:limit]

    def link_alerts(self, links: Sequence[Link]) -> int:
        fresh = [each for each in links if each.alert.id not in self.state.alerts]
        for each in fresh:
            assert each.incident_id is None or each.incident_id in self.state.incidents
            self.state.alerts[each.alert.id] = (each.alert, each.incident_id)
            if each.silence_id is not None:
                self.state.holds[each.alert.id] = each.silence_id
            self._log("agent", "alert.linked", each.alert.id)
        return len(fresh)

    def situations(self, models: Sequence[str]) -> dict[str, Situation]:
        return {
            model: Situation(
                current=next(iter(self.incidents(model=model, states=OPEN_STATES)), None),
                last_closed=next(iter(self.incidents(model=model, states=sorted(CLOSED_INCIDENTS))), None),
                desired=self.desired(model),
                held=tuple(self.held(model=model)),
            )
            for model in models
        }

    def known_alerts(self, alert_ids: Sequence[str]) -> set[str]:
        return {each for each in alert_ids if each in self.state.alerts}

    def notices(self, *, since_us: int, limit: int = 100) -> list[Notice]:
        found = [each for each in reversed(self.state.notices.values()) if each.at_us >= since_us]
        return found[:limit]

    def add_notice(self, notice: Notice) -> bool:
        if notice.id in self.state.notices:
            return False
        self.state.notices[notice.id] = notice
        subject = f"incident/{notice.incident_id}" if notice.incident_id else f"notice/{notice.id}"
        self._log("agent", AUDITED_AS[notice.kind], subject, {"why": notice.text})
        return True

    def switch(self, name: str) -> Switch | None:
        return self.state.switches.get(name)

    def set_switch(self, switch: Switch, *, actor: str) -> None:
        self.state.switches[switch.name] = switch
        self._log(actor, verb(switch), f"switch/{switch.name}", {"why": switch.reason})

    def alone(self, what: str) -> None:
        """Transactions here are one after the other."""

    def heartbeats(self) -> dict[str, int]:
        return dict(self.state.heartbeats)

    def beat(self, name: str, at_us: int) -> None:
        self.state.heartbeats[name] = max(at_us, self.state.heartbeats.get(name, 0))

    def held(self, *, model: str | None = None) -> list[Held]:
        found = [
            Held(alert=self.state.alerts[alert_id][0], silence_id=silence_id)
            for alert_id, silence_id in self.state.holds.items()
        ]
        return [each for each in found if model in (None, each.alert.model)]

    def release_alert(self, held: Held, *, incident_id: str | None, silence_id: str | None, why: str) -> bool:
        if self.state.holds.get(held.alert.id) != held.silence_id:
            return False
        del self.state.holds[held.alert.id]
        if silence_id is not None:
            self.state.holds[held.alert.id] = silence_id
        self.state.alerts[held.alert.id] = (held.alert, incident_id)
        self._log("agent", "alert.released", held.alert.id, {"why": why})
        return True

    def token(self, token_id: str) -> Token | None:
        return self.state.tokens.get(token_id)

    def tokens(self, *, limit: int = 500) -> list[Token]:
        return list(reversed(self.state.tokens.values()))[:limit]

    def add_token(self, token: Token) -> None:
        self.state.tokens[token.id] = token
        self._log(token.created_by, "token.created", token.id)

    def revoke_token(self, token: Token) -> None:
        self.state.tokens[token.id] = token
        self._log(token.revoked_by or "", "token.revoked", token.id)

    def change(self, change_id: str) -> Change | None:
        return self.state.changes.get(change_id)

    def changes(
        self, *, since_us: int | None = None, until_us: int | None = None, limit: int = 500
    ) -> list[Change]:
        found = sorted(self.state.changes.values(), key=lambda each: -each.starts_us)
        return [
            each
            for each in found
            if (since_us is None or (each.ends_us or each.starts_us) >= since_us)
            and (until_us is None or each.starts_us < until_us)
        ][:limit]

    def add_change(self, change: Change) -> bool:
        if change.id in self.state.changes:
            return False
        self.state.changes[change.id] = change
        self._log(change.by, "change.recorded", change.id)
        return True

    def silence(self, silence_id: str) -> Silence | None:
        return self.state.silences.get(silence_id)

    def silences(
        self, *, not_over_at_us: int | None = None, before: str | None = None, limit: int = 500
    ) -> list[Silence]:
        found = reversed(self.state.silences.values())
        return [each for each in found if not_over_at_us is None or each.until_us > not_over_at_us][:limit]

    def add_silence(self, silence: Silence) -> None:
        self.state.silences[silence.id] = silence
        self._log(silence.author, "silence.set", silence.id)

    def extend_silence(self, silence: Silence, *, by: str, why: str) -> bool:
        self.state.silences[silence.id] = silence
        self._log(by, "silence.extended", silence.id, {"why": why})
        return True

    def end_silence(self, silence: Silence) -> bool:
        self.state.silences[silence.id] = silence
        self._log(silence.ended_by or "", "silence.ended", silence.id)
        return True

    def alerts(self, incident_id: str) -> list[Alert]:
        return [alert for alert, linked in self.state.alerts.values() if linked == incident_id]

    def add_plan(self, plan: Plan, approval: Approval, *, actor: str) -> None:
        assert plan.id not in self.state.plans
        self.state.plans[plan.id] = plan
        self.state.approvals[approval.id] = approval
        self._log(actor, "plan.proposed", plan.id)

    def plan(self, plan_id: str) -> Plan | None:
        return self.state.plans.get(plan_id)

    def plans(self, incident_id: str) -> list[Plan]:
        return [each for each in self.state.plans.values() if each.incident_id == incident_id]

    def approval(self, approval_id: str) -> Approval | None:
        return self.state.approvals.get(approval_id)

    def approvals(
        self,
        *,
        state: str | None = None,
        incident_id: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        found = [
            each
            for each in reversed(self.state.approvals.values())
            if (state is None or each.state == state)
            and (incident_id is None or each.incident_id == incident_id)
        ]
        return found[:limit]

    def save_approval(self, approval: Approval, *, expected: str, actor: str) -> bool:
        return self._replace(self.state.approvals, approval, expected, actor, "approval")

    def add_action(self, action: Action, *, actor: str) -> bool:
        if action.id in self.state.actions:
            return False
        self.state.actions[action.id] = action
        self._log(actor, "action.intended", action.id)
        return True

    def save_action(self, action: Action, *, expected: str, actor: str) -> bool:
        return self._replace(self.state.actions, action, expected, actor, "action")

    def action(self, action_id: str) -> Action | None:
        return self.state.actions.get(action_id)

    def actions(
        self,
        *,
        model: str | None = None,
        incident_id: str | None = None,
        states: Sequence[str] | None = None,
        kind: str | None = None,
        since_us: int | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Action]:
        found = [
            each
            for each in reversed(self.state.actions.values())
            if (incident_id is None or each.incident_id == incident_id)
            and (model is None or each.model == model)
            and (states is None or each.state in states)
            and (kind is None or each.kind == kind)
            and (since_us is None or each.started_us >= since_us)
        ]
        return found[:limit]

    def desired(self, model: str) -> Desired | None:
        return self.state.desired.get(model)

    def set_desired(self, desired: Desired, *, expected_epoch: int, actor: str) -> bool:
        current = self.state.desired.get(desired.model)
        if (current.epoch if current else 0) != expected_epoch:
            return False
        assert desired.epoch > expected_epoch
        self.state.desired[desired.model] = desired
        self.state.deployments.append(desired)
        self._log(actor, "model.desired", desired.model)
        return True

    def deployments(self, model: str) -> list[Desired]:
        return [each for each in self.state.deployments if each.model == model]

    def deployed_models(self) -> list[str]:
        return sorted(self.state.desired)

    def points(
        self,
        model: str,
        *,
        version: str | None = None,
        measures: Sequence[str] | None = None,
        axis: Axis | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
        limit: int = 10_000,
    ) -> list[MetricPoint]:
        found = [
            each
            for each in self.state.points
            if each.model == model
            and (version is None or each.version == version)
            and (measures is None or each.measure in measures)
            and (axis is None or each.axis == axis)
            and (since_us is None or each.end_us >= since_us)
            and (until_us is None or each.end_us < until_us)
        ]
        return sorted(found, key=lambda each: each.end_us)[-limit:]

    def audit(self, *, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None:
        self._log(actor, action, subject, dict(detail))

    def audit_entries(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        newest_first: bool = True,
    ) -> list[AuditEntry]:
        found = [
            each
            for each in self.state.audit
            if (action is None or each.action == action) and (subject is None or each.subject == subject)
        ]
        return found[-limit:]

    def _replace(
        self, table: dict[str, Any], value: Any, expected: str, actor: str, kind: str, why: str = ""
    ) -> bool:
        if table[value.id].state != expected:
            return False
        table[value.id] = value
        self._log(actor, f"{kind}.{value.state}", value.id, {"why": why})
        return True

    def _log(self, actor: str, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
        index = len(self.state.audit)
        entry = AuditEntry(
            index=index,
            id=str(index),
            at_us=self._clock.now_us(),
            actor=actor,
            action=action,
            subject=subject,
            detail=detail or {},
        )
        self.state.audit.append(entry)


class FakeJournal:
    """Serialised transactions; what raises changes nothing."""

    def __init__(self, clock: ManualClock, faults: Faults) -> None:
        self.state = State()
        self.faults = faults
        self._clock = clock
        self._lock = threading.RLock()

    @contextmanager
    def transaction(self) -> Iterator[FakeUnit]:
        with self._lock:
            unit = FakeUnit(self.state.copy(), self._clock)
            written = len(self.state.audit)
            yield unit
            if len(unit.state.audit) == written:
                self.state.heartbeats = unit.state.heartbeats
                return
            self.faults("before commit")
            self.state = unit.state
            self.faults("after commit")

    @contextmanager
    def reading(self) -> Iterator[FakeUnit]:
        with self._lock:
            yield FakeUnit(self.state.copy(), self._clock)
