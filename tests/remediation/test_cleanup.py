"""What was turned on for an incident ends with it: once, whatever happens, and people hear where it does not."""

from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from remediation.actions import RUNNING
from remediation.limits import Limits, refusal
from remediation.values import CLOSED_INCIDENTS, ActionKind, Arrangement, Incident
from tests.remediation import kinds
from tests.remediation.counted import Threads
from tests.remediation.fakes import Faults, Killed, digest_of
from tests.remediation.kinds import MODEL, Clinic

KINDS: tuple[ActionKind, ...] = ("raise_log_detail", "shadow")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncio.to_thread", Threads().to_thread)
    monkeypatch.setattr(kinds, "BEFORE", Arrangement())
    shadowed = Arrangement(shadows=("1",), digests={"1": digest_of(b"good")})
    monkeypatch.setitem(kinds.ARRANGED, "shadow", shadowed)


def _clinic(kind: ActionKind, monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> Clinic:
    clinic = Clinic(kind, parameters=parameters)
    clinic.use(monkeypatch)
    return clinic


async def _live(clinic: Clinic, until_epoch: int = 4, rounds: int = 40) -> None:
    """Until a state of that epoch is decided and nothing is under way any more."""
    for _ in range(rounds):
        await clinic.turn()
        await clinic.agent.clean_up()
        running = any(each.state in RUNNING for each in clinic.journal.state.actions.values())
        if clinic.desired.epoch >= until_epoch and not running:
            return


def _ended(clinic: Clinic) -> None:
    state = clinic.journal.state
    assert clinic.incident.state == "escalated"
    assert (clinic.desired.arrangement, clinic.desired.epoch) == (Arrangement(), 4)
    assert [each.arrangement == Arrangement() for each in state.deployments] == [True, True, False, True]
    assert clinic.actuator.in_force == clinic.desired
    first, last = state.actions.values()
    assert (first.state, last.state) == ("succeeded", "succeeded")
    assert [step.name for step in last.steps] == ["decide", "publish", "acknowledge"]
    ticket = list(state.approvals.values())[-1]
    assert (ticket.state, ticket.decided_by) == ("approved", "playbook test")
    lines = [(each.action, each.subject) for each in state.audit]
    assert lines.count(("action.intended", last.id)) == lines.count(("action.succeeded", last.id)) == 1
    assert not state.notices


@pytest.mark.parametrize("kind", KINDS)
async def test_it_ends_with_the_incident_whatever_happens(
    kind: ActionKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic = _clinic(kind, monkeypatch)
    clinic.arm(Faults())
    await _live(clinic)
    _ended(clinic)
    boundaries = clinic.faults.passed
    assert len(boundaries) > 30
    for position in range(len(boundaries)):
        clinic = _clinic(kind, monkeypatch)
        clinic.arm(Faults(kill_at=position))
        with pytest.raises(Killed):
            await _live(clinic)
        clinic.arm(Faults())
        clinic.agent = clinic.new_agent()
        await _live(clinic)
        _ended(clinic)
    for position in range(len(boundaries)):
        clinic = _clinic(kind, monkeypatch)
        clinic.arm(Faults(raise_at=position))
        with capture_logs():
            for _ in range(2):
                try:
                    await _live(clinic)
                except TimeoutError:  # of the round that looks for what is due: the agent's loop repeats it
                    continue
        _ended(clinic)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_playbook_keeps_stays(kind: ActionKind, monkeypatch: pytest.MonkeyPatch) -> None:
    clinic = _clinic(kind, monkeypatch, keep=True)
    await _live(clinic, rounds=12)
    assert clinic.incident.state in CLOSED_INCIDENTS
    assert clinic.desired.arrangement == kinds.ARRANGED[kind]
    assert len(clinic.journal.state.actions) == 1


async def test_it_waits_for_other_incidents_of_the_model_that_are_being_treated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clinic = _clinic("shadow", monkeypatch)
    await clinic.run()
    state = clinic.journal.state
    other = Incident(id="inc-2", model=MODEL, version="2", state="verifying", change_us=0, opened_us=0)
    state.incidents["inc-2"] = other
    await clinic.agent.clean_up()
    assert len(state.actions) == 1
    state.incidents["inc-2"] = msgspec.structs.replace(other, state="resolved", closed_us=1)
    await _live(clinic)
    _ended(clinic)


async def test_a_decision_in_between_is_respected_and_the_rest_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clinic = _clinic("shadow", monkeypatch)
    await clinic.run()
    await clinic.agent.clean_up()
    decided = msgspec.structs.replace(clinic.desired, epoch=4, decided_by="ada", version="1")
    with clinic.journal.transaction() as unit:
        assert unit.set_desired(decided, expected_epoch=3, actor="ada")
    clinic.actuator.states[4] = decided
    await _live(clinic, until_epoch=5)
    states = [each.state for each in clinic.journal.state.actions.values()]
    assert states == ["succeeded", "failed", "succeeded"]
    desired = clinic.desired
    assert (desired.version, desired.epoch, desired.arrangement) == ("1", 5, Arrangement())
    assert not clinic.journal.state.notices


async def test_who_is_overtaken_again_and_again_says_so_and_does_not_give_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clinic = _clinic("shadow", monkeypatch)
    await clinic.run()
    for epoch in range(4, 9):
        await clinic.agent.clean_up()
        decided = msgspec.structs.replace(clinic.desired, epoch=epoch, decided_by="ada")
        with clinic.journal.transaction() as unit:
            assert unit.set_desired(decided, expected_epoch=epoch - 1, actor="ada")
        clinic.actuator.states[epoch] = decided
        while any(each.state in RUNNING for each in clinic.journal.state.actions.values()):
            await clinic.turn()
    await _live(clinic, until_epoch=9)
    state = clinic.journal.state
    assert [each.state for each in state.actions.values()] == ["succeeded", *["failed"] * 5, "succeeded"]
    assert clinic.desired.arrangement == Arrangement()
    (notice,) = state.notices.values()
    assert notice.kind == "cleanup_failed"
    assert "3 times somebody else decided about churn first. It is tried again." in notice.text


async def test_being_overtaken_uses_up_nothing_of_what_the_model_may_be_treated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clinic = _clinic("shadow", monkeypatch)
    await clinic.run()
    await clinic.agent.clean_up()
    decided = msgspec.structs.replace(clinic.desired, epoch=4, decided_by="ada")
    with clinic.journal.transaction() as unit:
        assert unit.set_desired(decided, expected_epoch=3, actor="ada")
    clinic.actuator.states[4] = decided
    while any(each.state in RUNNING for each in clinic.journal.state.actions.values()):
        await clinic.turn()
    state, now_us = clinic.journal.state, clinic.clock.now_us()
    done, overtaken = state.actions.values()
    assert (done.state, overtaken.state) == ("succeeded", "failed")
    with clinic.journal.reading() as unit:
        plan = unit.plan(done.plan_id)
        assert plan is not None
        assert refusal(unit, plan, Limits(actions_per_day=2), now_us=now_us) is None
        used_up = refusal(unit, plan, Limits(actions_per_day=1), now_us=now_us)
    assert used_up is not None
    assert "has had 1 actions in 24 hours" in used_up.reason


async def test_what_other_models_did_since_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remediation.cleanup._MOST", 1)
    clinic = _clinic("raise_log_detail", monkeypatch)
    await clinic.run()
    other = msgspec.structs.replace(clinic.action, id="act-other", model="other")
    clinic.journal.state.actions["act-other"] = other
    await clinic.agent.clean_up()
    assert any(each.state in RUNNING for each in clinic.journal.state.actions.values())


async def test_people_hear_once_that_it_could_not_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    clinic = _clinic("raise_log_detail", monkeypatch)
    clinic.actuator.unloadable.add(4)
    await _live(clinic, until_epoch=5, rounds=20)
    assert [each.state for each in clinic.journal.state.actions.values()] == ["succeeded", "failed"]
    (notice,) = clinic.journal.state.notices.values()
    assert (notice.kind, notice.model) == ("cleanup_failed", MODEL)
    assert "Logging the requests of churn as before was decided" in notice.text
    assert "the servers cannot do that" in notice.text
    assert not [each for each in clinic.journal.state.actions.values() if each.state in RUNNING]
