"""What was approved begins at once, however many incidents wait to be looked at."""

import pytest

from tests.remediation.world import World


@pytest.mark.parametrize("sweep_s", [0.1, 0.001], ids=["few wait", "many wait"])
async def test_what_is_approved_begins_without_a_pause(sweep_s: float) -> None:
    # The pause between two looks at an incident that waits is 0.01 s here: more than the second sweep_s.
    world = World({"sweep_s": sweep_s})
    world.verdict = None
    await world.agent.receive(await world.bad_release())
    while not world.journal.state.approvals:
        await world.round()
    await world.round()
    if sweep_s == 0.1:
        world.pass_time(1)
    world.click("approve")
    for _ in range(2):
        await world.agent.sweep()
        await world.agent.idle()
    (action,) = world.journal.state.actions.values()
    assert [(step.name, step.state) for step in action.steps] == [("decide", "done")]
