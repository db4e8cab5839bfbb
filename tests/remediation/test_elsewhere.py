"""Models that are served elsewhere: their plans name the actuator, and what was decided is told again until it is in
force."""

from dataclasses import replace
from typing import Any

from remediation.acknowledgements import Standing
from remediation.agent import Agent
from remediation.values import Desired
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
