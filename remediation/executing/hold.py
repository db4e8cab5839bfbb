"""Between two shares of the traffic: the new version has to do well with the one before it gets the next."""

import asyncio

from remediation import actions, approvals, incidents
from remediation.clock import US_PER_S, seconds
from remediation.errors import NotYet, StepFailed
from remediation.executing.endings import Endings
from remediation.executing.parts import Parts, own_desired
from remediation.observed import patience_us
from remediation.playbooks.proposal import controls
from remediation.ports import Unit
from remediation.proving import judged, required
from remediation.questions import Question, asked, question
from remediation.routing import still_firing
from remediation.values import Action, Desired, Incident, Plan
from remediation.verification import Verdict


class Hold:
    """A proof that it does well lets it go on once its time is up, one that it does not takes all of it back at once;
    where neither comes, a person is asked."""

    def __init__(self, parts: Parts, endings: Endings) -> None:
        self._parts = parts
        self._endings = endings

    async def hold(self, name: str, action: Action, plan: Plan) -> None:
        """Look once. Raises `NotYet` while it goes on, `StepFailed` when the new version is ill, or a person undoes
        it."""
        await asyncio.to_thread(self._intend, name, action.id, plan)
        await asyncio.to_thread(self._look, name, action.id, plan)

    def _intend(self, name: str, action_id: str, plan: Plan) -> None:
        ledger = self._parts.ledger
        with self._parts.journal.transaction() as unit:
            action = ledger.held(unit, action_id)
            own_desired(unit, action, plan)
            if actions.step_of(action, name) is None:
                ledger.save(unit, action, ledger.stepped(action, name, "intended"))

    def _look(self, name: str, action_id: str, plan: Plan) -> None:
        waits: str | None = None
        failed: str | None = None
        with self._parts.journal.transaction() as unit:
            action = self._parts.ledger.held(unit, action_id)
            desired, incident = own_desired(unit, action, plan), unit.incident(plan.incident_id)
            if incident is None:
                raise StepFailed(f"incident {plan.incident_id} is not in the journal any more")
            verdict = self._verdict(unit, incident, desired, plan)
            ticket = asked(unit, action, step=name)
            if verdict.outcome != "inconclusive":
                self._settle(unit, ticket, f"{verdict.outcome} in the meantime: {verdict.sentence}")
            if verdict.outcome == "fail":
                failed = verdict.sentence
            else:
                told = self._goes_on(unit, name, action, plan, verdict, ticket)
                if told is not None:
                    ledger = self._parts.ledger
                    ledger.save(unit, action, ledger.stepped(action, name, "done", told))
                else:
                    waits, failed = self._waits(unit, name, action, plan, desired, verdict, ticket)
        # What was written of the ticket stays also when the step does not go on.
        if failed is not None:
            raise StepFailed(failed)
        if waits is not None:
            raise NotYet(waits)

    def _verdict(self, unit: Unit, incident: Incident, desired: Desired, plan: Plan) -> Verdict:
        version = plan.to_version or desired.version
        alerts = still_firing(unit.alerts(plan.incident_id), version)
        ill = [each for each in alerts if each.end_us > desired.at_us]
        if ill:
            return Verdict(
                outcome="fail", sentence=f"version {version} is ill with its share: {ill[0].reason}"
            )
        if not actions.verified(plan):
            return Verdict(outcome="pass", sentence=f"no alert of version {version}")
        parts = self._parts
        found = judged(
            unit, incident, desired, plan, config=parts.config, remembered=parts.remembered, share_of=version
        )
        return Verdict(outcome=found.outcome, sentence=f"with its share {found.sentence}")

    def _goes_on(
        self, unit: Unit, name: str, action: Action, plan: Plan, verdict: Verdict, ticket: Question | None
    ) -> str | None:
        """Why the next share is due; None when it is not."""
        if ticket is not None and ticket.ticket.state == "rejected":
            why = f" ({ticket.ticket.reason})" if ticket.ticket.reason else ""
            return f"{ticket.ticket.decided_by} decided to go on{why}, not proven: {verdict.sentence}"
        if verdict.outcome == "inconclusive" or self._held_us(name, action) < seconds(controls(plan).hold_s):
            return None
        return verdict.sentence

    def _waits(
        self,
        unit: Unit,
        name: str,
        action: Action,
        plan: Plan,
        desired: Desired,
        verdict: Verdict,
        ticket: Question | None,
    ) -> tuple[str | None, str | None]:
        """What it waits for, or why it waits no longer."""
        now_us = self._parts.clock.now_us()
        if ticket is not None and ticket.ticket.state == "approved":
            why = f" ({ticket.ticket.reason})" if ticket.ticket.reason else ""
            return None, f"{ticket.ticket.decided_by} decided to undo it{why}, not proven: {verdict.sentence}"
        if ticket is not None and (ticket.ticket.state != "pending" or now_us >= ticket.ticket.expires_us):
            self._settle(unit, ticket, "nobody decided in time", expired=True)
            return None, f"{verdict.sentence}; nobody said whether to go on or to undo it"
        limit_us = max(seconds(controls(plan).hold_s), self._patience_us(unit, plan))
        if verdict.outcome != "inconclusive" or self._held_us(name, action) < limit_us or ticket is not None:
            return verdict.sentence, None
        why = f"not proven in {limit_us / US_PER_S:g} s: {verdict.sentence}"
        asks = question(action, plan, desired, why=why, now_us=now_us, step=name)
        config = self._parts.config
        if asks is not None and approvals.world_moved(unit, asks) is None:
            new = approvals.request(asks, now_us=now_us, ttl_s=config.approval_ttl_s, policy=config.policy)
            unit.add_plan(asks, new, actor=incidents.AGENT)
        return f"a person is asked: {why}", None

    def _patience_us(self, unit: Unit, plan: Plan) -> int:
        return patience_us(unit.alerts(plan.incident_id), required(plan, self._parts.config))

    def _held_us(self, name: str, action: Action) -> int:
        step = actions.step_of(action, name)
        return self._parts.clock.now_us() - step.at_us if step else 0

    def _settle(self, unit: Unit, asked: Question | None, why: str, *, expired: bool = False) -> None:
        if asked is not None and asked.ticket.state == "pending":
            state = "expired" if expired else "void"
            now_us = self._parts.clock.now_us()
            approvals.settle(unit, asked.ticket, state, now_us=now_us, reason=why)
