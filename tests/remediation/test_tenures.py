"""A version that scored beside another one: whose windows count for what."""

from typing import Any

import pytest
from msgspec.structs import replace

from detectors.values import MetricPoint
from remediation.config import AgentConfig
from remediation.observed import Observer
from remediation.silences import Link
from remediation.tenures import began_us, only_scored, shadowed_before
from remediation.values import Arrangement, Desired, Incident
from remediation.verification import Observed, verify
from tests.remediation.fake_journal import FakeJournal
from tests.remediation.fakes import Faults, ManualClock, S, digest_of
from tests.remediation.world import MODEL, alert, point

CONFIG = AgentConfig(alerts_topic="a", acknowledgements_topic="b", desired_topic="c")
CHANGE_S, SHADOW_S, SHARE_S, ALL_S = 1_000, 1_100, 1_200, 1_300
BESIDE = Arrangement(shadows=("2",), digests={"2": digest_of(b"2")})
SHARED = Arrangement(shares={"2": 0.1}, digests={"2": digest_of(b"2")})
DECIDED: tuple[tuple[str, int, Arrangement], ...] = (
    ("1", 0, Arrangement()),
    ("1", SHADOW_S, BESIDE),
    ("1", SHARE_S, SHARED),
    ("2", ALL_S, Arrangement()),
)


def decided(*which: tuple[str, int, Arrangement]) -> list[Desired]:
    return [
        Desired(
            model=MODEL,
            version=version,
            digest=digest_of(version.encode()),
            epoch=epoch,
            decided_by="ada",
            reason="because",
            at_us=at_s * S,
            arrangement=arrangement,
        )
        for epoch, (version, at_s, arrangement) in enumerate(which, 1)
    ]


def windows(version: str, axis: Any, first_s: int, end_s: int, value: float) -> list[MetricPoint]:
    every = range(first_s + 10, end_s + 1, 10)
    return [
        point(version, end_us=at * S, value=value, axis=axis, measure="accuracy", length_s=10) for at in every
    ]


def observer_of(
    deployments: list[Desired], points: list[MetricPoint]
) -> tuple[Observer, Any, Incident, Desired]:
    journal = FakeJournal(ManualClock(), Faults())
    for each in deployments:
        with journal.transaction() as unit:
            assert unit.set_desired(each, expected_epoch=each.epoch - 1, actor="ada")
    journal.state.points.extend(points)
    ill = Incident(id="i", model=MODEL, version="1", change_us=CHANGE_S * S, opened_us=(CHANGE_S + 50) * S)
    with journal.transaction() as unit:
        unit.add_incident(ill, actor="agent")
        told = alert(version="1", at_us=(CHANGE_S + 10) * S, change_us=CHANGE_S * S)
        unit.link_alerts([Link(alert=told, incident_id=ill.id)])
    return Observer(CONFIG, CONFIG.verification, {}), journal, ill, deployments[-1]


ILLNESS = [*windows("1", "label", 500, CHANGE_S, 0.95), *windows("1", "label", CHANGE_S, SHADOW_S, 0.70)]


def test_who_answered_when() -> None:
    deployments = decided(*DECIDED)
    assert [only_scored(deployments, "2", at * S) for at in (50, 1_150, 1_250, 1_350)] == [
        False,
        True,
        False,
        False,
    ]
    assert not only_scored(deployments, "1", 1_150 * S)
    assert [shadowed_before(deployments, "2", epoch) for epoch in (2, 3)] == [False, True]
    assert began_us(deployments, "2", 2) == SHARE_S * S
    assert began_us(deployments, "2", 4) == ALL_S * S
    assert began_us(deployments, "3", 1) is None


@pytest.mark.parametrize(("value", "outcome"), [(0.95, "pass"), (0.70, "fail"), (0.825, "inconclusive")])
def test_a_shadow_is_judged_by_the_labels_of_what_it_scored(value: float, outcome: str) -> None:
    points = [*ILLNESS, *windows("2", "event", SHADOW_S, SHARE_S, value)]
    observer, journal, ill, desired = observer_of(decided(*DECIDED[:2]), points)
    with journal.reading() as unit:
        found = observer.of_shadow(unit, ill, desired, "2")
    assert found.segments[0].since.windows == 10
    assert verify(found, CONFIG.verification).outcome == outcome


def test_a_constant_that_is_answered_keeps_no_shadow_from_being_judged() -> None:
    points = [*ILLNESS, *windows("2", "event", SHADOW_S, SHARE_S, 0.95)]
    observer, journal, ill, desired = observer_of(decided(*DECIDED[:2]), points)
    constant = replace(desired.arrangement, constant=0.5)
    with journal.reading() as unit:
        found = observer.of_shadow(unit, ill, replace(desired, arrangement=constant), "2")
    assert verify(found, CONFIG.verification).outcome == "pass"


def _of_all(value_as_shadow: float, value_since: float) -> Observed:
    """Version 2 was a shadow, had a share, and answers all now."""
    points = [
        *ILLNESS,
        *(
            each
            for axis in ("label", "event")
            for each in windows("2", axis, SHADOW_S, SHARE_S, value_as_shadow)
        ),
        *(
            each
            for axis in ("label", "event")
            for each in windows("2", axis, SHARE_S, ALL_S + 100, value_since)
        ),
    ]
    observer, journal, ill, desired = observer_of(decided(*DECIDED[:3]), points)
    with journal.reading() as unit:
        return observer.of_share(unit, ill, desired, "2", 2)


def test_what_it_did_as_a_shadow_is_no_proof_of_what_it_answers() -> None:
    assert verify(_of_all(0.95, 0.70), CONFIG.verification).outcome == "fail"
    assert verify(_of_all(0.70, 0.95), CONFIG.verification).outcome == "pass"


def test_what_a_shadow_scored_before_an_illness_does_not_say_what_healthy_is() -> None:
    beside = [each for at in range(500, CHANGE_S, 10) for each in windows("2", "label", at, at + 10, 0.99)]
    points = [*windows("1", "label", 500, CHANGE_S, 0.95), *beside]
    deployments = decided(("1", 0, BESIDE), ("1", SHADOW_S, Arrangement()))
    observer, journal, ill, desired = observer_of(deployments, points)
    with journal.reading() as unit:
        found = observer.observe(unit, ill, desired)
    assert found.segments[0].before.tallies["accuracy"].mean == pytest.approx(0.95, abs=0.01)
