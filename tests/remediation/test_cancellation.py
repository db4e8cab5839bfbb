"""A person stops an action, at any moment."""

import pytest

from remediation.actions import RULES, RUNNING
from remediation.cancellation import cancel
from remediation.errors import CancelForbidden, CancelRefused, UnknownAction
from remediation.policy import Person, Policy, Rule
from tests.remediation.counted import Threads
from tests.remediation.kinds import BEFORE, CALLS, KINDS, Clinic

REASON = "the campaign explains it"


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncio.to_thread", Threads().to_thread)


async def _begun(monkeypatch: pytest.MonkeyPatch, kind: str, turns: int) -> Clinic:
    """So many seconds after the action was begun."""
    clinic = Clinic(kind, "does not help", {"shares": [0.5, 1]} if kind == "shift_traffic" else {})
    clinic.use(monkeypatch)
    while not clinic.journal.state.actions:
        await clinic.turn()
    for _ in range(turns):
        await clinic.turn()
    return clinic


def _stop(clinic: Clinic, by: str = "ada", policy: Policy | None = None) -> None:
    cancel(
        clinic.journal,
        clinic.clock,
        clinic.action.id,
        by=by,
        reason=REASON,
        channel="rest",
        policy=policy or Policy(),
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_decided_is_taken_back_and_people_are_told(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for turns in range(12):
        clinic = await _begun(monkeypatch, kind, turns)
        if clinic.action.state not in RUNNING or any(
            step.name.startswith("undo.") for step in clinic.action.steps
        ):
            assert turns > 0
            return
        decided = clinic.desired.epoch > 2
        called = bool(clinic.caller.effects)
        _stop(clinic)
        _stop(clinic)
        clinic.agent = clinic.new_agent()
        await clinic.run()
        assert clinic.incident.state == "escalated"
        assert f"ada cancelled it: {REASON}" in clinic.incident.outcome
        assert clinic.action.state == ("reverted" if decided else "failed")
        assert (clinic.desired.version, clinic.desired.arrangement) == ("2", BEFORE)
        assert clinic.actuator.in_force == clinic.desired
        assert bool(clinic.caller.effects) == called
        lines = [(each.actor, each.action) for each in clinic.journal.state.audit]
        assert lines.count(("ada", "action.cancelled")) == 1
    assert not RULES[clinic.kind].verified or kind in CALLS


async def test_what_is_over_or_unknown_or_not_theirs_cannot_be_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clinic = await _begun(monkeypatch, "rollback", 1)
    people = {"ada": Person(roles=("owner",)), "bob": Person(roles=("guest",))}
    policy = Policy(people=people, rules=(Rule(roles=("owner",)),))
    with pytest.raises(CancelForbidden, match="bob may not cancel this: it needs one of owner"):
        _stop(clinic, by="bob", policy=policy)
    with pytest.raises(CancelForbidden, match="nobody whom the policy knows"):
        _stop(clinic, by="eve", policy=policy)
    _stop(clinic, by="ada", policy=policy)
    await clinic.run()
    _stop(clinic)
    clinic = await _begun(monkeypatch, "rollback", 1)
    await clinic.run()
    with pytest.raises(CancelRefused, match=r"is over \(failed\)"):
        _stop(clinic)
    with pytest.raises(UnknownAction):
        cancel(clinic.journal, clinic.clock, "act-0", by="a", reason="b", channel="rest", policy=Policy())
