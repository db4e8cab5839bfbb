"""A freeze that begins while an action is under way: what would change what serves waits for its end, and says so."""

from collections.abc import Sequence

import msgspec
import pytest

from remediation import limits
from remediation.actions import with_step
from remediation.evidence import Facts
from remediation.executing import serve
from remediation.executing.parts import Parts
from remediation.plans import NoPlan
from remediation.playbooks.proposal import Proposal, Tried
from remediation.policy import Freeze, Policy
from remediation.values import Approval, Plan
from remediation.watchdog import overdue
from tests.remediation.counted import Threads
from tests.remediation.kinds import BEFORE, Clinic
from tests.remediation.test_hold import SHARES, Shifting
from tests.remediation.world import MODEL, World

FROZEN = Policy(freezes=(Freeze(schedule="0 0 1 11 *", lasts_h=700, reason="batch night"),))


@pytest.fixture
def clinic(monkeypatch: pytest.MonkeyPatch) -> Shifting:
    monkeypatch.setattr("asyncio.to_thread", Threads().to_thread)
    shifting = Shifting(
        "shift_traffic",
        parameters={"shares": SHARES, "hold_s": 30, "verify": {"within_s": 90}},
    )

    def planned(facts: Facts, past: Sequence[Tried]) -> Proposal | NoPlan:
        """A risky plan that the playbook may begin by itself."""
        if past:
            return NoPlan(reason="nothing is left to try")
        return msgspec.structs.replace(shifting.proposal(facts, risky=True), approval_needed=False)

    shifting.then = planned
    shifting.use(monkeypatch)
    return shifting


def _under(clinic: Clinic, policy: Policy) -> None:
    """The agent is started anew with another policy."""
    clinic.policy = policy
    clinic.agent = clinic.new_agent()


def _stuck(clinic: Clinic) -> list[str]:
    config = clinic.agent._config  # pyright: ignore[reportPrivateUsage]
    with clinic.journal.reading() as unit:
        return [each.text for each in overdue(unit, now_us=clinic.clock.now_us(), config=config)]


async def test_the_next_share_of_a_proven_version_waits_for_the_end_of_a_freeze(clinic: Shifting) -> None:
    clinic.says = "pass"
    await clinic.until_step("hold.1")
    _under(clinic, FROZEN)
    await clinic.live(60)
    assert clinic.desired.arrangement.shares == {"1": 0.1}
    (told,) = clinic.journal.state.notices.values()
    assert (told.kind, told.incident_id) == ("frozen", clinic.incident.id)
    assert f"The traffic shift of {clinic.desired.model} to version 1 goes no further than 10%" in told.text
    assert "and waits" in told.text
    assert "(batch night). It goes on then, if the version still does well" in told.text
    _under(clinic, Policy())
    await clinic.run(120)
    assert (clinic.desired.version, clinic.incident.state) == ("1", "resolved")


async def test_what_falls_ill_with_its_share_is_taken_back_also_in_a_freeze(clinic: Shifting) -> None:
    clinic.says = "pass"
    await clinic.until_step("hold.1")
    _under(clinic, FROZEN)
    await clinic.live(60)
    clinic.says = "fail"
    await clinic.run(20)
    assert (clinic.action.state, clinic.desired.arrangement) == ("reverted", BEFORE)


async def test_what_a_person_lets_go_on_waits_for_the_end_of_a_freeze(clinic: Shifting) -> None:
    await clinic.until_step("hold.1")
    await clinic.live(95)
    _under(clinic, FROZEN)
    clinic.say("reject")
    await clinic.live(20)
    assert clinic.desired.arrangement.shares == {"1": 0.1}
    (told,) = clinic.journal.state.notices.values()
    assert "goes no further than 10%" in told.text
    _under(clinic, Policy())
    await clinic.until_step("hold.2")
    step = next(each for each in clinic.action.steps if each.name == "hold.1")
    assert step.detail.startswith("ada decided to go on (I looked)")


async def test_a_ticket_about_a_share_stays_open_while_proof_waits_for_the_end_of_a_freeze(
    clinic: Shifting,
) -> None:
    """The proof may be lost again before the freeze is over, and then an answer counts."""
    await clinic.until_step("hold.1")
    await clinic.live(95)
    _under(clinic, FROZEN)
    clinic.says = "pass"
    await clinic.live(5)
    assert [each.state for each in clinic.tickets] == ["pending"]
    clinic.says = "inconclusive"
    await clinic.live(5)
    assert (clinic.action.state, [each.state for each in clinic.tickets]) == ("awaiting_ack", ["pending"])


async def test_a_share_that_waits_for_the_end_of_a_freeze_is_not_stuck(clinic: Shifting) -> None:
    clinic.says = "pass"
    await clinic.until_step("hold.1")
    _under(clinic, FROZEN)
    await clinic.live(60)
    clinic.clock.advance(3_600)
    assert _stuck(clinic) == []
    _under(clinic, Policy())
    (told,) = _stuck(clinic)
    assert "step hold.1 of the shift traffic should have been done" in told


async def test_a_share_that_hangs_in_a_freeze_is_stuck(clinic: Shifting) -> None:
    await clinic.until_step("hold.1")
    _under(clinic, FROZEN)
    clinic.clock.advance(3_600)
    assert len(_stuck(clinic)) == 1


async def test_an_agent_that_died_before_the_next_share_holds_it_again_in_a_freeze(clinic: Shifting) -> None:
    clinic.says = "pass"
    await clinic.until_step("hold.1")
    with clinic.journal.transaction() as unit:
        done = with_step(clinic.action, "hold.1", "done", at_us=clinic.clock.now_us())
        assert unit.save_action(done, expected="awaiting_ack", actor="agent")
    _under(clinic, FROZEN)
    await clinic.live(10)
    assert clinic.desired.arrangement.shares == {"1": 0.1}
    clinic.says = "fail"
    await clinic.run(20)
    assert (clinic.action.state, clinic.desired.arrangement) == ("reverted", BEFORE)


@pytest.mark.parametrize("glass", [False, True])
async def test_what_was_trained_when_a_freeze_begins_does_not_serve_before_its_end(glass: bool) -> None:
    world = World()
    await world.agent.receive(await world.shifted_world())

    def steps() -> list[str]:
        return [step.name for each in world.journal.state.actions.values() for step in each.steps]

    await world.run(until=lambda: "collect" in steps())
    if glass:
        tickets: dict[str, Approval] = world.journal.state.approvals
        for name, each in tickets.items():
            tickets[name] = msgspec.structs.replace(each, broken_glass=True)
    world.config = {"policy": FROZEN}
    world.agent = world.new_agent()
    for _ in range(60):
        await world.round()
    assert world.serves() == ("2" if glass else "1")
    if glass:
        return
    (action,) = world.journal.state.actions.values()
    assert action.state == "executing"
    assert (action.steps[-1].name, action.steps[-1].state) == ("decide", "intended")
    (told,) = world.journal.state.notices.values()
    assert f"The retraining of {MODEL} is done up to the moment in which version 2 would serve" in told.text
    with world.journal.reading() as unit:
        assert limits.held_up(unit, MODEL, limits.Limits(at_once=1)) is None
    written = len(world.journal.state.audit)
    for _ in range(60):
        await world.round()
    assert len(world.journal.state.audit) == written
    world.clock.advance(7_200)
    config = world.agent._config  # pyright: ignore[reportPrivateUsage]
    with world.journal.reading() as unit:
        assert overdue(unit, now_us=world.clock.now_us(), config=config) == []
    world.config = {}
    world.agent = world.new_agent()
    await world.run()
    assert (world.serves(), world.incidents()[0].state) == ("2", "resolved")


async def test_a_decision_that_failed_before_a_freeze_has_all_its_time_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, away, check = World(), [True], serve.check_inputs

    def checked(parts: Parts, plan: Plan) -> None:
        if away:
            raise TimeoutError("the archive is away")
        check(parts, plan)

    monkeypatch.setattr(serve, "check_inputs", checked)
    await world.agent.receive(await world.shifted_world())

    def decision_failed() -> bool:
        steps = [step for each in world.journal.state.actions.values() for step in each.steps]
        return any(step.name == "decide" and step.attempts for step in steps)

    await world.run(until=decision_failed)
    world.config = {"policy": FROZEN}
    world.agent = world.new_agent()
    for _ in range(2):
        await world.round()
    world.pass_time(300)
    world.config = {}
    world.agent = world.new_agent()
    for _ in range(5):
        await world.round()
    (action,) = world.journal.state.actions.values()
    assert action.state == "executing"
    away.clear()
    await world.run()
    assert (world.serves(), world.incidents()[0].state) == ("2", "resolved")
