"""The REST API over a real database: lists, pages, decisions, errors."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.audit.merkle import verify_consistency
from db.audit.offline import verify_export
from remediation.values import Approval
from tests.api.api_world import MODEL, START_US, World

PROBLEM = "application/problem+json"


def decide(client: httpx.Client, verb: str, **body: Any) -> Any:
    return client.post(f"/api/v1/approvals/apr-1-1/{verb}", json={"by": "mira", **body})


def test_incidents_are_listed_with_the_keys_that_commands_show(client: httpx.Client) -> None:
    page = client.get("/api/v1/incidents", params={"state": "awaiting_approval", "model": MODEL}).json()
    assert page["next_cursor"] is None
    (incident,) = page["items"]
    assert {"id", "model", "state", "cause", "opened_at", "summary"} <= set(incident)
    assert incident["opened_at"] == "2026-11-18T11:05:40Z"
    assert client.get("/api/v1/incidents", params={"cause": "concept_shift"}).json()["items"] == []


def test_an_incident_has_its_plan_ticket_alerts_and_timeline(client: httpx.Client, ill: World) -> None:
    with ill.journal.reading() as unit:
        plan = unit.plan("plan-1-1")
    assert plan is not None
    ill.act(plan)
    detail = client.get("/api/v1/incidents/inc-1").json()
    assert detail["plans"][0]["hash"] == plan.hash
    assert detail["approvals"][0]["state"] == "pending"
    assert [step["name"] for step in detail["actions"][0]["steps"]] == ["decide", "acknowledge"]
    assert detail["alerts"][0]["evidence"][0]["measure"] == "accuracy"
    happened = [entry["what"] for entry in detail["timeline"]]
    assert happened[0] == "alert.firing"
    assert {
        "incident.awaiting_approval",
        "plan.proposed",
        "approval.requested",
        "action.awaiting_ack",
    } <= set(happened)
    assert [entry["at"] for entry in detail["timeline"]] == sorted(
        entry["at"] for entry in detail["timeline"]
    )


def test_pages_follow_one_another_without_gap_or_overlap(client: httpx.Client, ill: World) -> None:
    for number in range(2, 6):
        ill.fall_ill(number)
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        page = client.get(
            "/api/v1/incidents", params={"limit": 2} | ({"cursor": cursor} if cursor else {})
        ).json()
        seen += [each["id"] for each in page["items"]]
        cursor = page["next_cursor"]
    assert cursor is None
    assert sorted(seen) == [f"inc-{number}" for number in range(1, 6)]


@pytest.mark.parametrize("listing", ["incidents", "approvals", "actions"])
@pytest.mark.parametrize("cursor", ["?", "aW5jLW5vYm9keQ==", "é", "AAAA"])
def test_an_invented_cursor_is_told(client: httpx.Client, listing: str, cursor: str) -> None:
    answer = client.get(f"/api/v1/{listing}", params={"cursor": cursor})
    assert answer.status_code == 422
    assert "next_cursor" in answer.json()["detail"]


def test_approval_and_its_repetition(client: httpx.Client) -> None:
    ticket = client.get("/api/v1/approvals/apr-1-1").json()
    assert ticket["plan"]["to_version"] == "1"
    assert ticket["incident"]["id"] == "inc-1"
    first = decide(client, "approve", plan_hash=ticket["plan_hash"], reason="agreed", channel="cli")
    assert first.status_code == 200
    assert (first.json()["state"], first.json()["decided_by"], first.json()["channel"]) == (
        "approved",
        "mira",
        "cli",
    )
    again = decide(client, "approve", by="noor")
    assert (again.status_code, again.json()["decided_by"]) == (200, "mira")
    other = decide(client, "reject", reason="a campaign")
    assert other.status_code == 409
    assert other.headers["content-type"] == PROBLEM
    assert (other.json()["result"], other.json()["state"]) == ("already", "approved")
    assert "approved by mira" in other.json()["detail"]


def test_the_record_names_the_request_that_a_change_came_with(client: httpx.Client, ill: World) -> None:
    said = {"X-Request-Id": "3f2a-81.x_1"}
    client.post("/api/v1/approvals/apr-1-1/approve", json={"by": "mira"}, headers=said).raise_for_status()
    made = client.post("/api/v1/models/churn/promote", json={}, headers={"X-Request-Id": "no, thanks"})
    assert re.fullmatch("[0-9a-f]{32}", made.headers["x-request-id"])
    ill.sequence()
    entries = client.get("/api/v1/audit?subject=approval/apr-1-1").json()["items"]
    told = {each["action"]: each["detail"].get("request_id") for each in entries}
    assert told == {"approval.approved": "3f2a-81.x_1", "approval.requested": None}


def test_rejection_with_a_reason(client: httpx.Client) -> None:
    for said in ({}, {"reason": None}):
        assert decide(client, "reject", **said).status_code == 422
    answer = decide(client, "reject", reason="known campaign")
    assert (answer.json()["state"], answer.json()["reason"]) == ("rejected", "known campaign")
    (ticket,) = client.get("/api/v1/approvals", params={"state": "rejected"}).json()["items"]
    assert (ticket["id"], ticket["asks"]) == ("apr-1-1", "Roll back credit-risk from version 2 to 1")
    assert client.get("/api/v1/approvals", params={"state": "pending"}).json()["items"] == []


def test_a_decision_about_another_plan_is_refused(client: httpx.Client, ill: World) -> None:
    answer = decide(client, "approve", plan_hash="0" * 64)
    assert (answer.status_code, answer.json()["result"]) == (409, "hash_differs")
    with ill.journal.reading() as unit:
        approval = unit.approval("apr-1-1")
    assert isinstance(approval, Approval)
    assert approval.state == "pending"


def test_an_expired_ticket_is_told(client: httpx.Client, ill: World) -> None:
    ill.clock.at_us = START_US + 3_601 * 1_000_000
    answer = decide(client, "approve")
    assert (answer.status_code, answer.json()["result"], answer.json()["state"]) == (
        409,
        "expired",
        "expired",
    )


def test_models_versions_and_points(client: httpx.Client, ill: World) -> None:
    (model,) = client.get("/api/v1/models").json()["items"]
    told = {"model": MODEL, "version": "2", "epoch": 2, "versions": 2, "undefined": None}
    assert model == told | {"never_served": []}
    assert "_unknown" in client.get("/api/v1/accounting").json()["models"]
    detail = client.get(f"/api/v1/models/{MODEL}").json()
    assert [each["version"] for each in detail["registered"]] == ["1", "2"]
    assert [each["version"] for each in detail["deployments"]] == ["1", "2"]
    query = {"measure": "accuracy", "axis": "label", "limit": 3, "since": "2026-01-01T00:00:00Z"}
    points = client.get(f"/api/v1/models/{MODEL}/points", params=query).json()["items"]
    assert [point["value"] for point in points] == [0.713, 0.694, 0.702]
    ill.registry.away = True
    assert client.get(f"/api/v1/models/{MODEL}").json()["registry"] == "MLflow does not answer."
    assert client.get("/api/v1/models/nobody").status_code == 404


def test_what_was_only_registered_is_a_model_too(client: httpx.Client, ill: World) -> None:
    ill.registry.names |= {MODEL: ("1", "2", "3"), "brought": ("1",), "of-somebody-else": ()}
    page = client.get("/api/v1/models").json()
    assert page["registry"] == "ok"
    told = {
        each["model"]: (each["version"], each["versions"], each["never_served"]) for each in page["items"]
    }
    assert told == {MODEL: ("2", 2, ["3"]), "brought": (None, 0, ["1"])}
    assert client.get("/api/v1/models/brought").json()["never_served"] == ["1"]
    ill.registry.away = True
    page = client.get("/api/v1/models").json()
    assert page["registry"] == "MLflow does not answer."
    assert [(each["model"], each["never_served"]) for each in page["items"]] == [(MODEL, None)]


def test_promotion(client: httpx.Client, ill: World) -> None:
    body = {"version": "1", "by": "mira", "reason": "spring release"}
    answer = client.post(f"/api/v1/models/{MODEL}/promote", json=body)
    assert (answer.status_code, answer.json()["epoch"]) == (200, 3)
    assert ill.promoted == [{"model": MODEL, **body}]
    refused = client.post(f"/api/v1/models/{MODEL}/promote", json={**body, "version": "9"})
    assert refused.status_code == 409
    assert "registered are: 1, 2" in refused.json()["detail"]


def test_the_audit_log_is_listed_both_ways_and_verified(client: httpx.Client) -> None:
    everything = client.get("/api/v1/audit", params={"order": "asc", "limit": 500}).json()["items"]
    assert [entry["index"] for entry in everything] == list(range(len(everything)))
    assert {"index", "at", "actor", "action", "subject", "leaf_hash"} <= set(everything[0])
    for order in ("asc", "desc"):
        walked: list[int] = []
        cursor = None
        while True:
            query = {"order": order, "limit": 2} | ({"cursor": cursor} if cursor else {})
            page = client.get("/api/v1/audit", params=query).json()
            walked += [entry["index"] for entry in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert walked == sorted((entry["index"] for entry in everything), reverse=order == "desc")
    mine = client.get("/api/v1/audit", params={"actor": "mira", "action": "model.desired"}).json()["items"]
    assert len(mine) == 2
    assert client.get("/api/v1/audit/verify").json() == {
        "ok": True,
        "entries": len(everything),
        "problems": [],
        "notices": [],
    }


def test_the_audit_log_is_proven(client: httpx.Client, ill: World, tmp_path: Path) -> None:
    old = client.get("/api/v1/audit/checkpoint").json()
    size = int(old["checkpoint"].splitlines()[1])
    with ill.journal.transaction() as unit:
        unit.audit(actor="test", action="test.done", subject="test/1", detail={})
    ill.sequence()
    proof = client.get("/api/v1/audit/entries/2/proof").json()
    exported = tmp_path / "entry.jsonl"
    exported.write_text(f"{json.dumps(proof['statement'])}\n{json.dumps(proof['entry'])}\n")
    assert verify_export(exported, old["keys"][0]).problems == []
    by_id = client.get(f"/api/v1/audit/entries/{proof['entry']['entry']['id']}/proof").json()
    assert by_id == proof
    grown = client.get("/api/v1/audit/consistency", params={"old": size}).json()
    roots = [base64.b64decode(grown[when]["root"]) for when in ("old", "new")]
    assert old["checkpoint"].splitlines()[2] == grown["old"]["root"]
    path = [base64.b64decode(each) for each in grown["proof"]]
    assert verify_consistency(size, grown["new"]["size"], path, *roots)
    for missing in ("entries/999/proof", f"entries/{'0' * 32}/proof", "consistency?old=999"):
        answer = client.get(f"/api/v1/audit/{missing}")
        assert answer.status_code == 404, answer.text
    assert client.get("/api/v1/audit/entries/x/proof").status_code == 422
    with ill.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM audit_leaves WHERE idx = 1")
    assert "says where" in client.get("/api/v1/audit/entries/2/proof").json()["detail"]


def test_accounting_health_and_metrics(client: httpx.Client) -> None:
    accounts = client.get("/api/v1/accounting").json()
    assert accounts["closes"] is True
    assert accounts["models"][MODEL]["predictions"]["profiled"] == 9_000
    assert client.get("/api/v1/health").json() == {
        "status": "ok",
        "parts": {"kafka": "healthy", "agent": "healthy"},
    }
    assert client.get("/healthz").status_code == 200
    client.get("/api/v1/incidents/inc-1")
    text = client.get("/metrics").text
    assert f'homeostat_open_incidents{{model="{MODEL}"}} 1.0' in text
    assert "homeostat_pending_approvals 1.0" in text
    assert f'homeostat_events{{account="profiled",model="{MODEL}"}} 9000.0' in text
    assert 'route="/incidents/{incident_id}",status="200"' in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/incidents/inc-9", 404),
        ("GET", "/api/v1/approvals/apr-9", 404),
        ("GET", "/api/v1/actions/act-9", 404),
        ("GET", "/api/v1/nothing", 404),
        ("DELETE", "/api/v1/incidents", 405),
        ("GET", "/api/v1/incidents?state=ill", 422),
        ("GET", "/api/v1/incidents?limit=0", 422),
        ("POST", "/api/v1/approvals/apr-9/approve", 422),
    ],
)
def test_every_error_is_a_problem(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path, headers={"X-Request-Id": "abc123"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    problem = answer.json()
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"] == "abc123"


def test_an_invalid_field_is_named_with_its_value_and_what_would_be_right(client: httpx.Client) -> None:
    (wrong,) = client.get("/api/v1/incidents?limit=501").json()["errors"]
    assert wrong == "query.limit: Input should be less than or equal to 500 (found '501')"
    answer = client.post("/api/v1/approvals/apr-1-1/approve", json={"by": " "})
    assert "body.by" in answer.json()["errors"][0]
    (missing,) = client.post("/api/v1/approvals/apr-1-1/approve", json={"reason": "agreed"}).json()["errors"]
    assert missing == "body.by: Field required"


def test_a_query_parameter_that_nobody_knows_is_refused(client: httpx.Client) -> None:
    answer = client.get("/api/v1/incidents", params={"modle": MODEL, "limit": "5"})
    assert answer.status_code == 422
    assert answer.json()["detail"] == (
        "/api/v1/incidents knows no query parameter 'modle'; it takes cause, cursor, limit, model, state."
    )


def test_an_unknown_ticket_is_not_found(client: httpx.Client) -> None:
    assert client.post("/api/v1/approvals/apr-9/approve", json={"by": "mira"}).status_code == 404


def test_a_broken_part_answers_without_a_stack_trace(
    client: httpx.Client, ill: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> list[str]:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(ill.registry, "versions", broken)
    answer = client.get(f"/api/v1/models/{MODEL}")
    assert (answer.status_code, answer.headers["content-type"]) == (500, PROBLEM)
    assert "secret" not in answer.text
    assert answer.json()["request_id"]


def test_a_lost_database_is_told(client: httpx.Client, ill: World) -> None:
    ill.engine.dispose()
    database = ill.folder.parent / "homeostat.db"
    for name in (database, database.with_name("homeostat.db-wal"), database.with_name("homeostat.db-shm")):
        name.unlink(missing_ok=True)
    answer = client.get("/api/v1/incidents")
    assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
    assert "homeostat.db" in answer.json()["detail"]


def test_trends_are_told_in_a_word_the_bad_ones_first(client: httpx.Client, ill: World) -> None:
    page = client.get(f"/api/v1/models/{MODEL}/trends", params={"version": "1"}).json()
    assert {(one["measure"], one["trend"], one["windows"]) for one in page["items"]} == {
        ("accuracy", "stable", 7),
        ("f1", "stable", 7),
        ("auc", "stable", 7),
    }
    serving = client.get(f"/api/v1/models/{MODEL}/trends").json()["items"]
    assert {one["version"] for one in serving} == {"2"}
    assert {one["undefined"] for one in serving} == {"there are 3 windows with a value; it takes 6"}
    assert client.get("/api/v1/models/nobody/trends").json()["detail"] == "There is no model 'nobody'."
