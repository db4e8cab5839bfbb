"""The same break in several models: one incident asks, the others belong to it."""

from typing import Any

import pytest

from detectors.values import Alert, Evidence
from remediation.changes import Change
from remediation.families import breaks
from remediation.grouping import Grouping
from remediation.policy import Policy
from remediation.values import Incident
from tests.remediation.fakes import S
from tests.remediation.world import World, alert

MODELS = ("churn", "loans", "risk")


def _broken(feature: str = "texture", measure: str = "missing_rate") -> tuple[Evidence, ...]:
    return (
        Evidence(
            measure=measure,
            feature=feature,
            value=0.98,
            reference=0.01,
            threshold=0.03,
            rows=1_000,
            effect=40,
        ),
    )


async def _world(**grouping: Any) -> World:
    world = World({"policy": Policy(grouping=Grouping(**grouping))}, models=MODELS)
    world.verdict = None
    for model in MODELS:
        world.registry.add(model, "1", "good")
        await world.deploy("1", model)
    world.pass_time(60)
    return world


def _alert(
    world: World, model: str, evidence: tuple[Evidence, ...] | None = None, state: str = "firing"
) -> Alert:
    return alert(
        "data_quality",
        version="1",
        model=model,
        at_us=world.clock.now_us(),
        state=state,
        evidence=_broken() if evidence is None else evidence,
    )


def _of(world: World, model: str) -> Incident:
    return next(each for each in reversed(world.incidents()) if each.model == model)


def _asked(world: World) -> list[str]:
    return [about for what, about in world.notifier.said if what == "requested"]


async def _both_ill(world: World) -> None:
    await world.agent.receive(_alert(world, "churn"))
    await world.agent.receive(_alert(world, "loans"))
    await world.run(lambda: _of(world, "churn").state == "awaiting_approval")
    await world.round()


async def test_one_broken_feature_asks_once_and_names_everybody() -> None:
    world = await _world()
    await _both_ill(world)
    root, member = _of(world, "churn"), _of(world, "loans")
    assert (member.parent_id, member.state) == (root.id, "open")
    assert [each.incident_id for each in root.family] == [member.id]
    assert root.summary.endswith(". The same is seen in loans version 1.")
    assert len(_asked(world)) == 1


async def test_who_comes_later_is_told_in_a_sentence_and_ends_with_the_first() -> None:
    world = await _world()
    await world.agent.receive(_alert(world, "churn"))
    await world.run(lambda: _of(world, "churn").state == "awaiting_approval")
    world.pass_time(60)
    await world.agent.receive(_alert(world, "risk"))
    for _ in range(3):
        await world.round()
    root = _of(world, "churn")
    assert [each.model for each in root.family] == ["risk"]
    assert ("grown", f"grown/{root.id}/{_of(world, 'risk').id}") in world.notifier.said
    world.click("reject")
    await world.run()
    ended = _of(world, "risk")
    assert ended.state == "escalated"
    assert ended.outcome.startswith(
        "Still ill (data_quality of version 1 left its reference); it belonged to"
    )
    assert f"{root.id} of churn, which ended rejected: ada rejected" in ended.outcome
    assert len(_asked(world)) == 1
    assert [about for what, about in world.notifier.said if what == "closed"] == [root.id]


async def test_a_member_whose_alerts_clear_is_over() -> None:
    world = await _world()
    await _both_ill(world)
    await world.agent.receive(_alert(world, "loans", state="cleared"))
    await world.run(lambda: _of(world, "loans").state == "resolved")
    assert "belonged to" in _of(world, "loans").outcome
    assert _of(world, "churn").state == "awaiting_approval"


async def test_a_member_that_the_cure_of_the_first_does_not_cure_is_treated_by_itself() -> None:
    world = await _world(settle_min=1.0)
    await _both_ill(world)
    await world.agent.receive(_alert(world, "churn", state="cleared"))
    await world.run(lambda: _of(world, "churn").state == "resolved")
    world.pass_time(30)
    await world.round()
    assert _of(world, "loans").parent_id
    world.pass_time(40)
    await world.run(lambda: _of(world, "loans").state == "awaiting_approval")
    assert _of(world, "loans").parent_id == ""
    assert len(_asked(world)) == 2


@pytest.mark.parametrize(
    ("evidence", "lag_s", "grouping"),
    [
        (_broken("radius"), 0, {}),
        (_broken(measure="point_mass"), 0, {}),
        (_broken(measure="late_share"), 0, {}),
        (_broken(), 700, {}),
        (_broken(), 0, {"families": False}),
    ],
)
async def test_what_is_not_the_same_stays_apart(
    evidence: tuple[Evidence, ...], lag_s: int, grouping: dict[str, Any]
) -> None:
    world = await _world(**grouping)
    await world.agent.receive(_alert(world, "churn"))
    world.pass_time(lag_s)
    await world.agent.receive(_alert(world, "loans", evidence))
    for _ in range(3):
        await world.round()
    assert [each.parent_id for each in world.incidents()] == ["", ""]


async def test_one_change_upstream_that_breaks_different_features_is_one_family() -> None:
    world = await _world()
    change = Change(
        id="pipe-7",
        kind="pipeline",
        title="income in cents",
        starts_us=world.clock.now_us() - 30 * S,
        by="ada",
        recorded_us=world.clock.now_us(),
    )
    with world.journal.transaction() as unit:
        unit.add_change(change)
    await world.agent.receive(_alert(world, "churn"))
    await world.agent.receive(_alert(world, "loans", _broken("radius", "unit_change")))
    for _ in range(3):
        await world.round()
    assert _of(world, "loans").parent_id == _of(world, "churn").id
    notes = [each.detail["why"] for each in world.journal.state.audit if "belongs to" in str(each.detail)]
    assert notes[0].endswith("which has the same: pipeline 'income in cents'")


def test_breaks_are_of_data_quality_and_of_features() -> None:
    drift = alert("data_drift", at_us=S)
    assert breaks([drift, alert("data_quality", at_us=S)]) == {("texture", "missing_rate")}
