"""How an action ends, and what becomes of its incident in the same transaction."""

from typing import Literal

import msgspec

from remediation import actions, cleanup, incidents
from remediation.actuation import allowed_s
from remediation.approvals import settle, world_moved
from remediation.clock import seconds
from remediation.executing.parts import Parts
from remediation.executing.retrain import spoiled
from remediation.lasting import open_what_remains
from remediation.playbooks.proposal import controls, is_cleanup
from remediation.ports import Unit
from remediation.questions import waiting
from remediation.succession import relapsed
from remediation.values import Action, Plan

Effect = Literal["recovered", "contained", "kept"]
"""`contained`: the harm is stopped, the cause is not mended. `kept`: nothing is proven, and a person keeps it."""


class Endings:
    """Every call is harmless when repeated: an action that is over stays as it is."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def step_done(
        self, unit: Unit, before: Action, done: Action, plan: Plan, sentence: str, at_us: int
    ) -> None:
        """Write `done`, an action one of whose steps has had its effect at `at_us`; the last one ends the action, or
        hands it over to verification."""
        if actions.next_step(done, plan) is not None:
            self._parts.ledger.save(unit, before, done)
        elif actions.undoing(done):
            self._taken_back(unit, before, done, plan, sentence)
        elif actions.verified(plan):
            self._parts.ledger.save(unit, before, msgspec.structs.replace(done, state="verifying"))
            incident = unit.incident(done.incident_id)
            if incident is not None:
                incidents.move(unit, incident, to="verifying", why=sentence, acted_us=at_us)
        else:
            self._over(unit, before, done, "succeeded", sentence)
            if not is_cleanup(plan):
                self._go_on(unit, done, f"{plan.action}: {sentence}")

    def succeed(self, action_id: str, sentence: str, end: Effect = "recovered", *, epoch: int) -> bool:
        """End an action that did what it should, with what became of the illness; False when somebody else holds it, a
        person has cancelled it, or another state than that of `epoch`, which was judged, is decided by now. Only what
        has recovered is resolved: of the rest people are told, and what is contained can go on."""
        if self._parts.ledger.claim(action_id) is None:
            return False
        with self._parts.journal.transaction() as unit:
            action = self._parts.ledger.held(unit, action_id)
            desired = unit.desired(action.model)
            if actions.cancelled(action) is not None or (desired.epoch if desired else 0) != epoch:
                return False
            done = self._parts.ledger.stepped(action, "verify", "done", sentence)
            self._over(unit, action, done, "succeeded", sentence)
            incident, plan = unit.incident(action.incident_id), unit.plan(action.plan_id)
            if end == "contained" and plan is not None and controls(plan).on_failure == "next":
                self._go_on(unit, action, sentence)
            elif end != "recovered":
                self._tell(unit, action, sentence)
            elif incident is not None:
                now_us = self._parts.clock.now_us()
                incidents.close(unit, incident, to="resolved", outcome=sentence, now_us=now_us)
                hold_s = self._parts.config.diagnosis.uncured_hold_s
                open_what_remains(unit, incident, now_us=now_us, hold_s=hold_s)
        return True

    def fail(self, action_id: str, name: str, reason: str) -> None:
        """Record the failure of a step; begin to take back what was done, where that can and shall be, else end the
        action and go on with the playbook, or tell people."""
        with self._parts.journal.transaction() as unit:
            action = unit.action(action_id)
            plan = unit.plan(action.plan_id) if action else None
            if action is None or plan is None or action.state not in actions.RUNNING:
                return
            if action.lease_by != self._parts.config.agent_id:
                return
            if name == "verify" and actions.cancelled(action) is not None:
                return
            left = actions.broken_off(action) if name == actions.CANCEL else action
            failed = self._parts.ledger.stepped(left, name, "failed", reason)
            if not actions.undoing(action) and self._takes_back(unit, action, plan, name):
                begun = self._parts.ledger.stepped(failed, actions.backward(plan)[0], "intended", reason)
                self._parts.ledger.save(unit, action, begun)
                return
            outcome = f"undo failed: {reason}" if actions.undoing(action) else reason
            self._over(unit, action, failed, "failed", outcome)
            self._failed(unit, action, plan, name, outcome)
        self._parts.runs.forget(action_id)

    def attempt_failed(self, action_id: str, name: str, plan: Plan, reason: str) -> float | None:
        """Count a failed attempt; answers after how many seconds to try again, None when it was the last one. Where the
        step is on record as done, the attempt has not failed."""
        with self._parts.journal.transaction() as unit:
            action = self._parts.ledger.held(unit, action_id)
            if actions.is_done(action, name):
                return 0.0
            step = actions.step_of(action, name)
            # What is being undone, and why, stands in the first step of the undo; who cancelled it, in that step.
            kept = name == actions.CANCEL or name.startswith("undo.")
            detail = step.detail if step and kept else reason
            now_us = self._parts.clock.now_us()
            counted = actions.with_step(action, name, "intended", at_us=now_us, detail=detail, failures=1)
            self._parts.ledger.save(unit, action, counted)
            begun = actions.step_of(counted, name)
        attempts = (step.attempts if step else 0) + 1
        retries = controls(plan).retries
        if retries is not None and not name.startswith("undo."):
            last = attempts > retries
        else:
            since_us = begun.at_us if begun else now_us
            last = now_us - since_us >= seconds(self.limit_s(name, plan))
        execution = self._parts.config.execution
        return None if last else min(execution.retry_s * 2 ** (attempts - 1), execution.longest_retry_s)

    def overdue(self, action: Action, name: str, plan: Plan) -> bool:
        """A step that waits for the world has waited for too long. To hold a share ends by itself, with a person's
        answer or without."""
        if actions.base(name) == "hold":
            return False
        step = actions.step_of(action, name)
        since_us = step.at_us if step else self._parts.clock.now_us()
        return self._parts.clock.now_us() - since_us >= seconds(self.limit_s(name, plan))

    def limit_s(self, name: str, plan: Plan) -> float:
        """How long a step may take in all."""
        if actions.base(name) == "hold":
            return controls(plan).hold_s + self._parts.config.execution.step_s
        if name == "collect":
            return self._parts.config.retraining.collect_s
        return allowed_s(name, plan, self._parts.config)

    def _takes_back(self, unit: Unit, action: Action, plan: Plan, name: str) -> bool:
        if not actions.backward(plan) or not actions.undone_by(plan, name):
            return False
        if actions.backward(plan) == actions.UNDO_CALL:
            return actions.step_of(action, actions.CALL[0]) is not None
        desired = unit.desired(plan.model)
        ours = desired is not None and desired.epoch == actions.own_epoch(action, plan)
        return ours and actions.decisions(action) > 0

    def _taken_back(self, unit: Unit, before: Action, done: Action, plan: Plan, sentence: str) -> None:
        why = actions.step_of(before, actions.backward(plan)[0])
        outcome = f"{why.detail if why else ''}; undone: {sentence}"
        self._over(unit, before, done, "reverted", outcome)
        if controls(plan).on_failure == "next" and actions.cancelled(done) is None:
            self._go_on(unit, done, _told(plan, outcome))
        else:
            self._tell(unit, done, outcome)

    def _failed(self, unit: Unit, action: Action, plan: Plan, name: str, outcome: str) -> None:
        moved = world_moved(unit, plan)
        if is_cleanup(plan):
            if moved is None or actions.decisions(action):
                cleanup.not_ended(unit, plan, outcome, now_us=self._parts.clock.now_us())
            return
        incident = unit.incident(action.incident_id)
        untouched = not actions.decisions(action) and actions.step_of(action, actions.CALL[0]) is None
        if moved is not None and untouched and name != actions.CANCEL:
            if incident is not None:
                incidents.move(unit, incident, to="open", why=moved)
            return
        desired = unit.desired(plan.model)
        ours = (desired.epoch if desired else 0) == actions.own_epoch(action, plan)
        stopped = name == actions.CANCEL or actions.undoing(action) or not ours
        if untouched and not stopped and incident is not None and spoiled(unit, plan) is not None:
            # The playbook is one for another cause than what is known by now.
            incidents.move(unit, incident, to="open", why=_told(plan, outcome))
        elif controls(plan).on_failure == "next" and not stopped:
            self._go_on(unit, action, _told(plan, outcome))
        elif name == "verify" and not stopped and incident is not None and relapsed(unit, incident, plan):
            why = f"{_told(plan, outcome)}; version {plan.to_version} is ill of the same, so it was not the release"
            incidents.move(
                unit, incident, to="open", why=why, version=plan.to_version or incident.version, acted_us=None
            )
        else:
            self._tell(unit, action, _told(plan, outcome))

    def _over(self, unit: Unit, before: Action, after: Action, state: actions.End, outcome: str) -> None:
        now_us = self._parts.clock.now_us()
        self._parts.ledger.save(unit, before, actions.ended(after, state, now_us=now_us, outcome=outcome))
        for ticket in waiting(unit, after):
            settle(unit, ticket, "void", now_us=now_us, reason=f"the action is over: {outcome}")

    def _go_on(self, unit: Unit, action: Action, why: str) -> None:
        """The next step of the playbook is due."""
        incident = unit.incident(action.incident_id)
        if incident is not None:
            incidents.move(unit, incident, to="diagnosed", why=why)

    def _tell(self, unit: Unit, action: Action, outcome: str) -> None:
        incident = unit.incident(action.incident_id)
        if incident is not None:
            now_us = self._parts.clock.now_us()
            incidents.close(unit, incident, to="escalated", outcome=outcome, now_us=now_us)


def _told(plan: Plan, outcome: str) -> str:
    return f"{plan.action} of {plan.model} failed: {outcome}"
