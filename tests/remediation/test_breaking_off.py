"""A training that nobody wants any more is broken off, and leaves nothing."""

import asyncio
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from remediation.cancellation import cancel
from remediation.config import ExecutionConfig, VerificationConfig
from remediation.policy import Policy
from remediation.values import Action
from tests.patience import PATIENCE_S
from tests.remediation.counted import Threads
from tests.remediation.world import MODEL, World

REASON = "the campaign explains it"
LEASE_S = 0.03
"""Of real time: whoever holds an action looks at it three times as often."""


def _action(world: World) -> Action:
    (action,) = world.journal.state.actions.values()
    return action


def _stop(world: World) -> None:
    cancel(
        cast(Any, world.journal),
        world.clock,
        _action(world).id,
        by="ada",
        reason=REASON,
        channel="cli",
        policy=Policy(),
    )


async def _training(monkeypatch: pytest.MonkeyPatch) -> World:
    """A retraining that is under way and takes its time."""
    monkeypatch.setattr("asyncio.to_thread", Threads().to_thread)
    world = World({"execution": ExecutionConfig(lease_s=LEASE_S)})
    world.trainer.takes = asyncio.Event()
    await world.agent.receive(await world.shifted_world())
    idle = world.agent.idle
    monkeypatch.setattr(world.agent, "idle", lambda: asyncio.sleep(0.001))
    await world.run(until=lambda: bool(world.trainer.sets))
    monkeypatch.setattr(world.agent, "idle", idle)
    return world


async def test_cancelling_breaks_a_training_off_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await _training(monkeypatch)
    _stop(world)
    await world.run()
    assert world.trainer.broken_off == 1
    action, (incident,) = _action(world), world.incidents()
    assert (action.state, incident.state) == ("failed", "escalated")
    told = f"ada cancelled it: {REASON}; the training was broken off, and nothing was registered"
    assert action.outcome == told
    assert told in incident.outcome
    assert [(each.name, each.state, each.detail) for each in action.steps][1:] == [
        ("train", "failed", "broken off"),
        ("cancel", "failed", told),
    ]
    assert [each.version for each in world.registry.versions(MODEL)] == ["1"]
    assert world.serves() == "1"


async def test_a_cancellation_is_heard_although_the_journal_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await _training(monkeypatch)
    whole, looked = world.journal.transaction, asyncio.Event()

    def away() -> Any:
        looked.set()
        raise TimeoutError("the database is away")

    with capture_logs():
        monkeypatch.setattr(world.journal, "transaction", away)
        await asyncio.wait_for(looked.wait(), PATIENCE_S)
        monkeypatch.setattr(world.journal, "transaction", whole)
        _stop(world)
        async with asyncio.timeout(PATIENCE_S):
            await world.run()
    assert world.trainer.broken_off == 1
    assert _action(world).outcome.startswith(f"ada cancelled it: {REASON}")


async def test_who_cancelled_is_told_although_the_registry_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await _training(monkeypatch)
    failures = 2

    def registered(*_: object) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise TimeoutError("the registry is away")

    monkeypatch.setattr("remediation.training_run.TrainingRuns.registered", registered)
    _stop(world)
    with capture_logs():
        await world.run()
    assert failures < 0
    assert _action(world).outcome.startswith(f"ada cancelled it: {REASON}")


async def test_who_loses_the_lease_breaks_its_training_off(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await _training(monkeypatch)
    first = world.agent
    world.clock.advance(1)
    world.agent = world.new_agent()
    world.trainer.takes = None
    await world.run()
    await first.idle()
    assert world.trainer.broken_off == 1
    assert len(world.trainer.sets) == 2
    assert _action(world).state == "succeeded"
    tags = [each.tags.get("homeostat.action") for each in world.registry.versions(MODEL)]
    assert tags == [None, _action(world).id]


async def test_an_agent_that_stops_breaks_its_training_off(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await _training(monkeypatch)
    for task in asyncio.all_tasks():
        if task.get_name() == world.incidents()[0].id:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert world.trainer.broken_off == 1
    assert _action(world).state == "executing"


async def test_cancelled_at_every_boundary_it_ends_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    position, went_on = 0, 0
    while await _cancelled_at(position, monkeypatch):
        position += 1
        went_on += 1
    assert went_on > 30


async def _cancelled_at(position: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """False where the action was over before that boundary."""
    threads, passed, asked = Threads(), 0, False
    monkeypatch.setattr("asyncio.to_thread", threads.to_thread)
    world = World({"verification": VerificationConfig(windows=2, limit_s=8)})
    await world.agent.receive(await world.shifted_world())
    await world.run(until=lambda: bool(world.journal.state.actions))

    async def between(_: str) -> None:
        nonlocal passed, asked
        passed += 1
        if passed - 1 == position and _action(world).state != "succeeded":
            asked = True
            _stop(world)

    threads.between = between
    await world.run()
    threads.between = None
    action, (incident,) = _action(world), world.incidents()
    if not asked:
        assert action.state == "succeeded"
        return False
    assert f"ada cancelled it: {REASON}" in action.outcome
    assert (incident.state, world.serves()) == ("escalated", "1")
    registered = [each.version for each in world.registry.versions(MODEL) if "homeostat.action" in each.tags]
    if registered:
        assert f"version {registered[0]} had been registered, and stays so" in action.outcome
    else:
        assert "nothing was registered" in action.outcome
    decided = any(step.name == "decide" and step.state == "done" for step in action.steps)
    assert action.state == ("reverted" if decided else "failed")
    return True
