"""The steps of a retraining before a version is decided."""

import asyncio

import msgspec

from remediation import actions
from remediation.errors import StepFailed
from remediation.evidence import broken_by_now
from remediation.executing.parts import Parts
from remediation.playbooks.proposal import controls
from remediation.ports import Reader
from remediation.training_run import TrainingRun, parameters
from remediation.values import Action, Plan


class Retrain:
    """What is collected and trained lives in memory: an agent that has it not begins again. What was registered is
    found by the action's tag."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def left(self, action: Action, plan: Plan) -> str:
        """What a retraining that a person has cancelled leaves, in words."""
        found = self._parts.runs.registered(action, plan)
        if found is None:
            return "the training was broken off, and nothing was registered"
        return f"version {found.version} had been registered, and stays so"

    async def prepare(self, name: str, action: Action, plan: Plan) -> None:
        """Collect, train, gate or register."""
        found = await asyncio.to_thread(self._parts.runs.registered, action, plan)
        if found is not None:
            await asyncio.to_thread(self._registered, action.id, found.version, found.digest)
            return
        await asyncio.to_thread(check_inputs, self._parts, plan)
        run = self._parts.runs.of(action)
        if not run.holds(name):
            await asyncio.to_thread(self._parts.ledger.change, action.id, actions.prepared_again)
            name = "collect"
        await self._parts.ledger.intend(action.id, name)
        async with asyncio.timeout(controls(plan).timeout_s or self._parts.config.execution.train_s):
            detail = await _prepared(run, name, plan)
        if name == "register":
            version, digest = detail.split(" ", 1)
            await asyncio.to_thread(self._registered, action.id, version, digest)
        else:
            await asyncio.to_thread(self._parts.ledger.done, action.id, name, detail)

    def _registered(self, action_id: str, version: str, digest: str) -> None:
        def change(action: Action) -> Action:
            done = self._parts.ledger.stepped(action, "register", "done", f"version {version} ({digest})")
            return msgspec.structs.replace(done, to_version=version, to_digest=digest)

        self._parts.ledger.change(action_id, change)
        self._parts.runs.forget(action_id)


def check_inputs(parts: Parts, plan: Plan) -> None:
    """Raises `StepFailed` when the inputs that a candidate learns from are known to be broken by now: labels can tell
    of a break, and a person approve, before the window that names it is over."""
    with parts.journal.reading() as unit:
        why = spoiled(unit, plan)
    if why is not None:
        raise StepFailed(f"{why}, and a candidate would learn that; `accept: [broken_data]` allows it")


def spoiled(unit: Reader, plan: Plan) -> str | None:
    """What is known by now to be broken in the inputs that the candidate of a plan learns from, and may not; None where
    nothing is."""
    if plan.action != "retrain" or "broken_data" in parameters(plan).accept:
        return None
    return broken_by_now(unit, plan.model, plan.from_version)


async def _prepared(run: TrainingRun, name: str, plan: Plan) -> str:
    match name:
        case "train":
            return await run.train(plan)
        case "register":
            registered = await asyncio.to_thread(run.register, plan)
            return f"{registered.version} {registered.digest}"
        case _:
            return await asyncio.to_thread(run.collect if name == "collect" else run.gate, plan)
