"""Carries out approved plans: durable, leased, one step at a time, continuing from what it observes.

Before a step has its effect, its intent is in the journal; after it, its outcome. Killed at any point, the
same or another agent goes on: steps on record are not repeated, a step that was intended is first looked for
in the world (a registered version by its tag, a decided version by its epoch, a call by its key) and every effect may
safely come twice.
"""

import asyncio

import structlog

from remediation import actions, freezing, incidents
from remediation.errors import BrokenOff, LeaseLost, NotYet, StepFailed
from remediation.executing.endings import Effect, Endings
from remediation.executing.parts import Parts
from remediation.executing.steps import steps
from remediation.values import Action, Plan

log = structlog.get_logger()

_NOT_MINE_S = 1.0
_LABELS_S = 2.0
"""How long to wait before an archive that had too few labels is read again."""
_LONGEST_LOOK_S = 2.0
_FROZEN_S = 10.0


class Executor:
    """Advances actions. `advance` performs at most one step, and is called again and again."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._ledger = parts.ledger
        self._endings = Endings(parts)
        self._steps = steps(parts, self._endings)

    async def advance(self, action_id: str) -> float:
        """Do the next step of an action; answers after how many seconds to look again.

        Raises nothing for a failing step: it is tried again, later each time, until its attempts or its time are spent,
        then the action is taken back. Does nothing while another agent holds the lease. Raises what the journal raises.
        """
        if await asyncio.to_thread(self._frozen, action_id):
            return _FROZEN_S
        claimed = await asyncio.to_thread(self._ledger.claim, action_id)
        if claimed is None:
            return _NOT_MINE_S
        action, plan = claimed
        name = actions.next_step(action, plan)
        if name is None:
            return 0.0
        try:
            async with self._ledger.lease_kept(action, breakable=actions.base(name) in actions.PREPARE):
                await self._steps[actions.base(name)](name, action, plan)
        except BrokenOff as error:
            log.info("A step was broken off", action=action.id, step=name, why=str(error))
        except LeaseLost:
            log.warning("Another agent took the action over", action=action.id)
            self._parts.runs.forget(action.id)
        except StepFailed as error:
            await asyncio.to_thread(self._endings.fail, action.id, name, str(error))
        except NotYet as error:
            return await self._wait(action.id, name, str(error))
        except Exception as error:
            log.exception("A step failed and will be tried again", action=action.id, step=name)
            return await self._try_again(action, name, plan, f"{type(error).__name__}: {error}")
        return 0.0

    def take_back(self, action_id: str, reason: str, *, asked: bool = False) -> None:
        """End an action that has not helped: undo what is better undone, leave what is better left, tell people. What a
        person has `asked` to undo is undone."""
        if self._ledger.claim(action_id) is not None:
            self._endings.fail(action_id, actions.CANCEL if asked else "verify", reason)

    def succeed(self, action_id: str, sentence: str, end: Effect = "recovered", *, epoch: int) -> bool:
        """End an action that did what it should in the state of `epoch`, and its incident; False when somebody else
        holds it, or decided another state since."""
        return self._endings.succeed(action_id, sentence, end, epoch=epoch)

    async def _wait(self, action_id: str, name: str, reason: str) -> float:
        """Look again soon, less often the longer it takes."""
        action, plan = await asyncio.to_thread(self._read, action_id)
        if self._endings.overdue(action, name, plan):
            await asyncio.to_thread(self._endings.fail, action_id, name, reason)
            return 0.0
        if name == "collect":
            return _LABELS_S
        step = actions.step_of(action, name)
        waited_us = self._parts.clock.now_us() - step.at_us if step else 0
        return min(waited_us / 1e7, _LONGEST_LOOK_S)

    def _frozen(self, action_id: str) -> bool:
        """Whether an action waits for the end of a freeze with what it would decide. Nobody needs its lease for that,
        each renewal of which would be an entry of the audit log, for days."""
        journal, policy = self._parts.journal, self._parts.config.policy
        if not policy.freezes:
            return False
        now_us = self._parts.clock.now_us()
        with journal.reading() as unit:
            action = unit.action(action_id)
            plan = unit.plan(action.plan_id) if action else None
            name = actions.next_step(action, plan) if action and plan else None
            if action is None or plan is None or name is None or not freezing.decides_later(name):
                return False
            if freezing.in_force(unit, policy, plan, now_us) is None:
                return False
        with journal.transaction() as unit:
            action = unit.action(action_id)
            if action is None or actions.next_step(action, plan) != name:
                return False
            if not freezing.holds(unit, policy, action, plan, name, now_us):
                return False
            step = actions.step_of(action, name)
            if step is None or not actions.waits(step):
                noted = actions.with_step(action, name, "intended", at_us=now_us, detail=actions.WAITS)
                return unit.save_action(noted, expected=action.state, actor=incidents.AGENT)
            return True

    async def _try_again(self, action: Action, name: str, plan: Plan, reason: str) -> float:
        try:
            wait_s = await asyncio.to_thread(self._endings.attempt_failed, action.id, name, plan, reason)
        except LeaseLost:
            log.warning("Another agent took the action over", action=action.id)
            return 0.0
        if wait_s is None:
            await asyncio.to_thread(self._endings.fail, action.id, name, reason)
        return wait_s or 0.0

    def _read(self, action_id: str) -> tuple[Action, Plan]:
        with self._parts.journal.reading() as unit:
            action = unit.action(action_id)
            plan = unit.plan(action.plan_id) if action else None
        if action is None or plan is None:
            raise LeaseLost(f"action {action_id} or its plan is not in the journal any more")
        return action, plan
