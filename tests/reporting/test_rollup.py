"""What the report says about what the database knows."""

import csv
import io
from pathlib import Path

import pytest
from msgspec.structs import replace
from report_world import MODEL, PATIENT, SECOND_US, World, at, empty_world, lived_world

from db.audit.verify import VerifyReport
from detectors.values import Accounting, Alert, MetricPoint
from remediation.values import Approval, Incident, Plan
from reporting.measures import effect
from reporting.render import render_html
from reporting.rollup import collect
from reporting.tables import csv_tables
from reporting.values import ReportData

INTACT = VerifyReport(ok=True, entries=3, problems=[], checkpoints=1)


def made(world: World, audit: VerifyReport = INTACT) -> ReportData:
    return collect(world.journal, world.records, audit, since_us=at(0), until_us=at(3_000), now_us=at(3_000))


def test_events_of_no_model_are_no_model_and_still_told(tmp_path: Path) -> None:
    world = lived_world(tmp_path)
    before = made(world)
    assert before.unnamed.events == 0
    assert "_unknown" not in csv_tables(before)["accounting.csv"].decode()
    assert "no model could be named" not in render_html(before)
    counts = Accounting(model="_unknown", stage="gate", partition=0, received=1_200, deadlettered=1_200)
    world.records.upsert_accounting([counts])
    after = made(world)
    assert [model.model for model in after.models] == [MODEL]
    assert (after.light, after.verdict) == (before.light, before.verdict)
    assert "_unknown,predictions,deadlettered,1200" in csv_tables(after)["accounting.csv"].decode()
    told = render_html(after)
    assert "Events that no model could be named for" in told
    assert "1,200 so far" in told


def test_two_cured_incidents_make_a_healthy_verdict(report: ReportData) -> None:
    assert report.light == "ok"
    assert report.verdict == (
        f"{MODEL} is healthy. 2 incidents in this period, all resolved. The audit log is intact (214 entries)."
    )
    assert report.asks == ("Nothing: this report is for your information.",)
    (model,) = report.models
    assert {check.area: check.light for check in model.checks} == {
        "Performance": "ok",
        "Input drift": "ok",
        "Output drift": "ok",
        "Data quality": "ok",
        "Accounting": "ok",
    }
    assert [change.version for change in model.changes] == ["1", "2", "1", "3"]
    assert {(one.measure, one.version) for one in model.series} >= {("accuracy", "1"), ("auc", "3")}


def test_an_incident_tells_its_times_its_approver_and_its_cure(report: ReportData) -> None:
    release, shift = report.incidents
    assert (release.incident.cause, shift.incident.cause) == ("bad_release", "population_shift")
    assert release.approval is not None
    assert release.approval.decided_by == "mira"
    times = release.detect_s, release.approve_s, release.act_s, release.recover_s
    assert times == pytest.approx((41.5, 49.5, 45.4, 178.6))
    for story, during in ((release, 0.71), (shift, 0.83)):
        assert story.before is not None
        assert story.during is not None
        assert story.after is not None
        assert story.before.accuracy == pytest.approx(0.955, abs=0.01)
        assert story.during.accuracy == pytest.approx(during, abs=0.015)
        assert story.after.accuracy == pytest.approx(0.955, abs=0.01)


def test_the_time_after_an_incident_ends_where_the_next_begins(report: ReportData) -> None:
    release = report.incidents[0]
    assert release.after is not None
    assert release.after.rows == 500 * 18  # windows of 40 s between 761 s and 1,500 s


def test_deltas_compare_both_ends_and_the_worst(report: ReportData) -> None:
    accuracy = report.models[0].deltas[0]
    assert accuracy.measure == "accuracy"
    assert accuracy.worst < 0.73 < 0.94 < accuracy.start
    assert accuracy.now > 0.94
    assert (accuracy.rows_start, accuracy.threshold) == (1_500, 0.91)


def test_the_shifted_features_lead_the_drift(report: ReportData) -> None:
    drifts = report.models[0].drifts
    assert {one.feature for one in drifts[: len(PATIENT)]} == set(PATIENT)
    assert all(one.effect > 1 for one in drifts[: len(PATIENT)])
    assert all(one.effect < 1 for one in drifts[len(PATIENT) :])
    assert all(one.latest_effect is not None and one.latest_effect < 1 for one in drifts)


def test_data_quality_counts_the_windows_beyond(report: ReportData) -> None:
    (found,) = report.models[0].quality
    assert (found.feature, found.measure, found.breaches) == ("worst area", "out_of_range_rate", 4)
    assert report.models[0].undefined == {"no value repeats": 1}


def test_an_empty_database_is_a_report_too(tmp_path: Path) -> None:
    data = made(empty_world(tmp_path), VerifyReport(ok=True, entries=0, problems=[]))
    assert (data.light, data.models, data.incidents) == ("none", (), ())
    assert data.verdict == "Nothing was measured in this period. No incident in this period."


def test_a_pending_ticket_is_asked_of_the_reader(tmp_path: Path) -> None:
    world = lived_world(tmp_path)
    incident = Incident(id="inc-9", model=MODEL, version="3", change_us=at(2_300), opened_us=at(2_310))
    plan = Plan(
        id="plan-9",
        incident_id="inc-9",
        action="rollback",
        model=MODEL,
        from_version="3",
        from_digest="",
        to_version="1",
        to_digest="",
        epoch=5,
    )
    ticket = Approval(
        id="apr-9",
        plan_id=plan.id,
        plan_hash=plan.hash,
        incident_id="inc-9",
        model=MODEL,
        requested_us=at(2_320),
        expires_us=at(5_920),
    )
    with world.journal.transaction() as unit:
        unit.add_incident(replace(incident, state="awaiting_approval"), actor="agent")
        unit.add_plan(plan, ticket, actor="agent")
    data = made(world)
    assert data.light == "act"
    assert data.asks == (
        f"Decide on ticket apr-9 before 2026-11-21 09:38:40: rollback {MODEL} from version 3 to version 1.",
    )
    assert [one.approval.id for one in data.waiting] == ["apr-9"]
    assert "3 incidents in this period: 2 resolved, 1 still open." in data.verdict


def test_an_escalated_incident_and_a_changed_log_are_asked_of_the_reader(tmp_path: Path) -> None:
    world = lived_world(tmp_path)
    with world.journal.transaction() as unit:
        for number, (opened_s, closed_s) in enumerate(((2_310, 2_350), (-9_000, -8_000)), start=8):
            incident = Incident(
                id=f"inc-{number}",
                model=MODEL,
                version="3",
                state="escalated",
                change_us=at(opened_s),
                opened_us=at(opened_s),
                closed_us=at(closed_s),
                outcome="the candidate failed its gate.",
            )
            unit.add_incident(incident, actor="agent")
    data = made(world, VerifyReport(ok=False, entries=3, problems=["Entry 2 was edited"]))
    assert data.light == "act"
    assert "The audit log is NOT intact." in data.verdict
    assert data.asks == (
        f"Look at incident inc-8 of {MODEL}, which could not be cured automatically: the candidate failed its gate.",
        "Have the audit log examined: Entry 2 was edited",
    )


def test_an_alarm_of_the_serving_version_turns_the_light(tmp_path: Path) -> None:
    world = lived_world(tmp_path)
    alert = Alert(
        id="al-now",
        model=MODEL,
        version="3",
        kind="data_quality",
        state="firing",
        axis="event",
        window="w",
        start_us=at(2_300),
        end_us=at(2_360),
        change_us=at(2_300),
        rows=900,
        reason="chol is missing in 40 % of the rows",
    )
    world.records.upsert_alerts([alert, replace(alert, id="al-old", version="2")])
    data = made(world)
    quality = data.models[0].checks[3]
    assert (quality.light, data.models[0].light, data.light) == ("act", "act", "act")
    assert quality.told == "Alarm since 2026-11-21 08:38:20: chol is missing in 40 % of the rows"


def test_lost_events_are_watched(tmp_path: Path) -> None:
    world = empty_world(tmp_path)
    world.records.upsert_accounting(
        [Accounting(model="m", stage="profile", partition=0, received=10, profiled=7)]
    )
    data = made(world)
    assert data.light == "watch"
    assert data.models[0].checks[-1].told == "3 events without an account: on the way, or lost."
    assert data.asks[0].endswith("find out where 3 events of m went.")


def test_an_effect_is_told_in_thresholds() -> None:
    point = MetricPoint(
        id="p",
        model="m",
        version="1",
        axis="label",
        window="w",
        start_us=0,
        end_us=1,
        rows=9,
        measure="accuracy",
        value=0.8,
        reference=0.95,
        threshold=0.9,
    )
    assert effect(point) == pytest.approx(3.0)
    assert effect(replace(point, value=0.99)) == 0.0
    assert effect(replace(point, value=None)) == 0.0
    assert effect(replace(point, measure="psi", reference=None, threshold=0.2, value=0.1)) == pytest.approx(
        0.5
    )


def test_an_empty_period_is_refused(tmp_path: Path) -> None:
    world = empty_world(tmp_path)
    with pytest.raises(ValueError, match="since_us must be before until_us"):
        collect(world.journal, world.records, INTACT, since_us=5, until_us=5, now_us=SECOND_US)


def test_csv_files_hold_every_row_and_no_formula(report: ReportData) -> None:
    evil = replace(report.points[0], feature="=cmd()", value=-0.5)
    tables = csv_tables(replace(report, points=(evil, *report.points[1:])))
    rows = list(csv.DictReader(io.StringIO(tables["points.csv"].decode())))
    assert len(rows) == len(report.points)
    assert (rows[0]["feature"], rows[0]["value"]) == ("'=cmd()", "-0.5")
    assert rows[1]["end_utc"].startswith("2026-11-21T08:")
    incidents = list(csv.DictReader(io.StringIO(tables["incidents.csv"].decode())))
    assert [one["decided_by"] for one in incidents] == ["mira", "jonas"]
    accounts = list(csv.DictReader(io.StringIO(tables["accounting.csv"].decode())))
    assert {"model": MODEL, "equation": "labels", "count": "joined", "events": "29680"} in accounts
