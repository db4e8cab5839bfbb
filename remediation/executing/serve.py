"""Actions that change what serves, or how: decide, make known, wait until the servers have it."""

import asyncio

import msgspec

from remediation import actions, freezing, incidents
from remediation.acknowledgements import Standing
from remediation.approvals import world_moved
from remediation.errors import NotYet, StepFailed
from remediation.executing.endings import Endings
from remediation.executing.parts import Parts, own_desired, superseded
from remediation.executing.retrain import check_inputs
from remediation.executing.states import brought_in, restored, told, wanted
from remediation.values import Action, Desired, Plan


class Serve:
    """Every step may be repeated: a decision is one conditional write together with its record."""

    def __init__(self, parts: Parts, endings: Endings) -> None:
        self._parts = parts
        self._endings = endings

    async def decide(self, name: str, action: Action, plan: Plan) -> None:
        """Check that what shall serve is there and is what was approved, then decide it."""
        if await asyncio.to_thread(self._held_again, name, action.id, plan):
            return
        desired = wanted(action, plan, actions.stage_of(name), at_us=self._parts.clock.now_us())
        refusal = self._parts.actuator(plan).refusal(desired)
        if refusal is not None:
            raise StepFailed(f"{plan.actuator} cannot bring this about: {refusal}")
        for version, digest in brought_in(desired, plan).items():
            await asyncio.to_thread(self._check_artifact, plan.model, version, digest)
        await asyncio.to_thread(check_inputs, self._parts, plan)
        await asyncio.to_thread(self._decide, name, action.id, plan)

    async def publish(self, name: str, action: Action, plan: Plan) -> None:
        """Make the decided state known to whoever brings it about."""
        desired = await asyncio.to_thread(self._intend, name, action.id, plan)
        async with asyncio.timeout(self._parts.attempt_s(plan)):
            await self._parts.actuator(plan).apply(desired)
        await asyncio.to_thread(self._parts.ledger.done, action.id, name, f"epoch {desired.epoch}")

    async def acknowledge(self, name: str, action: Action, plan: Plan) -> None:
        """Wait until the servers say that they have it. Raises `NotYet`."""
        desired = await asyncio.to_thread(self._intend, name, action.id, plan)
        now_us = self._parts.clock.now_us()
        step = actions.step_of(action, name)
        async with asyncio.timeout(self._parts.attempt_s(plan)):
            standing = await self._parts.actuator(plan).observe(
                desired, asked_us=step.at_us if step else now_us, now_us=now_us
            )
        if standing.state == "refused":
            raise StepFailed(standing.sentence)
        if standing.state == "waiting":
            raise NotYet(standing.sentence)
        await asyncio.to_thread(self._acknowledged, name, action.id, plan, standing)

    async def undo(self, name: str, action: Action, plan: Plan) -> None:
        """Decide what was there before."""
        await asyncio.to_thread(self._undo, name, action.id, plan)

    def _held_again(self, name: str, action_id: str, plan: Plan) -> bool:
        """Whether a share is watched on, for a freeze has come before the next one was decided."""
        ledger, policy, stage = self._parts.ledger, self._parts.config.policy, actions.stage_of(name)
        if stage == 1:
            return False
        with self._parts.journal.transaction() as unit:
            action = ledger.held(unit, action_id)
            if actions.is_done(action, name) or actions.next_step(action, plan) != name:
                return False
            if freezing.in_force(unit, policy, plan, self._parts.clock.now_us()) is None:
                return False
            ledger.save(unit, action, ledger.stepped(action, f"hold.{stage - 1}", "intended"))
            return True

    def _check_artifact(self, model: str, version: str, digest: str) -> None:
        """The version can be loaded and is the approved one, before any traffic is moved to it."""
        registered = self._parts.registry.version(model, version)
        if registered is None:
            raise StepFailed(f"version {version} of {model} is not in the registry any more")
        if registered.digest != digest:
            raise StepFailed(f"version {version} has the digest {registered.digest}, approved was {digest}")
        if registered.signature.refused:
            raise StepFailed(f"version {version} must not serve: {registered.signature.why}")
        if not self._parts.looks.is_fresh(model, version, digest):
            why = self._parts.looks.flaw(model, version, digest)
            if why is not None:
                raise StepFailed(f"version {version} cannot be made to serve: {why}")

    def _decide(self, name: str, action_id: str, plan: Plan) -> None:
        ledger = self._parts.ledger
        with self._parts.journal.transaction() as unit:
            action = ledger.held(unit, action_id)
            if actions.is_done(action, name) or actions.next_step(action, plan) != name:
                return
            desired = wanted(action, plan, actions.stage_of(name), at_us=self._parts.clock.now_us())
            if unit.set_desired(desired, expected_epoch=desired.epoch - 1, actor=incidents.AGENT):
                done = ledger.stepped(action, name, "done", told(desired))
                ledger.save(unit, action, msgspec.structs.replace(done, state="awaiting_ack"))
                return
            moved = world_moved(unit, plan)
        raise StepFailed(f"{moved or 'the world moved'}; nothing was changed by {name}")

    def _intend(self, name: str, action_id: str, plan: Plan) -> Desired:
        ledger = self._parts.ledger
        with self._parts.journal.transaction() as unit:
            action = ledger.held(unit, action_id)
            desired = own_desired(unit, action, plan)
            if actions.step_of(action, name) is None:
                ledger.save(unit, action, ledger.stepped(action, name, "intended"))
            return desired

    def _acknowledged(self, name: str, action_id: str, plan: Plan, standing: Standing) -> None:
        ledger = self._parts.ledger
        with self._parts.journal.transaction() as unit:
            action = ledger.held(unit, action_id)
            own_desired(unit, action, plan)
            if actions.is_done(action, name):
                return
            done = ledger.stepped(action, name, "done", standing.sentence)
            at_us = standing.at_us or self._parts.clock.now_us()
            self._endings.step_done(unit, action, done, plan, standing.sentence, at_us)

    def _undo(self, name: str, action_id: str, plan: Plan) -> None:
        ledger = self._parts.ledger
        with self._parts.journal.transaction() as unit:
            action = ledger.held(unit, action_id)
            if actions.is_done(action, name):
                return
            current = own_desired(unit, action, plan)
            back = restored(action, plan, current, at_us=self._parts.clock.now_us())
            if not unit.set_desired(back, expected_epoch=current.epoch, actor=incidents.AGENT):
                raise StepFailed(superseded(unit.desired(plan.model)))
            step = actions.step_of(action, name)
            ledger.save(unit, action, ledger.stepped(action, name, "done", step.detail if step else ""))
