"""Between two shares of the traffic: proven goes on, disproven is undone, neither is asked."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from remediation.approvals import decide
from remediation.cancellation import cancel
from remediation.policy import Freeze, Policy
from remediation.questions import is_question
from remediation.silences import Link
from remediation.values import Action, Approval
from remediation.verification import Observed, Outcome, Verdict
from serving.words import headline
from tests.remediation.counted import Threads
from tests.remediation.kinds import BEFORE, Clinic
from tests.remediation.world import alert

SHARES = [0.1, 0.5, 1]


class Shifting(Clinic):
    """A shift of traffic whose verdicts a test sets."""

    says: Outcome = "inconclusive"

    def verdict(self, observed: Observed, *_: Any) -> Verdict:
        assert observed.version == "1"
        return Verdict(outcome=self.says, sentence=f"it is {self.says}")

    @property
    def tickets(self) -> list[Approval]:
        state = self.journal.state
        return [each for each in state.approvals.values() if is_question(state.plans[each.plan_id])]

    def say(self, verdict: Any) -> None:
        ticket = self.tickets[-1]
        decided = decide(
            self.journal,
            self.clock,
            ticket.id,
            verdict,
            by="ada",
            reason="I looked",
            channel="rest",
            plan_hash=ticket.plan_hash,
        )
        assert decided.result == "done"

    async def live(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.turn()

    async def until_step(self, name: str) -> None:
        actions: list[Action] = []
        for _ in range(40):
            actions = list(self.journal.state.actions.values())
            if actions and any(step.name == name for step in actions[0].steps):
                return
            await self.turn()
        raise AssertionError(f"never came to {name}: {actions}")


@pytest.fixture
def clinic(monkeypatch: pytest.MonkeyPatch) -> Shifting:
    monkeypatch.setattr("asyncio.to_thread", Threads().to_thread)
    shifting = Shifting(
        "shift_traffic", parameters={"shares": SHARES, "hold_s": 30, "verify": {"within_s": 90}}
    )
    shifting.use(monkeypatch)
    return shifting


async def test_what_does_badly_with_its_share_is_taken_back_at_once(clinic: Shifting) -> None:
    await clinic.until_step("hold.1")
    clinic.says = "fail"
    await clinic.run(20)
    assert clinic.action.state == "reverted"
    assert "with its share it is fail" in clinic.action.outcome
    assert (clinic.desired.version, clinic.desired.arrangement, clinic.desired.epoch) == ("2", BEFORE, 4)


async def test_what_is_proven_gets_the_next_share_when_its_time_is_up(clinic: Shifting) -> None:
    clinic.says = "pass"
    await clinic.until_step("hold.1")
    await clinic.live(28)
    assert clinic.desired.arrangement.shares == {"1": 0.1}
    await clinic.until_step("hold.2")
    assert clinic.desired.arrangement.shares == {"1": 0.5}
    await clinic.run(60)
    assert (clinic.desired.version, clinic.incident.state) == ("1", "resolved")
    assert not clinic.tickets


async def test_what_stays_unproven_is_asked_and_a_person_lets_it_go_on(clinic: Shifting) -> None:
    await clinic.until_step("hold.1")
    await clinic.live(85)
    assert not clinic.tickets
    await clinic.live(10)
    (ticket,) = clinic.tickets
    plan = clinic.journal.state.plans[ticket.plan_id]
    assert "Go on or undo?" in plan.evidence[0]
    assert "gets its next share" in plan.blast_radius
    assert headline(plan) == "Undo it, or go on? churn version 1 beside 2"
    assert ticket.state == "pending"
    clinic.say("reject")
    await clinic.until_step("hold.2")
    step = next(each for each in clinic.action.steps if each.name == "hold.1")
    assert step.detail.startswith("ada decided to go on (I looked), not proven: with its share")
    clinic.says = "pass"
    await clinic.run(60)
    assert clinic.action.state == "succeeded"


async def test_a_person_undoes_what_stays_unproven(clinic: Shifting) -> None:
    await clinic.until_step("hold.1")
    await clinic.live(95)
    clinic.say("approve")
    await clinic.run(20)
    assert clinic.action.state == "reverted"
    assert "ada decided to undo it (I looked)" in clinic.action.outcome
    assert clinic.desired.arrangement == BEFORE


@pytest.mark.parametrize(("said", "state"), [(True, "approved"), (False, "expired")])
async def test_the_undo_of_a_share_waits_for_the_end_of_a_freeze(
    clinic: Shifting, said: bool, state: str
) -> None:
    await clinic.until_step("hold.1")
    await clinic.live(95)
    if said:
        clinic.say("approve")
    else:
        clinic.clock.advance(3_600)
    always = Freeze(schedule="* * * * *", lasts_h=1, reason="batch night")
    clinic.policy = Policy(freezes=(always,))
    clinic.agent = clinic.new_agent()
    await clinic.live(10)
    (ticket,), (told,) = clinic.tickets, clinic.journal.state.notices.values()
    assert (ticket.state, clinic.desired.arrangement.shares) == (state, {"1": 0.1})
    assert ("was approved by ada, and waits" if said else "nobody has said whether to keep it") in told.text
    clinic.policy = Policy()
    clinic.agent = clinic.new_agent()
    await clinic.run(30)
    assert (clinic.action.state, clinic.desired.arrangement) == ("reverted", BEFORE)


async def test_what_nobody_decides_about_is_undone(clinic: Shifting) -> None:
    await clinic.until_step("hold.1")
    await clinic.live(95)
    clinic.clock.advance(3_600)
    await clinic.run(20)
    (ticket,) = clinic.tickets
    assert (ticket.state, clinic.action.state) == ("expired", "reverted")
    assert "nobody said whether to go on or to undo it" in clinic.action.outcome


async def test_proof_that_comes_while_people_are_asked_voids_the_ticket(clinic: Shifting) -> None:
    await clinic.until_step("hold.1")
    await clinic.live(95)
    clinic.says = "pass"
    await clinic.until_step("hold.2")
    (ticket,) = clinic.tickets
    assert (ticket.state, ticket.reason) == ("void", "pass in the meantime: with its share it is pass")


async def test_a_cancellation_leaves_no_ticket_that_waits(clinic: Shifting) -> None:
    await clinic.until_step("hold.1")
    await clinic.live(95)
    cancel(
        clinic.journal,
        clinic.clock,
        clinic.action.id,
        by="ada",
        reason="I saw enough",
        channel="cli",
        policy=Policy(),
    )
    await clinic.run(20)
    (ticket,) = clinic.tickets
    assert (clinic.action.state, ticket.state) == ("reverted", "void")
    assert "ada cancelled it: I saw enough" in (ticket.reason or "")


async def test_a_decision_of_a_person_elsewhere_leaves_no_ticket_that_waits(clinic: Shifting) -> None:
    await clinic.until_step("hold.1")
    await clinic.live(95)
    decided = replace(clinic.desired, epoch=4, decided_by="grace", version="1", arrangement=BEFORE)
    with clinic.journal.transaction() as unit:
        assert unit.set_desired(decided, expected_epoch=3, actor="grace")
    clinic.actuator.states[4] = decided
    await clinic.run(20)
    (ticket,) = clinic.tickets
    assert (clinic.action.state, ticket.state) == ("failed", "void")


@pytest.mark.parametrize("says", ["pass", "inconclusive"])
async def test_a_silence_or_a_surge_is_no_illness_of_the_version_that_gets_a_share(
    clinic: Shifting, says: Outcome
) -> None:
    """A version chooses not how many ask; what cannot be proven meanwhile people are asked about."""
    await clinic.until_step("hold.1")
    clinic.says = says
    told = alert("volume", version="2", at_us=clinic.clock.now_us(), evidence=())
    with clinic.journal.transaction() as unit:
        unit.link_alerts([Link(alert=told, incident_id=clinic.incident.id)])
    await clinic.live(95)
    assert not any(step.name.startswith("undo") for step in clinic.action.steps)
    assert bool(clinic.tickets) == (says == "inconclusive")


async def test_without_verification_only_alerts_stop_it(clinic: Shifting) -> None:
    clinic.parameters["verify"] = False
    await clinic.run(120)
    assert (clinic.action.state, clinic.desired.version) == ("succeeded", "1")


@pytest.fixture
def shadowing(monkeypatch: pytest.MonkeyPatch) -> Shifting:
    monkeypatch.setattr("asyncio.to_thread", Threads().to_thread)
    clinic = Shifting("shadow", parameters={"verify": {"within_s": 90}})
    clinic.use(monkeypatch)
    return clinic


async def test_a_shadow_that_has_to_do_well_is_watched_before_the_playbook_goes_on(
    shadowing: Shifting,
) -> None:
    await shadowing.until_step("hold")
    await shadowing.live(20)
    assert shadowing.desired.arrangement.shadows == ("1",)
    assert (shadowing.action.state, shadowing.incident.state) == ("awaiting_ack", "executing")
    shadowing.says = "pass"
    await shadowing.live(3)
    assert (shadowing.action.state, shadowing.incident.state) == ("succeeded", "escalated")
    assert "as a shadow it is pass" in shadowing.action.outcome


async def test_a_shadow_that_does_badly_is_taken_back_and_people_are_told(shadowing: Shifting) -> None:
    await shadowing.until_step("hold")
    shadowing.says = "fail"
    await shadowing.run(20)
    assert shadowing.action.state == "reverted"
    assert (shadowing.desired.version, shadowing.desired.arrangement) == ("2", BEFORE)
    assert "as a shadow it is fail" in shadowing.incident.outcome


async def test_people_are_asked_about_a_shadow_that_stays_unproven(shadowing: Shifting) -> None:
    await shadowing.until_step("hold")
    await shadowing.live(95)
    (ticket,) = shadowing.tickets
    plan = shadowing.journal.state.plans[ticket.plan_id]
    assert "Version 1 could not be proven to do well as a shadow" in plan.evidence[0]
    assert headline(plan) == "Undo it, or go on? churn version 1 beside 2"
    assert (plan.action, plan.arrangement) == ("shadow", BEFORE)
    shadowing.say("approve")
    await shadowing.run(20)
    assert (shadowing.action.state, shadowing.desired.arrangement) == ("reverted", BEFORE)


async def test_nobody_waits_for_the_database_while_a_share_is_judged(
    clinic: Shifting, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, writing = clinic.journal, [0]
    begin = journal.transaction

    @contextmanager
    def transaction() -> Generator[Any]:
        with begin() as unit:
            writing[0] += 1
            try:
                yield unit
            finally:
                writing[0] -= 1

    def verdict(observed: Observed, *_: Any) -> Verdict:
        assert not writing[0]
        return clinic.verdict(observed)

    monkeypatch.setattr(journal, "transaction", transaction)
    monkeypatch.setattr("remediation.proving.verify", verdict)
    clinic.says = "pass"
    await clinic.run(200)
    assert (clinic.desired.version, clinic.incident.state) == ("1", "resolved")


async def test_an_answer_that_comes_while_a_share_is_judged_counts(
    clinic: Shifting, monkeypatch: pytest.MonkeyPatch
) -> None:
    await clinic.until_step("hold.1")
    await clinic.live(95)

    def verdict(observed: Observed, *_: Any) -> Verdict:
        if clinic.tickets[-1].state == "pending":
            clinic.say("approve")
        return Verdict(outcome="pass", sentence="it is pass")

    monkeypatch.setattr("remediation.proving.verify", verdict)
    await clinic.run(20)
    assert (clinic.tickets[-1].state, clinic.action.state) == ("approved", "reverted")
    assert "ada decided to undo it" in clinic.action.outcome
