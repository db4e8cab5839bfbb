"""Playbooks in the agent: what it does by itself, what it asks, and where it goes on."""

from typing import Any

from msgspec.structs import replace

from remediation.playbooks.files import parse_playbooks
from remediation.values import Arrangement
from tests.remediation.world import MODEL, World


def world(playbooks: str) -> World:
    """A world in which these playbooks are in force, and nobody decides anything."""
    made = World({"playbooks": parse_playbooks(playbooks.encode(), "test.yaml")})
    made.verdict = None
    return made


def decided(made: World) -> list[tuple[str, str | None, str | None]]:
    """Every plan in order, who decided about it, and where."""
    plans: list[Any] = sorted(made.journal.state.plans.values(), key=lambda plan: plan.created_us)
    tickets = {each.plan_id: each for each in made.journal.state.approvals.values()}
    return [(each.action, tickets[each.id].decided_by, tickets[each.id].channel) for each in plans]


async def test_a_safe_step_asks_nobody_and_the_next_one_asks() -> None:
    made = world("playbooks: [{name: p, steps: [{action: raise_log_detail}, {action: rollback}]}]")
    await made.agent.receive(await made.bad_release())
    await made.run(until=lambda: len(made.journal.state.approvals) == 2)
    assert made.serving.serves[MODEL].arrangement.detailed
    made.click("approve")
    await made.run()
    assert decided(made) == [("raise_log_detail", "playbook p", "policy"), ("rollback", "ada", "cli")]
    (incident,) = made.incidents()
    assert (incident.state, made.serves()) == ("resolved", "1")


async def test_what_says_act_is_done_at_night_where_the_model_may_act() -> None:
    made = world(
        "autonomy: {'*': act}\nplaybooks: [{name: p, steps: [{action: rollback, act: true}]}]",
    )
    await made.agent.receive(await made.bad_release())
    await made.run()
    assert decided(made) == [("rollback", "playbook p", "policy")]
    assert (made.incidents()[0].state, made.serves()) == ("resolved", "1")


async def test_a_step_that_did_not_help_is_followed_by_the_next() -> None:
    made = world(
        "autonomy: {'*': act}\nplaybooks: [{name: p, tell: 'see the runbook', steps: ["
        "{action: rollback, act: true, on_failure: next}, {action: fall_back, constant: 0.5, act: true}]}]",
    )
    found = await made.bad_release()
    made.ill.add((MODEL, "1"))
    await made.agent.receive(found)
    await made.run(rounds=600)
    assert [action for action, _, _ in decided(made)] == ["rollback", "fall_back"]
    assert made.serving.serves[MODEL].arrangement.constant == 0.5


async def test_a_model_that_is_only_observed_is_left_alone() -> None:
    made = world("autonomy: {'*': observe}\nplaybooks: [{name: p, steps: [{action: raise_log_detail}]}]")
    await made.agent.receive(await made.bad_release())
    await made.run()
    assert not made.journal.state.plans
    assert "raise_log_detail would have been proposed" in made.incidents()[0].outcome


async def test_an_ill_canary_is_no_longer_asked() -> None:
    """It answers a share of the requests; the version beside it was never ill, and stays."""
    made = world("")
    found = await made.bad_release()
    with made.journal.transaction() as unit:
        released = unit.desired(MODEL)
        assert released is not None
        canary = Arrangement(shares={"2": 0.1}, digests={"2": released.digest})
        first = unit.deployments(MODEL)[0]
        state = replace(first, epoch=released.epoch + 1, arrangement=canary, at_us=made.clock.now_us())
        assert unit.set_desired(state, expected_epoch=released.epoch, actor="ada")
    await made.publisher.publish_desired(state)
    await made.agent.receive(found)
    await made.run(until=lambda: bool(made.journal.state.approvals))
    (plan,) = made.journal.state.plans.values()
    assert (plan.action, plan.from_version, plan.to_version) == ("rollback", "1", "1")
    assert plan.arrangement == Arrangement()
    made.click("approve")
    await made.run()
    assert (made.serves(), made.serving.serves[MODEL].arrangement) == ("1", Arrangement())
    assert made.incidents()[0].state == "resolved"
