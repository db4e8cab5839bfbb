"""Which incident an alert belongs to: tables."""

from typing import Any

import pytest
from msgspec.structs import replace

from detectors.values import Alert, AlertKind, Evidence
from remediation.routing import route, still_firing
from remediation.values import Desired, Incident
from tests.remediation.fakes import S
from tests.remediation.world import MODEL, World, alert

CLOSED = Incident(
    id="inc-1",
    model=MODEL,
    version="2",
    state="resolved",
    change_us=100 * S,
    opened_us=110 * S,
    acted_us=130 * S,
    closed_us=150 * S,
)


def _desired(version: str) -> Desired:
    return Desired(
        model=MODEL, version=version, digest="d", epoch=3, decided_by="agent", reason="r", at_us=130 * S
    )


def _decision(
    incoming: Alert,
    closed: Incident | None = CLOSED,
    serving: str = "1",
    told: tuple[AlertKind, ...] = ("data_drift",),
    inhibit: bool = True,
) -> str:
    bare = {"evidence": ()} if told == ("volume",) else {}
    past = [alert(kind, version="2", at_us=112 * S, **bare) for kind in told]
    found = route(
        incoming,
        current=None,
        last_closed=closed,
        closed_alerts=lambda: past,
        desired=_desired(serving),
        now_us=200 * S,
        uncured_hold_s=3_600,
        inhibit=inhibit,
    )
    return found.decision


@pytest.mark.parametrize(
    ("version", "at_s", "change_s", "expected"),
    [
        ("2", 190, 160, "attach"),  # the version no longer serves
        ("1", 149, 141, "attach"),  # known before the end, arrived late
        ("1", 155, 120, "attach"),  # its change lies before version 1 came back
        ("1", 155, 141, "open"),  # reaches beyond the end: nobody would ever tell it again
        ("1", 190, 180, "open"),
    ],
)
def test_after_a_resolved_incident(version: str, at_s: int, change_s: int, expected: str) -> None:
    late = alert("data_drift", version=version, at_us=at_s * S, change_us=change_s * S)
    assert _decision(late) == expected


def test_a_late_window_of_the_ill_version_that_still_serves_is_attached() -> None:
    escalated = Incident(**{**_fields(CLOSED), "state": "escalated"})
    late = alert("performance", version="2", at_us=152 * S, change_us=140 * S)
    assert _decision(late, escalated, serving="2") == "attach"


@pytest.mark.parametrize(
    ("kind", "expected"), [("prediction_drift", "attach"), ("data_drift", "attach"), ("performance", "open")]
)
def test_an_uncured_illness_hides_nothing_that_is_graver(kind: AlertKind, expected: str) -> None:
    escalated = Incident(**{**_fields(CLOSED), "state": "escalated"})
    assert _decision(alert(kind, version="2", at_us=190 * S), escalated, serving="2") == expected


@pytest.mark.parametrize(("inhibit", "expected"), [(True, "attach"), (False, "open")])
def test_what_an_uncured_illness_explains_is_not_told_again(inhibit: bool, expected: str) -> None:
    escalated = Incident(**{**_fields(CLOSED), "state": "escalated"})
    worse = alert("performance", version="2", at_us=190 * S, change_us=108 * S)
    assert _decision(worse, escalated, serving="2", told=("data_quality",), inhibit=inhibit) == expected


def test_an_uncured_illness_is_told_again_after_a_while() -> None:
    old = Incident(**{**_fields(CLOSED), "state": "escalated", "closed_us": 150 * S - 3_600 * S})
    assert _decision(alert("data_drift", version="2", at_us=190 * S), old, serving="2") == "open"


def test_without_a_past() -> None:
    assert _decision(alert(version="1", at_us=190 * S), None) == "open"
    assert _decision(alert(version="2", at_us=190 * S), None) == "keep"
    assert _decision(alert(version="1", at_us=190 * S, state="cleared"), None) == "keep"
    assert _decision(alert(version="1", at_us=190 * S, state="cleared")) == "attach"


def test_still_firing_takes_the_last_word_of_each_series() -> None:
    first, second = alert(at_us=10 * S), alert(at_us=20 * S, state="cleared")
    other = alert("data_drift", at_us=15 * S)
    assert still_firing([second, other, first]) == [other]
    assert still_firing([first, other], version="3") == []


async def test_alerts_of_one_model_share_one_incident_and_come_once() -> None:
    world = World()
    opening = await world.bad_release()
    later = alert("data_drift", at_us=opening.end_us + S, change_us=opening.change_us - 9 * S)
    for each in (opening, opening, later, opening):
        await world.agent.receive(each)
    (incident,) = world.incidents()
    assert incident.severity == "critical"
    assert incident.change_us == opening.change_us - 9 * S
    assert len(world.journal.state.alerts) == 2


async def test_after_the_cure_old_windows_are_attached_and_a_new_illness_is_new() -> None:
    world = World()
    opening = await world.bad_release()
    await world.agent.receive(opening)
    await world.run()
    await world.agent.receive(alert("data_drift", version="2", at_us=world.clock.now_us()))
    assert len(world.incidents()) == 1
    world.pass_time(30)
    await world.agent.receive(alert("data_drift", version="1", at_us=world.clock.now_us()))
    assert [each.version for each in world.incidents()] == ["2", "1"]


def _fields(incident: Incident) -> dict[str, object]:
    return {name: getattr(incident, name) for name in incident.__struct_fields__}


SILENT = alert("volume", version="1", at_us=190 * S, change_us=160 * S, evidence=())


@pytest.mark.parametrize("closed", [None, CLOSED], ids=["first", "after another"])
def test_a_silence_is_told_though_another_version_serves_than_the_one_that_spoke_last(
    closed: Incident | None,
) -> None:
    assert _decision(SILENT, closed, serving="2") == "open"
    slow = alert("data_quality", version="1", at_us=190 * S, change_us=160 * S)
    assert _decision(slow, closed, serving="2") == ("attach" if closed else "keep")


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("state", ["resolved", "escalated"])
def test_no_illness_of_a_model_swallows_a_silence_that_began_before_its_end(version: str, state: str) -> None:
    """The other version serves by now; what an uncured incident left is explained by that of its own version only."""
    late = alert("volume", version=version, at_us=190 * S, change_us=140 * S, evidence=())
    late = replace(late, start_us=140 * S)
    expected = "attach" if (version, state) == ("2", "escalated") else "open"
    assert _decision(late, replace(CLOSED, state=state, acted_us=None), serving="1") == expected


def test_a_silence_that_people_were_told_of_is_not_told_again_for_another_version() -> None:
    left = replace(CLOSED, state="escalated", acted_us=None)
    late = alert("volume", version="1", at_us=190 * S, change_us=170 * S, evidence=())
    assert _decision(late, left, told=("volume",)) == "attach"
    assert _decision(late, left, told=("performance",)) == "open"


def test_a_silence_ends_when_another_version_is_asked() -> None:
    over = alert("volume", version="2", at_us=200 * S, state="cleared", evidence=())
    assert still_firing([SILENT], "2") == still_firing([SILENT], "1") == [SILENT]
    assert still_firing([SILENT, over], "1") == []


def test_what_was_gone_back_to_in_vain_is_told_to_be_ill() -> None:
    """Of a cure that was proven, what began before it is history; of one that failed it is the illness that goes on."""
    back = alert("performance", version="1", at_us=160 * S, change_us=120 * S)
    assert _decision(back, CLOSED) == "attach"
    assert _decision(back, replace(CLOSED, state="escalated")) == "open"


@pytest.mark.parametrize("told_first", [True, False])
async def test_a_version_that_is_released_into_a_silence_does_not_cure_it(told_first: bool) -> None:
    world = World()
    await world.healthy_release()
    world.registry.add(MODEL, "2", "good")
    told = alert(
        "volume",
        version="1",
        at_us=world.clock.now_us(),
        change_us=world.clock.now_us() - 600 * S,
        evidence=(),
    )
    if told_first:
        await world.agent.receive(told)
    await world.deploy("2")
    if not told_first:
        await world.agent.receive(told)
    await world.run()
    (incident,) = world.incidents()
    assert (incident.state, incident.cause) == ("escalated", "traffic_change")
    assert incident.version == ("1" if told_first else "2")
    assert not world.journal.state.actions


SLOW = Evidence(measure="latency_p95_ms", value=480.0, reference=110.0, threshold=220.0, rows=500, effect=5)


@pytest.mark.parametrize(
    ("told", "state", "expected"),
    [
        ("data_drift", "resolved", "open"),
        ("slow", "resolved", "attach"),
        ("data_drift", "escalated", "attach"),
    ],
)
@pytest.mark.parametrize("version", ["1", "2"])
def test_a_slow_service_is_told_though_it_began_before_the_cure_of_something_else(
    told: str, state: Any, expected: str, version: str
) -> None:
    """The judge tells it once: what a cured illness of the inputs swallows, nobody hears of."""
    late = alert("data_quality", version=version, at_us=152 * S, change_us=120 * S, evidence=(SLOW,))
    evidence = (SLOW,) if told == "slow" else None
    kind: AlertKind = "data_quality" if told == "slow" else "data_drift"
    past = [alert(kind, version="2", at_us=112 * S, evidence=evidence)]
    found = route(
        late,
        current=None,
        last_closed=replace(CLOSED, state=state, acted_us=130 * S if state == "resolved" else None),
        closed_alerts=lambda: past,
        desired=_desired(version),
        now_us=200 * S,
        uncured_hold_s=3_600,
    )
    assert found.decision == ("open" if (state, version) == ("escalated", "1") else expected)
