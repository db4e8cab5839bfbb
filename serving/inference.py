"""The inference server: predictions over HTTP from the versions that were decided to serve, as it was decided."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import numpy as np
import structlog
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.background import BackgroundTask

from remediation.bus import Bus
from remediation.ports import Registry
from serving.arranged import Served
from serving.desired import ServedModels, Topics
from serving.inference_metrics import InferenceMetrics
from serving.inference_problems import BODIES, add_problems, add_schemas, body_of
from serving.prediction import Batch, Part, RequestInvalid, answer, batch, decoded, scored
from serving.shadows import PredictionLog, Shadows
from serving.signatures import Signatures

log = structlog.get_logger()

MAX_INSTANCES = 1_000
CONSTANT = "constant"
"""The status of an event that was answered with the decided score; it has no prediction of its version."""

_LOADING_RETRY_S, _PAUSED_RETRY_S = 1, 30
_IDS_TOLD = 20


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
    signatures: Signatures | None = None,
) -> FastAPI:
    """The application; its lifespan follows the desired state.

    models: what it serves (empty: every model that is decided to serve). server: its name in
    acknowledgements, by default host and process id. signatures: looked at before a version that only stayed in
    memory answers again. Errors are problem+json (RFC 9457).
    """
    name = server or f"{socket.gethostname()}-{os.getpid()}"
    topics = Topics(desired=desired_topic, acknowledgements=acknowledgements_topic)
    served_models = ServedModels(
        registry, bus, tuple(models), topics=topics, server=name, signatures=signatures
    )
    metrics = InferenceMetrics(served_models.all)
    shadows = Shadows(log_predictions, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        tasks = [
            asyncio.create_task(_follow(served_models), name="follow-desired-state"),
            asyncio.create_task(shadows.run(), name="shadows"),
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPI(title="Homeostat inference", version="1", lifespan=lifespan)
    add_problems(app)
    add_schemas(app)

    @app.get("/healthz")
    async def healthz() -> dict[str, Any]:
        """Alive; `waiting` names the models that are not loaded yet."""
        found = served_models.all()
        return {"status": "ok", "server": name, "loaded": len(found), "waiting": served_models.waiting()}

    @app.get("/metrics", include_in_schema=False)
    async def metrics_page() -> Response:
        return Response(metrics.page(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models")
    async def serving() -> dict[str, Any]:
        """What is in force: versions, bytes in memory, and how requests are answered."""
        return {"models": [_shown(served) for served in served_models.all()]}

    @app.post("/v1/models/{model}/predict", openapi_extra=BODIES)
    async def predict(model: str, request: Request) -> Response:
        """Score a batch. Every feature of the model must be there; null where it was not measured."""
        started_s, began_s = time.time(), time.perf_counter()
        body = await body_of(request)
        served = _serving(served_models, model)
        asked = batch(decoded(body, max_instances), served)
        if served.arrangement.paused:
            metrics.answered(model, served.decided.loaded.version, "paused", len(asked.ids))
            raise _paused(served)
        parts = scored(served, asked)
        content = answer(served, asked, parts)
        took_s = time.perf_counter() - began_s
        is_constant = served.arrangement.constant is not None
        for part in parts:
            _log_part(log_predictions, part, asked, started_s, took_s, is_constant)
            outcome = CONSTANT if is_constant else "answered"
            metrics.answered(model, part.loaded.version, outcome, len(part.scores))
        metrics.took(model, took_s)
        if served.arrangement.detailed:
            _tell(served, asked, parts, took_s)
        after = BackgroundTask(shadows.offer, served, asked, started_s) if served.shadows else None
        return Response(content, media_type="application/json", background=after)

    return app


def _log_part(
    log_predictions: PredictionLog,
    part: Part,
    asked: Batch,
    started_s: float,
    took_s: float,
    is_constant: bool,
) -> None:
    """What was sent, and what the version said. A constant is nobody's prediction."""
    ids = asked.ids if part.rows is None else [asked.ids[row] for row in part.rows]
    log_predictions(
        part.loaded.model,
        version=part.loaded.version,
        id=ids,
        features=part.matrix,
        prediction=None if is_constant else part.predictions,
        score=None if is_constant else part.scores,
        time=started_s,
        latency_ms=[took_s * 1e3] * len(ids),
        status=CONSTANT if is_constant else None,
        feature_names=part.loaded.onnx.features,
    )


def _tell(served: Served, asked: Batch, parts: Sequence[Part], took_s: float) -> None:
    """One line of a request for whoever looks into a trouble: names, counts and times, and no value of a feature."""
    log.info(
        "A request was answered.",
        model=served.model,
        epoch=served.epoch,
        versions={part.loaded.version: len(part.scores) for part in parts},
        instances=len(asked.ids),
        ids=asked.ids[:_IDS_TOLD],
        features=len(served.features),
        missing=int(np.isnan(asked.matrix).sum()),
        imputed=[served.features[column] for column, _ in served.imputed],
        constant=served.arrangement.constant is not None,
        latency_ms=round(took_s * 1e3, 3),
    )


async def _follow(served: ServedModels) -> None:
    """Follow until cancelled; a failure is told and following begins again."""
    while True:
        try:
            await served.run()
        except Exception:
            log.exception("Following the desired state failed; it begins again in a second.")
        await asyncio.sleep(1.0)


def _serving(served_models: ServedModels, model: str) -> Served:
    served = served_models.get(model)
    if served is not None:
        return served
    if model in served_models.waiting():
        detail = f"model {model!r}: no version is loaded yet; try again"
        raise RequestInvalid(503, "Not loaded yet", detail, retry_after_s=_LOADING_RETRY_S)
    known = [each.model for each in served_models.all()]
    raise RequestInvalid(404, "Unknown model", f"model {model!r} is not served here; these are: {known}")


def _paused(served: Served) -> RequestInvalid:
    why = f": {served.reason}" if served.reason else ""
    detail = f"model {served.model!r} is paused (epoch {served.epoch}){why}; no version answers until it is resumed"
    return RequestInvalid(503, "Paused", detail, retry_after_s=_PAUSED_RETRY_S)


def _shown(served: Served) -> dict[str, Any]:
    decided = served.decided.loaded
    return {
        "model": decided.model,
        "version": decided.version,
        "digest": decided.digest,
        "signature": decided.signature.told,
        "epoch": served.epoch,
        "features": list(served.features),
        "loaded": {loaded.version: loaded.digest for loaded in served.versions},
        "arrangement": served.told,
        "arrangement_hash": served.arrangement.hash,
    }
