"""A producer's clock that is an hour wrong, events that come again or do not fit, from the records of the broker to
what a person reads."""

import pytest
from msgspec.structs import replace

from tests.remediation.world import MODEL, World
from tests.streams.test_arrivals import HOUR_S, Third
from tests.streams.test_arrivals import World as Arrivals


@pytest.mark.parametrize(
    ("skew_s", "third", "told"),
    [
        (HOUR_S, None, "a clock is ahead: 100 of 200 events"),
        (-HOUR_S, None, "events come too late: 100 of 200"),
        (0.0, "repeats", "events come more than once: 100 of 300"),
        (0.0, "text", "events are refused: 100 of 300"),
    ],
)
async def test_how_events_arrive_becomes_an_incident_that_says_what_to_do(
    skew_s: float, third: Third | None, told: str
) -> None:
    """No plan is made: no version of the model would help."""
    arrivals = Arrivals()
    arrivals.pass_slots(3)
    (alert,) = arrivals.pass_slots(4, skew_s=skew_s, third=third)
    world = World()
    await world.healthy_release()
    ago_us = world.clock.now_us() - alert.end_us
    await world.agent.receive(
        replace(
            alert,
            model=MODEL,
            start_us=alert.start_us + ago_us,
            end_us=alert.end_us + ago_us,
            change_us=alert.change_us + ago_us,
        )
    )
    await world.run()
    (incident,) = world.incidents()
    assert (incident.state, incident.cause) == ("escalated", "upstream_data_break")
    assert f"the data that arrive are broken upstream (Data quality: {told}" in incident.summary
    assert "no other version mends how events arrive" in incident.outcome
    assert not world.journal.state.approvals
    assert world.notifier.said
