"""Who may decide, over REST: 403 for who may not, 409 in a freeze, and half a quorum is no decision."""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from remediation import actions
from remediation.policy import Freeze, Person, Policy, Rule
from remediation.silences import parse_matcher
from remediation.silencing import set_silence
from remediation.values import AuditEntry
from tests.api.api_world import MODEL, START_US, World
from tests.api.conftest import Serve
from tests.patience import PATIENCE_S

POLICY = Policy(
    people={"mira": Person(roles=("approver",)), "otto": Person(roles=("approver",)), "ada": Person()}
)
ALWAYS = Freeze(schedule="* * * * *", lasts_h=1, reason="release week")


def approve(client: httpx.Client, by: str) -> httpx.Response:
    return client.post("/api/v1/approvals/apr-1-1/approve", json={"by": by})


@pytest.fixture
def strict(ill: World, serve: Serve) -> Iterator[httpx.Client]:
    """The API under the policy, with a ticket that takes two."""
    ill.policy = POLICY
    with ill.journal.transaction() as unit:
        ticket = unit.approval("apr-1-1")
        assert ticket is not None
        two = msgspec.structs.replace(ticket, quorum=2, roles=("approver",))
        assert unit.save_approval(two, expected="pending", actor="agent")
    with serve(ill.app()) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield client


def test_two_must_approve(strict: httpx.Client, ill: World) -> None:
    refused = approve(strict, "ada")
    assert (refused.status_code, "one of the roles approver" in refused.json()["detail"]) == (403, True)
    first = approve(strict, "mira").json()
    assert (first["state"], [vote["by"] for vote in first["votes"]], first["quorum"]) == (
        "pending",
        ["mira"],
        2,
    )
    assert approve(strict, "mira").status_code == 409
    second = approve(strict, "otto").json()
    assert (second["state"], second["decided_by"]) == ("approved", "mira and otto")
    ill.sequence()
    actions = [
        each["action"] for each in strict.get("/api/v1/audit?subject=approval/apr-1-1").json()["items"]
    ]
    assert actions[:2] == ["approval.approved", "approval.voted"]


def test_a_freeze_is_told(ill: World, serve: Serve) -> None:
    ill.policy = msgspec.structs.replace(POLICY, freezes=(ALWAYS,))
    with serve(ill.app()) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        frozen = approve(client, "mira")
    assert (frozen.status_code, "release week" in frozen.json()["detail"]) == (409, True)


def test_a_ticket_is_snoozed_by_who_may_decide(strict: httpx.Client, ill: World) -> None:
    path = "/api/v1/approvals/apr-1-1/snooze"
    assert strict.post(path, json={"by": "ada"}).status_code == 403
    told = strict.post(path, json={"by": "mira", "minutes": 10}).json()
    assert (told["state"], told["snoozed_by"]) == ("pending", "mira")
    assert strict.post("/api/v1/approvals/apr-x/snooze", json={"by": "mira"}).status_code == 404
    ill.sequence()
    newest = strict.get("/api/v1/audit?subject=approval/apr-1-1").json()["items"][0]
    assert newest["action"] == "approval.snoozed"


LOOKED_AT_ELSEWHERE = {
    "/api/v1/changes": "pipelines record changes; scope `operate`",
    "/v1/events": "programs send events; scope `ingest`",
    "/v1/labels": "programs send labels; scope `ingest`",
}
"""Routes that change something and ask no person who they are, and why."""


def test_no_route_changes_anything_for_who_is_not_in_the_policy(ill: World, serve: Serve) -> None:
    """Every route of the API: a new one must ask, or be named above."""
    ill.policy = msgspec.structs.replace(POLICY, operators=("approver",), break_glass=("approver",))
    names = _there(ill)
    asked: set[str] = set()
    with serve(ill.app()) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        for method, path, fields in _changing(client):
            if path in LOOKED_AT_ELSEWHERE:
                continue
            asked.add(path)
            for extra in ({}, {"break_glass": True} if "break_glass" in fields else {}):
                body = {key: each for key, each in SAID.items() if key in fields} | {"by": "eve"} | extra
                answer = client.request(method, path.format(**names), json=body)
                assert answer.status_code == 403, (method, path, answer.status_code, answer.text)
                assert "nobody" in answer.json()["detail"], answer.text
    assert len(asked) >= 12
    with ill.journal.reading() as unit:
        assert not [each for each in unit.audit_entries(limit=500) if each.actor == "eve"]
    assert ill.promoted == []


@pytest.mark.parametrize("name", ["agent", " Agent", "API", "playbook default"])
def test_nobody_acts_in_the_name_of_a_part_of_homeostat(ill: World, serve: Serve, name: str) -> None:
    """Also where no policy knows people, on every route that takes a name."""
    names, asked = _there(ill), 0
    with serve(ill.app()) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        for method, path, fields in _changing(client):
            if "by" not in fields:
                continue
            asked += 1
            body = {key: each for key, each in SAID.items() if key in fields} | {"by": name}
            answer = client.request(method, path.format(**names), json=body)
            assert answer.status_code == 403, (method, path, answer.status_code, answer.text)
            assert "signs what it does by itself" in answer.json()["detail"], answer.text
    assert asked >= 13


AUDITED_ELSEWHERE = {
    "/api/v1/models/{model}/promote": "tests/remediation/test_promotion.py",
    "/v1/events": "no change of state: docs/ingest.md",
    "/v1/labels": "no change of state: docs/ingest.md",
}


def test_every_route_that_changes_something_is_in_the_audit_log(ill: World, serve: Serve) -> None:
    names, left = _there(ill), list[str]()
    ill.fall_ill(2)
    ill.fall_ill(3)
    tickets = {"reject": "apr-2-1", "snooze": "apr-3-1"}
    with serve(ill.app()) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        for method, path, fields in _changing(client):
            if path in AUDITED_ELSEWHERE:
                continue
            before = len(_by_mira(ill))
            body = {key: each for key, each in SAID.items() if key in fields} | {"by": "mira"}
            ticket = tickets.get(path.rpartition("/")[2], names["approval_id"])
            answer = client.request(method, path.format(**(names | {"approval_id": ticket})), json=body)
            assert answer.is_success, (method, path, answer.status_code, answer.text)
            if len(_by_mira(ill)) == before:
                left.append(path)
    assert left == []


def _by_mira(ill: World) -> list[AuditEntry]:
    ill.sequence()
    with ill.journal.reading() as unit:
        return unit.audit_entries(actor="mira", limit=500)


SAID = {
    "reason": "because",
    "why": "because",
    "version": "1",
    "said": "false alarm",
    "cause": "bad_release",
    "matchers": ["model=*"],
    "ends_at": "2027-01-01T00:00:00Z",
    "kind": "release",
    "title": "spring",
}


def _there(ill: World) -> dict[str, str]:
    """What the paths of routes name."""
    with ill.journal.transaction() as unit:
        intended = actions.new_action(unit.plans("inc-1")[0], now_us=START_US)
        assert unit.add_action(intended, actor="agent")
    silence = set_silence(
        ill.journal,
        ill.clock,
        matchers=(parse_matcher("model=x"),),
        ends_us=START_US + 3_600_000_000,
        author="mira",
        reason="r",
    ).silence
    return {
        "approval_id": "apr-1-1",
        "incident_id": "inc-1",
        "model": MODEL,
        "kind": "retrain",
        "action_id": intended.id,
        "silence_id": silence.id,
    }


def _changing(client: httpx.Client) -> Iterator[tuple[str, str, set[str]]]:
    """Every route that changes something: method, path and the names of the body's fields."""
    schema = client.get("/openapi.json").json()
    for path, methods in schema["paths"].items():
        for method in sorted(set(methods) - {"get", "head", "options"}):
            yield method, path, _fields(schema, methods[method])


def _fields(schema: dict[str, Any], operation: dict[str, Any]) -> set[str]:
    """The names of the body's fields; none where it is no object."""
    body = operation["requestBody"]["content"].get("application/json", {}).get("schema", {})
    if "$ref" not in body:
        return set()
    return set(schema["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"])


@pytest.mark.parametrize(
    ("changes", "by", "status", "told"),
    [
        ({}, "mira", 200, ""),
        ({}, "ada", 403, "it needs one of the roles approver (mira, otto)"),
        ({"break_glass": True}, "mira", 403, "may not break the glass"),
        ({"break_glass": True}, "ada", 200, ""),
        ({"model": "pair"}, "mira", 403, "takes 2 people, and nobody decides it alone"),
        ({"model": "own"}, "mira", 403, "self_approval is false"),
        ({"model": "frozen"}, "mira", 409, "is frozen until"),
        ({"model": "frozen", "break_glass": True}, "ada", 200, ""),
    ],
)
def test_who_may_promote_is_in_the_policy(
    ill: World, serve: Serve, changes: dict[str, Any], by: str, status: int, told: str
) -> None:
    ill.policy = msgspec.structs.replace(
        POLICY,
        people=POLICY.people | {"ada": Person(roles=("admin",))},
        rules=(
            Rule(models="pair", quorum=2),
            Rule(models="own", self_approval=False),
            Rule(roles=("approver",), actions=("promote",)),
        ),
        freezes=(msgspec.structs.replace(ALWAYS, models="frozen"),),
        break_glass=("admin",),
    )
    with serve(ill.app()) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        body = {
            "version": "2",
            "by": by,
            "reason": "spring",
            "break_glass": changes.get("break_glass", False),
        }
        answer = client.post(f"/api/v1/models/{changes.get('model', MODEL)}/promote", json=body)
    assert (answer.status_code, told in answer.text) == (status, True), answer.text
    assert bool(ill.promoted) == (status == 200)


TURNS = ["/api/v1/agent/pause", "/api/v1/agent/resume", "/api/v1/agent/breakers/retrain/reset"]


@pytest.mark.parametrize("path", TURNS)
@pytest.mark.parametrize(
    ("by", "status", "told"),
    [
        ("mira", 200, ""),
        ("ada", 403, "needs one of approver (mira, otto)"),
        ("eve", 403, "nobody whom the policy knows"),
    ],
)
def test_who_may_pause_is_a_role(
    ill: World, serve: Serve, path: str, by: str, status: int, told: str
) -> None:
    ill.policy = msgspec.structs.replace(POLICY, operators=("approver",))
    with serve(ill.app()) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        answer = client.post(path, json={"by": by, "reason": "an exercise"})
        paused = client.get("/api/v1/agent").json()["paused"]
    assert answer.status_code == status
    assert told in answer.json().get("detail", "")
    assert paused == (path == TURNS[0] and status == 200)
