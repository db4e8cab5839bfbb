"""What happens, as it happens: server-sent events for open pages."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Annotated

import structlog
from fastapi import APIRouter, FastAPI, Header, Query, Request
from fastapi.responses import StreamingResponse

from db.errors import StoreError
from serving import story
from serving.api.services import ApiServices
from serving.console import views
from serving.listening import stopping

log = structlog.get_logger()

POLL_S = 0.5
_BEAT_POLLS = 10
_LONGEST_POLLS = 1_200
"""A stream ends after ten minutes; the browser opens a new one and goes on after the last id."""


def create_events(services: ApiServices, render_moment: Callable[[story.Moment], str]) -> APIRouter:
    """`GET /console/events`: `moment` (HTML of a line, its id the audit index), `changed` (look at the page
    again), `beat` (still here) and `trouble` (the database is away)."""
    router = APIRouter(include_in_schema=False)

    @router.get("/console/events")
    async def events(
        request: Request,
        after: Annotated[int, Query(ge=-1, le=2**53)] = -1,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> StreamingResponse:
        again = last_event_id is not None and last_event_id.isdecimal() and len(last_event_id) < 16
        start = int(last_event_id) if again and last_event_id else after
        stream = _stream(request.app, services, render_moment, start)
        return StreamingResponse(
            stream,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return router


async def _stream(
    app: FastAPI, services: ApiServices, render: Callable[[story.Moment], str], index: int
) -> AsyncGenerator[str]:
    yield "retry: 2000\n\n"
    told: set[str] = set()
    # The page was made a moment before the stream began, or the last one ended: what changed between is told, too.
    shown = ""
    for poll in range(_LONGEST_POLLS):
        if stopping(app):
            return
        try:
            moments = await asyncio.to_thread(views.moments_after, services, index)
            looks = await asyncio.to_thread(views.fingerprint, services)
        except StoreError as error:
            log.warning("The console's stream waits for the database", reason=str(error))
            yield _event("trouble", "The database does not answer.")
            await asyncio.sleep(POLL_S * _BEAT_POLLS)
            continue
        for moment in moments:
            if moment.key not in told:
                told.add(moment.key)
                yield _event("moment", render(moment), moment.index)
            index = max(index, moment.index or -1)
        if looks != shown:
            yield _event("changed", "")
        shown = looks
        if poll % _BEAT_POLLS == 0:
            yield _event("beat", "")
        await asyncio.sleep(POLL_S)


def _event(kind: str, data: str, index: int | None = None) -> str:
    lines = [f"event: {kind}", *(f"data: {line}" for line in (data.splitlines() or [""]))]
    if index is not None:
        lines.append(f"id: {index}")
    return "\n".join(lines) + "\n\n"
