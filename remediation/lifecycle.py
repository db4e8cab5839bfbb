"""One step of an incident, from its state in the journal: all memory is there, so any agent can take the next
one."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field

import msgspec
import structlog

from remediation import actions, approvals, delays, families, freezing, incidents, limits
from remediation.clock import seconds
from remediation.config import AgentConfig
from remediation.diagnosing import Diagnosing
from remediation.diagnosis import diagnose, needs_testimony
from remediation.evidence import Facts, alerts_of, still_so, with_points
from remediation.executor import Executor
from remediation.hearings import Hearings
from remediation.looks import Looks
from remediation.observed import Remembered
from remediation.plans import NoPlan
from remediation.playbooks.planner import next_step
from remediation.playbooks.proposal import Proposal, Tried, controls
from remediation.playbooks.recall import tried
from remediation.ports import Clock, Journal, Reader, Registry, Unit
from remediation.recovery import Recovery
from remediation.routing import still_firing
from remediation.targets import flaw, gone_features
from remediation.values import Approval, Incident, IncidentState, ModelVersion, Plan

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The states of an incident before and after its action; `Executor` has those in between. All calls are
    synchronous, do at most one transition, and are harmless when repeated."""

    journal: Journal
    registry: Registry
    executor: Executor
    clock: Clock
    config: AgentConfig
    hearings: Hearings
    looks: Looks
    _considered: dict[str, int] = field(default_factory=dict[str, int])
    _past: Remembered = field(default_factory=Remembered)

    def step(self, incident_id: str) -> None:
        """Take the next step of an incident, if its time has come."""
        with self.journal.reading() as unit:
            incident = unit.incident(incident_id)
        if incident is None:
            return
        match incident.state:
            case "open":
                now_us = self.clock.now_us()
                if not families.attend(self.journal, incident, now_us=now_us, config=self.config):
                    self._diagnosing().step(incident_id)
            case "diagnosed":
                self._propose(incident_id)
            case "awaiting_approval":
                self._await_approval(incident_id)
            case "verifying":
                self._recovery().step(incident_id)
            case _:
                return

    def _diagnosing(self) -> Diagnosing:
        return Diagnosing(self.journal, self.clock, self.config.diagnosis, self.hearings)

    def _recovery(self) -> Recovery:
        return Recovery(
            self.journal, self.executor, self.clock, self.config, self._past, hearings=self.hearings
        )

    def keep(self, incident_ids: Set[str]) -> None:
        """Forget what was thought about all other incidents: they are over."""
        self.hearings.keep(incident_ids)
        for one in [*self._considered]:
            if one not in incident_ids:
                self._considered.pop(one, None)

    def give_up(self, incident_id: str, reason: str) -> None:
        """No plan can be made because of a failing part (the registry, say): after a while people have to
        know."""
        now_us = self.clock.now_us()
        with self.journal.transaction() as unit:
            incident = unit.incident(incident_id)
            if incident is None or incident.state != "diagnosed" or incident.diagnosed_us is None:
                return
            if now_us - incident.diagnosed_us >= seconds(self.config.plan_s):
                outcome = f"No plan could be made in {self.config.plan_s:g} s: {reason}"
                incidents.close(unit, incident, to="escalated", outcome=outcome, now_us=now_us)

    # -- diagnosed -> awaiting_approval, escalated -------------------------------------------------

    def _propose(self, incident_id: str) -> None:
        with self.journal.reading() as unit:
            facts = self._facts(unit, incident_id, "diagnosed")
            if facts is None or limits.held_up(unit, facts.incident.model, self.config.policy.limits):
                return
            facts = with_points(unit, facts, self.config.diagnosis)
            gone = gone_features(unit, facts)
            past = tried(unit, incident_id)
        found = self._planned(msgspec.structs.replace(facts, gone=gone), past)
        with self.journal.transaction() as unit:
            incident = unit.incident(incident_id)
            if incident is None or incident.state != "diagnosed":
                return
            if isinstance(found, NoPlan):
                incidents.close(unit, incident, to="escalated", outcome=found.outcome, now_us=facts.now_us)
            elif (moved := approvals.world_moved(unit, found.plan)) is not None:
                incidents.move(unit, incident, to="open", why=moved)
            elif refused := limits.refusal(unit, found.plan, self.config.policy.limits, now_us=facts.now_us):
                if refused.effect == "stop":
                    outcome = f"Stopped: {refused.reason}."
                    incidents.close(unit, incident, to="escalated", outcome=outcome, now_us=facts.now_us)
            else:
                self._proposed(unit, incident, found, facts.now_us)

    def _proposed(self, unit: Unit, incident: Incident, proposal: Proposal, now_us: int) -> None:
        """Ask people; or, for what a playbook may do by itself, decide in its name: one state machine and one record
        for both. In a freeze, what is risky asks in any case."""
        plan, policy = proposal.plan, self.config.policy
        ttl_s = self.config.approval_ttl_s if proposal.ttl_s is None else proposal.ttl_s
        ticket = approvals.request(plan, now_us=now_us, ttl_s=ttl_s, policy=policy)
        if proposal.roles is not None:
            ticket = msgspec.structs.replace(ticket, roles=proposal.roles)
        if proposal.quorum is not None:
            ticket = msgspec.structs.replace(ticket, quorum=proposal.quorum)
        unit.add_plan(plan, ticket, actor=incidents.AGENT)
        why = f"{plan.action} proposed in {plan.id}"
        incidents.move(unit, incident, to="awaiting_approval", why=why)
        frozen = plan.risky and policy.freeze(plan.model, now_us) is not None
        if not proposal.approval_needed and not frozen:
            approvals.decided_by_playbook(unit, ticket, plan, now_us=now_us)

    def _planned(self, facts: Facts, past: Sequence[Tried]) -> Proposal | NoPlan:
        """The next step. What a version consists of is looked at only when a step would make it serve."""
        versions, references = self._versions(facts), self.registry.reference
        while True:
            found = _sound(next_step(facts, past, versions, config=self.config, references=references))
            if isinstance(found, NoPlan) or (why := flaw(self.registry, self.looks, found.plan)) is None:
                return found
            version = found.plan.to_version or ""
            if version in facts.unsound:
                return NoPlan(reason=f"version {version} cannot be made to serve: {why}")
            facts = msgspec.structs.replace(facts, unsound={**facts.unsound, version: why})

    def _versions(self, facts: Facts) -> dict[str, ModelVersion]:
        return {each.version: each for each in self.registry.versions(facts.incident.model)}

    # -- awaiting_approval -> executing, rejected, expired, open -----------------------------------

    def _await_approval(self, incident_id: str) -> None:
        facts = self._pending_facts(incident_id)
        doubt = self._other_cause(facts) if facts is not None else None
        plan = self._awaited(incident_id, facts, doubt)
        if plan is not None and (why := self.looks.again(plan)) is not None:
            self._unsound(plan, why)

    def _awaited(self, incident_id: str, facts: Facts | None, doubt: str | None) -> Plan | None:
        """Look what became of the ticket; the plan that waits. doubt: why it is void, if `facts` are still so."""
        with self.journal.transaction() as unit:
            incident, found = unit.incident(incident_id), _open_ticket(unit, incident_id)
            if incident is None or incident.state != "awaiting_approval" or found is None:
                return None
            plan, approval = found
            if approval.state != "pending":
                self._decided(unit, incident, plan, approval)
                return None
            doubted = doubt if facts is not None and still_so(unit, facts) else None
            self._pending(unit, incident, plan, approval, doubted)
            return plan

    def _pending_facts(self, incident_id: str) -> Facts | None:
        """What is known while a ticket waits, with what the rows say by now; None where none does."""
        with self.journal.reading() as unit:
            facts, found = (
                self._facts(unit, incident_id, "awaiting_approval"),
                _open_ticket(unit, incident_id),
            )
        if facts is None or found is None or found[1].state != "pending":
            return None
        if self.hearings.told_since(facts):
            self.hearings.hear(facts, near=needs_testimony(facts, self.config.diagnosis))
        return msgspec.structs.replace(facts, testimony=self.hearings.of(incident_id))

    def _decided(self, unit: Unit, incident: Incident, plan: Plan, approval: Approval) -> None:
        """What follows from what became of the ticket."""
        now_us = self.clock.now_us()
        match approval.state:
            case "approved":
                self._approved(unit, incident, plan, approval, now_us)
            case "rejected":
                why = approval.reason or "no reason given"
                outcome = f"{approval.decided_by} rejected the {plan.action}: {why}"
                incidents.close(unit, incident, to="rejected", outcome=outcome, now_us=now_us)
            case "expired":
                self._expired(unit, incident, plan, now_us)
            case _:
                incidents.move(unit, incident, to="open", why=approval.reason or "the world moved")

    def _pending(
        self, unit: Unit, incident: Incident, plan: Plan, approval: Approval, doubt: str | None
    ) -> None:
        now_us = self.clock.now_us()
        moved = approvals.world_moved(unit, plan) or doubt
        if moved is not None:
            if approvals.settle(unit, approval, "void", now_us=now_us, reason=moved):
                incidents.move(unit, incident, to="open", why=moved)
        elif now_us >= approval.expires_us and approvals.settle(
            unit, approval, "expired", now_us=now_us, reason="nobody decided in time"
        ):
            self._expired(unit, incident, plan, now_us)

    def _unsound(self, plan: Plan, why: str) -> None:
        """What waits to serve cannot be made to: nobody is to approve that."""
        with self.journal.transaction() as unit:
            incident, found = unit.incident(plan.incident_id), _open_ticket(unit, plan.incident_id)
            if incident is None or incident.state != "awaiting_approval" or found is None:
                return
            waiting, approval = found
            if waiting.id != plan.id or approval.state != "pending":
                return
            if approvals.settle(unit, approval, "void", now_us=self.clock.now_us(), reason=why):
                incidents.move(unit, incident, to="open", why=why)

    def _approved(self, unit: Unit, incident: Incident, plan: Plan, approval: Approval, now_us: int) -> None:
        over = now_us >= approval.expires_us
        moved = approvals.world_moved(unit, plan)
        if moved is None and over:
            moved = approvals.frozen(self.config.policy, plan, approval, now_us)
        alerts = alerts_of(unit, incident)
        if moved is None and alerts and not still_firing(alerts, incident.version):
            moved = "every alert was cleared before it was begun"
        if moved is None and now_us >= approvals.good_until_us(approval):
            moved = "it was approved, and nothing was begun before it expired"
        if moved is not None:
            if approvals.settle(unit, approval, "void", now_us=now_us, reason=moved):
                incidents.move(unit, incident, to="open", why=moved)
            return
        if freezing.waits(unit, self.config.policy, plan, approval, now_us):
            return
        actor = approval.decided_by or incidents.AGENT
        action = actions.new_action(plan, now_us=now_us)
        refused = limits.start(unit, plan, action, self.config.policy.limits, actor=actor)
        if refused is None:
            why = f"approved by {approval.decided_by}"
            incidents.move(unit, incident, to="executing", why=why, approved_us=approval.decided_us)
        elif refused.effect == "stop" or over:
            why = f"it was approved, and may not start: {refused.reason}"
            if approvals.settle(unit, approval, "void", now_us=now_us, reason=why):
                incidents.move(unit, incident, to="open", why=why)
        else:
            delays.tell(unit, plan, approval, refused.reason, now_us)

    def _expired(self, unit: Unit, incident: Incident, plan: Plan, now_us: int) -> None:
        outcome = f"Nobody decided about the {plan.action} within {self.config.approval_ttl_s:g} s."
        incidents.close(unit, incident, to="expired", outcome=outcome, now_us=now_us)

    def _other_cause(self, facts: Facts) -> str | None:
        """Alerts that came after the diagnosis and turn it over make the plan another one."""
        incident = facts.incident
        if self._considered.get(incident.id) == len(facts.alerts):
            return None
        if not still_firing(facts.alerts, facts.version):
            return "every alert was cleared while the plan waited"
        with self.journal.reading() as unit:
            known = with_points(unit, facts, self.config.diagnosis)
        best = diagnose(known, self.config.diagnosis)[0]
        if best.cause == incident.cause:
            self._considered[incident.id] = len(facts.alerts)
            return None
        return f"new evidence: {best.cause} instead of {incident.cause} ({'; '.join(best.reasons[:1])})"

    # -- shared ------------------------------------------------------------------------------------

    def _facts(self, unit: Reader, incident_id: str, state: IncidentState) -> Facts | None:
        return self._diagnosing().facts(unit, incident_id, state)


def _sound(found: Proposal | NoPlan) -> Proposal | NoPlan:
    """The proposal, if it can be carried out as it says."""
    if isinstance(found, NoPlan):
        return found
    try:
        controls(found.plan)
    except msgspec.ValidationError as error:
        return NoPlan(reason=f"{found.plan.action} in {found.plan.id} cannot be carried out: {error}")
    return found


def _open_ticket(unit: Reader, incident_id: str) -> tuple[Plan, Approval] | None:
    """The newest plan of an incident and its approval."""
    plans = sorted(unit.plans(incident_id), key=lambda plan: (plan.created_us, plan.id))
    if not plans:
        return None
    tickets = unit.approvals(incident_id=incident_id)
    found = next((each for each in tickets if each.plan_id == plans[-1].id), None)
    return (plans[-1], found) if found else None
