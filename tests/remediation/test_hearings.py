"""How often the rows around a release are read: not at every look, and not for an incident that is over."""

import pytest
from msgspec.structs import replace

from remediation.evidence import Facts
from remediation.hearings import Hearings
from remediation.testimony import Testimony
from remediation.witness import Witness
from tests.remediation.fakes import S
from tests.remediation.test_causes import ONSET_S
from tests.remediation.test_witness import NEW, Rows, released, witness
from tests.remediation.world import World, alert

CLEARED = Testimony(blame=0.0, sentences=("both are wrong on the same rows",))


class Counted:
    """What was asked of the archive, by incident."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        monkeypatch.setattr(Witness, "heard", self._heard)

    def _heard(self, facts: Facts) -> Testimony:
        self.asked.append(facts.incident.id)
        return CLEARED


async def waiting(length_s: float) -> tuple[World, int]:
    """A version that is ill near its release, which is told of a window of this length. The moment of the alert."""
    world = World()
    world.verdict = None
    told = await world.bad_release()
    await world.agent.receive(replace(told, start_us=told.end_us - round(length_s * S)))
    return world, told.end_us


async def test_while_a_diagnosis_waits_for_a_window_rows_are_read_ten_times_a_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = Counted(monkeypatch)
    world, _ = await waiting(40)
    rounds = 0
    while not world.journal.state.approvals:
        await world.round()
        rounds += 1
    assert rounds > 40
    assert 10 <= len(counted.asked) <= 14


async def test_an_alert_that_comes_meanwhile_is_a_reason_to_read_them_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = Counted(monkeypatch)
    world, at_us = await waiting(400)
    for _ in range(3):
        await world.round()
    assert len(counted.asked) == 1
    await world.agent.receive(alert("prediction_drift", at_us=at_us, length_s=400, name="more"))
    await world.round()
    assert len(counted.asked) == 2


async def test_nothing_is_kept_of_an_incident_that_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Hearings] = []
    of = Hearings.of

    def watched(self: Hearings, incident_id: str) -> Testimony | None:
        heard.append(self)
        return of(self, incident_id)

    monkeypatch.setattr(Hearings, "of", watched)
    world = World()
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(world.journal.state.approvals))
    (incident,) = world.incidents()
    assert of(heard[-1], incident.id) is not None
    await world.run()
    await world.round()
    assert of(heard[-1], incident.id) is None


def test_rows_are_heard_again_for_new_alerts_or_after_a_tenth_of_a_window() -> None:
    known = Hearings(witness(Rows()))
    facts = released(now_us=(ONSET_S + 100) * S)
    span_us = facts.span_us
    assert known.outdated(facts)
    assert known.of(facts.incident.id) is None
    assert known.hear(facts) == known.of(facts.incident.id) != Testimony()
    assert not known.outdated(replace(facts, now_us=facts.now_us + span_us // 11))
    assert known.outdated(replace(facts, now_us=facts.now_us + max(span_us // 10, S)))
    more = replace(facts, alerts=(*facts.alerts, replace(NEW, id="another")))
    assert known.told_since(more)
    back = replace(facts, incident=replace(facts.incident, version="1"))
    assert known.told_since(back), "what was heard is about the release of another version"
    assert known.hear(more, near=False) == Testimony()
    known.keep({"another"})
    assert known.of(facts.incident.id) is None
