"""Following one incident from its first alert to its end, and approving where the demo is asked to."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from rich.markup import escape

from deploy.demo.numbers import seconds_between
from deploy.demo.options import DemoOptions
from deploy.demo.result import IncidentResult
from deploy.demo.screen import Screen
from deploy.demo.session import Session
from remediation.values import CLOSED_INCIDENTS
from remediation.vocabulary import CAUSES

_POLL_S = 0.2
APPROVER = "demo"


def _nothing() -> None:
    """Nobody minds the ticket."""


class IncidentWatch:
    """Waits for the next incident of a model, tells each step, and answers the tickets. `passed`: incidents that were
    over by themselves."""

    def __init__(self, session: Session, screen: Screen, options: DemoOptions, model: str) -> None:
        self._session = session
        self._screen = screen
        self._options = options
        self._model = model
        self.passed: list[str] = []
        self._known: set[str] = set()
        self._tickets: set[str] = set()

    async def appeared(self) -> dict[str, Any] | None:
        """The newest incident that has not been followed yet."""
        page = await self._session.calls.get("/incidents", model=self._model)
        new = [each for each in page["items"] if each["id"] not in self._known]
        return new[-1] if new else None

    async def follow(
        self, fault: str, injected_s: float, *, on_ticket: Callable[[], None] = _nothing
    ) -> IncidentResult | None:
        """The incident as it ended; None when none came in time. One that is over by itself is not what the demo has
        done: a busy machine answers late for a moment."""
        while True:
            self._screen.waiting("waiting for an alarm")
            found = await self._appears()
            if found is None:
                self._screen.warn(f"No incident within {self._options.step_timeout_s:.0f} s.")
                return None
            self._known.add(found["id"])
            summary = str(found["summary"]).split(";", 1)[0] or f"an alarm of version {found['version']}"
            self._screen.step(f"[bold]Incident[/bold] {found['id']}: {escape(summary)}", "[red]●[/red]")
            detail = await self._to_its_end(found["id"], on_ticket)
            if not _is_over_by_itself(detail):
                return _measured(detail, fault, injected_s)
            self.passed.append(found["id"])
            self._screen.note("It was over by itself; the demo had not done this.")

    async def _appears(self) -> dict[str, Any] | None:
        deadline = time.monotonic() + self._options.step_timeout_s
        while time.monotonic() < deadline:
            found = await self.appeared()
            if found:
                return found
            await asyncio.sleep(_POLL_S)
        return None

    async def _to_its_end(self, incident_id: str, on_ticket: Callable[[], None]) -> dict[str, Any]:
        told: set[str] = set()
        while True:
            detail = await self._session.calls.get(f"/incidents/{incident_id}")
            self._tell(detail, told)
            for ticket in detail["approvals"]:
                if ticket["state"] == "pending" and ticket["id"] not in self._tickets:
                    self._tickets.add(ticket["id"])
                    on_ticket()
                    await self._answer(ticket, detail)
            if detail["state"] in CLOSED_INCIDENTS:
                return detail
            await asyncio.sleep(_POLL_S)

    def _tell(self, detail: dict[str, Any], told: set[str]) -> None:
        """What is new. States that passed between two looks are made up for: `told` remembers."""
        state = detail["state"]
        if detail["cause"] != "unknown" and detail["cause"] not in told:
            told.add(detail["cause"])
            cause = CAUSES[detail["cause"]]
            self._screen.step(f"Diagnosis: [bold]{cause}[/bold] ({detail['confidence']:.0%})")
            for reason in detail["hypotheses"][0]["reasons"][:3]:
                self._screen.note(reason)
        if state in told:
            return
        told.add(state)
        if state == "executing":
            self._screen.waiting("the plan is being carried out")
        elif state == "verifying":
            self._screen.step("Acted; serving has acknowledged by digest what it runs now.")
            self._screen.waiting("watching whether it helped")
        elif state in CLOSED_INCIDENTS:
            mark = "[green]✓[/green]" if state == "resolved" else "[yellow]![/yellow]"
            self._screen.step(f"{state.capitalize()}: {escape(str(detail['outcome']))}", mark)

    async def _answer(self, ticket: dict[str, Any], detail: dict[str, Any]) -> None:
        plan = next(each for each in detail["plans"] if each["id"] == ticket["plan_id"])
        self._screen.step(f"Asks: [bold]{escape(ticket['asks'])}[/bold]?", "[blue]?[/blue]")
        for line in (plan["blast_radius"], f"Undo: {plan['undo']}"):
            self._screen.note(line)
        if self._options.approve:
            self._screen.step(f"Your decision: {self._session.calls.api_url}/ or", "[blue]→[/blue]")
            self._screen.command(
                f"uv run homeostat --home {self._session.home} approvals approve {ticket['id']}"
            )
            self._screen.waiting("waiting for your decision")
            return
        await asyncio.sleep(self._options.approve_after_s)
        body = {"by": APPROVER, "reason": "approved by the demo", "plan_hash": plan["hash"]}
        await self._session.calls.post(f"/approvals/{ticket['id']}/approve", body)
        self._screen.step("Approved (by the demo; `--approve` lets you decide).")


def _is_over_by_itself(detail: dict[str, Any]) -> bool:
    """Whether nobody was asked and nothing was done about an incident that ended well, or that only the service had."""
    untouched = not detail["actions"] and not detail["approvals"]
    return untouched and (detail["state"] == "resolved" or detail["cause"] == "serving_problem")


def _measured(detail: dict[str, Any], fault: str, injected_s: float) -> IncidentResult:
    from datetime import UTC, datetime

    injected = datetime.fromtimestamp(injected_s, UTC).isoformat()
    approved = [each for each in detail["approvals"] if each["state"] == "approved"]
    action = detail["actions"][-1] if detail["actions"] else None
    return IncidentResult(
        id=detail["id"],
        fault=fault,
        cause=detail["cause"],
        outcome=detail["state"],
        outcome_text=detail["outcome"],
        action=action["kind"] if action else None,
        detected_s=seconds_between(injected, detail["opened_at"]),
        approved_s=seconds_between(approved[-1]["requested_at"], approved[-1]["decided_at"])
        if approved
        else None,
        acted_s=seconds_between(detail["approved_at"], detail["acted_at"]),
        recovered_s=seconds_between(detail["acted_at"], detail["closed_at"])
        if detail["state"] == "resolved"
        else None,
    )
