"""A version has to do well before it gets more: between two shares of the traffic, and as a shadow before it answers
anybody."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from remediation import actions, approvals, freezing, incidents
from remediation.clock import US_PER_S, seconds
from remediation.errors import NotYet, StepFailed
from remediation.executing.endings import Endings
from remediation.executing.parts import Parts, own_desired
from remediation.facets import of_traffic
from remediation.observed import patience_us
from remediation.playbooks.proposal import controls
from remediation.ports import Reader, Unit
from remediation.proving import judged, required
from remediation.questions import Question, asked, question
from remediation.routing import still_firing
from remediation.values import Action, Desired, Incident, Plan
from remediation.verification import Verdict

_Settled = tuple[Literal["void", "expired"], str]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look has shown. `question`: what people are asked about it, if they are; `frozen`: no further share of
    the traffic now."""

    action: Action
    desired: Desired
    verdict: Verdict
    question: Question | None
    patience_us: int
    frozen: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """What follows from a look, and what becomes of the ticket that waits, with the reason. `frozen`: what waits for
    the end of a freeze."""

    next: Literal["go on", "fail", "wait", "ask"]
    why: str
    frozen: Literal["undo", "next share"] | None = None
    settled: _Settled | None = None


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
        with self._parts.journal.reading() as unit:
            seen = self._seen(unit, name, action_id, plan)
        found = self._found(name, plan, seen)
        if found.next == "go on" and seen.frozen:
            # Proof may be lost before the freeze is over: whoever was asked can still answer.
            found = _Found("wait", found.why, frozen="next share")
        if found.next != "wait" or found.settled is not None or found.frozen is not None:
            self._write(name, action_id, plan, seen, found)
        # What was written of the ticket stays also when the step does not go on.
        if found.next == "fail":
            raise StepFailed(found.why)
        if found.next != "go on":
            raise NotYet(found.why)

    def _seen(self, unit: Reader, name: str, action_id: str, plan: Plan) -> _Seen:
        action = self._parts.ledger.held(unit, action_id)
        desired, incident = own_desired(unit, action, plan), unit.incident(plan.incident_id)
        if incident is None:
            raise StepFailed(f"incident {plan.incident_id} is not in the journal any more")
        return _Seen(
            action=action,
            desired=desired,
            verdict=self._verdict(unit, incident, desired, plan),
            question=asked(unit, action, step=name),
            patience_us=patience_us(unit.alerts(plan.incident_id), required(plan, self._parts.config)),
            frozen=self._is_frozen(unit, plan),
        )

    def _verdict(self, unit: Reader, incident: Incident, desired: Desired, plan: Plan) -> Verdict:
        version = _subject(plan, desired)
        how = "as a shadow" if plan.action == "shadow" else "with its share"
        alerts = still_firing(unit.alerts(plan.incident_id), version)
        # A version chooses not how many ask.
        ill = [each for each in alerts if each.end_us > desired.at_us and not of_traffic(each)]
        if ill:
            return Verdict(outcome="fail", sentence=f"version {version} is ill {how}: {ill[0].reason}")
        if not actions.proven(plan):
            return Verdict(outcome="pass", sentence=f"no alert of version {version}")
        parts = self._parts
        found = judged(
            unit, incident, desired, plan, config=parts.config, remembered=parts.remembered, share_of=version
        )
        return Verdict(outcome=found.outcome, sentence=f"{how} {found.sentence}")

    def _found(self, name: str, plan: Plan, seen: _Seen) -> _Found:
        """What the look comes to. What a person has said counts, unless the version is proven to be ill."""
        verdict, ticket = seen.verdict, seen.question.ticket if seen.question else None
        known = None
        if verdict.outcome != "inconclusive":
            known = ("void", f"{verdict.outcome} in the meantime: {verdict.sentence}")
        if verdict.outcome == "fail":
            return _Found("fail", verdict.sentence, settled=known)
        said = f" ({ticket.reason})" if ticket is not None and ticket.reason else ""
        known_as = "proven" if known is not None else "not proven"
        if ticket is not None and ticket.state == "rejected":
            why = f"{ticket.decided_by} decided to go on{said}, {known_as}: {verdict.sentence}"
            return _Found("go on", why)
        if ticket is not None and ticket.state == "approved":
            why = f"{ticket.decided_by} decided to undo it{said}, {known_as}: {verdict.sentence}"
            if self._undo_waits(seen):
                return _Found("wait", why, frozen="undo")
            return _Found("fail", why)
        held_us, hold_us = self._held_us(name, seen.action), seconds(controls(plan).hold_s)
        if known is not None and held_us >= hold_us:
            return _Found("go on", verdict.sentence, settled=known)
        if ticket is None:
            limit_us = max(hold_us, seen.patience_us)
            if known is not None or held_us < limit_us:
                return _Found("wait", verdict.sentence)
            return _Found("ask", f"not proven in {limit_us / US_PER_S:g} s: {verdict.sentence}")
        if ticket.state != "pending" or self._parts.clock.now_us() >= ticket.expires_us:
            nobody = f"{verdict.sentence}; nobody said whether to go on or to undo it"
            expired: _Settled = ("expired", "nobody decided in time")
            if self._undo_waits(seen):
                return _Found("wait", nobody, frozen="undo", settled=expired)
            return _Found("fail", nobody, settled=expired)
        return _Found("wait", verdict.sentence, settled=known)

    def _undo_waits(self, seen: _Seen) -> bool:
        """Whether the undo of what is not proven to be ill waits for the end of a freeze."""
        if seen.question is None:
            return False
        policy, now_us = self._parts.config.policy, self._parts.clock.now_us()
        return approvals.freeze_of(policy, seen.question.plan, seen.question.ticket, now_us) is not None

    def _is_frozen(self, unit: Reader, plan: Plan) -> bool:
        """After a shadow no answer changes, and what comes next asks for itself."""
        policy, now_us = self._parts.config.policy, self._parts.clock.now_us()
        return plan.action == "shift_traffic" and freezing.in_force(unit, policy, plan, now_us) is not None

    def _write(self, name: str, action_id: str, plan: Plan, seen: _Seen, found: _Found) -> None:
        """Write what follows, where the world is still the one that was looked at. Raises `NotYet` where somebody has
        answered meanwhile: then that counts."""
        ledger, now_us, policy = self._parts.ledger, self._parts.clock.now_us(), self._parts.config.policy
        with self._parts.journal.transaction() as unit:
            action = ledger.held(unit, action_id)
            own_desired(unit, action, plan)
            if asked(unit, action, step=name) != seen.question:
                raise NotYet("the ticket has changed while the version was judged")
            waits = seen.question.ticket if seen.question is not None else None
            if found.settled is not None and waits is not None and waits.state == "pending":
                state, reason = found.settled
                approvals.settle(unit, waits, state, now_us=now_us, reason=reason)
            if found.frozen == "undo" and seen.question is not None:
                about = unit.approval(seen.question.ticket.id) or seen.question.ticket
                freezing.waits(unit, policy, seen.question.plan, about, now_us)
            elif found.frozen == "next share" and freezing.holds(unit, policy, action, plan, name, now_us):
                self._note(unit, name, action, f"{actions.WAITS}: {found.why}")
            if found.next == "go on":
                self._go_on(unit, name, action, plan, found.why)
            elif found.next == "ask":
                self._ask(unit, name, action, plan, seen.desired, found.why)

    def _note(self, unit: Unit, name: str, action: Action, why: str) -> None:
        """Why the step waits, in its record, which every look would otherwise write again."""
        step = actions.step_of(action, name)
        if step is None or not actions.waits(step):
            self._parts.ledger.save(unit, action, self._parts.ledger.stepped(action, name, "intended", why))

    def _go_on(self, unit: Unit, name: str, action: Action, plan: Plan, why: str) -> None:
        done, now_us = self._parts.ledger.stepped(action, name, "done", why), self._parts.clock.now_us()
        self._endings.step_done(unit, action, done, plan, why, now_us)

    def _ask(self, unit: Unit, name: str, action: Action, plan: Plan, desired: Desired, why: str) -> None:
        now_us, config = self._parts.clock.now_us(), self._parts.config
        asks = question(action, plan, desired, why=why, now_us=now_us, step=name)
        if asks is not None and approvals.world_moved(unit, asks) is None:
            new = approvals.request(asks, now_us=now_us, ttl_s=config.approval_ttl_s, policy=config.policy)
            unit.add_plan(asks, new, actor=incidents.AGENT)

    def _held_us(self, name: str, action: Action) -> int:
        step = actions.step_of(action, name)
        return self._parts.clock.now_us() - step.at_us if step else 0


def _subject(plan: Plan, desired: Desired) -> str:
    """The version that is watched."""
    return plan.to_version or next(iter(plan.new_shadows), desired.version)
