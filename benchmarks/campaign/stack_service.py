"""The service of the campaign on a stack: the product's own inference server and SDK, with what is ill about a service.

How long a request takes and whether it fails is drawn, because a loaded machine would be ill by itself; everything else
that is logged is what the server saw and said.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx
import msgspec
import numpy as np

import homeostat
from benchmarks.campaign.population import FEATURES, Behaviour, Floats
from benchmarks.campaign.scenarios import Scenario
from benchmarks.campaign.world import latencies, service
from deploy.demo.session import Session
from serving.inference import CONSTANT, create_inference_app
from serving.listening import Server
from streams import topics

_START_S = 30.0
_PATIENCE_S = 60.0
_TRAINED = Behaviour(weights=())
"""What was trained here has no illness of its own."""


@dataclass
class Line:
    """What the service does with one model. `behaviours`: versions by what is ill about them; `at`: windows since the
    start; `times_s`: of requests that are answered now, by id; `failed`: ids without an answer."""

    scenario: Scenario
    rng: np.random.Generator
    behaviours: dict[str, Behaviour] = field(default_factory=dict[str, Behaviour])
    at: float = 0.0
    times_s: dict[str, float] = field(default_factory=dict[str, float])
    failed: set[str] = field(default_factory=set[str])


class Service:
    """Answers requests of all models. `logged`: predictions by model."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.logged: dict[str, int] = {}
        # A connection that is kept can be closed by the server in the moment in which it is used again.
        fresh = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.AsyncClient(timeout=_PATIENCE_S, limits=fresh)
        self._url = ""

    @contextlib.asynccontextmanager
    async def running(self, session: Session) -> AsyncGenerator[None]:
        """Follow what is decided, and answer, for as long as the block lasts."""
        homeostat.init(session.addresses.broker)
        app = create_inference_app(
            session.registry,
            session.bus,
            (),
            desired_topic=topics.DESIRED,
            acknowledgements_topic=topics.ACKNOWLEDGEMENTS,
            log_predictions=self.log,
            server="campaign",
        )
        server = _Quiet(app)
        task = asyncio.create_task(server.serve(), name="campaign-serving")
        try:
            async with asyncio.timeout(_START_S):
                while not server.started:  # noqa: ASYNC110 - uvicorn tells it by a flag only
                    await asyncio.sleep(0.05)
            port = server.servers[0].sockets[0].getsockname()[1]
            self._url = f"http://127.0.0.1:{port}/v1/models"
            yield
        finally:
            server.should_exit = True
            await task
            await self._http.aclose()
            await asyncio.to_thread(homeostat.close)

    def log(
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
    ) -> None:
        """`homeostat.log`, with what is ill about the service and about this version's own reading of features."""
        del latency_ms
        line, count = self.lines[model], len(id)
        behaviour = line.behaviours.get(version, _TRAINED)
        failing, slower = service(line.scenario, line.at, behaviour)
        failed = line.rng.random(count) < failing
        line.failed.update(one for one, lost in zip(id, failed, strict=True) if lost)
        self.logged[model] = self.logged.get(model, 0) + count
        reads = np.array([behaviour.reads.get(name, 1.0) for name in FEATURES], dtype=np.float32)
        is_constant = status == CONSTANT
        homeostat.log(
            model,
            version=version,
            id=id,
            features=features * reads,
            prediction=None if is_constant else np.where(failed, np.nan, prediction),
            score=None if is_constant else np.where(failed, np.nan, score),
            time=[line.times_s.get(one, time) for one in id],
            latency_ms=latencies(slower, count, line.rng),
            status=np.where(failed, "timeout", status or "ok").tolist(),
            feature_names=feature_names,
        )

    async def ask(self, model: str, ids: list[str], names: Sequence[str], columns: Sequence[Floats]) -> bool:
        """Send a request; False: the model is paused, and nobody was answered."""
        rows = zip(*(_nullable(one) for one in columns), strict=True)
        instances = [
            {"id": one, "features": dict(zip(names, row, strict=True))}
            for one, row in zip(ids, rows, strict=True)
        ]
        answer = await self._http.post(
            f"{self._url}/{model}/predict",
            content=msgspec.json.encode({"instances": instances}),
            headers={"content-type": "application/json"},
        )
        if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE and answer.json()["title"] == "Paused":
            return False
        answer.raise_for_status()
        return True

    async def serves(self, model: str) -> dict[str, Any] | None:
        """What answers for a model, as the server tells it."""
        answer = await self._http.get(self._url)
        answer.raise_for_status()
        return next((each for each in answer.json()["models"] if each["model"] == model), None)


def _nullable(column: Floats) -> list[float | None]:
    return [None if np.isnan(one) else one for one in column.tolist()]


class _Quiet(Server):
    """Leaves the signals to the program that it is a part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
