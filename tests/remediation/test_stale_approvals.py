"""An approval is good for the world and the time in which it was given, not for whenever somebody gets round to it."""

from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import msgspec
import pytest

from remediation.approvals import Result, decide
from remediation.policy import Freeze, Person, Policy
from remediation.silences import Link
from remediation.switches import PAUSE
from remediation.turning import turn as turn_by_policy
from remediation.values import Incident
from remediation.watchdog import overdue
from tests.remediation.fakes import S
from tests.remediation.test_policy import POLICY, Desk
from tests.remediation.world import MODEL, World, alert

turn = partial(turn_by_policy, policy=Policy(), channel="cli", by="ada", reason="an exercise")


async def _asked(config: dict[str, Any] | None = None) -> World:
    """A rollback waits for a decision."""
    world = World(config)
    world.verdict = None
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(world.journal.state.approvals))
    return world


def _approve(world: World, policy: Policy | None = None, **more: Any) -> Result:
    (ticket,) = world.journal.state.approvals.values()
    answer = decide(
        cast(Any, world.journal),
        world.clock,
        ticket.id,
        "approve",
        by="ada",
        reason="looks right",
        channel="cli",
        plan_hash=ticket.plan_hash,
        policy=policy,
        **more,
    )
    return answer.result


async def test_an_agent_that_was_away_until_the_ticket_had_expired_does_nothing_by_it() -> None:
    world = await _asked()
    assert _approve(world) == Result.DONE
    world.clock.advance(5 * 3_600)
    world.agent = world.new_agent()
    await world.round()
    (ticket, *_) = world.journal.state.approvals.values()
    assert (ticket.state, world.journal.state.actions, world.serves()) == ("void", {}, "2")
    assert "nothing was begun before it expired" in (ticket.reason or "")
    world.verdict = "approve"
    await world.run()
    assert (world.incidents()[0].state, world.serves()) == ("resolved", "1")
    assert len(world.journal.state.approvals) == 2


async def test_an_approval_in_the_last_moment_is_good_for_a_while() -> None:
    world = await _asked({"approval_ttl_s": 60.0})
    (ticket,) = world.journal.state.approvals.values()
    world.clock.advance((ticket.expires_us - world.clock.now_us()) / S - 1)
    assert _approve(world) == Result.DONE
    world.clock.advance(30)
    await world.round()
    assert len(world.journal.state.actions) == 1


async def test_what_got_well_while_an_approved_plan_waited_is_left_alone() -> None:
    world = await _asked()
    turn(cast(Any, world.journal), world.clock, PAUSE, on=True)
    assert _approve(world) == Result.DONE
    await world.round()
    assert not world.journal.state.actions
    await world.agent.receive(alert(state="cleared", version="2", at_us=world.clock.now_us() + S))
    turn(cast(Any, world.journal), world.clock, PAUSE, on=False)
    for _ in range(3):
        await world.round()
    (ticket,) = world.journal.state.approvals.values()
    assert (ticket.state, world.journal.state.actions, world.serves()) == ("void", {}, "2")
    assert "every alert was cleared" in (ticket.reason or "")
    assert world.incidents()[0].state == "resolved"


async def test_an_illness_that_people_were_told_of_before_keeps_an_approval_alive() -> None:
    """It is a fact of the diagnosis: were it none here, the same plan would be approved and void for ever."""
    world = World()
    world.verdict = None
    told = await world.bad_release()
    then_us = world.clock.now_us() - 30 * S
    past = Incident(
        id="past",
        model=MODEL,
        version="2",
        state="resolved",
        change_us=then_us,
        opened_us=then_us,
        closed_us=then_us,
    )
    with world.journal.transaction() as unit:
        unit.add_incident(past, actor="agent")
        unit.link_alerts([Link(alert=alert("data_drift", at_us=then_us), incident_id=past.id)])
    await world.agent.receive(told)
    await world.run(until=lambda: bool(world.journal.state.approvals))
    turn(cast(Any, world.journal), world.clock, PAUSE, on=True)
    assert _approve(world) == Result.DONE
    await world.agent.receive(alert(state="cleared", at_us=world.clock.now_us() + S))
    turn(cast(Any, world.journal), world.clock, PAUSE, on=False)
    for _ in range(5):
        await world.round()
    (ticket,) = world.journal.state.approvals.values()
    assert (ticket.state, world.serves()) == ("approved", "1")


@pytest.mark.parametrize(("glass", "serves"), [(False, "2"), (True, "1")])
async def test_what_was_approved_before_a_freeze_does_not_begin_in_it(glass: bool, serves: str) -> None:
    world = await _asked()
    turn(cast(Any, world.journal), world.clock, PAUSE, on=True)
    people = {"ada": Person(roles=("admin",))}
    assert _approve(world, Policy(people=people, break_glass=("admin",)), break_glass=glass) == Result.DONE
    always = Freeze(schedule="* * * * *", lasts_h=1, reason="batch night")
    world.config = {"policy": Policy(freezes=(always,))}
    world.agent = world.new_agent()
    turn(cast(Any, world.journal), world.clock, PAUSE, on=False)
    for _ in range(20):
        await world.round()
    assert (bool(world.journal.state.actions), world.serves()) == (glass, serves)
    if not glass:
        assert world.incidents()[0].state == "awaiting_approval"
    told = [each.text for each in world.journal.state.notices.values()]
    assert bool(told) == (not glass)
    assert [each for each, _ in world.notifier.said].count("frozen") == len(told)
    if told:
        (ticket,) = world.journal.state.approvals.values()
        assert f"The rollback of {MODEL} (approval {ticket.id}) was approved by ada, and waits" in told[0]
        assert (
            "(batch night). It begins then" in told[0] or "(batch night). The approval ends before" in told[0]
        )


async def _undo_in_freeze(policy: Policy) -> World:
    """A retraining that is not proven; a person says to undo it, and then a freeze begins."""
    world = World()
    await world.agent.receive(await world.shifted_world())
    world.labels = False
    await world.run(until=lambda: world.incidents()[0].state == "verifying")
    world.verdict = None
    await world.run(until=lambda: len(world.journal.state.approvals) == 2)
    world.click("approve")
    world.config = {"policy": policy}
    world.agent = world.new_agent()
    for _ in range(20):
        await world.round()
    return world


def _until(world_s: float) -> Policy:
    """A freeze from the beginning of time until the moment."""
    began = datetime.fromtimestamp(0, UTC)
    schedule = f"{began.minute} {began.hour} {began.day} {began.month} *"
    year_s = (world_s - datetime(2023, 1, 1, tzinfo=UTC).timestamp()) / 3_600
    return Policy(freezes=(Freeze(schedule=schedule, lasts_h=year_s, reason="end of year"),))


async def test_people_are_told_when_an_approval_ends_in_a_freeze_and_it_ends_then() -> None:
    """A moment to begin, which an approval has beyond the end of its ticket, is none to wait in."""
    world = await _asked({"approval_ttl_s": 600.0})
    (ticket,) = world.journal.state.approvals.values()
    turn(cast(Any, world.journal), world.clock, PAUSE, on=True)
    world.clock.advance((ticket.expires_us - world.clock.now_us()) / S - 60)
    assert _approve(world) == Result.DONE
    world.config["policy"] = _until(ticket.expires_us / S + 120)
    world.agent = world.new_agent()
    turn(cast(Any, world.journal), world.clock, PAUSE, on=False)
    await world.round()
    (told,) = world.journal.state.notices.values()
    ends = datetime.fromtimestamp(ticket.expires_us / S, UTC)
    assert (
        f"The approval ends before that, at {ends:%Y-%m-%d %H:%M} UTC: it is asked again then." in told.text
    )
    world.clock.advance(61)
    await world.round()
    assert world.journal.state.approvals[ticket.id].state == "void"


async def test_what_a_person_undoes_waits_for_the_end_of_a_freeze_and_people_are_told() -> None:
    ends_s = World().clock.now_us() / S + 3_600
    world = await _undo_in_freeze(_until(ends_s))
    (ticket,) = [each for each in world.journal.state.approvals.values() if each.plan_id.endswith("-undo")]
    assert (ticket.state, world.serves(), world.incidents()[0].state) == ("approved", "2", "verifying")
    (told,) = world.journal.state.notices.values()
    assert f"The undo of {MODEL} (approval {ticket.id}) was approved by ada, and waits" in told.text
    assert (
        "until 2023-11-14 23:13 UTC (end of year). It begins then, unless it is not needed any more"
        in told.text
    )
    config = world.agent._config  # pyright: ignore[reportPrivateUsage]
    world.clock.advance(3_000)
    with world.journal.reading() as unit:
        assert overdue(unit, now_us=world.clock.now_us(), config=config) == []
    world.clock.advance(ends_s - world.clock.now_us() / S)
    await world.run()
    (action,) = world.journal.state.actions.values()
    assert (action.state, world.serves()) == ("reverted", "1")
    assert "ada decided to undo it" in action.outcome


async def test_what_is_proven_to_be_ill_is_undone_also_in_a_freeze() -> None:
    world = await _undo_in_freeze(_until(World().clock.now_us() / S + 86_400))
    world.labels = True
    world.ill.add((MODEL, "2"))
    await world.run()
    assert world.serves() == "1"
    assert "what was lost is not back" in world.incidents()[0].outcome


async def test_an_undo_that_nobody_answered_waits_for_the_end_of_a_freeze() -> None:
    world = await _undo_in_freeze(_until(World().clock.now_us() / S + 86_400))
    (told,) = world.journal.state.notices.values()
    assert "It begins then, unless it is not needed any more" in told.text
    world.clock.advance(7_200)
    for _ in range(5):
        await world.round()
    (ticket,) = [each for each in world.journal.state.approvals.values() if each.plan_id.endswith("-undo")]
    assert (ticket.state, world.serves(), len(world.journal.state.actions)) == ("approved", "2", 1)
    world.clock.advance(86_400)
    await world.run()
    assert world.serves() == "1"
    assert world.journal.state.approvals[ticket.id].state == "void"
    assert "nobody said whether to keep it or to undo it" in world.incidents()[0].outcome


def test_the_consent_of_who_lost_the_role_does_not_count_any_more() -> None:
    desk = Desk()
    assert (desk.say("mira"), desk.state) == (Result.DONE, "pending")
    desk.policy = msgspec.structs.replace(
        POLICY, people={**POLICY.people, "mira": Person(roles=("guest",)), "ivo": Person(roles=("approver",))}
    )
    assert (desk.say("otto"), desk.state) == (Result.DONE, "pending")
    assert (desk.say("ivo"), desk.state) == (Result.DONE, "approved")
    assert desk.journal.state.approvals[desk.ticket.id].decided_by == "otto and ivo"


def test_no_glass_is_broken_where_the_policy_names_nobody_for_it() -> None:
    """Also where it names no people at all: a freeze is a freeze."""
    always = Freeze(schedule="* * * * *", lasts_h=1, reason="batch night")
    desk = Desk(Policy(freezes=(always,)))
    assert (desk.say("anybody", break_glass=True), desk.state) == (Result.FORBIDDEN, "pending")
    assert "the policy names no role for it" in desk.sentence
