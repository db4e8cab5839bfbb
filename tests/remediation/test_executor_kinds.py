"""Every kind of action is killed, or sees a time-out, at every boundary of every effect, enumerated; whoever goes on
ends it the same way, once."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from remediation.values import CLOSED_INCIDENTS, ActionKind, Desired
from tests.remediation.counted import Threads
from tests.remediation.fakes import Faults, Killed
from tests.remediation.kinds import ARRANGED, BEFORE, CALLS, KINDS, Clinic, Ending, ended_well

CASES: list[tuple[str, Ending, dict[str, Any]]] = [
    *((kind, ending, {}) for kind in KINDS for ending in ("helps", "does not help")),
    *((kind, "does not load", {}) for kind in ARRANGED),
    *((kind, "does not help", {"undo": {"url": "x"}, "verify": True}) for kind in CALLS[2:]),
    ("shift_traffic", "helps", {"shares": [0.1, 0.5, 1], "hold_s": 3}),
    ("shift_traffic", "does not help", {"shares": [0.1, 0.5, 1]}),
    ("shadow", "helps", {"verify": True}),
]
INTERLEAVED: list[tuple[str, Ending, dict[str, Any]]] = [
    ("rollback", "helps", {}),
    ("shift_traffic", "does not help", {"shares": [0.5, 1]}),
    ("quarantine_feature", "does not load", {}),
    ("raise_log_detail", "helps", {}),
    ("open_issue", "helps", {}),
    ("run_command", "does not help", {"undo": {"url": "x"}}),
]
IDS = [f"{kind}-{ending}-{'-'.join(more)}" for kind, ending, more in CASES]


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> Threads:
    inline = Threads()
    monkeypatch.setattr("asyncio.to_thread", inline.to_thread)
    return inline


@pytest.fixture
def begin(case: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def fresh(faults: Faults | None = None) -> Clinic:
        kind, ending, parameters = case
        clinic = Clinic(kind, ending, parameters)
        clinic.use(monkeypatch)
        clinic.arm(faults or Faults())
        return clinic

    return fresh


async def _boundaries(begin: Any) -> list[str]:
    clinic = begin()
    await clinic.run()
    ended_well(clinic)
    return clinic.faults.passed


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_killed_at_every_boundary(begin: Any) -> None:
    boundaries = await _boundaries(begin)
    assert len(boundaries) >= 10
    for position in range(len(boundaries)):
        clinic = begin(Faults(kill_at=position))
        with pytest.raises(Killed):
            await clinic.run()
        clinic.arm(Faults())
        clinic.agent = clinic.new_agent()
        await clinic.run()
        ended_well(clinic)


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_a_time_out_at_every_boundary_before_the_effect_or_after_it(begin: Any) -> None:
    for position in range(len(await _boundaries(begin))):
        clinic = begin(Faults(raise_at=position))
        with capture_logs():
            await clinic.run()
        ended_well(clinic)


@pytest.mark.parametrize("case", INTERLEAVED, ids=[kind for kind, _, _ in INTERLEAVED])
async def test_another_agent_takes_over_at_every_boundary_and_the_first_comes_back(
    begin: Any, threads: Threads
) -> None:
    """At every boundary the first agent is held up for longer than its lease, while the other goes on to the end. No
    lease can help where the first is held up right before a call: there the peer has to know the key."""

    async def held_up(clinic: Clinic, position: int) -> int:
        passed = 0
        other = clinic.new_agent()
        clinic.caller.knows_keys = True

        async def between(_: str) -> None:
            nonlocal passed
            passed += 1
            if passed - 1 == position:
                threads.between = None
                clinic.clock.advance(20)
                first, clinic.agent = clinic.agent, other
                await clinic.run()
                clinic.agent = first
                threads.between = between

        threads.between = between
        with capture_logs():
            await clinic.run()
            await clinic.agent.idle()
        threads.between = None
        ended_well(clinic)
        return passed

    boundaries = await held_up(begin(), -1)
    for position in range(boundaries):
        await held_up(begin(), position)


@pytest.mark.parametrize("retries", [0, 2])
async def test_an_effect_is_tried_again_as_often_as_the_plan_says(
    retries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic = Clinic("promote", parameters={"retries": retries})
    clinic.use(monkeypatch)
    tried: list[int] = []
    apply = clinic.actuator.apply

    async def away(desired: Desired) -> None:
        tried.append(desired.epoch)
        if desired.epoch == 3:
            raise OSError("the broker is away")
        await apply(desired)

    monkeypatch.setattr(clinic.actuator, "apply", away)
    with capture_logs():
        await clinic.run()
    assert tried == [3] * (retries + 1) + [4]
    assert (clinic.action.state, clinic.desired.arrangement) == ("reverted", BEFORE)
    assert "the broker is away" in clinic.action.outcome


@pytest.mark.parametrize("kind", ["rollback", "shift_traffic"])
async def test_a_database_that_is_away_for_30_seconds_loses_nothing_whenever_it_goes(
    kind: ActionKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fresh() -> Clinic:
        clinic = Clinic(kind, parameters={"shares": [0.5, 1]} if kind == "shift_traffic" else {})
        clinic.use(monkeypatch)
        return clinic

    def away() -> Any:
        raise ConnectionError("the database is away")

    turns, clinic = 0, fresh()
    while clinic.incident.state not in CLOSED_INCIDENTS:
        turns += 1
        await clinic.turn()
    assert turns > 3
    for begins in range(turns):
        clinic = fresh()
        for _ in range(begins):
            await clinic.turn()
        with monkeypatch.context() as gone, capture_logs():
            gone.setattr(clinic.journal, "transaction", away)
            gone.setattr(clinic.journal, "reading", away)
            for _ in range(30):
                with suppress(ConnectionError):
                    await clinic.turn()
        await clinic.run()
        ended_well(clinic)


async def test_an_attempt_that_hangs_is_cut_off_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clinic = Clinic("promote", parameters={"retries": 0, "timeout_s": 0.05})
    clinic.use(monkeypatch)
    apply = clinic.actuator.apply

    async def hanging(desired: Desired) -> None:
        if desired.epoch == 3:
            await asyncio.Event().wait()
        await apply(desired)

    monkeypatch.setattr(clinic.actuator, "apply", hanging)
    with capture_logs():
        await clinic.run()
    assert (clinic.action.state, clinic.desired.arrangement) == ("reverted", BEFORE)
    assert "TimeoutError" in clinic.action.outcome
