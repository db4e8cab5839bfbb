"""Models that are served elsewhere: their plans name the actuator, and what was decided is told again until it is in
force."""

from dataclasses import replace
from typing import Any

import msgspec

from remediation.acknowledgements import Standing
from remediation.actuation import allowed_s
from remediation.agent import Agent
from remediation.config import AgentConfig
from remediation.values import Desired, Plan
from tests.remediation.world import MODEL, World


class Far:
    """Servers behind an actuator. `lag`: so many looks until a state is in force; `down`: nothing answers."""

    proves = "what this test says"

    def __init__(self) -> None:
        self.applied: list[int] = []
        self.in_force = 0
        self.down = False
        self.world: Any = None

    def refusal(self, desired: Desired) -> str | None:
        return "no pause" if desired.arrangement.paused else None

    async def apply(self, desired: Desired) -> None:
        if self.down:
            raise TimeoutError("the far servers do not answer")
        if desired.epoch > self.in_force:
            self.applied.append(desired.epoch)
            self.in_force = desired.epoch
            self.world.far_versions.append(desired.version)
            await self.world.publisher.publish_desired(desired)

    async def observe(self, desired: Desired, *, asked_us: int, now_us: int) -> Standing:
        if self.down:
            raise TimeoutError("the far servers do not answer")
        state = "loaded" if self.in_force == desired.epoch else "waiting"
        return Standing(state=state, sentence=f"epoch {self.in_force} is in force", at_us=now_us)


class FarWorld(World):
    """All models are behind the actuator `far`."""

    def __init__(self) -> None:
        self.far = Far()
        self.far.world = self
        self.far_versions: list[str] = []
        super().__init__({"actuator": lambda model: "far"})

    def new_agent(self, agent_id: str | None = None) -> Agent:
        agent = super().new_agent(agent_id)
        return Agent(replace(agent._ports, actuators={"far": self.far}), agent._config)


async def test_a_bad_release_is_rolled_back_far_away() -> None:
    world = FarWorld()
    await world.agent.receive(await world.bad_release())
    await world.run()
    with world.journal.reading() as unit:
        (incident,) = unit.incidents()
        (plan,) = unit.plans(incident.id)
    assert (plan.action, plan.actuator) == ("rollback", "far")
    assert incident.state == "resolved"
    assert world.far_versions == ["1"]
    assert world.far.applied == [plan.epoch + 1]


async def test_what_is_not_in_force_is_told_again_and_one_failure_keeps_no_other_model() -> None:
    world = FarWorld()
    await world.bad_release()
    with world.journal.reading() as unit:
        desired = unit.desired(MODEL)
    assert desired is not None
    world.far.down = True
    world.registry.alias[MODEL] = "7"
    await world.agent.reconcile()
    assert (world.far.applied, world.registry.alias[MODEL]) == ([], "7")
    world.far.down = False
    await world.agent.reconcile()
    await world.agent.reconcile()
    assert world.far.applied == [desired.epoch]
    assert world.registry.alias[MODEL] == desired.version


class Unfenced(Far):
    """Servers that run what they were told last, and are told of a release while they are looked at."""

    release = ""

    async def apply(self, desired: Desired) -> None:
        self.in_force = desired.epoch
        self.applied.append(desired.epoch)

    async def observe(self, desired: Desired, *, asked_us: int, now_us: int) -> Standing:
        if self.release:
            version, self.release = self.release, ""
            await self.apply(await self.world.deploy(version))
        return await super().observe(desired, asked_us=asked_us, now_us=now_us)


async def test_what_is_decided_while_a_model_is_looked_at_stays_in_force() -> None:
    world = FarWorld()
    world.far = Unfenced()
    world.far.world, world.agent = world, world.new_agent()
    for version in ("1", "2"):
        world.registry.add(MODEL, version, "good")
    await world.far.apply(await world.deploy("1"))
    world.far.release = "2"
    await world.agent.reconcile()
    assert world.far.in_force == 2
    assert world.registry.alias[MODEL] == "2"


def test_slow_servers_are_waited_for() -> None:
    config = AgentConfig(
        alerts_topic="a", acknowledgements_topic="b", desired_topic="c", patience_s={"far": 1_800.0}
    )
    plan = Plan(
        id="p",
        incident_id="i",
        action="rollback",
        model=MODEL,
        from_version="2",
        from_digest="b",
        to_version="1",
        to_digest="a",
        epoch=2,
        actuator="far",
    )
    assert allowed_s("acknowledge.2", plan, config) == allowed_s("undo.publish", plan, config) == 1_800.0
    assert allowed_s("decide", plan, config) == config.execution.step_s
    assert (
        allowed_s("acknowledge", msgspec.structs.replace(plan, actuator="homeostat"), config)
        == config.execution.step_s
    )
    assert (
        allowed_s("acknowledge", msgspec.structs.replace(plan, parameters={"timeout_s": 7.0}), config) == 7.0
    )
