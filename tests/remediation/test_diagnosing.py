"""A diagnosis is judged beside all writers, and written only from what is still known then."""

from typing import Any

import pytest

from detectors.values import AlertKind, Evidence
from remediation import diagnosis
from remediation.reception import receive_alert
from tests.remediation.fakes import S
from tests.remediation.world import MODEL, World, alert, point

BROKEN = Evidence(measure="unit_change", feature="age", value=12, threshold=2, rows=500, effect=6)


async def test_an_alert_that_comes_while_the_facts_are_judged_is_not_lost_and_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.verdict = None
    await world.agent.receive(await world.shifted_world())
    judged, told = diagnosis.upstream_data_break, list[int]()

    def judged_while_an_alert_comes(facts: Any, config: Any) -> Any:
        told.append(len(facts.alerts))
        if len(told) == 1:
            now_us = world.clock.now_us()
            later = alert("data_quality", version="1", at_us=now_us, change_us=now_us - S, evidence=(BROKEN,))
            settings = world.agent._config  # pyright: ignore[reportPrivateUsage]
            assert receive_alert(world.journal, later, now_us=now_us, config=settings) is not None
        return judged(facts, config)

    monkeypatch.setattr(diagnosis, "upstream_data_break", judged_while_an_alert_comes)
    await world.run(until=lambda: bool(world.journal.state.approvals) or world.all_closed())
    (incident,) = world.incidents()
    assert len(world.journal.state.alerts) == 2
    assert (told[:2], incident.cause) == ([1, 2], "upstream_data_break")


async def test_an_alert_that_comes_while_a_ticket_is_doubted_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.verdict = None
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(world.journal.state.approvals))
    first = alert("data_drift", at_us=world.clock.now_us(), change_us=world.clock.now_us() - S)
    await world.agent.receive(first)
    judged, told = diagnosis.upstream_data_break, list[int]()

    def judged_while_an_alert_comes(facts: Any, config: Any) -> Any:
        told.append(len(facts.alerts))
        if len(told) == 1:
            now_us = world.clock.now_us()
            later = alert("prediction_drift", at_us=now_us, change_us=now_us - S)
            settings = world.agent._config  # pyright: ignore[reportPrivateUsage]
            assert receive_alert(world.journal, later, now_us=now_us, config=settings) is not None
        return judged(facts, config)

    monkeypatch.setattr(diagnosis, "upstream_data_break", judged_while_an_alert_comes)
    for _ in range(4):
        await world.round()
    assert len(world.journal.state.alerts) == 3
    assert told[:2] == [2, 3]
    assert world.serves(MODEL) == "2"


async def late_window(kind: AlertKind, break_s: float) -> tuple[World, list[str]]:
    """A drift or a drop is told of a window that is ill in part; the next one is judged only after `break_s`, when its
    columns are found to be broken. What was asked, in order."""
    world = World()
    world.verdict, world.labels = None, False
    await world.shifted_world()
    told_us = world.clock.now_us()
    await world.agent.receive(alert(kind, version="1", at_us=told_us, change_us=told_us - 6 * S))
    world.journal.state.points.clear()
    began_us = world.clock.now_us()
    for _ in range(round(break_s)):
        await world.round()
    now_us = world.clock.now_us()
    later = alert("data_quality", version="1", at_us=now_us, change_us=began_us - S, evidence=(BROKEN,))
    found = point(
        "1",
        end_us=now_us,
        value=12,
        axis="event",
        breach=True,
        measure="unit_change",
        feature="age",
        length_s=5,
    )
    world.record(found)
    await world.round()
    await world.agent.receive(later)
    await world.run(until=lambda: bool(world.journal.state.approvals) or world.all_closed())
    return world, [each.action for each in world.journal.state.plans.values()]


@pytest.mark.parametrize("kind", ["data_drift", "performance"])
@pytest.mark.parametrize("break_s", [8, 16])
async def test_a_drift_waits_for_a_whole_window_however_late_it_is_judged(
    kind: AlertKind, break_s: float
) -> None:
    world, asked = await late_window(kind, break_s)
    (incident,) = world.incidents()
    assert (incident.cause, len(world.journal.state.approvals)) == ("upstream_data_break", 1 if asked else 0)
    assert "retrain" not in asked


async def test_a_drift_after_which_no_window_comes_is_told_at_last() -> None:
    world = World()
    world.verdict, world.labels = None, False
    told = await world.shifted_world()
    await world.agent.receive(told)
    world.journal.state.points.clear()
    began_us = world.clock.now_us()
    await world.run(until=lambda: bool(world.journal.state.approvals))
    waited_s = (world.clock.now_us() - began_us) / S
    assert 30 <= waited_s <= 33
