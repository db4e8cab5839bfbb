"""The inference server: predictions over HTTP from the versions that were decided to serve."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncGenerator, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from remediation.ports import Bus, Registry
from serving.desired import ServedModels, Topics
from serving.loading import Loaded
from serving.prediction import PredictRequest, PredictResponse, RequestInvalid, answer, batch, decoded

log = structlog.get_logger()

MAX_INSTANCES = 1_000
MAX_BODY_BYTES = 16 * 1024 * 1024


def _json_of(shape: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape.__name__}"}}}


_BODIES = {
    "requestBody": {"required": True, "content": _json_of(PredictRequest)},
    "responses": {
        "200": {"description": "One prediction per instance", "content": _json_of(PredictResponse)}
    },
}


class PredictionLog(Protocol):
    """`homeostat.log`, for many predictions at once."""

    def __call__(
        self,
        model: str,
        *,
        version: str,
        id: Any,
        features: Any,
        prediction: Any,
        score: Any = None,
        time: Any = None,
        latency_ms: Any = None,
        feature_names: Sequence[str] | None = None,
    ) -> None: ...


def create_inference_app(
    registry: Registry,
    bus: Bus,
    models: Sequence[str],
    *,
    desired_topic: str,
    acknowledgements_topic: str,
    log_predictions: PredictionLog,
    server: str | None = None,
    max_instances: int = MAX_INSTANCES,
) -> FastAPI:
    """The application; its lifespan follows the desired state.

    models: what it serves (empty: every model that is decided to serve). server: its name in
    acknowledgements, by default host and process id. Errors are problem+json (RFC 9457).
    """
    name = server or f"{socket.gethostname()}-{os.getpid()}"
    topics = Topics(desired=desired_topic, acknowledgements=acknowledgements_topic)
    served = ServedModels(registry, bus, tuple(models), topics=topics, server=name)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        following = asyncio.create_task(_follow(served), name="follow-desired-state")
        yield
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    app = FastAPI(title="Homeostat inference", version="1", lifespan=lifespan)
    _add_problems(app)
    _add_schemas(app)

    @app.get("/healthz")
    async def healthz() -> dict[str, Any]:
        """Alive; `waiting` names the models that are not loaded yet."""
        return {"status": "ok", "server": name, "loaded": len(served.all()), "waiting": served.waiting()}

    @app.get("/v1/models")
    async def serving() -> dict[str, Any]:
        """What serves now."""
        return {"models": [_shown(loaded) for loaded in served.all()]}

    @app.post("/v1/models/{model}/predict", openapi_extra=_BODIES)
    async def predict(model: str, request: Request) -> Response:
        """Score a batch. Every feature of the model must be there; null where it was not measured."""
        started_s, began_s = time.time(), time.perf_counter()
        body = await _body(request)
        loaded = _serving(served, model)
        asked = batch(decoded(body, max_instances), loaded.onnx.features)
        scores = loaded.onnx.score(asked.matrix)
        predictions, content = answer(loaded, asked, scores)
        latency_ms = (time.perf_counter() - began_s) * 1e3
        log_predictions(
            model,
            version=loaded.version,
            id=asked.ids,
            features=asked.matrix,
            prediction=predictions,
            score=scores,
            time=started_s,
            latency_ms=[latency_ms] * len(asked.ids),
            feature_names=loaded.onnx.features,
        )
        return Response(content, media_type="application/json")

    return app


async def _follow(served: ServedModels) -> None:
    """Follow until cancelled; a failure is told and following begins again."""
    while True:
        try:
            await served.run()
        except Exception:
            log.exception("Following the desired state failed; it begins again in a second.")
        await asyncio.sleep(1.0)


def _serving(served: ServedModels, model: str) -> Loaded:
    loaded = served.get(model)
    if loaded is not None:
        return loaded
    if model in served.waiting():
        raise RequestInvalid(503, "Not loaded yet", f"model {model!r}: no version is loaded yet; try again")
    known = [each.model for each in served.all()]
    raise RequestInvalid(404, "Unknown model", f"model {model!r} is not served here; these are: {known}")


def _shown(loaded: Loaded) -> dict[str, Any]:
    return {
        "model": loaded.model,
        "version": loaded.version,
        "digest": loaded.digest,
        "epoch": loaded.epoch,
        "features": list(loaded.onnx.features),
    }


async def _body(request: Request) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise RequestInvalid(
                413, "The body is too large", f"body: more than {MAX_BODY_BYTES} bytes; send less"
            )
    return bytes(content)


def _problem(status: int, title: str, detail: str, path: str) -> Response:
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": path}
    headers = {"retry-after": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return Response(msgspec.json.encode(content), status, headers, media_type="application/problem+json")


def _add_problems(app: FastAPI) -> None:
    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestInvalid)
        return _problem(error.status, error.title, error.detail, request.url.path)

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


def _add_schemas(app: FastAPI) -> None:
    """Put the shapes of msgspec into the OpenAPI document: `_BODIES` refers to them."""
    generate = app.openapi
    _, shapes = msgspec.json.schema_components(
        (PredictRequest, PredictResponse), ref_template="#/components/schemas/{name}"
    )

    def openapi() -> dict[str, Any]:
        document = generate()
        document.setdefault("components", {}).setdefault("schemas", {}).update(shapes)
        return document

    app.openapi = openapi
