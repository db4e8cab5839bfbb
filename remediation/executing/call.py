"""Actions outside of serving: an issue, an HTTP call, a command, a fresh reference."""

import asyncio
from collections.abc import Mapping
from typing import Any

from remediation import actions
from remediation.approvals import world_moved
from remediation.errors import NotYet, StepFailed
from remediation.executing.endings import Endings
from remediation.executing.parts import Parts
from remediation.playbooks.proposal import controls
from remediation.ports import Caller
from remediation.values import Action, Plan


class Call:
    """Once: the key is the action's, so that a second attempt is the same call, and what was attempted before is looked
    for first."""

    def __init__(self, parts: Parts, endings: Endings) -> None:
        self._parts = parts
        self._endings = endings

    async def call(self, name: str, action: Action, plan: Plan) -> None:
        """Have the effect."""
        attempted = await asyncio.to_thread(self._intend, name, action.id, plan)
        sentence = await self._once(plan, plan.parameters, action.id, attempted)
        await asyncio.to_thread(self._called, name, action.id, plan, sentence)

    async def undo(self, name: str, action: Action, plan: Plan) -> None:
        """Have the effect that takes it back, as the plan describes it."""
        sentence = await self._once(plan, controls(plan).undo or {}, f"{action.id}.undo", attempted=True)
        await asyncio.to_thread(self._called, name, action.id, plan, sentence)

    async def _once(self, plan: Plan, parameters: Mapping[str, Any], key: str, attempted: bool) -> str:
        caller = self._caller(plan)
        async with asyncio.timeout(self._parts.attempt_s(plan)):
            seen = await caller.observe(plan.action, parameters, key=key) if attempted else None
            return seen if seen is not None else await caller.call(plan.action, parameters, key=key)

    def _caller(self, plan: Plan) -> Caller:
        if self._parts.caller is None:
            raise StepFailed(f"{plan.action} cannot be done: this agent was given nothing that calls")
        return self._parts.caller

    def _intend(self, name: str, action_id: str, plan: Plan) -> bool:
        """Whether it was attempted before. What was not is not begun in a world that has moved."""
        ledger = self._parts.ledger
        with self._parts.journal.transaction() as unit:
            action = ledger.held(unit, action_id)
            if actions.step_of(action, name) is not None:
                return True
            if actions.next_step(action, plan) != name:
                raise NotYet(f"{name} is not next any more")
            moved = world_moved(unit, plan)
            if moved is not None:
                raise StepFailed(f"{moved}; nothing was called")
            ledger.save(unit, action, ledger.stepped(action, name, "intended"))
            return False

    def _called(self, name: str, action_id: str, plan: Plan, sentence: str) -> None:
        ledger = self._parts.ledger
        with self._parts.journal.transaction() as unit:
            action = ledger.held(unit, action_id)
            if actions.is_done(action, name):
                return
            done = ledger.stepped(action, name, "done", sentence)
            self._endings.step_done(unit, action, done, plan, sentence, self._parts.clock.now_us())
