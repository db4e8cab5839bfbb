"""What the console shows of an incident that is long, or that ended without a cure."""

from collections.abc import Iterator

import httpx
import pytest
from msgspec.structs import replace

from db.points import SqlRecordStore
from detectors.values import MetricPoint
from remediation.approvals import decide
from remediation.silences import Link
from remediation.switches import PAUSE, Switch
from remediation.values import AuditEntry
from serving import words
from serving.console import add_console
from serving.console.charts import LARGE, draw
from serving.console.history import SHOWN, around, thinned
from tests.api.api_world import MODEL, SECOND_US, START_US, World, alert
from tests.api.conftest import Serve
from tests.patience import PATIENCE_S


@pytest.fixture
def console(world: World, serve: Serve) -> Iterator[httpx.Client]:
    """A client of the console."""
    app = world.app()
    add_console(app, world.services())
    with serve(app) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield client


@pytest.mark.parametrize(
    ("measure", "shown"),
    [
        ("late_share", "33.3 %"),
        ("duplicate_share", "33.3 %"),
        ("large_error_share", "33.3 %"),
        ("class_recall", "33.3 %"),
        ("new_category_rate", "33.3 %"),
        ("estimated_accuracy", "33.3 %"),
        ("event_age_s", "0.333"),
        ("score_wasserstein", "0.333"),
    ],
)
def test_shares_are_told_in_percent(measure: str, shown: str) -> None:
    assert words.number(measure, 1 / 3) == shown


def _accuracy(place: int, end_us: int, value: float) -> MetricPoint:
    return MetricPoint(
        id=f"p{place}",
        model=MODEL,
        version="2",
        axis="label",
        window=f"p{place}",
        start_us=end_us - SECOND_US,
        end_us=end_us,
        rows=100,
        measure="accuracy",
        value=value,
        threshold=0.85,
        verdict="ok" if value > 0.85 else "breach",
    )


def test_a_long_incident_keeps_its_drop(ill: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether all of its windows are read, or those of each slice of its time."""
    with ill.journal.reading() as unit:
        incident = unit.incident("inc-1")
    assert incident is not None
    windows = [
        _accuracy(place, incident.change_us + place * 60 * SECOND_US, 0.9 if place < 0 else 0.7)
        for place in range(-300, 900)
    ]
    ill.records.upsert_points(windows)
    now_us = incident.change_us + 900 * 60 * SECOND_US
    for read in (4_000, 150):
        monkeypatch.setattr("serving.console.history._READ", read)
        shown = around(ill.records, incident, "accuracy", now_us=now_us)
        assert len(shown) <= SHOWN
        before = [each for each in shown if each.end_us < incident.change_us]
        assert len(before) >= 20
        assert {each.verdict for each in before} == {"ok"}
        assert shown[-1].end_us == windows[-1].end_us
        assert shown == sorted(shown, key=lambda each: each.end_us)
    closed = replace(incident, closed_us=incident.change_us + 60 * 60 * SECOND_US)
    later = around(ill.records, closed, "accuracy", now_us=now_us)
    assert later[-1].end_us < incident.change_us + 100 * 60 * SECOND_US


def test_what_crossed_its_threshold_is_not_thinned_away() -> None:
    windows = [_accuracy(place, place * SECOND_US, 0.7 if place == 501 else 0.9) for place in range(1_000)]
    shown = thinned(windows)
    assert (len(shown), shown[-1]) == (SHOWN, windows[-1])
    assert [each.window for each in shown if each.verdict == "breach"] == ["p501"]


def test_what_explains_an_alert_is_named_and_not_told_again(console: httpx.Client, ill: World) -> None:
    moved = replace(
        alert(2, START_US - 60 * SECOND_US), kind="data_drift", axis="event", reason="income moved"
    )
    ill.records.upsert_alerts([moved])
    with ill.journal.transaction() as unit:
        unit.link_alerts([Link(alert=moved, incident_id="inc-1")])
    page = console.get("/incidents/inc-1").text
    assert "the data drift alert of 11:05:40</td>" in page


def test_one_window_is_told_as_one() -> None:
    found = draw("accuracy", [_accuracy(1, START_US, 0.9)], LARGE)
    assert found is not None
    assert "Accuracy is 90.0 % in the newest of 1 window shown" in found.svg


def test_a_model_that_was_left_ill_leads_to_its_incident(console: httpx.Client, world: World) -> None:
    plan = world.fall_ill()
    with world.journal.transaction() as unit:
        incident = unit.incident("inc-1")
        assert incident is not None
        ended = replace(incident, state="rejected", closed_us=START_US)
        unit.save_incident(ended, expected="awaiting_approval", actor="agent", why="rejected by mira")
    decide(
        world.journal,
        world.clock,
        "apr-1-1",
        "reject",
        plan_hash=plan.hash,
        by="mira",
        reason="known",
        channel="cli",
    )
    card = console.get("/").text.split('id="models"')[1].split("</article>")[0]
    assert "Ill, and left so" in card
    assert f"Ill since {words.moment(incident.change_us)}, left so by mira" in card
    assert 'href="/incidents/inc-1"' in card
    cleared = replace(alert(1, START_US), id="alert-over", state="cleared")
    SqlRecordStore(world.engine).upsert_alerts([cleared])
    assert "Ill since" not in console.get("/").text


def test_the_plans_stand_above_the_evidence(console: httpx.Client, world: World) -> None:
    world.fall_ill()
    page = console.get("/incidents/inc-1").text
    assert page.index('id="plans"') < page.index('id="causes"') < page.index('id="evidence"')


def test_that_actions_are_paused_stands_out(console: httpx.Client, world: World) -> None:
    world.fall_ill()
    switch = Switch(name=PAUSE, on=True, by="mira", at_us=START_US, reason="a migration.")
    with world.journal.transaction() as unit:
        unit.set_switch(switch, actor="mira")
    page = console.get("/").text
    assert 'class="note paused" role="status"' in page
    assert "a migration. Go on with <code>homeostat agent resume --reason" in page


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("snoozed-1795000000000000", "People were told (mail): the ticket was snoozed"),
        ("snooze-1795000000000000", "People were told (mail): the snooze is over"),
        ("votes-1", "People were told (mail): another person has consented"),
        ("reminder-2", "People were told (mail): a reminder"),
        ("escalation-0", "People were told (mail): nobody has answered, escalation"),
        ("approval_requested", "People were told (mail): a decision is needed"),
    ],
)
def test_messages_are_told_without_the_keys_of_machines(kind: str, told: str) -> None:
    entry = AuditEntry(
        id="e",
        at_us=START_US,
        actor="agent",
        action="notification.sent",
        subject="apr-1-1",
        detail={"kind": kind, "channel": "mail"},
    )
    assert words.told(entry)[0] == told


@pytest.mark.parametrize(
    ("action", "detail", "told"),
    [
        ("model.registered", {"reason": "CI run 7"}, "Version 7 registered: CI run 7"),
        ("model.signed", {"reason": "looked at"}, "Version 7 signed: looked at"),
        ("model.sign_intended", {"reason": "looked at"}, "Version 7 is about to be signed: looked at"),
        ("model.sign_failed", {"why": "no such key"}, "Version 7 could not be signed: no such key"),
        ("model.promoted", {"version": "7", "reason": "go"}, "Version 7 promoted: go"),
    ],
)
def test_a_version_that_was_registered_or_signed_is_not_told_to_serve(
    action: str, detail: dict[str, str], told: str
) -> None:
    entry = AuditEntry(id="a-1", at_us=0, actor="mira", action=action, subject="churn/7", detail=detail)
    assert words.told(entry)[0] == told
