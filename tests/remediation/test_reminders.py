"""Reminders, escalation, people on call, snooze: what is due when, and that it is told once."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediation.approvals import Result, snooze
from remediation.policy import Policy
from remediation.reminders import Reminder, Rotation, Step, due
from remediation.values import Approval
from tests.remediation.fakes import S
from tests.remediation.world import World

MIN = 60 * S
TICKET = Approval(
    id="apr-1", plan_id="p", plan_hash="h", incident_id="i", model="m", requested_us=0, expires_us=600 * MIN
)
ON_CALL = Rotation(people=("mira", "otto"), starts=datetime(2026, 11, 23, 8, tzinfo=UTC), every_h=12)
STEPS = (Step(after_min=30, on_call=True), Step(after_min=45, to="#platform", people=("ada", "mira")))


def _due(now_min: float, **changes: object) -> list[Reminder]:
    ticket = msgspec.structs.replace(TICKET, **changes)
    return due(ticket, every_min=20, steps=STEPS, on_call=ON_CALL, now_us=round(now_min * MIN))


@pytest.mark.parametrize(
    ("now_min", "names"),
    [
        (19.9, []),
        (20, ["reminder-1"]),
        (31, ["escalation-0", "reminder-1"]),
        (46, ["escalation-0", "escalation-1", "reminder-2"]),
        (599, ["escalation-0", "escalation-1", "reminder-29"]),
        (600, []),
    ],
)
def test_what_is_due(now_min: float, names: list[str]) -> None:
    assert [each.name for each in _due(now_min)] == names


@pytest.mark.parametrize("state", ["approved", "rejected", "expired", "void"])
def test_nobody_is_reminded_of_what_is_decided(state: str) -> None:
    assert _due(100, state=state) == []


def test_a_snooze_holds_everything_back_and_says_when_it_is_over() -> None:
    assert _due(59, snoozed_until_us=60 * MIN) == []
    names = [each.name for each in _due(60, snoozed_until_us=60 * MIN)]
    assert names == ["escalation-0", "escalation-1", f"snooze-{60 * MIN}"]
    assert [each.name for each in _due(80, snoozed_until_us=60 * MIN)][-1] == "reminder-4"


@given(st.floats(0, 599), st.floats(0, 599))
def test_time_takes_no_escalation_back(one: float, other: float) -> None:
    early, late = (
        {each.name for each in _due(at) if each.kind == "escalation"} for at in sorted((one, other))
    )
    assert early <= late


@pytest.mark.parametrize(
    ("at", "who"),
    [
        ("2026-11-23T07:00:00", "mira"),
        ("2026-11-23T08:00:00", "mira"),
        ("2026-11-23T20:00:00", "otto"),
        ("2026-11-24T08:00:00", "mira"),
    ],
)
def test_who_is_on_call(at: str, who: str) -> None:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert ON_CALL.at(round(moment.timestamp()) * S) == who


async def test_people_are_told_once_and_in_order() -> None:
    world = World({"policy": Policy(remind_every_min=10, escalation=(Step(after_min=15),))})
    world.verdict = None
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(world.journal.state.approvals))
    (ticket,) = world.journal.state.approvals
    world.notifier.said.clear()
    for _ in range(4):
        world.clock.advance(300)
        await world.agent.deliver()
        await world.agent.deliver()
    assert [what for what, about in world.notifier.said if about == ticket] == [
        "reminder-1",
        "escalation-0",
        "reminder-2",
    ]


async def test_a_snooze_is_for_who_may_decide_and_for_a_day_at_most() -> None:
    world = World()
    world.verdict = None
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(world.journal.state.approvals))
    (ticket,) = world.journal.state.approvals

    def say(minutes: float) -> Result:
        return snooze(
            world.journal, world.clock, ticket, by="ada", minutes=minutes, channel="cli", policy=Policy()
        ).result

    assert say(1_441) == Result.FORBIDDEN
    assert say(30) == Result.DONE
    assert world.journal.state.approvals[ticket].snoozed_by == "ada"
    assert world.say(ticket, "approve").result == Result.DONE, "who has snoozed can still decide"
