"""`POST /slack/interactions`: clicks over HTTP, signed by Slack."""

import asyncio
import hashlib
from http import HTTPStatus
from urllib.parse import parse_qs

import structlog
from fastapi import APIRouter, BackgroundTasks, Request, Response
from fastapi.responses import JSONResponse

from serving.api.problems import Problem
from serving.slack.api import SlackVerifier
from serving.slack.clicks import Clicks
from serving.slack.payloads import NoClick

log = structlog.get_logger()

_LONGEST_BODY = 1 << 20
"""Slack sends the clicked message along; 50 blocks of 3,000 characters fit six times."""
_PATIENCE_S = 2.0
"""For writing the click down: Slack waits 3 s, the network takes some."""


def interactions(verifier: SlackVerifier, clicks: Clicks, *, patience_s: float = _PATIENCE_S) -> APIRouter:
    """The route. What cannot be written down in time is answered 503, so that Slack tells the person."""
    router = APIRouter(include_in_schema=False)

    @router.post("/slack/interactions")
    async def interact(request: Request, background: BackgroundTasks) -> Response:
        body = await _body(request)
        timestamp = request.headers.get("x-slack-request-timestamp")
        signature = request.headers.get("x-slack-signature")
        if not verifier.accepts(body, timestamp=timestamp, signature=signature):
            detail = "The request needs Slack's signature over its body, not older than 300 s."
            raise Problem(HTTPStatus.UNAUTHORIZED, detail)
        # The same signed request has the same time and body: whoever sends it again is the same click.
        click_id = hashlib.sha256(f"{timestamp}:".encode() + body).hexdigest()
        try:
            payload = _payload(body)
            taken = await asyncio.wait_for(asyncio.to_thread(clicks.take, payload, click_id), patience_s)
        except NoClick as error:
            raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from error
        except TimeoutError as error:
            log.warning("A click in Slack could not be written down in time")
            detail = "The click could not be written down in time: click again."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail) from error
        if taken.later is not None:
            background.add_task(taken.later)
        return Response() if taken.reply is None else JSONResponse(taken.reply)

    return router


def _payload(body: bytes) -> bytes:
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
        return fields["payload"][0].encode()
    except (KeyError, ValueError) as error:
        raise NoClick(
            "the body is not an interaction: it needs one form field `payload` with JSON"
        ) from error


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_BODY:
            detail = f"The body is longer than {_LONGEST_BODY:,} bytes; no click is."
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    return bytes(body)
