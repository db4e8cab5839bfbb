"""What people send: reasons say something, and what a body does not know is refused."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serving.api.given import Given

SLIP = "reasom"
SILENCE = {"matchers": ["model=churn"], "ends_at": "2026-11-23T06:00:00Z"}
CHANGE = {"kind": "pipeline", "title": "income in thousands"}
BODIES: list[tuple[str, str, dict[str, Any]]] = [
    ("approvals/apr-1-1/approve", "reason", {}),
    ("approvals/apr-1-1/reject", "reason", {}),
    ("actions/act-1/cancel", "reason", {}),
    ("agent/pause", "reason", {}),
    ("agent/resume", "reason", {}),
    ("agent/breakers/retrain/reset", "reason", {}),
    ("models/credit-risk/promote", "reason", {"version": "1"}),
    ("silences", "reason", SILENCE),
    ("incidents/inc-1/cause", "why", {"cause": "label_problem"}),
    ("incidents/inc-1/feedback", "why", {"said": "expected"}),
]


@pytest.mark.parametrize(("path", "field", "body"), BODIES)
def test_a_reason_that_says_nothing_is_refused(
    client: httpx.Client, path: str, field: str, body: dict[str, Any]
) -> None:
    answer = client.post(f"/api/v1/{path}", json={"by": "mira", field: " \t ", **body})
    assert answer.status_code == 422
    (wrong,) = answer.json()["errors"]
    assert wrong.startswith(f"body.{field}: reason must say why, for whoever reads it at night")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *((path, {field: "a campaign", **body}) for path, field, body in BODIES),
        ("approvals/apr-1-1/snooze", {}),
        ("silences/sil-1/end", {}),
        ("changes", CHANGE),
    ],
)
def test_a_field_that_nobody_knows_is_named(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = client.post(f"/api/v1/{path}", json={"by": "mira", SLIP: "a campaign", **body})
    assert answer.status_code == 422
    (wrong,) = answer.json()["errors"]
    assert wrong.startswith(f"body.{SLIP}: Extra inputs are not permitted")


def _kinds(body: type[Given]) -> Iterator[type[Given]]:
    """The classes that no other builds on."""
    for each in body.__subclasses__():
        yield from _kinds(each) if each.__subclasses__() else (each,)


def test_every_body_of_the_api_refuses_what_it_does_not_know(client: httpx.Client) -> None:
    description = client.get("/openapi.json").json()
    names = {
        method["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
        for path in description["paths"].values()
        for method in path.values()
        if "requestBody" in method
    }
    assert names >= {each.__name__ for each in _kinds(Given)}
    for name in names:
        assert description["components"]["schemas"][name]["additionalProperties"] is False, name


def test_a_reason_is_kept_without_space_around_it_and_a_cause_needs_none(client: httpx.Client) -> None:
    told = client.post("/api/v1/agent/pause", json={"by": "mira", "reason": "  a move "}).json()
    assert told["reason"] == "a move"
    answer = client.post("/api/v1/incidents/inc-1/cause", json={"by": "mira", "cause": "label_problem"})
    assert answer.status_code == 200
