"""verifying -> resolved, escalated, diagnosed: did the action help, and what follows from that."""

from dataclasses import dataclass

import msgspec

from remediation import actions, approvals, freezing, incidents
from remediation.clock import US_PER_S
from remediation.config import AgentConfig
from remediation.diagnosis import diagnose, needs_testimony
from remediation.evidence import with_points
from remediation.executor import Executor
from remediation.hearings import Hearings
from remediation.lasting import open_what_remains
from remediation.observed import Remembered, patience_us
from remediation.ports import Clock, Journal, Reader
from remediation.proving import judged, required
from remediation.questions import Question, asked, question
from remediation.succession import of_successor, taken_over
from remediation.values import Action, Approval, Desired, Incident, Plan
from remediation.verification import Verdict


@dataclass(frozen=True, slots=True)
class _Case:
    incident: Incident
    verdict: Verdict
    desired: Desired | None
    action: Action | None
    plan: Plan | None
    question: Question | None
    patience_us: int

    @property
    def epoch(self) -> int:
        """Of the state that was judged."""
        return self.desired.epoch if self.desired else 0

    @property
    def superseded(self) -> str | None:
        """Who decided otherwise since the action; None when nobody did."""
        if self.action is None or self.plan is None or self.desired is None:
            return None
        if self.desired.epoch == actions.own_epoch(self.action, self.plan):
            return None
        return f"superseded: {self.desired.decided_by} made {self.desired.version} serve"


@dataclass(frozen=True, slots=True)
class Recovery:
    """Decides when an incident whose action is carried out is over. Harmless when repeated."""

    journal: Journal
    executor: Executor
    clock: Clock
    config: AgentConfig
    remembered: Remembered
    hearings: Hearings

    def step(self, incident_id: str) -> None:
        """Look whether the action has helped, and end the incident where that is known."""
        with self.journal.reading() as unit:
            case = self._case(unit, incident_id)
        if case is None:
            return
        superseded, sentence = case.superseded, case.verdict.sentence
        if case.action is not None and superseded is not None:
            self._settled(case, superseded)
            self.executor.take_back(case.action.id, superseded)
        elif case.question is not None and self._has_answer(case, case.question):
            self._answered(case, case.question.ticket)
        elif case.verdict.outcome == "inconclusive":
            self._unproven(case)
        elif self._settled(case, f"{case.verdict.outcome} in the meantime: {sentence}"):
            self._decided(case)

    def _case(self, unit: Reader, incident_id: str) -> _Case | None:
        incident = unit.incident(incident_id)
        if incident is None or incident.state != "verifying":
            return None
        running = unit.actions(incident_id=incident_id, states=actions.RUNNING, limit=1)
        action = running[0] if running else None
        plan = unit.plan(action.plan_id) if action else None
        desired = unit.desired(incident.model)
        return _Case(
            incident=incident,
            verdict=judged(unit, incident, desired, plan, config=self.config, remembered=self.remembered),
            desired=desired,
            action=action,
            plan=plan,
            question=asked(unit, action) if action else None,
            patience_us=patience_us(unit.alerts(incident_id), required(plan, self.config)),
        )

    def _decided(self, case: _Case) -> None:
        """Proven to have helped, or not to, or only to have stopped the harm."""
        verdict, action = case.verdict, case.action
        match verdict.outcome:
            case "pass" if action is not None:
                self.executor.succeed(action.id, verdict.sentence, epoch=case.epoch)
            case "pass":
                self._close(case, "resolved", verdict.sentence)
            case "contained" if action is not None:
                told = f"Contained, not cured: {verdict.sentence}"
                self.executor.succeed(action.id, told, "contained", epoch=case.epoch)
            case "contained":
                self._close(case, "escalated", f"Contained, not cured: {verdict.sentence}")
            case _:
                self._not_recovered(case, verdict.sentence)

    def _unproven(self, case: _Case) -> None:
        """Waits, and after a while asks a person whether to keep it or to undo it."""
        now_us = self.clock.now_us()
        if now_us - (case.incident.acted_us or now_us) < case.patience_us:
            return
        why = f"not proven in {case.patience_us / US_PER_S:g} s: {case.verdict.sentence}"
        action, ticket = case.action, case.question.ticket if case.question else None
        if action is None or (ticket is None and not self._ask(case, why)):
            self._not_recovered(case, why)
            return
        over = ticket is not None and (ticket.state != "pending" or now_us >= ticket.expires_us)
        if over and self._settled(case, "nobody decided in time", expired=True) and not self._frozen(case):
            self._not_recovered(case, f"{why}; nobody said whether to keep it or to undo it")

    def _has_answer(self, case: _Case, question: Question) -> bool:
        """Whether what a person has said is carried out now: in a freeze nothing is undone but what is proven ill."""
        if question.ticket.state == "approved" and not _is_undone(case):
            now_us = self.clock.now_us()
            return approvals.freeze_of(self.config.policy, question.plan, question.ticket, now_us) is None
        return question.ticket.state in ("approved", "rejected")

    def _frozen(self, case: _Case) -> bool:
        """Whether the undo of what is not proven waits for the end of a freeze."""
        if case.question is None or _is_undone(case):
            return False
        with self.journal.transaction() as unit:
            ticket = unit.approval(case.question.ticket.id) or case.question.ticket
            return freezing.waits(unit, self.config.policy, case.question.plan, ticket, self.clock.now_us())

    def _answered(self, case: _Case, ticket: Approval) -> None:
        """A person has said what becomes of it."""
        if case.action is None:
            return
        undone = ticket.state == "approved"
        said = f"{ticket.decided_by} decided to {'undo' if undone else 'keep'} it"
        why = f" ({ticket.reason})" if ticket.reason else ""
        sentence = f"{said}{why}, not proven: {case.verdict.sentence}"
        late = self.clock.now_us() >= approvals.good_until_us(ticket)
        if undone and late and not _is_undone(case):
            self._settled(case, "it was approved, and nothing was begun before it expired")
        elif undone:
            self.executor.take_back(case.action.id, sentence, asked=True)
        else:
            self.executor.succeed(case.action.id, sentence, "kept", epoch=case.epoch)

    def _ask(self, case: _Case, why: str) -> bool:
        """Open the ticket; False where there is nothing that could be undone."""
        if case.action is None or case.plan is None or case.desired is None:
            return False
        now_us, config = self.clock.now_us(), self.config
        plan = question(case.action, case.plan, case.desired, why=why, now_us=now_us)
        if plan is None:
            return False
        with self.journal.transaction() as unit:
            incident = unit.incident(case.incident.id)
            if incident is None or incident.state != "verifying" or asked(unit, case.action) is not None:
                return True
            if approvals.world_moved(unit, plan) is None:
                ticket = approvals.request(
                    plan, now_us=now_us, ttl_s=config.approval_ttl_s, policy=config.policy
                )
                unit.add_plan(plan, ticket, actor=incidents.AGENT)
        return True

    def _settled(self, case: _Case, why: str, *, expired: bool = False) -> bool:
        """End a ticket that waits for an answer nobody needs any more; False when somebody has answered meanwhile: then
        that counts."""
        waits = ("pending",) if expired else ("pending", "approved")
        if case.question is None or case.question.ticket.state not in waits:
            return True
        with self.journal.transaction() as unit:
            ticket = unit.approval(case.question.ticket.id)
            if ticket is None or ticket.state != case.question.ticket.state:
                return False
            state = "expired" if expired else "void"
            return approvals.settle(unit, ticket, state, now_us=self.clock.now_us(), reason=why) is not None

    def _not_recovered(self, case: _Case, why: str) -> None:
        if case.action is not None:
            self.executor.take_back(case.action.id, why)
        elif not self._taken_over(case, why):
            self._close(case, "escalated", why)

    def _taken_over(self, case: _Case, why: str) -> bool:
        """Whether what people released in the meantime is ill of the same, and is treated from now on."""
        config, now_us = self.config.diagnosis, self.clock.now_us()
        if case.desired is None:
            return False
        with self.journal.reading() as unit:
            facts = of_successor(unit, case.incident, case.desired, now_us=now_us, config=config)
        if facts is None:
            return False
        said = self.hearings.hear(facts, near=needs_testimony(facts, config))
        with self.journal.reading() as unit:
            facts = with_points(unit, msgspec.structs.replace(facts, testimony=said), config)
        hypotheses = diagnose(facts, config)
        if hypotheses[0].cause == "unknown":
            return False
        with self.journal.transaction() as unit:
            incident, desired = unit.incident(case.incident.id), unit.desired(case.incident.model)
            if incident is None or incident.state != "verifying" or desired != case.desired:
                return False
            return taken_over(unit, incident, facts, hypotheses, why)

    def _close(self, case: _Case, to: incidents.Ending, outcome: str) -> None:
        """End the incident, unless another state is decided by now than the one that was judged."""
        with self.journal.transaction() as unit:
            incident, desired = unit.incident(case.incident.id), unit.desired(case.incident.model)
            same = (desired.epoch if desired else 0) == case.epoch
            if incident is not None and incident.state == "verifying" and same:
                now_us = self.clock.now_us()
                incidents.close(unit, incident, to=to, outcome=outcome, now_us=now_us)
                if to == "resolved":
                    open_what_remains(
                        unit, incident, now_us=now_us, hold_s=self.config.diagnosis.uncured_hold_s
                    )


def _is_undone(case: _Case) -> bool:
    """Whether the undo has begun, which nothing holds back any more."""
    return case.action is not None and actions.undoing(case.action)
