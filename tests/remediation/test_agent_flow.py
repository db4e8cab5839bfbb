"""From alert to proven recovery, in memory."""

import pytest

from detectors.values import Evidence
from tests.remediation.fakes import FakeArchive, S
from tests.remediation.world import MODEL, World, alert


async def test_a_bad_release_is_rolled_back_and_verified() -> None:
    world = World()
    await world.agent.receive(await world.bad_release())
    await world.run()
    (incident,) = world.incidents()
    assert (incident.state, incident.cause) == ("resolved", "bad_release")
    assert world.serves() == "1"
    assert world.registry.champion(MODEL) == "1"
    assert "accuracy of version 2 is 0.700" in incident.summary
    assert "accuracy 0.950 on 1,000 labelled rows" in incident.outcome
    times = [
        incident.opened_us,
        incident.diagnosed_us,
        incident.approved_us,
        incident.acted_us,
        incident.closed_us,
    ]
    assert times == sorted(times, key=lambda each: each or 0)
    (action,) = world.journal.state.actions.values()
    assert [step.name for step in action.steps] == ["decide", "publish", "acknowledge", "verify"]
    assert {step.state for step in action.steps} == {"done"}
    assert action.state == "succeeded"
    assert [what for what, _ in world.notifier.said] == ["requested", "decided", "closed"]


async def test_a_shifted_world_is_answered_by_a_retrained_version() -> None:
    world = World()
    await world.agent.receive(await world.shifted_world())
    await world.run()
    (incident,) = world.incidents()
    assert (incident.state, incident.cause) == ("resolved", "population_shift")
    assert world.serves() == "2"
    (action,) = world.journal.state.actions.values()
    done = {step.name: step.detail for step in action.steps}
    assert list(done) == [
        "collect",
        "train",
        "gate",
        "register",
        "decide",
        "publish",
        "acknowledge",
        "verify",
    ]
    assert "beat champion" in done["gate"]
    (data,) = world.trainer.sets
    assert data.held_out is not None
    assert not set(data.groups) & set(data.held_out.groups)
    assert data.reference_rows is not None
    assert 0 < data.reference_rows.sum() < len(data.features)


async def test_what_is_dated_later_than_now_is_not_trained_on() -> None:
    world = World()
    await world.agent.receive(await world.shifted_world())
    opened_us = world.clock.now_us()
    await world.run()
    until_us, known_until_us = world.archive.asked_until_us
    assert until_us is not None
    assert opened_us <= until_us <= world.clock.now_us()
    assert known_until_us == until_us


async def test_a_candidate_that_does_not_beat_the_champion_is_never_registered() -> None:
    world = World()
    world.trainer.rule = "bad"
    await world.agent.receive(await world.shifted_world())
    await world.run()
    (incident,) = world.incidents()
    assert incident.state == "escalated"
    assert "gate: candidate" in incident.outcome
    assert "did not beat champion" in incident.outcome
    assert len(world.registry.versions(MODEL)) == 1
    assert world.serves() == "1"


async def test_too_few_labels_end_in_an_escalation_not_in_a_model() -> None:
    world = World()
    opening = await world.shifted_world()
    world.archive = FakeArchive(world.clock.now_us(), rows=50)
    world.agent = world.new_agent()
    await world.agent.receive(opening)
    await world.run()
    assert "a retraining needs 200 rows" in world.incidents()[0].outcome
    assert not world.trainer.sets


async def test_a_retrained_version_that_is_ill_is_taken_back() -> None:
    world = World()
    world.ill.add((MODEL, "2"))
    await world.agent.receive(await world.shifted_world())
    await world.run(until=lambda: world.incidents()[0].state == "verifying")
    await world.agent.receive(alert(version="2", at_us=world.clock.now_us() + 5 * S))
    await world.run()
    (incident,) = world.incidents()
    (action,) = world.journal.state.actions.values()
    assert (incident.state, action.state) == ("escalated", "reverted")
    assert world.serves() == "1"
    assert "version 2 is ill, too" in incident.outcome


@pytest.mark.parametrize("step", ["collect", "train", "gate", "register"])
async def test_nothing_that_learned_from_a_break_serves_though_it_was_approved_before_the_break_was_known(
    step: str,
) -> None:
    world = World()
    await world.agent.receive(await world.shifted_world())

    def reached() -> bool:
        steps = [each.name for action in world.journal.state.actions.values() for each in action.steps]
        return step in steps

    await world.run(until=reached)
    broken = Evidence(measure="unit_change", feature="age", value=12, threshold=2, rows=500, effect=6)
    await world.agent.receive(
        alert("data_quality", version="1", at_us=world.clock.now_us(), evidence=(broken,))
    )
    await world.run()
    assert world.serves() == "1"
    (action,) = (
        each for each in world.journal.state.actions.values() if "collect" in {s.name for s in each.steps}
    )
    assert action.state == "failed"
    failed = next(each for each in action.steps if each.state == "failed")
    assert "age is broken (unit change), and a candidate would learn that" in failed.detail
    (incident,) = world.incidents()
    assert incident.cause == "upstream_data_break"


async def test_without_labels_a_retraining_is_inconclusive_and_a_person_has_it_taken_back() -> None:
    world = World()
    await world.agent.receive(await world.shifted_world())
    world.labels = False
    await world.run()
    (incident,) = world.incidents()
    assert incident.state == "escalated"
    assert "ada decided to undo it" in incident.outcome
    assert "0 of 2 windows of labels so far" in incident.outcome
    assert world.serves() == "1"


async def test_a_rollback_that_does_not_help_stays_and_people_are_told() -> None:
    world = World()
    await world.agent.receive(await world.bad_release())
    world.ill.add((MODEL, "1"))
    await world.run()
    (incident,) = world.incidents()
    assert incident.state == "escalated"
    assert "what was lost is not back" in incident.outcome
    assert world.serves() == "1"


async def test_servers_that_cannot_load_the_version_make_the_action_go_back() -> None:
    world = World()
    opening = await world.bad_release()
    world.serving.refuses.add("1")
    await world.agent.receive(opening)
    await world.run()
    (incident,) = world.incidents()
    (action,) = world.journal.state.actions.values()
    assert (incident.state, action.state) == ("escalated", "reverted")
    assert "the file is broken" in incident.outcome
    assert world.journal.state.desired[MODEL].version == "2"


async def test_a_server_that_died_does_not_hold_the_rollback_for_ever() -> None:
    world = World()
    opening = await world.bad_release()
    world.serving.silent.add("s2")
    await world.agent.receive(opening)
    await world.run()
    (action,) = world.journal.state.actions.values()
    assert action.state == "succeeded"
    assert "no answer from s2, taken for gone" in action.steps[2].detail


@pytest.mark.parametrize("verdict", ["reject", None])
async def test_without_consent_nothing_is_done(verdict: str | None) -> None:
    world = World({"approval_ttl_s": 30.0})
    world.verdict = "reject" if verdict else None
    await world.agent.receive(await world.bad_release())
    await world.run()
    (incident,) = world.incidents()
    assert incident.state == ("rejected" if verdict else "expired")
    assert not world.journal.state.actions
    assert world.serves() == "2"


async def test_observe_only_watches() -> None:
    world = World({"autonomy": lambda model: "observe"})
    await world.agent.receive(await world.bad_release())
    await world.run()
    (incident,) = world.incidents()
    assert incident.state == "escalated"
    assert "rollback would have been proposed" in incident.outcome
    assert not world.journal.state.plans


async def test_when_people_act_first_the_approval_is_void_and_their_version_is_verified() -> None:
    world = World()
    world.verdict = None
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(world.journal.state.approvals))
    (approval,) = world.journal.state.approvals.values()
    await world.deploy("1", by="grace")
    assert world.say(approval.id, "approve").result == "void"
    await world.run()
    (incident,) = world.incidents()
    assert incident.state == "resolved"
    assert not world.journal.state.actions
    assert world.journal.state.approvals[approval.id].state == "void"


async def test_a_broken_pipeline_is_not_taken_for_a_shift() -> None:
    world = World()
    drift = await world.shifted_world()
    await world.agent.receive(drift)
    stuck = Evidence(
        measure="point_mass", feature="chol", value=0.98, reference=0.0, threshold=0.02, rows=1000, effect=49
    )
    await world.agent.receive(alert("data_quality", version="1", at_us=drift.end_us, evidence=(stuck,)))
    await world.run()
    (incident,) = world.incidents()
    assert incident.cause == "upstream_data_break"
    assert "point_mass of chol is 0.98" in incident.summary


async def test_all_clear_before_anything_was_done_ends_the_incident() -> None:
    world = World()
    world.verdict = None
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(world.journal.state.approvals))
    await world.agent.receive(alert(state="cleared", at_us=world.clock.now_us()))
    await world.run()
    assert world.incidents()[0].state == "resolved"
    assert "was cleared before anything was done" in world.incidents()[0].outcome
    assert [each.state for each in world.journal.state.approvals.values()] == ["void"]


async def test_two_models_are_healed_at_once() -> None:
    world = World(models=(MODEL, "churn"))
    for model in world.models:
        await world.agent.receive(await world.bad_release(model))
    await world.run()
    assert [each.state for each in world.incidents()] == ["resolved", "resolved"]
    assert (world.serves(), world.serves("churn")) == ("1", "1")


async def test_an_unreachable_channel_is_told_later() -> None:
    world = World()
    world.notifier.down = True
    await world.agent.receive(await world.bad_release())
    await world.run()
    assert not world.notifier.said
    world.notifier.down = False
    world.clock.advance(120)
    world.agent = world.new_agent()
    await world.agent.deliver()
    assert [what for what, _ in world.notifier.said] == ["decided", "closed"]
    await world.new_agent().deliver()
    assert len(world.notifier.said) == 2


async def test_a_decision_whose_process_died_is_made_known_by_the_agent() -> None:
    world = World()
    await world.bad_release()
    published = len(world.bus.topics["desired"])
    with world.journal.transaction() as unit:
        current = unit.desired(MODEL)
        assert current is not None
        fresh = world.registry.version(MODEL, "1")
        assert fresh is not None
        decided = type(current)(
            model=MODEL,
            version="1",
            digest=fresh.digest,
            epoch=current.epoch + 1,
            decided_by="grace",
            reason="by hand",
            at_us=1,
        )
        assert unit.set_desired(decided, expected_epoch=current.epoch, actor="grace")
    await world.agent.reconcile()
    assert len(world.bus.topics["desired"]) == published + 1
    world.registry.alias[MODEL] = "7"
    await world.agent.reconcile()
    assert (world.registry.alias[MODEL], world.serves()) == ("1", "1")
    assert len(world.bus.topics["desired"]) == published + 1


async def test_a_service_that_fails_with_the_version_before_as_well_is_not_ill_of_the_release() -> None:
    """Errors began just after version 2 was released: they go on after the rollback, and people hear what is ill."""
    failing = (
        Evidence(measure="error_rate", value=0.06, reference=0.004, threshold=0.03, rows=500, effect=8),
    )
    world = World()
    told = await world.bad_release()
    for kind, evidence in (("performance", None), ("data_quality", failing)):
        one = alert(kind, at_us=told.end_us, change_us=told.change_us, evidence=evidence)  # type: ignore[arg-type]
        await world.agent.receive(one)
    await world.run(until=lambda: world.serves() == "1")
    world.ill.add((MODEL, "1"))
    now_us = world.clock.now_us()
    again = alert("data_quality", version="1", at_us=now_us, change_us=told.change_us, evidence=failing)
    await world.agent.receive(again)
    await world.run()
    (incident,) = world.incidents()
    assert (incident.version, incident.cause, incident.state) == ("1", "serving_problem", "escalated")
    assert [each.kind for each in world.journal.state.actions.values()] == ["rollback"]


async def test_what_the_version_before_has_as_well_is_not_the_doing_of_the_release() -> None:
    """The world moved just when version 2 was released: to go back does not help, and what is wrong is found."""
    world = World()
    told = await world.bad_release()
    moved = alert("data_drift", at_us=told.end_us, change_us=told.change_us)
    for each in (told, moved):
        await world.agent.receive(each)
    await world.run(until=lambda: world.serves() == "1")
    world.ill.add((MODEL, "1"))
    again = alert("data_drift", version="1", at_us=world.clock.now_us(), change_us=told.change_us)
    await world.agent.receive(again)
    await world.agent.receive(
        alert("performance", version="1", at_us=world.clock.now_us(), change_us=world.clock.now_us() - S)
    )
    await world.run()
    (incident,) = world.incidents()
    assert (incident.version, incident.cause) == ("1", "population_shift")
    assert [each.kind for each in world.journal.state.actions.values()] == ["rollback", "retrain"]
