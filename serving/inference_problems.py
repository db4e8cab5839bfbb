"""Problem documents (RFC 9457) of the inference server, and the shapes of its bodies."""

from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from serving.prediction import PredictRequest, PredictResponse, RequestInvalid

log = structlog.get_logger()

MAX_BODY_BYTES = 16 * 1024 * 1024


def _json_of(shape: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape.__name__}"}}}


BODIES: dict[str, Any] = {
    "requestBody": {"required": True, "content": _json_of(PredictRequest)},
    "responses": {
        "200": {"description": "One prediction per instance", "content": _json_of(PredictResponse)},
        "503": {"description": "Not loaded yet, or paused: come again after `Retry-After` seconds."},
    },
}


async def body_of(request: Request) -> bytes:
    """The body. Raises `RequestInvalid` where it is too large."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise RequestInvalid(
                413, "The body is too large", f"body: more than {MAX_BODY_BYTES} bytes; send less"
            )
    return bytes(content)


def add_problems(app: FastAPI) -> None:
    """Every failure is a problem document."""

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestInvalid)
        return _problem(error.status, error.title, error.detail, request.url.path, error.retry_after_s)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        title = HTTPStatus(error.status_code).phrase
        return _problem(
            error.status_code, title, f"{request.method} {request.url.path}: {title}", request.url.path
        )

    async def gone(request: Request, error: Exception) -> Response:
        log.info("A client went away before its request was complete.", path=request.url.path)
        return Response(status_code=400)

    async def unforeseen(request: Request, error: Exception) -> Response:
        log.error("A request failed.", path=request.url.path, exc_info=error)
        return _problem(500, "Internal error", "The server failed; its log tells why.", request.url.path)

    app.add_exception_handler(RequestInvalid, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, unforeseen)


def add_schemas(app: FastAPI) -> None:
    """Put the shapes of msgspec into the OpenAPI document: `BODIES` refers to them."""
    generate = app.openapi
    _, shapes = msgspec.json.schema_components(
        (PredictRequest, PredictResponse), ref_template="#/components/schemas/{name}"
    )

    def openapi() -> dict[str, Any]:
        document = generate()
        document.setdefault("components", {}).setdefault("schemas", {}).update(shapes)
        return document

    app.openapi = openapi


def _problem(status: int, title: str, detail: str, path: str, retry_after_s: int | None = None) -> Response:
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": path}
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    return Response(msgspec.json.encode(content), status, headers, media_type="application/problem+json")
