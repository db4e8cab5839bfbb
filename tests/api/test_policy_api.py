"""Who may decide, over REST: 403 for who may not, 409 in a freeze, and half a quorum is no decision."""

from collections.abc import Iterator

import httpx
import msgspec
import pytest

from remediation.policy import Freeze, Person, Policy
from tests.api.api_world import World
from tests.api.conftest import Serve

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
    with serve(ill.app()) as url, httpx.Client(base_url=url) as client:
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
    with serve(ill.app()) as url, httpx.Client(base_url=url) as client:
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
    with serve(ill.app()) as url, httpx.Client(base_url=url) as client:
        answer = client.post(path, json={"by": by, "reason": "an exercise"})
        paused = client.get("/api/v1/agent").json()["paused"]
    assert answer.status_code == status
    assert told in answer.json().get("detail", "")
    assert paused == (path == TURNS[0] and status == 200)
