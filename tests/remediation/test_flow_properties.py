"""Whatever people, agents, servers and time do, in whatever order: nothing risky without consent, no consent longer
than its plan, no incident without an end, no change without its line in the audit log."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from remediation.actions import RULES, RUNNING
from remediation.approvals import decide
from remediation.cancellation import cancel
from remediation.errors import CancelRefused
from remediation.evidence import Facts
from remediation.incidents import TRANSITIONS
from remediation.plans import NoPlan
from remediation.playbooks.proposal import Proposal, Tried
from remediation.policy import Person, Policy, Rule
from remediation.silences import Link
from remediation.values import CLOSED_INCIDENTS, Action, ActionKind, Desired, Hypothesis
from tests.remediation.counted import Threads
from tests.remediation.fakes import Faults, Killed, digest_of
from tests.remediation.kinds import INCIDENT, KINDS, MODEL, Clinic
from tests.remediation.world import alert

POLICY = Policy(
    people={name: Person(roles=("owner",)) for name in ("ada", "bo")} | {"eve": Person(roles=("guest",))},
    rules=(Rule(roles=("owner",), quorum=2),),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.booleans(), st.booleans(), st.sampled_from(("next", "stop", "undo"))
    ),
    min_size=1,
    max_size=4,
)


class Flow(RuleBasedStateMachine):
    """One incident under a playbook of some steps."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("asyncio.to_thread", Threads().to_thread)

    @initialize(steps=STEPS)
    def begin(self, steps: list[tuple[ActionKind, bool, bool, str]]) -> None:
        self.steps = steps
        self.acts: set[str] = set()
        self.clinic = Clinic("rollback", then=self.next_step)
        self.clinic.policy = POLICY
        self.clinic.agent = self.clinic.new_agent()
        self.clinic.use(self.patch)
        found = (Hypothesis(cause="bad_release", confidence=0.9),)
        self.patch.setattr("remediation.lifecycle.diagnose", lambda *_: found)
        ill = alert(model=MODEL, version="2", at_us=self.clinic.clock.now_us())
        with self.clinic.journal.transaction() as unit:
            unit.link_alerts([Link(alert=ill, incident_id=INCIDENT)])

    def next_step(self, facts: Facts, past: Sequence[Tried]) -> Proposal | NoPlan:
        if len(past) >= len(self.steps):
            return NoPlan(reason="the playbook is at its end")
        kind, risky, asks, on_failure = self.steps[len(past)]
        self.clinic.kind = kind
        parameters: dict[str, Any] = {"on_failure": on_failure}
        if kind == "shadow":
            parameters |= {"verify": True}
        if kind == "shift_traffic":
            parameters |= {"shares": [0.5, 1], "hold_s": 2}
        found = self.clinic.proposal(facts, risky=risky, parameters=parameters)
        if not asks:
            self.acts.add(found.plan.id)
        return msgspec.structs.replace(found, approval_needed=asks)

    def run(self, turns: int) -> None:
        async def pass_time() -> None:
            for _ in range(turns):
                await self.clinic.turn()

        self.loop.run_until_complete(pass_time())

    @rule(turns=st.integers(1, 8))
    def time_passes(self, turns: int) -> None:
        self.run(turns)

    @rule(turns=st.integers(2, 12))
    def people_are_quick(self, turns: int) -> None:
        self.run(2)
        self.two_owners_agree()
        self.run(turns)

    @rule(hours=st.sampled_from((0.01, 0.1, 2)))
    def nobody_is_there(self, hours: float) -> None:
        self.clinic.clock.advance(hours * 3_600)

    @rule(
        verdict=st.sampled_from(("approve", "approve", "approve", "reject")),
        who=st.sampled_from(("ada", "bo", "eve")),
        right=st.integers(0, 5),
    )
    def somebody_decides(self, verdict: Any, who: str, right: int) -> None:
        self.say(verdict, who, right=bool(right))

    @rule()
    def two_owners_agree(self) -> None:
        for who in ("ada", "bo"):
            self.say("approve", who)

    def say(self, verdict: Any, who: str, *, right: bool = True) -> None:
        for ticket in list(self.clinic.journal.state.approvals.values()):
            decide(
                self.clinic.journal,
                self.clinic.clock,
                ticket.id,
                verdict,
                by=who,
                reason="so it is",
                channel="cli",
                plan_hash=ticket.plan_hash if right else "another",
                policy=POLICY,
            )

    @rule()
    def somebody_stops_it(self) -> None:
        for action in list(self.clinic.journal.state.actions.values()):
            try:
                cancel(
                    self.clinic.journal,
                    self.clinic.clock,
                    action.id,
                    by="ada",
                    reason="enough",
                    channel="cli",
                    policy=POLICY,
                )
            except CancelRefused:
                assert action.state not in RUNNING or any(s.name.startswith("undo") for s in action.steps)

    @rule(version=st.sampled_from((("1", b"good"), ("2", b"bad"))))
    def somebody_promotes(self, version: tuple[str, bytes]) -> None:
        epoch = self.clinic.desired.epoch
        decided = Desired(
            model=MODEL,
            version=version[0],
            digest=digest_of(version[1]),
            epoch=epoch + 1,
            decided_by="grace",
            reason="by hand",
            at_us=self.clinic.clock.now_us(),
        )
        with self.clinic.journal.transaction() as unit:
            assert unit.set_desired(decided, expected_epoch=epoch, actor="grace")
        self.clinic.actuator.states[epoch + 1] = decided

    @rule(ending=st.sampled_from(("helps", "does not help")), refused=st.booleans())
    def the_world_is_such(self, ending: Any, refused: bool) -> None:
        self.clinic.ending = ending
        self.clinic.actuator.unloadable = {self.clinic.desired.epoch + 1} if refused else set()

    @rule(position=st.integers(0, 30))
    def the_agent_dies(self, position: int) -> None:
        self.clinic.arm(Faults(kill_at=position))
        try:
            self.run(5)
        except Killed:
            self.clinic.agent = self.clinic.new_agent()
        self.clinic.arm(Faults())

    @rule(position=st.integers(0, 30))
    def a_call_times_out(self, position: int) -> None:
        self.clinic.arm(Faults(raise_at=position))
        self.run(5)
        self.clinic.arm(Faults())

    @invariant()
    def nothing_risky_without_consent(self) -> None:
        state = self.clinic.journal.state
        for action in state.actions.values():
            plan = state.plans[action.plan_id]
            (ticket,) = [each for each in state.approvals.values() if each.plan_id == plan.id]
            assert ticket.state == "approved"
            assert ticket.plan_hash == plan.hash
            if plan.id in self.acts:
                assert ticket.decided_by == "playbook test"
            else:
                assert {vote.by for vote in ticket.votes} == {"ada", "bo"}

    @invariant()
    def no_consent_outlives_its_plan(self) -> None:
        """Of what the agent decided, the first is one epoch above that of its plan: nobody decided in between."""
        state = self.clinic.journal.state
        for action in state.actions.values():
            plan = state.plans[action.plan_id]
            mine = [each for each in state.deployments if f" {plan.id} " in each.reason]
            assert [each.epoch for each in mine] == [plan.epoch + n + 1 for n in range(len(mine))]
            assert len(mine) <= len(RULES[plan.action].steps) + 1

    @invariant()
    def the_servers_have_only_what_was_decided(self) -> None:
        decided = {each.epoch: each for each in self.clinic.journal.state.deployments}
        assert all(decided[epoch] == state for epoch, state in self.clinic.actuator.states.items())

    @invariant()
    def a_call_is_made_once(self) -> None:
        effects = self.clinic.caller.effects
        assert len(set(effects)) == len(effects)
        assert set(effects) <= set(self.clinic.journal.state.actions)

    @invariant()
    def every_change_has_its_line(self) -> None:
        state = self.clinic.journal.state
        for kind, values in (
            ("incident", state.incidents),
            ("action", state.actions),
            ("approval", state.approvals),
        ):
            for value in values.values():
                told = [
                    each.action.partition(".")[2]
                    for each in state.audit
                    if each.subject == value.id and each.action.startswith(f"{kind}.")
                ]
                assert (told or ["pending"])[-1] in (value.state, "open", "cancelled")
        told = [each.action.partition(".")[2] for each in state.audit if each.subject == INCIDENT]
        passed = ["diagnosed", *told[1:]]
        for before, after in pairwise(passed):
            assert before == after or after in TRANSITIONS[before]

    @precondition(lambda self: self.clinic.incident.state in CLOSED_INCIDENTS)
    @rule()
    def the_end_is_the_end(self) -> None:
        actions: list[Action] = list(self.clinic.journal.state.actions.values())
        assert all(each.state not in RUNNING for each in actions)
        assert all(each.state != "pending" for each in self.clinic.journal.state.approvals.values())

    def teardown(self) -> None:
        try:
            if hasattr(self, "clinic"):
                self.clinic.arm(Faults())
                self.clinic.actuator.unloadable = set()
                self.loop.run_until_complete(self.clinic.run(4_000))
                self.the_end_is_the_end()
        finally:
            self.patch.undo()
            self.loop.close()


Flow.TestCase.settings = settings(
    max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
TestFlow = Flow.TestCase
