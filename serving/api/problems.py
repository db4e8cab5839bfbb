"""Errors as RFC 9457 problem details, every one of them."""

import re
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from db.audit.request import REQUEST_ID
from db.errors import StoreError
from serving.model_errors import RegistryUnreachable, ServingError

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """Ends a request with this status; `detail` tells a person what is wrong and what would be right."""

    def __init__(self, status: HTTPStatus, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.extra = extra


def problem_response(request: Request, status: int, detail: str, **extra: Any) -> JSONResponse:
    """A problem details document (RFC 9457)."""
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "request_id": getattr(request.state, "request_id", None),
        **extra,
    }
    return JSONResponse(content, status, media_type=MEDIA_TYPE)


def add_problems(app: FastAPI) -> None:
    """Install the handlers and the request id (taken from `X-Request-Id`, or made)."""

    @app.middleware("http")
    async def identify(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        given = request.headers.get("x-request-id", "")
        request.state.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        REQUEST_ID.set(request.state.request_id)
        try:
            response = await call_next(request)
        except Exception:
            # The boundary of the process: the person gets an id to look for, the log gets the trace.
            log.exception("A request failed.", path=request.url.path, request_id=request.state.request_id)
            response = problem_response(
                request, 500, "Something broke here; the log has the details under the request id."
            )
        response.headers["X-Request-Id"] = request.state.request_id
        return response

    @app.exception_handler(Problem)
    async def told(request: Request, error: Problem) -> Response:
        return problem_response(request, error.status, error.detail, **error.extra)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        response = problem_response(request, error.status_code, str(error.detail))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        wrong = [_told(each) for each in error.errors()]
        return problem_response(request, 422, "The request is not valid.", errors=wrong)

    @app.exception_handler(StoreError)
    async def store(request: Request, error: StoreError) -> Response:
        return problem_response(request, 503, str(error))

    @app.exception_handler(ServingError)
    async def registry(request: Request, error: ServingError) -> Response:
        status = 503 if isinstance(error, RegistryUnreachable) else 409
        return problem_response(request, status, str(error))


def _told(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    # What pydantic gives for a missing field is the object around it.
    given = "" if error["type"] == "missing" else f" (found {str(error.get('input'))[:80]!r})"
    return f"{place}: {error['msg']}{given}"
