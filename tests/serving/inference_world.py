"""An inference server of its own on a free port, with versions in memory."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec
import uvicorn

from remediation.training_values import TrainedModel
from remediation.values import Acknowledgement, Arrangement, Desired, ModelVersion
from serving.inference import create_inference_app
from serving.signatures import Signatures
from tests.patience import PATIENCE_S

from .conftest import MemoryBus

DESIRED, ACKNOWLEDGEMENTS = "desired", "acknowledgements"


class MemoryRegistry:
    """Versions in memory; `trouble` is raised while it is set."""

    def __init__(self, *versions: TrainedModel) -> None:
        self._versions = versions
        self.alias: str | None = "1" if versions else None
        self.trouble: Exception | None = None

    def version(self, model: str, version: str) -> ModelVersion | None:
        if self.trouble:
            raise self.trouble
        if model != "m" or not 1 <= int(version) <= len(self._versions):
            return None
        return ModelVersion(model=model, version=version, digest=self._versions[int(version) - 1].digest)

    def onnx(self, model: str, version: str) -> bytes:
        return self._versions[int(version) - 1].onnx

    def champion(self, model: str) -> str | None:
        if self.trouble:
            raise self.trouble
        return self.alias if model == "m" else None


class Calls:
    """Stands for `homeostat.log`."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, model: str, **event: Any) -> None:
        self.calls.append({"model": model, **event})


@contextlib.asynccontextmanager
async def served(
    registry: Any,
    bus: MemoryBus,
    calls: Calls | None = None,
    model: str = "m",
    signatures: Signatures | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """A uvicorn of its own on a free port."""
    app = create_inference_app(
        registry,
        bus,
        [model],
        desired_topic=DESIRED,
        acknowledgements_topic=ACKNOWLEDGEMENTS,
        log_predictions=calls or Calls(),
        server="s1",
        max_instances=50,
        signatures=signatures,
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    running = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            yield client
    finally:
        server.should_exit = True
        await running


async def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.01)


async def until_version(client: httpx.AsyncClient, version: str, epoch: int) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        found = (await client.get("/v1/models")).json()["models"]
        if found and (found[0]["version"], found[0]["epoch"]) == (version, epoch):
            return
        assert time.monotonic() < deadline_s, found
        await asyncio.sleep(0.02)


async def decide(
    bus: MemoryBus, version: str, digest: str, epoch: int, model: str = "m", **arrangement: Any
) -> None:
    desired = Desired(
        model=model,
        version=version,
        digest=digest,
        epoch=epoch,
        decided_by="test",
        reason="test",
        at_us=1,
        arrangement=Arrangement(**arrangement),
    )
    await bus.publish(DESIRED, key=model.encode(), value=msgspec.json.encode(desired))


def acknowledged(bus: MemoryBus) -> list[Acknowledgement]:
    return [
        msgspec.json.decode(message.value or b"", type=Acknowledgement)
        for message in bus.topics.get(ACKNOWLEDGEMENTS, [])
    ]


def body(*rows: dict[str, Any], ids: bool = False) -> dict[str, Any]:
    return {"instances": [{"features": row} | ({"id": f"p{i}"} if ids else {}) for i, row in enumerate(rows)]}
