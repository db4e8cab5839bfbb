"""Events and labels over HTTP: `POST /v1/events`, `POST /v1/labels`."""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from serving.api.problems import problem_response
from serving.ingest_body import BodyReader, BodyRefused, IngestLimits

log = structlog.get_logger()

MAX_ERRORS = 100
"""So many refused rows are named in an answer; all of them are dead letters."""

MAX_NOTES = 20

_BROKER_RETRY_S = 5
_MAX_KEY_CHARS = 255
_STATUS = {
    "unreadable": HTTPStatus.BAD_REQUEST,
    "unsupported": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}
_DESCRIPTION = (
    "A JSON object, an array, or one object per line; CloudEvents of an inference logger; an Arrow IPC stream; as it "
    "is or gzip. The answer comes when the broker has every row. With an `Idempotency-Key` a repeated request is taken "
    "once."
)
_ANSWER: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Taken. Refused rows are told here and kept as dead letters.",
        "content": {
            "application/json": {
                "example": {
                    "accepted": 499,
                    "rejected": 1,
                    "errors": [{"row": 17, "field": "score", "reason": "1.2 is not from 0 to 1"}],
                    "errors_left_out": 0,
                    "notes": ["churn version 7: in the schema but not sent, so counted as missing: f.age"],
                }
            }
        },
    },
    429: {"description": "Too much at once: come again after `Retry-After` seconds."},
}


class RowProblem(Protocol):
    """A refused row: its place in the request, the field, the reason."""

    @property
    def row(self) -> int | None: ...
    @property
    def field(self) -> str: ...
    @property
    def reason(self) -> str: ...


class Taken(Protocol):
    """Rows by outcome, and how accepted ones differ from what is registered; or why nothing was taken: unreadable,
    unsupported, too_large."""

    @property
    def accepted(self) -> int: ...
    @property
    def errors(self) -> Sequence[RowProblem]: ...
    @property
    def refused(self) -> str | None: ...
    @property
    def detail(self) -> str: ...
    @property
    def notes(self) -> Sequence[str]: ...


class Intake(Protocol):
    """Where bodies go; returns when the broker has every row."""

    async def take(
        self, body: bytes, headers: Mapping[str, str], *, kind: str, idempotency_key: str | None
    ) -> Taken: ...


def ingest_router(intake: Intake, limits: IngestLimits | None = None) -> APIRouter:
    """The routes. Every failure is a problem document: 400, 408, 413, 415, 429, 503."""
    router = APIRouter(prefix="/v1", tags=["ingest"])
    reader = BodyReader(limits or IngestLimits())

    async def take(request: Request, kind: str) -> Response:
        key = request.headers.get("idempotency-key")
        if key is not None and not 0 < len(key) <= _MAX_KEY_CHARS:
            detail = f"Idempotency-Key has {len(key)} characters; 1 to {_MAX_KEY_CHARS} are allowed."
            return problem_response(request, 400, detail)
        try:
            async with reader.body(request) as body, asyncio.timeout(reader.limits.timeout_s):
                taken = await intake.take(body, dict(request.headers), kind=kind, idempotency_key=key)
        except BodyRefused as error:
            return _later(problem_response(request, error.status, error.detail), error.retry_s)
        except TimeoutError:
            log.warning("Events could not be written in time; the sender was told to come again.", kind=kind)
            detail = (
                "The broker did not confirm in time. Send the request again; with the same Idempotency-Key nothing is "
                "taken twice."
            )
            return _later(problem_response(request, 503, detail), _BROKER_RETRY_S)
        if taken.refused is not None:
            return problem_response(request, _STATUS[taken.refused], taken.detail)
        return JSONResponse(_answer(taken), HTTPStatus.ACCEPTED)

    @router.post(
        "/events", status_code=202, summary="Predictions", description=_DESCRIPTION, responses=_ANSWER
    )
    async def events(request: Request) -> Response:
        return await take(request, "prediction")

    @router.post("/labels", status_code=202, summary="Labels", description=_DESCRIPTION, responses=_ANSWER)
    async def labels(request: Request) -> Response:
        return await take(request, "label")

    _ = (events, labels)
    return router


def _answer(taken: Taken) -> dict[str, Any]:
    errors = taken.errors
    return {
        "accepted": taken.accepted,
        "rejected": len(errors),
        "errors": [{"row": one.row, "field": one.field, "reason": one.reason} for one in errors[:MAX_ERRORS]],
        "errors_left_out": max(0, len(errors) - MAX_ERRORS),
        "notes": taken.notes[:MAX_NOTES],
    }


def _later(response: JSONResponse, retry_s: int | None) -> JSONResponse:
    if retry_s is not None:
        response.headers["Retry-After"] = str(retry_s)
    return response
