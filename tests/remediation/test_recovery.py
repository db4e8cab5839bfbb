"""What follows from a verdict: proof, failure, and the question that is asked when there is neither."""

from typing import Any

import msgspec
import pytest

from remediation.questions import is_question
from remediation.values import Approval
from remediation.verification import Verdict
from tests.remediation.fakes import S
from tests.remediation.world import MODEL, World


async def _unproven(world: World | None = None) -> World:
    """A retrained version serves, and no label says how well."""
    world = world or World()
    await world.agent.receive(await world.shifted_world())
    world.labels = False
    await world.run(until=lambda: world.incidents()[0].state == "verifying")
    world.verdict = None
    await world.run(until=lambda: _question(world) is not None)
    return world


def _question(world: World) -> Approval | None:
    state = world.journal.state
    return next((each for each in state.approvals.values() if is_question(state.plans[each.plan_id])), None)


async def test_what_is_not_proven_in_time_is_asked_about_and_goes_on_being_verified() -> None:
    world = await _unproven()
    (incident,) = world.incidents()
    assert incident.state == "verifying"
    assert world.clock.now_us() - (incident.acted_us or 0) >= 60 * S
    ticket = _question(world)
    assert ticket is not None
    plan = world.journal.state.plans[ticket.plan_id]
    assert (plan.action, plan.from_version, plan.to_version) == ("rollback", "2", "1")
    assert "Keep or undo?" in plan.evidence[0]
    assert ("requested", ticket.id) in world.notifier.said
    world.labels = True
    await world.run()
    (incident,) = world.incidents()
    assert (incident.state, world.serves()) == ("resolved", "2")
    assert world.journal.state.approvals[ticket.id].state == "void"
    assert len(world.journal.state.actions) == 1


@pytest.mark.parametrize(
    ("said", "serves", "action", "told"),
    [
        ("approve", "1", "reverted", "ada decided to undo it (looks right), not proven"),
        ("reject", "2", "succeeded", "ada decided to keep it (looks right), not proven"),
        (None, "1", "reverted", "nobody said whether to keep it or to undo it"),
    ],
)
async def test_a_person_says_whether_it_is_kept(said: Any, serves: str, action: str, told: str) -> None:
    world = await _unproven(World({"approval_ttl_s": 40.0}))
    world.verdict = said
    await world.run()
    (incident,) = world.incidents()
    (done,) = world.journal.state.actions.values()
    assert (incident.state, world.serves(), done.state) == ("escalated", serves, action)
    assert told in incident.outcome


async def test_a_rollback_that_is_kept_without_proof_can_be_undone_by_a_person_only() -> None:
    world = World()
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: world.incidents()[0].state == "verifying")
    world.labels = False
    world.journal.state.points[:] = [each for each in world.journal.state.points if each.version != "1"]
    await world.run()
    assert world.serves() == "2"
    assert "ada decided to undo it" in world.incidents()[0].outcome


async def test_where_windows_are_long_nobody_is_asked_before_four_of_them() -> None:
    world = World()
    opening = await world.bad_release()
    await world.agent.receive(msgspec.structs.replace(opening, start_us=opening.end_us - 40 * S))
    await world.run(until=lambda: world.incidents()[0].state == "verifying")
    world.labels, world.verdict = False, None
    await world.run(until=lambda: _question(world) is not None, rounds=300)
    (incident,) = world.incidents()
    assert world.clock.now_us() - (incident.acted_us or 0) >= 160 * S


async def test_proof_of_harm_ends_the_question() -> None:
    world = await _unproven()
    world.ill.add((MODEL, "2"))
    world.labels = True
    await world.run()
    ticket = _question(world)
    assert ticket is not None
    assert ticket.state == "void"
    assert world.serves() == "1"
    assert "what was lost is not back" in world.incidents()[0].outcome


async def test_a_decision_of_a_person_elsewhere_ends_the_question() -> None:
    world = await _unproven()
    world.registry.add(MODEL, "7", "good:7")
    await world.deploy("7", by="grace")
    await world.run()
    ticket = _question(world)
    assert ticket is not None
    assert ticket.state == "void"
    assert "superseded: grace made 7 serve" in world.incidents()[0].outcome


async def test_two_agents_ask_once() -> None:
    world = World()
    await world.agent.receive(await world.shifted_world())
    world.labels = False
    await world.run(until=lambda: world.incidents()[0].state == "verifying")
    world.verdict = None
    other = world.new_agent("other")
    for _ in range(80):
        for said in world.serving.acknowledgements:
            other.acknowledge(said)
        await world.round()
        await other.sweep()
        await other.idle()
    questions = [each for each in world.journal.state.plans.values() if is_question(each)]
    assert len(questions) == 1


async def test_a_verdict_on_a_state_that_somebody_has_replaced_meanwhile_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: world.incidents()[0].state == "verifying")
    world.registry.add(MODEL, "3", "other")
    looks: list[int] = []

    def judged_while_somebody_decides(*_: Any, **__: Any) -> Verdict:
        looks.append(world.journal.state.desired[MODEL].epoch)
        if len(looks) == 1:
            now = world.journal.state.desired[MODEL]
            other = msgspec.structs.replace(now, version="3", epoch=now.epoch + 1, decided_by="ada")
            with world.journal.transaction() as unit:
                assert unit.set_desired(other, expected_epoch=now.epoch, actor="ada")
        return Verdict(outcome="pass", sentence="it is well")

    monkeypatch.setattr("remediation.recovery.judged", judged_while_somebody_decides)
    world.verdict = None
    await world.run()
    (incident,) = world.incidents()
    assert (incident.state, len(looks)) == ("escalated", 2)
    assert "superseded: ada made 3 serve" in incident.outcome


async def test_who_answers_while_it_is_judged_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await _unproven()
    ticket = _question(world)
    assert ticket is not None

    def judged_while_somebody_answers(*_: Any, **__: Any) -> Verdict:
        if world.journal.state.approvals[ticket.id].state == "pending":
            world.say(ticket.id, "approve")
        return Verdict(outcome="pass", sentence="it is well")

    monkeypatch.setattr("remediation.recovery.judged", judged_while_somebody_answers)
    await world.run()
    (incident,) = world.incidents()
    assert incident.state == "escalated"
    assert "ada decided to undo it" in incident.outcome
