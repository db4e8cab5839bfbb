"""verifying -> resolved, escalated: did the action help, and what follows from that."""

from dataclasses import dataclass

from remediation import actions, incidents
from remediation.clock import seconds
from remediation.config import AgentConfig
from remediation.executor import Executor
from remediation.ports import Clock, Journal, Unit
from remediation.values import Action, Desired, Incident
from remediation.verification import Verdict, verify


@dataclass(frozen=True, slots=True)
class Recovery:
    """Decides when an incident whose action is carried out is over. Harmless when repeated."""

    journal: Journal
    executor: Executor
    clock: Clock
    config: AgentConfig

    def step(self, incident_id: str) -> None:
        """Look whether the action has helped, and end the incident where that is known."""
        now_us = self.clock.now_us()
        with self.journal.transaction() as unit:
            incident = unit.incident(incident_id)
            if incident is None or incident.state != "verifying":
                return
            running = unit.actions(incident_id=incident_id, states=actions.RUNNING, limit=1)
            action = running[0] if running else None
            desired = unit.desired(incident.model)
            plan = unit.plan(action.plan_id) if action else None
            verdict = self._verdict(unit, incident, desired)
        if (
            action is not None
            and plan is not None
            and desired is not None
            and desired.epoch != actions.own_epoch(action, plan)
        ):
            self.executor.take_back(
                action.id, f"superseded: {desired.decided_by} made {desired.version} serve"
            )
            return
        late = now_us - (incident.acted_us or now_us) >= seconds(self.config.verification.limit_s)
        if verdict.outcome == "pass":
            self._recovered(incident, action, verdict.sentence)
        elif verdict.outcome == "fail" or late:
            limit_s = self.config.verification.limit_s
            why = (
                verdict.sentence
                if verdict.outcome == "fail"
                else f"not proven in {limit_s:g} s: {verdict.sentence}"
            )
            self._not_recovered(incident, action, why)

    def _verdict(self, unit: Unit, incident: Incident, desired: Desired | None) -> Verdict:
        if desired is None:
            return Verdict(outcome="inconclusive", sentence=f"no version of {incident.model} is decided")
        earlier = [each for each in unit.deployments(incident.model) if each.epoch < desired.epoch]
        served_before = any(each.version == desired.version for each in earlier)
        since_us = desired.at_us if served_before else 0
        points = unit.points(incident.model, version=desired.version, axis="label", since_us=since_us)
        return verify(
            desired.version,
            ill_version=incident.version,
            since_us=since_us,
            points=points,
            alerts=unit.alerts(incident.id),
            config=self.config.verification,
        )

    def _recovered(self, incident: Incident, action: Action | None, sentence: str) -> None:
        if action is not None:
            self.executor.succeed(action.id, sentence)
            return
        self._close(incident.id, "resolved", sentence)

    def _not_recovered(self, incident: Incident, action: Action | None, why: str) -> None:
        if action is not None:
            self.executor.take_back(action.id, why)
            return
        self._close(incident.id, "escalated", why)

    def _close(self, incident_id: str, to: incidents.Ending, outcome: str) -> None:
        with self.journal.transaction() as unit:
            incident = unit.incident(incident_id)
            if incident is not None and incident.state == "verifying":
                incidents.close(unit, incident, to=to, outcome=outcome, now_us=self.clock.now_us())
