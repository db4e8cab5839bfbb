"""The agent is killed at every boundary of every effect, enumerated; a new one must end the same way, and do
it once."""

from collections import Counter

import pytest
from structlog.testing import capture_logs

from remediation.config import VerificationConfig
from remediation.values import CLOSED_INCIDENTS
from tests.remediation.counted import Threads
from tests.remediation.fakes import Faults, Killed
from tests.remediation.world import MODEL, World

SCENARIOS = ("rollback", "retrain", "retrain taken back")


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncio.to_thread", Threads().to_thread)


async def _begin(scenario: str) -> World:
    world = World({"verification": VerificationConfig(windows=2, limit_s=8), "approval_ttl_s": 600.0})
    opening = await (world.bad_release() if scenario == "rollback" else world.shifted_world())
    await world.agent.receive(opening)
    if scenario == "retrain taken back":
        world.ill.add((MODEL, "2"))
    _rearm(world, Faults())
    return world


def _rearm(world: World, faults: Faults) -> None:
    world.faults = faults
    for part in (world.journal, world.bus, world.registry, world.trainer):
        part.faults = faults


async def _undisturbed(scenario: str) -> list[str]:
    world = await _begin(scenario)
    await world.run()
    _ended_well(world, scenario)
    return world.faults.passed


def _ended_well(world: World, scenario: str) -> None:
    (incident,) = world.incidents()
    (action,) = world.journal.state.actions.values()
    assert incident.state in CLOSED_INCIDENTS
    expected = {
        "rollback": ("resolved", "succeeded", "1", 3),
        "retrain": ("resolved", "succeeded", "2", 2),
        "retrain taken back": ("escalated", "reverted", "1", 3),
    }[scenario]
    epoch = world.journal.state.desired[MODEL].epoch
    assert (incident.state, action.state, world.serves(), epoch) == expected
    registered = Counter(entry.tags.get("homeostat.action") for entry in world.registry.versions(MODEL))
    assert registered[action.id] == (0 if scenario == "rollback" else 1)
    assert len(world.journal.state.deployments) == epoch
    assert len(world.journal.state.approvals) == 1
    assert world.registry.champion(MODEL) == world.serves()


async def _with_death_at(scenario: str, position: int) -> None:
    world = await _begin(scenario)
    _rearm(world, Faults(kill_at=position))
    with pytest.raises(Killed):
        await world.run()
    _rearm(world, Faults())
    world.agent = world.new_agent()
    await world.run()
    await world.agent.reconcile()
    _ended_well(world, scenario)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_killed_at_every_boundary_the_effect_happens_once(scenario: str) -> None:
    boundaries = await _undisturbed(scenario)
    assert len(boundaries) > 20
    for position in range(len(boundaries)):
        await _with_death_at(scenario, position)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_time_out_after_the_write_is_survived_at_every_boundary(scenario: str) -> None:
    boundaries = await _undisturbed(scenario)
    for position in range(len(boundaries)):
        world = await _begin(scenario)
        _rearm(world, Faults(raise_at=position))
        with capture_logs():
            try:
                await world.run()
            except TimeoutError:  # of the person's click or of the messages' round: the caller tries again
                await world.run()
        await world.agent.reconcile()
        _ended_well(world, scenario)


async def test_of_two_agents_one_acts() -> None:
    world = await _begin("retrain")
    other = world.new_agent("other")
    for _ in range(200):
        for said in world.serving.acknowledgements:
            other.acknowledge(said)
        await world.round()
        await other.sweep()
        await other.idle()
        if world.all_closed():
            break
    _ended_well(world, "retrain")
    assert len(world.trainer.sets) == 1


async def test_the_lease_of_a_dead_agent_runs_out() -> None:
    world = await _begin("rollback")
    await world.run(until=lambda: any(each.lease_by for each in world.journal.state.actions.values()))
    (action,) = world.journal.state.actions.values()
    dead = action.lease_by
    world.agent = world.new_agent()
    await world.round()
    assert next(iter(world.journal.state.actions.values())).lease_by == dead
    await world.run()
    _ended_well(world, "rollback")
