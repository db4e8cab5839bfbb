"""People around a stack, each with a token of their own: one releases, one decides; both over REST only."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
from pydantic import SecretStr

from deploy.demo.calls import Calls, Json
from deploy.errors import UserError

log = structlog.get_logger()

APPROVER, RELEASER = "ann", "ben"
POLICY = f"""people:
  {APPROVER}: {{roles: [approver]}}
  {RELEASER}: {{roles: [release]}}
rules:
  - {{models: "*", actions: [promote], roles: [release, approver]}}
  - {{models: "*", roles: [approver]}}
"""
_LOOK_S = 0.5
_PAGE = 500


class People:
    """Over REST. Raises `UserError` with what the API has answered."""

    def __init__(self, api_url: str, serving_url: str, tokens: dict[str, str]) -> None:
        self._calls = {
            person: Calls(api_url, serving_url, SecretStr(token)) for person, token in tokens.items()
        }

    @classmethod
    async def with_tokens(cls, home: Path, api_url: str, serving_url: str) -> "People":
        """Make the tokens as an operator does: on the command line."""
        scopes = {APPROVER: "decide", RELEASER: "operate"}
        return cls(
            api_url, serving_url, {name: await _token(home, name, scope) for name, scope in scopes.items()}
        )

    async def close(self) -> None:
        """Give the connections back."""
        for calls in self._calls.values():
            await calls.close()

    async def release(self, model: str, version: str) -> None:
        """Make a registered version serve."""
        body = {"version": version, "by": RELEASER, "reason": "weekly release of the campaign"}
        await self._calls[RELEASER].post(f"/models/{model}/promote", body)

    async def record(self, model: str, kind: str, title: str, at: str) -> None:
        """Put a change around a model on record."""
        body = {"kind": kind, "title": title, "models": model, "starts_at": at, "by": RELEASER}
        await self._calls[RELEASER].post("/changes", body)

    async def approve_all(self) -> None:
        """Approve whatever is asked, until cancelled."""
        while True:
            try:
                pending = await self.get("/approvals", state="pending", limit=_PAGE)
                for ticket in pending["items"]:
                    await self._approve(ticket)
            except UserError as error:
                # A connection is lost now and then; whoever plays tells of an API that is gone.
                log.info("The API did not answer; it is asked again.", reason=str(error))
            await asyncio.sleep(_LOOK_S)

    async def _approve(self, ticket: Json) -> None:
        body = {"by": APPROVER, "reason": "looks right to me", "plan_hash": ticket["plan_hash"]}
        try:
            await self._calls[APPROVER].post(f"/approvals/{ticket['id']}/approve", body)
        except UserError as error:
            # A ticket that became void between the two calls is refused, as it must be.
            log.info("An approval was refused.", ticket=ticket["id"], reason=str(error))

    async def incidents(self, model: str) -> list[Json]:
        """Of one model, oldest first."""
        found = await self.get("/incidents", model=model, limit=_PAGE)
        return found["items"][::-1]

    async def audited(self, subject: str) -> Sequence[Any]:
        """What the audit log says about one thing, oldest first."""
        found = await self.get("/audit", subject=subject, order="asc", limit=_PAGE)
        return found["items"]

    async def get(self, path: str, **query: str | int) -> Json:
        """Whatever else the API tells."""
        return await self._calls[RELEASER].get(path, **query)


async def _token(home: Path, person: str, scope: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(
            "-m",
            "deploy.cli",
            "--home",
            str(home),
            "tokens",
            "create",
            person,
            "--scope",
            scope,
            "--by",
            APPROVER,
        ),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"HOMEOSTAT_HOME": str(home)},
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise UserError(f"A token for {person} could not be made (exit code {process.returncode}).")
    return out.decode().split()[-1]
