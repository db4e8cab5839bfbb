"""Silences through the API, the command and the page: set, seen, ended, and refused in a sentence."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import Page, expect

from remediation.config import AgentConfig
from remediation.reception import receive_alert
from tests.api.api_world import MODEL, START_US, World, alert

NOW = datetime.fromtimestamp(START_US / 1e6, UTC)
CONFIG = AgentConfig(alerts_topic="a", acknowledgements_topic="b", desired_topic="c")


def ask(client: httpx.Client, **changes: object) -> httpx.Response:
    body: dict[str, object] = {
        "matchers": [f"model={MODEL}"],
        "ends_at": (NOW + timedelta(hours=2)).isoformat(),
        "by": "mira",
        "reason": "campaign",
    }
    return client.post("/api/v1/silences", json={**body, **changes})


def test_a_silence_is_set_holds_and_is_ended(client: httpx.Client, world: World) -> None:
    made = ask(client)
    assert (made.status_code, made.json()["state"]) == (201, "in force")
    with world.journal.transaction() as unit:
        incident = unit.incident("inc-1")
        assert incident is not None
    other = alert(9, START_US)
    silenced = type(other)(
        **{name: getattr(other, name) for name in other.__struct_fields__} | {"model": "churn"}
    )
    ask(client, matchers=["model=churn"])
    decision = receive_alert(world.journal, silenced, now_us=START_US, config=CONFIG)
    assert decision is not None
    assert decision.decision == "hold"
    holds = {each["matchers"][0]: each["holds"] for each in client.get("/api/v1/silences").json()["items"]}
    assert holds == {"model=churn": 1, f"model={MODEL}": 0}
    ended = client.post(f"/api/v1/silences/{decision.silence_id}/end", json={"by": "otto"})
    assert (ended.json()["state"], ended.json()["ended_by"]) == ("over", "otto")
    shown = client.get("/api/v1/silences").json()["items"]
    assert [each["matchers"] for each in shown] == [[f"model={MODEL}"]]
    assert len(client.get("/api/v1/silences?over=true").json()["items"]) == 2
    world.sequence()
    assert world.services().verify_audit().problems == []


def test_the_same_silence_again_is_the_first_one(client: httpx.Client, world: World) -> None:
    first = ask(client).json()
    again = ask(client, by="otto")
    assert (again.status_code, again.json()["outcome"], again.json()["id"]) == (200, "known", first["id"])
    longer = ask(client, by="otto", ends_at=(NOW + timedelta(hours=3)).isoformat()).json()
    assert (first["outcome"], longer["outcome"], longer["author"]) == ("set", "extended", "mira")
    assert longer["ends_at"] > first["ends_at"]
    assert len(client.get("/api/v1/silences").json()["items"]) == 1
    world.sequence()
    assert world.services().verify_audit().problems == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"matchers": ["colour=red"]}, "known are model"),
        ({"ends_at": (NOW - timedelta(hours=1)).isoformat()}, "lies in the past"),
        ({"schedule": "every night", "lasts_s": 60}, "five fields"),
        ({"schedule": "0 2 * * 0"}, "belong together"),
    ],
)
def test_what_cannot_be_is_told(client: httpx.Client, changes: dict[str, object], told: str) -> None:
    refused = ask(client, **changes)
    assert refused.status_code == 422
    assert told in refused.json()["detail"]


def test_what_is_not_there_or_over_is_told(client: httpx.Client, world: World) -> None:
    assert client.post("/api/v1/silences/sil-x/end", json={"by": "otto"}).status_code == 404
    silence = ask(client).json()["id"]
    world.clock.at_us += 7_300_000_000
    over = client.post(f"/api/v1/silences/{silence}/end", json={"by": "otto"})
    assert (over.status_code, "is over already" in over.json()["detail"]) == (409, True)


def test_a_person_silences_and_ends_it_on_the_page(page: Page, world: World, complaints: list[str]) -> None:
    world.clock.at_us = round(datetime.now(UTC).timestamp() * 1e6)
    page.get_by_role("link", name="Silences").click()
    expect(page.get_by_text("Nothing is silenced")).to_be_visible()
    page.get_by_label("You are").fill("mira")
    page.get_by_label("Model").fill("churn*")
    page.get_by_label("Kind").select_option("data_drift")
    page.get_by_label("Why").fill("campaign")
    page.get_by_role("button", name="Silence").click()
    expect(page.locator("#silences")).to_contain_text("model=churn* and kind=data_drift")
    page.get_by_role("button", name="End now").click()
    expect(page.locator("#silences")).to_contain_text("ended by mira")
    assert complaints == []
