"""A service that was ill before a release, and is as ill after the rollback."""

from typing import Any

import pytest
from msgspec.structs import replace

from detectors.values import Alert, Evidence
from remediation.lasting import as_before, is_lasting, lines, open_what_remains
from remediation.repeats import repeats
from remediation.silences import Link
from remediation.values import Desired, Incident
from tests.remediation.fakes import S
from tests.remediation.world import MODEL, World, alert, point

FAILS = {"1": 0.1, "2": 0.3}
USUAL = 0.005


class Failing(World):
    """Requests fail, since `since_us` already before version 2 comes; labels are as good as ever."""

    since_us = 2**62
    known = True

    def pass_time(self, duration_s: float, model: str | None = None) -> None:
        for _ in range(int(duration_s)):
            super().pass_time(1, model)
            now_us, served = self.clock.now_us(), self.serving.serves.get(MODEL)
            if served is None or (now_us // S) % 2:
                continue
            ill = now_us > self.since_us or served.version == "2"
            value = FAILS[served.version] if ill else USUAL
            breach = ill and (self.known or served.version == "2")
            more: dict[str, Any] = {"axis": "event", "measure": "error_rate", "breach": breach}
            self.record(point(served.version, end_us=now_us, value=value, **more))

    def failing(self, version: str, change_us: int) -> Alert:
        """What the judge tells of a version."""
        shown = Evidence(
            measure="error_rate", value=FAILS[version], reference=USUAL, threshold=0.02, rows=500, effect=5
        )
        now_us = self.clock.now_us()
        return alert("data_quality", version=version, at_us=now_us, change_us=change_us, evidence=(shown,))


async def _release(world: Failing, ill_s: int) -> None:
    """Version 1 has failed for so long when version 2 comes, which fails three times as often."""
    await world.healthy_release()
    if ill_s:
        world.since_us = world.clock.now_us()
        world.pass_time(ill_s)
    world.registry.add(MODEL, "2", "worse")
    await world.deploy("2")
    released_us = world.clock.now_us()
    world.pass_time(8)
    await world.agent.receive(world.failing("2", released_us))


async def test_the_rollback_of_a_failing_release_helps_though_the_service_was_ill_before() -> None:
    world = Failing()
    await _release(world, 20)
    await world.run(until=lambda: world.serves() == "1")
    world.pass_time(6)
    await world.agent.receive(world.failing("1", world.clock.now_us() - 4 * S))
    await world.run()
    first, second = world.incidents()
    assert (first.state, first.cause, first.version) == ("resolved", "bad_release", "2")
    assert "does as it did before version 2 came" in first.outcome
    assert (second.state, second.cause, second.version) == ("escalated", "serving_problem", "1")
    with world.journal.reading() as unit:
        later_us = (second.closed_us or 0) + 120 * S
        (again,) = repeats(unit, now_us=later_us, every_min=1, hold_s=3_600)
    assert again.incident_id == second.id
    world.pass_time(10)
    await world.agent.receive(
        replace(world.failing("1", world.clock.now_us() - S), id="part", segment="plan=a")
    )
    assert len(world.incidents()) == 2
    assert first.id in second.summary or "error_rate" in second.summary
    assert [each.kind for each in world.journal.state.actions.values()] == ["rollback"]


async def test_what_was_ill_before_is_known_by_what_is_told_of_it_later() -> None:
    """A judge that had not learned yet what is usual finds nothing wrong with the windows of then."""
    world = Failing()
    world.known = False
    await _release(world, 20)
    world.known = True
    began_us = world.since_us + S
    await world.run(until=lambda: world.serves() == "1")
    world.pass_time(2)
    await world.agent.receive(world.failing("1", began_us))
    await world.run()
    assert [each.state for each in world.incidents()] == ["resolved", "escalated"]


async def test_a_service_that_fell_ill_only_after_the_release_is_a_failure_of_its_rollback() -> None:
    world = Failing()
    await _release(world, 0)
    await world.run(until=lambda: world.serves() == "1")
    world.since_us = world.clock.now_us()
    world.pass_time(6)
    await world.agent.receive(world.failing("1", world.clock.now_us() - 4 * S))
    await world.run()
    (incident,) = world.incidents()
    assert (incident.state, incident.version, incident.cause) == ("escalated", "1", "serving_problem")
    (action,) = world.journal.state.actions.values()
    assert (action.state, "version 1 is ill, too" in action.outcome) == ("failed", True)


SLOW = Evidence(measure="latency_p95_ms", value=480.0, reference=110.0, threshold=220.0, rows=500, effect=5)


@pytest.mark.parametrize("known", [False, True])
async def test_a_service_that_falls_ill_while_something_else_is_cured_is_told_once(known: bool) -> None:
    world = World()
    await world.healthy_release()
    if known:
        await world.agent.receive(_slow(world, "first"))
        await world.run()
    world.registry.add(MODEL, "2", "bad")
    world.ill.add((MODEL, "2"))
    await world.deploy("2")
    world.pass_time(6)
    now_us = world.clock.now_us()
    await world.agent.receive(alert(at_us=now_us, change_us=now_us - 6 * S))
    await world.run(until=lambda: world.serves() == "1")
    await world.agent.receive(_slow(world, "again"))
    await world.run()
    found = [(each.state, each.cause, each.version) for each in world.incidents()]
    told, cured = ("escalated", "serving_problem", "1"), ("resolved", "bad_release", "2")
    assert found == ([told, cured] if known else [cured, told])


async def test_a_service_that_is_left_to_people_is_not_told_again_by_the_next_release() -> None:
    world = World()
    await world.healthy_release()
    for version in ("2", "3"):
        world.registry.add(MODEL, version, "bad")
        world.ill.add((MODEL, version))
        await world.deploy(version)
        world.pass_time(6)
        now_us = world.clock.now_us()
        await world.agent.receive(alert(version=version, at_us=now_us, change_us=now_us - 6 * S))
        await world.run(until=lambda: world.serves() == "1")
        await world.agent.receive(_slow(world, f"after {version}"))
        await world.run()
    told = [(each.cause, each.version) for each in world.incidents()]
    assert told == [("bad_release", "2"), ("serving_problem", "1"), ("bad_release", "3")]


async def test_a_service_that_was_cured_is_not_told_again_before_its_all_clear() -> None:
    world = World()
    await world.healthy_release()
    now_us = world.clock.now_us()
    cured = Incident(
        id="own", model=MODEL, version="1", state="verifying", change_us=now_us, opened_us=now_us
    )
    with world.journal.transaction() as unit:
        unit.add_incident(cured, actor="agent")
        unit.link_alerts([Link(alert=_slow(world, "cured"), incident_id=cured.id)])
        assert open_what_remains(unit, cured, now_us=now_us, hold_s=3_600) is None


def test_what_was_ill_before_is_found_however_many_windows_and_features_came_since() -> None:
    world = World()
    world.clock.advance(100)
    released_us = world.clock.now_us()
    more: dict[str, Any] = {"axis": "event", "measure": "missing_rate"}
    world.record(point("1", end_us=released_us, value=0.1, breach=True, **more))
    world.record(point("2", end_us=released_us + 10 * S, value=0.3, breach=True, **more))
    for later in range(10_000):
        world.record(point("1", end_us=released_us + 20 * S + later, value=0.0, feature="age", **more))
    incident = Incident(id="i", model=MODEL, version="2", change_us=released_us, opened_us=released_us)
    deployments, acted_us = _deployments(released_us), released_us + 20 * S
    with world.journal.reading() as unit:
        known = lines(unit, incident, deployments, "1", acted_us=acted_us, history_s=3_600)
    assert known.keys() == {"missing_rate"}


def _deployments(released_us: int) -> list[Desired]:
    return [
        Desired(model=MODEL, version=each, digest=each, epoch=at, decided_by="d", reason="r", at_us=at)
        for each, at in (("1", 1), ("2", released_us))
    ]


def _slow(world: World, name: str) -> Alert:
    now_us = world.clock.now_us()
    return alert(
        "data_quality", version="1", at_us=now_us, change_us=now_us - 2 * S, evidence=(SLOW,), name=name
    )


@pytest.mark.parametrize(
    ("before", "ill", "in_order", "out_of_order"),
    [(0.1, 0.3, 0.19, 0.21), (0.14, 0.19, 0.27, 0.3), (0.002, 0.008, 0.011, 0.013)],
    ids=["made worse", "as before", "hardly any"],
)
def test_what_a_release_took_of_a_service_has_to_come_back_and_no_more(
    before: float, ill: float, in_order: float, out_of_order: float
) -> None:
    world = Failing()
    world.clock.advance(100)
    released_us = world.clock.now_us()
    deployments = _deployments(released_us)
    for version, value, at_us in (("1", before, released_us), ("2", ill, released_us + 10 * S)):
        more: dict[str, Any] = {"axis": "event", "measure": "error_rate", "breach": True}
        world.record(point(version, end_us=at_us, value=value, **more))
    incident = Incident(id="i", model=MODEL, version="2", change_us=released_us, opened_us=released_us)
    with world.journal.reading() as unit:
        known = lines(unit, incident, deployments, "1", acted_us=released_us + 20 * S, history_s=3_600)
    for value, expected in ((in_order, True), (out_of_order, False)):
        after = point("1", end_us=released_us + 40 * S, value=value, axis="event", measure="error_rate")
        assert as_before(after, known) is expected


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        (["error_rate"], True),
        (["error_rate", "missing_rate"], True),
        (["error_rate", "latency_p95_ms"], False),
        ([], False),
    ],
)
def test_an_alert_is_of_what_was_ill_before_only_if_all_that_it_names_is(
    measures: list[str], expected: bool
) -> None:
    """A request without an answer has failed: both measures say the same, and only one of them may have points."""
    shown = tuple(replace(SLOW, measure=each) for each in measures)
    told = alert("data_quality", version="1", at_us=60 * S, evidence=shown)
    assert is_lasting(told, {"error_rate": 0.2}) is expected
