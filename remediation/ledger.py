"""The record of an action while it is carried out: who holds it, and what is intended and done."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
import structlog

from remediation import actions, incidents
from remediation.clock import seconds
from remediation.config import AgentConfig
from remediation.errors import BrokenOff, LeaseLost, RemediationError
from remediation.ports import Clock, Journal, Reader, Unit
from remediation.values import Action, Plan

log = structlog.get_logger()

_LOOK_S = 1.0
"""How soon what is under way hears that it is to stop."""


class Ledger:
    """Writes actions, only while this agent holds their lease; every write renews it."""

    def __init__(self, journal: Journal, clock: Clock, config: AgentConfig) -> None:
        self._journal = journal
        self._clock = clock
        self._config = config

    def claim(self, action_id: str) -> tuple[Action, Plan] | None:
        """Take or renew the lease; None when the action is over or somebody else's."""
        now_us = self._clock.now_us()
        with self._journal.transaction() as unit:
            action = unit.action(action_id)
            if action is None or action.state not in actions.RUNNING:
                return None
            if not actions.free_for(action, by=self._config.agent_id, now_us=now_us):
                return None
            plan = unit.plan(action.plan_id)
            if plan is None:
                raise RemediationError(f"action {action_id} has no plan {action.plan_id} in the journal")
            renewed = msgspec.structs.replace(
                action, state="executing" if action.state == "intended" else action.state
            )
            if self._half_spent(renewed, now_us) or renewed.state != action.state:
                renewed = self._leased(renewed, now_us)
                if not unit.save_action(renewed, expected=action.state, actor=incidents.AGENT):
                    return None
            return renewed, plan

    def _half_spent(self, action: Action, now_us: int) -> bool:
        """Renewing at every look would flood the audit log; renewing at half time keeps the lease without a
        gap."""
        left_us = action.lease_until_us - now_us
        return (
            action.lease_by != self._config.agent_id or left_us < seconds(self._config.execution.lease_s) // 2
        )

    def _leased(self, action: Action, now_us: int) -> Action:
        return actions.leased(
            action, by=self._config.agent_id, now_us=now_us, lease_s=self._config.execution.lease_s
        )

    @asynccontextmanager
    async def lease_kept(self, action: Action, *, breakable: bool = False) -> AsyncGenerator[None]:
        """Renew the lease for as long as the block takes. A block that is `breakable` is cancelled when the lease is
        lost, or a person has cancelled the action; then it raises `LeaseLost` or `BrokenOff`."""
        working, broken = asyncio.current_task(), list[RemediationError]()

        async def renew() -> None:
            pause_s = min(self._config.execution.lease_s / 3, _LOOK_S)
            try:
                while True:
                    await asyncio.sleep(pause_s)
                    await self._looked(action.id, breakable)
            except (BrokenOff, LeaseLost) as error:
                if breakable and working is not None:
                    broken.append(error)
                    working.cancel()

        keeper = asyncio.create_task(renew(), name=f"lease of {action.id}")
        try:
            yield
        except asyncio.CancelledError:
            if broken and working is not None:
                why = broken.pop()
                if not working.uncancel():
                    raise why from None
            raise
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            if broken and working is not None:
                working.uncancel()

    async def _looked(self, action_id: str, breakable: bool) -> None:
        """Look; what is under way outlives a journal that is away for a moment."""
        try:
            await asyncio.to_thread(self._look, action_id, breakable)
        except RemediationError:
            raise
        except Exception:
            log.exception("A lease could not be looked at, and will be again", action=action_id)

    def _look(self, action_id: str, breakable: bool) -> None:
        with self._journal.transaction() as unit:
            action = self.held(unit, action_id)
            asked = actions.cancelled(action)
            if self._half_spent(action, self._clock.now_us()):
                self.save(unit, action, action)
        if breakable and asked is not None:
            raise BrokenOff(asked.detail)

    def held(self, unit: Reader, action_id: str) -> Action:
        """The action, while this agent has its lease. Raises `LeaseLost`."""
        action = unit.action(action_id)
        if action is None or action.lease_by != self._config.agent_id or action.state not in actions.RUNNING:
            raise LeaseLost(f"action {action_id} is not held by {self._config.agent_id} any more")
        return action

    def save(self, unit: Unit, before: Action, after: Action) -> None:
        """Write the action and renew the lease. Raises `LeaseLost` when somebody wrote it before."""
        renewed = self._leased(after, self._clock.now_us()) if after.state in actions.RUNNING else after
        if not unit.save_action(renewed, expected=before.state, actor=incidents.AGENT):
            raise LeaseLost(f"action {before.id} left the state {before.state}")

    def change(self, action_id: str, change: Callable[[Action], Action]) -> None:
        """Read, change and write in one transaction."""
        with self._journal.transaction() as unit:
            action = self.held(unit, action_id)
            self.save(unit, action, change(action))

    def stepped(self, action: Action, name: str, state: actions.StepState, detail: str = "") -> Action:
        """The action with a step recorded now."""
        return actions.with_step(action, name, state, at_us=self._clock.now_us(), detail=detail)

    async def intend(self, action_id: str, name: str) -> None:
        """Record the intent of a step."""
        await asyncio.to_thread(self.change, action_id, lambda held: self.stepped(held, name, "intended"))

    def done(self, action_id: str, name: str, detail: str) -> None:
        """Record the outcome of a step."""
        self.change(action_id, lambda held: self.stepped(held, name, "done", detail))
