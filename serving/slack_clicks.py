"""The clicks of Slack: `POST /slack/interactions`, signed by Slack, decided like everywhere else."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs

import msgspec
import structlog
from fastapi import APIRouter, BackgroundTasks, Request, Response

from remediation.approvals import Verdict
from serving.api.problems import Problem
from serving.api.services import Decide
from serving.slack import SlackVerifier, answer_click
from serving.slack_blocks import APPROVE, REJECT, ButtonValue

log = structlog.get_logger()

_CHANNEL = "slack"
_LONGEST_BODY = 1 << 20
"""Slack sends the clicked message along; 50 blocks of 3,000 characters fit six times."""
_VERDICTS: dict[str, Verdict] = {APPROVE: "approve", REJECT: "reject"}


class _User(msgspec.Struct):
    id: str
    username: str = ""
    name: str = ""


class _Pressed(msgspec.Struct):
    action_id: str
    value: str = ""


class _Payload(msgspec.Struct):
    type: str
    user: _User
    actions: list[_Pressed] = []
    response_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Click:
    ticket: ButtonValue
    verdict: Verdict
    by: str
    identity: str
    response_url: str


def interactions(
    verifier: SlackVerifier, decide: Decide, *, answer: Callable[[str, str], None] = answer_click
) -> APIRouter:
    """The route. Slack waits 3 s for an answer and the database may take longer, so the click is acknowledged
    first, decided then, and `answer(response_url, sentence)` tells the person what became of it.
    """
    router = APIRouter(include_in_schema=False)

    @router.post("/slack/interactions")
    async def interact(request: Request, background: BackgroundTasks) -> Response:
        body = await _body(request)
        timestamp = request.headers.get("x-slack-request-timestamp")
        signature = request.headers.get("x-slack-signature")
        if not verifier.accepts(body, timestamp=timestamp, signature=signature):
            detail = "The request needs Slack's signature over its body, not older than 300 s."
            raise Problem(HTTPStatus.UNAUTHORIZED, detail)
        click = _click(body)
        if click is not None:
            background.add_task(_settle, decide, answer, click)
        return Response()

    return router


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_BODY:
            detail = f"The body is longer than {_LONGEST_BODY:,} bytes; no click is."
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    return bytes(body)


def _click(body: bytes) -> _Click | None:
    """The click on one of our buttons; None for whatever else Slack tells about."""
    try:
        payload = msgspec.json.decode(parse_qs(body.decode())["payload"][0], type=_Payload)
        pressed = next((each for each in payload.actions if each.action_id in _VERDICTS), None)
        if payload.type != "block_actions" or pressed is None:
            return None
        ticket = msgspec.json.decode(pressed.value, type=ButtonValue)
    except (KeyError, ValueError, RecursionError) as error:
        detail = f"payload is not an interaction with a message of Homeostat: {error}"
        raise Problem(HTTPStatus.BAD_REQUEST, detail) from error
    return _Click(
        ticket=ticket,
        verdict=_VERDICTS[pressed.action_id],
        by=_person(payload.user),
        identity=payload.user.id,
        response_url=payload.response_url,
    )


def _person(user: _User) -> str:
    """Names change and repeat, ids do not: the record has both."""
    name = user.username or user.name
    told = f"{name} ({user.id})" if name else user.id
    return "".join(each for each in told if each.isprintable())[:200] or "somebody in Slack"


def _settle(decide: Decide, answer: Callable[[str, str], None], click: _Click) -> None:
    try:
        decision = decide(
            click.ticket.approval,
            click.verdict,
            by=click.by,
            reason="rejected in Slack" if click.verdict == "reject" else None,
            channel=_CHANNEL,
            plan_hash=click.ticket.plan_hash,
            identity=click.identity,
        )
        sentence = decision.sentence
        log.info("A click in Slack", approval=click.ticket.approval, by=click.by, result=decision.result)
    except Exception:
        # The boundary of the process: Slack has its answer already, so the person must hear of it here.
        log.exception("A click in Slack could not be recorded", approval=click.ticket.approval, by=click.by)
        sentence = "Your click could not be recorded. Click again; a second click does no harm."
    if click.response_url:
        answer(click.response_url, sentence)
