"""The post-mortem: everything about an incident on one page, and nothing in it that could be markup of others."""

import httpx

from tests.api.api_world import World


def test_a_post_mortem_tells_what_since_when_and_who(client: httpx.Client, ill: World) -> None:
    client.post("/api/v1/approvals/apr-1-1/approve", json={"by": "mira", "reason": "agreed | <b>now</b>"})
    ill.sequence()
    answer = client.get("/api/v1/incidents/inc-1/postmortem")
    assert answer.headers["content-type"].startswith("text/markdown")
    text = answer.text
    for told in ("# Post-mortem: Bad release, credit-risk version 2", "## Cost", "## Decisions", "by mira"):
        assert told in text
    assert "agreed \\| \\<b\\>now\\</b\\>" in text


def test_an_incident_that_is_not_there(client: httpx.Client) -> None:
    assert client.get("/api/v1/incidents/inc-x/postmortem").status_code == 404
