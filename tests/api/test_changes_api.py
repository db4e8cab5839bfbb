"""The change feed: recorded once, listed, and refused in a sentence."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.api.api_world import START_US, World

NOW = datetime.fromtimestamp(START_US / 1e6, UTC)


def post(client: httpx.Client, **changes: object) -> httpx.Response:
    body: dict[str, object] = {
        "id": "deploy-1",
        "kind": "pipeline",
        "title": "income in thousands",
        "by": "etl",
    }
    return client.post("/api/v1/changes", json={**body, **changes})


def test_the_same_id_again_is_the_same_change(client: httpx.Client, world: World) -> None:
    first, again = post(client), post(client)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert [each["id"] for each in client.get("/api/v1/changes").json()["items"]] == ["deploy-1"]
    world.sequence()
    entries = client.get("/api/v1/audit", params={"subject": "change/deploy-1"}).json()["items"]
    assert [each["action"] for each in entries] == ["change.recorded"]
    assert world.services().verify_audit().problems == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"title": "another"}, "another change needs another id"),
        ({"id": "b", "ends_at": (NOW - timedelta(hours=1)).isoformat()}, "ends before it begins"),
        ({"id": "b", "starts_at": (NOW + timedelta(days=400)).isoformat()}, "366 days"),
    ],
)
def test_what_contradicts_itself_or_what_is_known_is_told(
    client: httpx.Client, changes: dict[str, object], told: str
) -> None:
    post(client)
    refused = post(client, **changes)
    assert refused.status_code == 409
    assert told in refused.json()["detail"]


def test_a_list_is_cut_by_time(client: httpx.Client) -> None:
    for day in range(4):
        starts = (NOW - timedelta(days=day)).isoformat()
        ends = (NOW + timedelta(days=1)).isoformat() if day == 3 else None
        post(client, id=f"c{day}", starts_at=starts, ends_at=ends, kind="campaign")
    since = (NOW - timedelta(days=1, hours=12)).isoformat()
    found = client.get("/api/v1/changes", params={"since": since, "until": NOW.isoformat()}).json()["items"]
    assert [each["id"] for each in found] == ["c1", "c3"], "one that lasts is in every time that it lasts"
