"""How much may be done, whatever is proposed and in whatever order."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from remediation import actions
from remediation.errors import PolicyInvalid
from remediation.limits import Limits, open_breakers, refusal, start
from remediation.policy import Policy
from remediation.policy_file import read_policy
from remediation.switches import PAUSE, breaker_of
from remediation.turning import turn as turn_by_policy
from remediation.values import Action, ActionKind, ActionState, Plan, Step
from tests.remediation.fake_journal import FakeJournal
from tests.remediation.fakes import Faults, ManualClock, S
from tests.remediation.world import MODEL, World, alert

turn = partial(turn_by_policy, policy=Policy(), channel="cli")

DAY = 86_400


class Bench:
    """A journal with actions of many plans."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.clock = ManualClock()
        self.journal = cast(Any, FakeJournal(self.clock, Faults()))
        self.plans = 0

    def plan(self, kind: ActionKind = "rollback", model: str = MODEL) -> Plan:
        self.plans += 1
        return Plan(
            id=f"plan-{self.plans}",
            incident_id=f"inc-{self.plans}",
            action=kind,
            model=model,
            from_version="2",
            from_digest="d2",
            to_version="1",
            to_digest="d1",
            epoch=1,
        )

    def begin(self, kind: ActionKind = "rollback", model: str = MODEL) -> str | None:
        """Why it may not start, or None."""
        plan = self.plan(kind, model)
        with self.journal.transaction() as unit:
            action = actions.new_action(plan, now_us=self.clock.now_us())
            refused = start(unit, plan, action, self.limits, actor="ada")
        return refused.reason if refused else None

    def end(self, state: ActionState, step: str = "acknowledge") -> None:
        """End whatever runs."""
        with self.journal.transaction() as unit:
            for action in unit.actions(states=actions.RUNNING):
                self.end_one(unit, action, state, step)

    def end_one(self, unit: Any, action: Action, state: ActionState, step: str) -> None:
        now_us = self.clock.now_us()
        last = Step(name=step, state="done" if state == "succeeded" else "failed", at_us=now_us)
        over = actions.ended(action, state, now_us=now_us, outcome=f"it {state}")
        assert unit.save_action(
            msgspec.structs.replace(over, steps=(last,)), expected=action.state, actor="agent"
        )

    def done(
        self, state: ActionState = "succeeded", kind: ActionKind = "rollback", step: str = "verify"
    ) -> None:
        assert self.begin(kind) is None
        self.clock.advance(1)
        self.end(state, step)

    def turn(self, name: str, *, on: bool) -> None:
        turn(self.journal, self.clock, name, on=on, by="ada", reason="an exercise")


def test_one_action_of_a_model_at_a_time_and_so_many_of_all() -> None:
    bench = Bench(Limits(at_once=2))
    assert bench.begin() is None
    assert "of cancer is still under way" in (bench.begin() or "")
    assert bench.begin(model="churn") is None
    assert "2 actions are under way, and 2 may be at once" in (bench.begin(model="fraud") or "")
    bench.end("succeeded")
    assert bench.begin() is None


def test_so_many_actions_of_a_model_in_24_hours() -> None:
    bench = Bench(Limits(actions_per_day=2))
    bench.done()
    bench.clock.advance(DAY / 2)
    bench.done()
    assert bench.begin() == "cancer has had 2 actions in 24 hours; 2 are allowed"
    assert bench.begin(model="churn") is None
    bench.clock.advance(DAY / 2)
    assert bench.begin() is None


def test_drift_that_persists_after_retrainings_is_left_to_people() -> None:
    bench = Bench(Limits())
    bench.done(kind="retrain")
    bench.clock.advance(2 * DAY)
    bench.done("failed", kind="retrain", step="gate")
    told = "drift persists after 2 retrainings of cancer in 7 days: another one is not tried"
    assert bench.begin("retrain") == told
    assert bench.begin("rollback") is None
    bench.end("succeeded")
    bench.clock.advance(5.1 * DAY)
    assert bench.begin("retrain") is None


def test_failures_in_a_row_open_the_breaker_of_their_kind_until_a_person_resets_it() -> None:
    bench = Bench(Limits())
    for state in ("failed", "succeeded", "failed", "reverted", "failed"):
        bench.done(state)
    told = bench.begin() or ""
    assert "the last 3 actions of the kind rollback failed, the last one with: it failed" in told
    assert "reset-breaker rollback" in told
    with bench.journal.reading() as unit:
        assert list(open_breakers(unit, bench.limits, now_us=bench.clock.now_us())) == ["rollback"]
    assert bench.begin("promote") is None
    bench.end("succeeded")
    bench.turn(breaker_of("rollback"), on=False)
    assert bench.begin() is None


def test_a_breaker_counts_by_time_and_not_by_how_much_else_was_done() -> None:
    bench = Bench(Limits(failure_days=2, actions_per_day=400))
    for _ in range(3):
        bench.done("failed")
    for _ in range(390):
        bench.done("succeeded", kind="promote")
    assert "the last 3 actions of the kind rollback failed" in (bench.begin() or "")
    bench.clock.advance(2 * DAY)
    assert bench.begin() is None


@pytest.mark.parametrize("step", ["gate", "collect", "cancel"])
def test_a_candidate_that_is_not_good_enough_says_nothing_against_retraining(step: str) -> None:
    bench = Bench(Limits(retrainings=9))
    for _ in range(4):
        bench.done("failed", kind="retrain", step=step)
    assert bench.begin("retrain") is None


def test_while_all_is_paused_nothing_starts_and_both_turns_are_on_record() -> None:
    bench = Bench(Limits())
    bench.turn(PAUSE, on=True)
    bench.turn(PAUSE, on=True)
    assert bench.begin() == "ada has paused all actions: an exercise"
    bench.turn(PAUSE, on=False)
    assert bench.begin() is None
    told = [entry.action for entry in bench.journal.state.audit if entry.subject == "switch/pause"]
    assert told == ["agent.paused", "agent.resumed"]


def test_the_same_action_started_twice_is_one() -> None:
    bench = Bench(Limits(actions_per_day=1))
    plan = bench.plan()
    for _ in range(2):
        with bench.journal.transaction() as unit:
            action = actions.new_action(plan, now_us=bench.clock.now_us())
            assert start(unit, plan, action, bench.limits, actor="ada") is None
    assert len(bench.journal.state.actions) == 1


async def test_a_pause_keeps_an_approved_plan_waiting_and_then_it_goes_on() -> None:
    world = World()
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(world.journal.state.approvals))
    turn(cast(Any, world.journal), world.clock, PAUSE, on=True, by="ada", reason="an exercise")
    for _ in range(20):
        await world.round()
    assert world.incidents()[0].state == "awaiting_approval"
    assert not world.journal.state.actions
    turn(cast(Any, world.journal), world.clock, PAUSE, on=False, by="ada", reason="over")
    await world.run()
    assert (world.incidents()[0].state, world.serves()) == ("resolved", "1")


async def test_an_approval_does_not_outlive_its_ticket_in_a_pause() -> None:
    world = World({"approval_ttl_s": 15.0})
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(world.journal.state.approvals))
    turn(cast(Any, world.journal), world.clock, PAUSE, on=True, by="ada", reason="an exercise")
    for _ in range(30):
        await world.round()
    (ticket,) = world.journal.state.approvals.values()
    assert ticket.state == "void"
    assert "it was approved, and may not start: ada has paused all actions" in (ticket.reason or "")
    assert world.incidents()[0].state == "diagnosed"
    turn(cast(Any, world.journal), world.clock, PAUSE, on=False, by="ada", reason="over")
    await world.run()
    assert len(world.journal.state.approvals) == 2
    assert world.serves() == "1"


async def test_a_limit_that_is_reached_ends_the_incident_with_its_sentence() -> None:
    world = World({"policy": Policy(limits=Limits(retrainings=1))})
    await world.agent.receive(await world.shifted_world())
    await world.run()
    assert world.incidents()[0].state == "resolved"
    world.ill.add((MODEL, "2"))
    world.pass_time(6)
    change_us = world.clock.now_us()
    world.pass_time(6)
    await world.agent.receive(
        alert("data_drift", version="2", at_us=world.clock.now_us(), change_us=change_us)
    )
    await world.run()
    last = world.incidents()[-1]
    assert last.state == "escalated"
    assert "drift persists after 1 retrainings of cancer" in last.outcome
    assert len(world.trainer.sets) == 1


def test_limits_are_read_from_the_policy_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("limits: {actions_per_day: 3, retraining_days: 0.5}")
    assert read_policy(file).limits == Limits(actions_per_day=3, retraining_days=0.5)
    file.write_text("limits: {at_once: 0}")
    with pytest.raises(PolicyInvalid, match=r"line 1, limits.at_once is 0: Expected `int` >= 1"):
        read_policy(file)


class Interleaved(RuleBasedStateMachine):
    """Agents that start and end actions in any order, people who pause and reset."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(Limits(actions_per_day=3, at_once=2, retrainings=2, failures=2))
        self.waiting: list[Plan] = []
        self.paused = False
        self.known = set[str]()

    @rule(
        kind=st.sampled_from(["rollback", "retrain", "promote"]), model=st.sampled_from(["a", "b", "c", "d"])
    )
    def propose(self, kind: ActionKind, model: str) -> None:
        plan = self.bench.plan(kind, model)
        with self.bench.journal.reading() as unit:
            if refusal(unit, plan, self.bench.limits, now_us=self.bench.clock.now_us()) is None:
                self.waiting.append(plan)

    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        if not self.waiting:
            return
        plan = data.draw(st.sampled_from(self.waiting))
        with self.bench.journal.transaction() as unit:
            action = actions.new_action(plan, now_us=self.bench.clock.now_us())
            refused = start(unit, plan, action, self.bench.limits, actor="ada")
        if self.paused and action.id not in self.known:
            assert refused is not None
        self.known = set(self.bench.journal.state.actions)

    @rule(data=st.data(), state=st.sampled_from(["succeeded", "failed", "reverted"]))
    def end(self, data: st.DataObject, state: ActionState) -> None:
        with self.bench.journal.transaction() as unit:
            running = unit.actions(states=actions.RUNNING)
            if running:
                self.bench.end_one(unit, data.draw(st.sampled_from(running)), state, "acknowledge")

    @rule(on=st.booleans())
    def pause(self, on: bool) -> None:
        self.bench.turn(PAUSE, on=on)
        self.paused = on

    @rule(kind=st.sampled_from(["rollback", "retrain", "promote"]))
    def reset(self, kind: ActionKind) -> None:
        self.bench.turn(breaker_of(kind), on=False)

    @rule(hours=st.floats(0.01, 40))
    def pass_time(self, hours: float) -> None:
        self.bench.clock.advance(hours * 3_600)

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        found = list(self.bench.journal.state.actions.values())
        running = [each for each in found if each.state in actions.RUNNING]
        assert len(running) <= 2
        assert len({each.model for each in running}) == len(running)
        for each in found:
            same = [one for one in found if one.model == each.model and one.started_us >= each.started_us]
            assert len([one for one in same if one.started_us < each.started_us + DAY * S]) <= 3
            trained = [one for one in same if one.kind == each.kind == "retrain"]
            assert len([one for one in trained if one.started_us < each.started_us + 7 * DAY * S]) <= 2
        with self.bench.journal.reading() as unit:
            now_us = self.bench.clock.now_us()
            for kind in open_breakers(unit, self.bench.limits, now_us=now_us):
                plan = self.bench.plan(kind, "new")
                assert refusal(unit, plan, self.bench.limits, now_us=now_us) is not None


TestInterleaved = Interleaved.TestCase
TestInterleaved.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
