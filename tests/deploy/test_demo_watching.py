"""An incident of the demo as a person follows it: who decides its tickets, the person or the demo itself."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from deploy.demo.options import DemoOptions
from deploy.demo.screen import Screen
from deploy.demo.session import Session
from deploy.demo.watching import IncidentWatch

PLAN = {
    "id": "p1",
    "hash": "0f1e",
    "action": "rollback",
    "model": "m",
    "from_version": "2",
    "to_version": "1",
    "blast_radius": "Every prediction comes from version 1.",
    "undo": "Promote version 2 again.",
}
STATES = ("awaiting_approval", "awaiting_approval", "executing", "resolved")


class Calls:
    """An API that tells one incident, a state further at each look."""

    api_url = "http://127.0.0.1:9"

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self._states = iter(STATES)

    async def get(self, path: str, **_: str) -> dict[str, Any]:
        if path == "/incidents":
            return {"items": [{"id": "inc-1", "version": "2", "summary": "Accuracy fell; more"}]}
        state = next(self._states)
        ticket = {"id": "apr-1", "plan_id": "p1", "state": "pending" if state == STATES[0] else "approved"}
        ticket["asks"] = "Roll back m from version 2 to 1"
        times = dict.fromkeys(
            ("opened_at", "approved_at", "acted_at", "closed_at"), "2026-11-22T10:00:00+00:00"
        )
        asked = {"requested_at": times["opened_at"], "decided_at": times["opened_at"]}
        return {
            **times,
            "state": state,
            "cause": "bad_release",
            "confidence": 0.9,
            "hypotheses": [{"reasons": ["it began with the release"]}],
            "outcome": "version 1 is healthy",
            "id": "inc-1",
            "approvals": [ticket | asked],
            "plans": [PLAN],
            "actions": [{"kind": "rollback"}],
        }

    async def post(self, path: str, body: dict[str, Any]) -> None:
        self.posted.append((path, body))


@pytest.mark.parametrize("approve", [False, True])
async def test_who_decides(approve: bool, tmp_path: Path) -> None:
    calls, screen, tickets = Calls(), Screen(), list[str]()
    screen.console = Console(file=io.StringIO(), width=200)
    session = cast(Session, SimpleNamespace(calls=calls, home=tmp_path))
    watch = IncidentWatch(session, screen, DemoOptions(approve=approve, approve_after_s=0.0), "m")
    found = await watch.follow("bad release", 1_790_000_000.0, on_ticket=lambda: tickets.append("asked"))
    assert found is not None
    assert (found.outcome, found.action, tickets) == ("resolved", "rollback", ["asked"])
    told = cast(io.StringIO, screen.console.file).getvalue()
    assert "Diagnosis: Bad release (90%)" in told
    assert "Asks: Roll back m from version 2 to 1?" in told
    by_itself = [
        ("/approvals/apr-1/approve", {"by": "demo", "reason": "approved by the demo", "plan_hash": "0f1e"})
    ]
    assert calls.posted == ([] if approve else by_itself)
    assert ("approvals approve apr-1" in told) == approve
    assert ("Approved (by the demo" in told) != approve


class LateFirst(Calls):
    """Before it, one that was over by itself."""

    async def get(self, path: str, **_: str) -> dict[str, Any]:
        late = {"id": "inc-0", "version": "1", "summary": "The service is worse than usual"}
        if path == "/incidents":
            found = await super().get(path)
            return {"items": [*found["items"], late]}
        if path == "/incidents/inc-1":
            return await super().get(path)
        return {
            "state": "resolved",
            "cause": "unknown",
            "outcome": "Every alert of version 1 was cleared before anything was done.",
            "approvals": [],
            "actions": [],
        }


async def test_an_incident_that_is_over_by_itself_is_not_the_one_that_the_demo_waits_for(
    tmp_path: Path,
) -> None:
    calls, screen = LateFirst(), Screen()
    screen.console = Console(file=io.StringIO(), width=200)
    session = cast(Session, SimpleNamespace(calls=calls, home=tmp_path))
    watch = IncidentWatch(session, screen, DemoOptions(approve_after_s=0.0), "m")
    found = await watch.follow("bad release", 1_790_000_000.0)
    assert found is not None
    assert (found.id, watch.passed) == ("inc-1", ["inc-0"])
    assert "It was over by itself" in cast(io.StringIO, screen.console.file).getvalue()
