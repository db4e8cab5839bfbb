"""Tickets: one decision, once, about one plan."""

import asyncio
from typing import Any, ClassVar, cast

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from remediation.approvals import Result, decide
from remediation.values import CLOSED_INCIDENTS, ApprovalState
from tests.remediation.fakes import S
from tests.remediation.world import MODEL, World, alert


async def _asked() -> tuple[World, str]:
    world = World()
    world.verdict = None
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(world.journal.state.approvals))
    return world, next(iter(world.journal.state.approvals))


async def test_the_second_click_is_harmless() -> None:
    world, ticket = await _asked()
    first = world.say(ticket, "approve")
    assert first.result == Result.DONE
    assert first.sentence == f"Approval {ticket} was approved by ada (cli): looks right."
    again = world.say(ticket, "approve")
    late = world.say(ticket, "reject", by="bob")
    assert (again.result, late.result) == (Result.ALREADY, Result.ALREADY)
    assert late.sentence == f"Nothing changed. Approval {ticket} was approved by ada (cli): looks right."
    decided = [entry for entry in world.journal.state.audit if entry.action == "approval.approved"]
    assert len(decided) == 1


async def test_a_hash_that_was_not_shown_decides_nothing() -> None:
    world, ticket = await _asked()
    other = world.say(ticket, "approve", plan_hash="0" * 64)
    assert other.result == Result.HASH_DIFFERS
    assert "you were shown 000000000000" in other.sentence
    assert world.say(ticket, "approve", plan_hash="").result == Result.HASH_DIFFERS
    assert world.journal.state.approvals[ticket].state == "pending"


async def test_a_plan_that_was_changed_in_the_database_cannot_be_approved() -> None:
    world, ticket = await _asked()
    plan = next(iter(world.journal.state.plans.values()))
    world.journal.state.plans[plan.id] = msgspec.structs.replace(plan, to_version="7")
    assert world.say(ticket, "approve").result == Result.HASH_DIFFERS


async def test_too_late_is_too_late() -> None:
    world, ticket = await _asked()
    world.clock.advance(3_601)
    assert world.say(ticket, "approve").result == Result.EXPIRED
    assert world.say(ticket, "approve").result == Result.EXPIRED
    await world.run()
    assert world.incidents()[0].state == "expired"


def test_an_unknown_ticket() -> None:
    world = World()
    assert world.say("apr-7", "approve").sentence == "There is no approval apr-7."


async def test_approved_but_overtaken_before_anything_was_done() -> None:
    world, ticket = await _asked()
    world.say(ticket, "approve")
    world.registry.add(MODEL, "3", "good")
    await world.deploy("3", by="grace")
    await world.run()
    assert world.journal.state.approvals[ticket].state == "void"
    assert not world.journal.state.actions
    assert world.incidents()[0].state == "resolved"
    assert world.serves() == "3"


async def test_new_evidence_that_turns_the_cause_over_voids_the_ticket() -> None:
    world = World()
    world.verdict = None
    drift = await world.shifted_world()
    await world.agent.receive(drift)
    await world.run(until=lambda: bool(world.journal.state.approvals))
    (ticket,) = world.journal.state.approvals
    await world.agent.receive(alert("data_quality", version="1", at_us=world.clock.now_us()))
    await world.run(until=lambda: len(world.journal.state.approvals) == 2)
    assert world.journal.state.approvals[ticket].state == "void"
    assert "new evidence: upstream_data_break" in (world.journal.state.approvals[ticket].reason or "")
    assert world.incidents()[0].cause == "upstream_data_break"


class Tickets(RuleBasedStateMachine):
    """People, releases, time and deaths of the agent in any order: what is done was approved, and nothing is
    done twice."""

    allowed: ClassVar[dict[ApprovalState, set[ApprovalState]]] = {
        "pending": {"approved", "rejected", "expired", "void"},
        "approved": {"void"},
        "rejected": set(),
        "expired": set(),
        "void": set(),
    }

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World({"approval_ttl_s": 40.0})
        self.world.verdict = None
        self.seen: dict[str, ApprovalState] = {}
        self.releases = 2
        self.alerts = 0

    @initialize()
    def fall_ill(self) -> None:
        opening = self.loop.run_until_complete(self.world.bad_release())
        self.loop.run_until_complete(self.world.agent.receive(opening))

    @rule(rounds=st.integers(1, 12))
    def time_passes(self, rounds: int) -> None:
        for _ in range(rounds):
            self.loop.run_until_complete(self.world.round())

    @rule(verdict=st.sampled_from(["approve", "reject"]), right=st.booleans())
    def somebody_clicks(self, verdict: Any, right: bool) -> None:
        for approval in list(self.world.journal.state.approvals.values()):
            shown = approval.plan_hash if right else "f" * 64
            before = approval.state
            journal = cast(Any, self.world.journal)
            answer = decide(
                journal,
                self.world.clock,
                approval.id,
                verdict,
                by="ada",
                reason=None,
                channel="rest",
                plan_hash=shown,
            )
            assert (answer.result == Result.DONE) <= (right and before == "pending")

    @precondition(lambda self: self.releases < 5)
    @rule(good=st.booleans())
    def somebody_releases(self, good: bool) -> None:
        self.releases += 1
        version = str(len(self.world.registry.versions(MODEL)) + 1)
        self.world.registry.add(MODEL, version, "good" if good else "bad")
        if not good:
            self.world.ill.add((MODEL, version))
        self.loop.run_until_complete(self.world.deploy(version))

    @precondition(lambda self: self.alerts < 6)
    @rule(
        kind=st.sampled_from(["performance", "data_drift", "data_quality"]),
        state=st.sampled_from(["firing", "cleared"]),
    )
    def the_judge_speaks(self, kind: Any, state: str) -> None:
        self.alerts += 1
        now_us = self.world.clock.now_us()
        said = alert(
            kind,
            version=self.world.serves(),
            at_us=now_us,
            state=state,
            change_us=now_us - S,
            name=str(self.alerts),
        )
        self.loop.run_until_complete(self.world.agent.receive(said))

    @rule()
    def the_agent_dies(self) -> None:
        self.world.agent = self.world.new_agent()

    @invariant()
    def nothing_risky_without_consent(self) -> None:
        state = self.world.journal.state
        for action in state.actions.values():
            approvals = [each for each in state.approvals.values() if each.plan_id == action.plan_id]
            assert [each.state for each in approvals] == ["approved"]
            assert approvals[0].decided_by == "ada"
        by_agent = [each for each in state.deployments if each.decided_by == "agent"]
        epochs = {
            plan.epoch
            for plan in state.plans.values()
            if any(a.plan_id == plan.id for a in state.actions.values())
        }
        assert all(each.epoch - 1 in epochs or each.epoch - 2 in epochs for each in by_agent)
        assert [each.epoch for each in state.deployments] == list(range(1, len(state.deployments) + 1))

    @invariant()
    def decisions_are_final(self) -> None:
        for approval in self.world.journal.state.approvals.values():
            before = self.seen.get(approval.id, "pending")
            assert approval.state == before or approval.state in self.allowed[before]
            self.seen[approval.id] = approval.state

    @invariant()
    def one_open_incident_per_model(self) -> None:
        assert sum(each.state not in CLOSED_INCIDENTS for each in self.world.incidents()) <= 1

    def teardown(self) -> None:
        """Whatever happened, every incident ends."""
        if self.world.incidents():
            self.loop.run_until_complete(self.world.run(rounds=400))
            self.nothing_risky_without_consent()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


TestTickets = Tickets.TestCase
TestTickets.settings = settings(max_examples=15, stateful_step_count=12, deadline=None, derandomize=True)
