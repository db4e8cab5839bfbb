"""What an approved plan waits for is told, and said in every list of tickets."""

from functools import partial
from typing import Any, cast

from remediation import delays
from remediation.policy import Policy
from remediation.switches import PAUSE
from remediation.turning import turn as turn_by_policy
from remediation.values import Action
from tests.remediation.fakes import S
from tests.remediation.world import MODEL, World

turn = partial(turn_by_policy, policy=Policy(), channel="cli")


async def test_people_are_told_what_an_approved_plan_waits_for_and_lists_say_it() -> None:
    world = World()
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(world.journal.state.approvals))
    turn(cast(Any, world.journal), world.clock, PAUSE, on=True, by="ada", reason="an exercise")
    for _ in range(3):
        await world.round()
    (ticket,) = world.journal.state.approvals.values()
    (told,) = world.journal.state.notices.values()
    assert (told.kind, told.incident_id) == ("held", world.incidents()[0].id)
    assert (
        f"The rollback of {MODEL} (approval {ticket.id}) was approved by ada, and waits: ada has paused"
        in told.text
    )
    assert [each for each, _ in world.notifier.said].count("held") == 1
    with world.journal.reading() as unit:
        plan = world.journal.state.plans[ticket.plan_id]
        shown = delays.why(unit, Policy(), plan, ticket, world.clock.now_us())
    assert shown == "ada has paused all actions: an exercise"


async def test_a_short_wait_for_another_action_is_told_to_nobody_and_a_long_one_is() -> None:
    world = World()
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(world.journal.state.approvals))
    other = Action(
        id="act-1",
        plan_id="plan-1",
        incident_id="inc-1",
        kind="rollback",
        model=MODEL,
        state="executing",
        started_us=world.clock.now_us(),
        lease_by="another agent",
        lease_until_us=world.clock.now_us() + 3_600 * S,
    )
    with world.journal.transaction() as unit:
        unit.add_action(other, actor="agent")
    for _ in range(50):
        await world.round()
    assert not world.journal.state.notices
    for _ in range(20):
        await world.round()
    (told,) = world.journal.state.notices.values()
    assert f"and waits: {other.id} (rollback) of {MODEL} is still under way" in told.text
