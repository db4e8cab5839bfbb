"""Whatever should have moved on and has not is told once: by the agent about itself, by the API about the agent."""

from typing import Any, cast

import msgspec
import pytest

from remediation.notices import Notice
from remediation.policy import Freeze, Policy
from remediation.repeats import repeats
from remediation.silences import Link, Matcher
from remediation.silencing import set_silence
from remediation.switches import PAUSE, Switch
from remediation.values import Action, Approval, Incident, IncidentState, Plan, Step
from remediation.watchdog import SecondEyes, overdue, watch
from serving import words
from tests.remediation.fakes import S
from tests.remediation.world import World, alert

MIN = 60 * S


def _incident(world: World, state: IncidentState, age_min: float, **fields: Any) -> Incident:
    """An incident that has been in `state` for `age_min`, written past all rules."""
    at_us = world.clock.now_us() - round(age_min * MIN)
    incident = Incident(
        id="inc-1", model="churn", version="2", state=state, change_us=at_us, opened_us=at_us, **fields
    )
    with world.journal.transaction() as unit:
        unit.add_incident(incident, actor="agent")
    return incident


def _planned(world: World, state: str, at_us: int, **fields: Any) -> Plan:
    plan = Plan(
        id="plan-1",
        incident_id="inc-1",
        action="rollback",
        model="churn",
        from_version="2",
        from_digest="b",
        to_version="1",
        to_digest="a",
        epoch=2,
        created_us=at_us,
    )
    ticket = Approval(
        id="apr-1",
        plan_id=plan.id,
        plan_hash=plan.hash,
        incident_id="inc-1",
        model="churn",
        state=cast(Any, state),
        requested_us=at_us,
        expires_us=at_us + 60 * MIN,
        **fields,
    )
    with world.journal.transaction() as unit:
        unit.add_plan(plan, ticket, actor="agent")
    return plan


def _acting(world: World, plan: Plan, at_us: int, *steps: Step, state: str = "executing") -> None:
    action = Action(
        id="act-1",
        plan_id=plan.id,
        incident_id="inc-1",
        kind="rollback",
        model="churn",
        state=cast(Any, state),
        steps=steps,
        started_us=at_us,
    )
    with world.journal.transaction() as unit:
        unit.add_action(action, actor="agent")


def _told(world: World) -> list[str]:
    config = world.agent._config  # pyright: ignore[reportPrivateUsage]
    with world.journal.reading() as unit:
        return [each.text for each in overdue(unit, now_us=world.clock.now_us(), config=config)]


@pytest.mark.parametrize(
    ("state", "age_min", "words"),
    [
        ("open", 5.4, None),
        ("open", 5.6, "should have been diagnosed"),
        ("diagnosed", 4.9, None),
        ("diagnosed", 5.1, "should have been planned for"),
        ("awaiting_approval", 5.1, "its ticket is missing"),
        ("executing", 5.1, "should have gone on after its action"),
        ("verifying", 5.9, None),
        ("verifying", 6.1, "whether the action helped"),
        ("resolved", 99.0, None),
    ],
)
def test_each_state_has_its_time(state: IncidentState, age_min: float, words: str | None) -> None:
    world = World()
    _incident(world, state, age_min)
    told = _told(world)
    assert (words is None) == (told == [])
    assert words is None or words in told[0]


@pytest.mark.parametrize(
    ("state", "age_min", "words"),
    [
        ("pending", 64, None),
        ("pending", 66, "ticket apr-1 should have expired"),
        ("approved", 4, None),
        ("approved", 6, "ticket apr-1 is approved, and the rollback should have begun"),
    ],
)
def test_a_ticket_waits_for_people_and_then_for_nobody(state: str, age_min: float, words: str | None) -> None:
    world = World()
    at_us = world.clock.now_us() - round(age_min * MIN)
    _incident(world, "awaiting_approval", age_min)
    _planned(world, state, at_us, decided_us=at_us if state == "approved" else None)
    told = _told(world)
    assert (words is None) == (told == [])
    assert words is None or words in told[0]


@pytest.mark.parametrize(("step", "age_min", "late"), [("decide", 6.9, False), ("publish", 7.1, True)])
def test_a_step_that_hangs_is_named(step: str, age_min: float, late: bool) -> None:
    world = World()
    at_us = world.clock.now_us() - round(age_min * MIN)
    _incident(world, "executing", 20)
    plan = _planned(world, "approved", at_us - MIN, decided_us=at_us - MIN)
    done = Step(name="decide", state="done", at_us=at_us)
    _acting(world, plan, at_us, done)
    told = _told(world)
    assert bool(told) is late
    if late:
        assert f"step {step} of the rollback should have been done" in told[0]


def test_a_question_that_nobody_answers_expires_first() -> None:
    world = World()
    at_us = world.clock.now_us() - 20 * MIN
    _incident(world, "verifying", 30, acted_us=at_us)
    plan = _planned(world, "approved", at_us, decided_us=at_us)
    _acting(world, plan, at_us, Step(name="acknowledge", state="done", at_us=at_us), state="verifying")
    assert "whether the action helped" in _told(world)[0]
    asking = msgspec.structs.replace(plan, id="plan-1-undo", parameters={"undoes": "act-1"})
    ticket = Approval(
        id="apr-2",
        plan_id=asking.id,
        plan_hash=asking.hash,
        incident_id="inc-1",
        model="churn",
        requested_us=at_us,
        expires_us=at_us + 60 * MIN,
    )
    with world.journal.transaction() as unit:
        unit.add_plan(asking, ticket, actor="agent")
    assert _told(world) == []


@pytest.mark.parametrize(
    ("state", "step", "steps", "stuck"),
    [
        ("approved", None, {}, False),
        ("expired", None, {}, False),
        ("approved", None, {"undo.decide": "intended"}, True),
        ("void", None, {"undo.decide": "intended"}, True),
        ("expired", "hold.1", {"hold.1": "intended"}, False),
        ("expired", "hold.1", {"hold.1": "done"}, True),
        ("rejected", "hold.1", {"hold.1": "done"}, True),
    ],
)
def test_a_freeze_hides_only_what_waits_for_its_end(
    state: str, step: str | None, steps: dict[str, Any], stuck: bool
) -> None:
    world = World(
        {"policy": Policy(freezes=(Freeze(schedule="* * * * *", lasts_h=1, reason="batch night"),))}
    )
    at_us = world.clock.now_us() - 60 * MIN
    _incident(world, "verifying", 90, acted_us=at_us)
    plan = _planned(world, "approved", at_us - MIN, decided_us=at_us - MIN)
    taken = [Step(name=name, state=done, at_us=at_us) for name, done in steps.items()]
    _acting(world, plan, at_us, *taken, state="verifying")
    about = {"undoes": "act-1"} | ({"step": step} if step is not None else {})
    asking = msgspec.structs.replace(plan, id="plan-1-undo", parameters=about)
    ticket = Approval(
        id="apr-2",
        plan_id=asking.id,
        plan_hash=asking.hash,
        incident_id="inc-1",
        model="churn",
        state=cast(Any, state),
        requested_us=at_us,
        expires_us=at_us + 10 * MIN,
        decided_us=at_us + 10 * MIN,
    )
    with world.journal.transaction() as unit:
        unit.add_plan(asking, ticket, actor="agent")
    assert bool(_told(world)) is stuck


def test_who_waits_for_the_next_long_window_is_not_stuck() -> None:
    world = World()
    incident = _incident(world, "open", 20)
    told = alert("data_drift", at_us=incident.opened_us, model="churn", length_s=600)
    with world.journal.transaction() as unit:
        unit.link_alerts([Link(alert=told, incident_id=incident.id)])
    assert _told(world) == []
    world.clock.advance(60 * 60)
    assert "should have been diagnosed" in _told(world)[0]


def test_what_a_pause_holds_up_is_not_stuck() -> None:
    world = World()
    _incident(world, "diagnosed", 6)
    assert _told(world)
    with world.journal.transaction() as unit:
        unit.set_switch(Switch(name=PAUSE, on=True, by="ada", reason="a move", at_us=0), actor="ada")
    assert _told(world) == []


async def test_people_hear_of_it_once_until_it_moves() -> None:
    world = World()
    incident = _incident(world, "diagnosed", 6)
    config = world.agent._config  # pyright: ignore[reportPrivateUsage]
    for _ in range(3):
        world.clock.advance(60)
        watch(world.journal, now_us=world.clock.now_us(), config=config)
        await world.agent.deliver()
    assert [what for what, _ in world.notifier.said] == ["overdue"]
    (entry,) = [each for each in world.journal.state.audit if each.action == "watchdog.overdue"]
    assert words.told(entry)[0].startswith(
        "Incident inc-1 of churn version 2 is stuck: it should have been planned"
    )
    moved = msgspec.structs.replace(incident, diagnosed_us=world.clock.now_us())
    with world.journal.transaction() as unit:
        unit.save_incident(moved, expected="diagnosed", actor="agent", why="again")
    world.clock.advance(301)
    assert len(watch(world.journal, now_us=world.clock.now_us(), config=config)) == 1


async def test_a_dead_agent_is_told_by_somebody_else_also_when_the_channel_was_away() -> None:
    world = World()
    said: list[str] = []
    away = True

    async def tell(notice: Notice, incident: Incident | None) -> bool:
        if away:
            raise OSError("no route")
        said.append(notice.text)
        return True

    config = world.agent._config  # pyright: ignore[reportPrivateUsage]
    eyes = SecondEyes(world.journal, world.clock, config, {None: tell})
    await world.agent.sweep()
    await world.agent.watch()
    await eyes.look()
    _incident(world, "diagnosed", 6)
    world.clock.advance(59)
    await eyes.look()
    away = False
    await eyes.look()
    assert said == []
    away = True
    world.clock.advance(2)
    await eyes.look()
    away = False
    await eyes.look()
    await eyes.look()
    assert [text[:30] for text in said] == [
        "The agent has done nothing sin",
        "Incident inc-1 of churn versio",
    ]
    await world.agent.sweep()
    await world.agent.watch()
    await world.agent.deliver()
    assert ("overdue", "overdue/inc-1/diagnosed") not in [
        (what, about[:24]) for what, about in world.notifier.said
    ]


async def test_an_illness_left_to_people_is_told_again_until_somebody_speaks() -> None:
    world = World()
    opening = await world.bad_release()
    await world.agent.receive(opening)
    world.verdict = None
    (incident,) = world.incidents()
    left = msgspec.structs.replace(incident, state="escalated", closed_us=world.clock.now_us())
    with world.journal.transaction() as unit:
        unit.save_incident(left, expected="open", actor="agent", why="nobody can mend it")

    def due(after_min: float) -> list[str]:
        with world.journal.reading() as unit:
            now_us = world.clock.now_us() + round(after_min * MIN)
            return [each.id for each in repeats(unit, now_us=now_us, every_min=60, hold_s=86_400)]

    assert due(59) == []
    assert due(61) == [f"still_burning/{incident.id}/1"]
    assert due(200) == [f"still_burning/{incident.id}/3"]
    assert due(25 * 60) == []
    set_silence(
        cast(Any, world.journal),
        world.clock,
        matchers=(Matcher(field="model", pattern=incident.model),),
        ends_us=world.clock.now_us() + 90 * MIN,
        author="ada",
        reason="we look at it",
    )
    assert due(61) == []
    assert due(121) == [f"still_burning/{incident.id}/2"]
    with world.journal.transaction() as unit:
        unit.audit(actor="ada", action="incident.feedback", subject=f"incident/{incident.id}", detail={})
    assert due(121) == []


async def test_the_agent_repeats_as_the_policy_says() -> None:
    world = World({"policy": Policy(repeat_every_min=30)})
    world.registry.add("cancer", "1", "good")
    await world.deploy("1")
    await world.agent.receive(alert("data_drift", version="1", at_us=world.clock.now_us()))
    world.verdict = None
    (incident,) = world.incidents()
    left = msgspec.structs.replace(incident, state="escalated", closed_us=world.clock.now_us())
    with world.journal.transaction() as unit:
        unit.save_incident(left, expected="open", actor="agent", why="nobody can mend it")
    world.clock.advance(31 * 60)
    await world.agent.watch()
    await world.agent.watch()
    await world.agent.deliver()
    assert [what for what, _ in world.notifier.said if what == "still_burning"] == ["still_burning"]
