"""Versions that score every request without answering, after the answer is on its way."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from serving.arranged import Served, Voice
from serving.inference_metrics import InferenceMetrics
from serving.prediction import THRESHOLD, Batch

log = structlog.get_logger()

CAPACITY = 64
"""Requests that may wait for their shadows; what comes above it is dropped and counted."""


class PredictionLog(Protocol):
    """`homeostat.log`, for many predictions at once."""

    def __call__(
        self,
        model: str,
        *,
        version: str,
        id: Any,
        features: Any,
        prediction: Any = None,
        score: Any = None,
        time: Any = None,
        latency_ms: Any = None,
        status: Any = None,
        feature_names: Sequence[str] | None = None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    served: Served
    asked: Batch
    at_s: float


class Shadows:
    """A bounded queue, and one thread that works it off beside the answers.

    A shadow's event has the id of the request: events are told apart by model, version and id, and a label belongs to
    all that have its id. Nothing here raises into a request or makes it wait.
    """

    def __init__(
        self, log_predictions: PredictionLog, metrics: InferenceMetrics, *, capacity: int = CAPACITY
    ) -> None:
        self._log = log_predictions
        self._metrics = metrics
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(capacity)
        self._failing: set[tuple[str, str]] = set()

    async def offer(self, served: Served, asked: Batch, at_s: float) -> None:
        """Take a request that was answered at `at_s` (seconds since the epoch)."""
        try:
            self._queue.put_nowait(_Waiting(served, asked, at_s))
        except asyncio.QueueFull:
            for voice in served.shadows:
                self._metrics.shadowed(served.model, voice.loaded.version, "dropped", len(asked.ids))

    async def run(self) -> None:
        """Score what waits; until cancelled."""
        while True:
            waiting = await self._queue.get()
            for voice in waiting.served.shadows:
                await self._one(waiting, voice)

    async def _one(self, waiting: _Waiting, voice: Voice) -> None:
        loaded = voice.loaded
        name = loaded.model, loaded.version
        try:
            await asyncio.to_thread(self._score, waiting, voice)
        except Exception as error:
            # Whatever a shadow does is no concern of those who were answered.
            self._metrics.shadowed(*name, "failed", len(waiting.asked.ids))
            if name not in self._failing:
                self._failing.add(name)
                log.exception(
                    "A shadow cannot score; this is told once.",
                    model=name[0],
                    version=name[1],
                    reason=str(error),
                )
        else:
            self._metrics.shadowed(*name, "scored", len(waiting.asked.ids))
            self._failing.discard(name)

    def _score(self, waiting: _Waiting, voice: Voice) -> None:
        served, asked, loaded = waiting.served, waiting.asked, voice.loaded
        began_s = time.perf_counter()
        scores = loaded.onnx.score(voice.rows_of(served.with_imputed(asked.matrix)))
        latency_ms = (time.perf_counter() - began_s) * 1e3
        self._log(
            loaded.model,
            version=loaded.version,
            id=asked.ids,
            features=voice.rows_of(asked.matrix),
            prediction=(scores >= THRESHOLD).astype("int64"),
            score=scores,
            time=waiting.at_s,
            latency_ms=[latency_ms] * len(asked.ids),
            feature_names=loaded.onnx.features,
        )
