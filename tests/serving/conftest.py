"""A real MLflow server, models in it, and a bus in memory."""

import asyncio
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from remediation.training import SklearnTrainer
from remediation.training.candidates import CANDIDATES
from remediation.training_values import TrainedModel, TrainingSet
from serving.registry import MlflowRegistry
from streams.bus import Message
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
START_DEADLINE_S = 480.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the MLflow server keeps its files."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def mlflow_server(mlflow_folder: Path) -> Iterator[str]:
    """The tracking URI of a real MLflow server on SQLite."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "deploy.stack.mlflow_server",
        "--folder",
        str(mlflow_folder),
        "--port",
        str(port),
    ]
    with (mlflow_folder / "server.log").open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, env=dict(os.environ))
        try:
            deadline_s = time.monotonic() + START_DEADLINE_S
            while not _healthy(uri):
                assert process.poll() is None, (mlflow_folder / "server.log").read_text()
                assert time.monotonic() < deadline_s, "MLflow did not start"
                time.sleep(0.2)
            yield uri
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)


def _healthy(uri: str) -> bool:
    try:
        return httpx.get(f"{uri}/health", timeout=10.0).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def registry(mlflow_server: str) -> MlflowRegistry:
    return MlflowRegistry(mlflow_server)


@pytest.fixture
def model_name() -> str:
    """A name that no other test uses."""
    return f"m-{uuid.uuid4().hex[:8]}"


def trained(model: str, *, flipped: bool = False, seed: int = 0) -> TrainedModel:
    """A small logistic regression: `b` above 1 means 1, or 0 where it is `flipped`."""
    rng = np.random.default_rng(seed)
    features = pd.DataFrame({"b": rng.normal(1, 1, 120), "a": rng.normal(0, 1, 120)})
    labels = (features["b"] > 1).astype(int)
    groups = pd.Series(np.arange(120))
    data = TrainingSet(
        model=model, features=features, labels=1 - labels if flipped else labels, groups=groups
    )
    return SklearnTrainer(CANDIDATES[:1]).train(data, seed=seed)


class MemoryBus:
    """Topics in memory (fulfils `remediation.bus.Bus`)."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Message]] = {}
        self._changed = asyncio.Condition()

    async def publish(
        self, topic: str, *, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None
    ) -> None:
        records = self.topics.setdefault(topic, [])
        records.append(
            Message(
                topic=topic,
                partition=0,
                offset=len(records),
                key=key,
                value=value,
                headers=dict(headers or {}),
                timestamp_ms=0,
            )
        )
        async with self._changed:
            self._changed.notify_all()

    async def follow(self, topic: str, *, group: str | None = None) -> AsyncIterator[Message]:
        position = 0
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: len(self.topics.get(topic, [])) > position)  # noqa: B023
            yield self.topics[topic][position]
            position += 1

    async def read_all(self, topic: str) -> list[Message]:
        return list(self.topics.get(topic, []))


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture(scope="session")
def right() -> TrainedModel:
    return trained("m")


@pytest.fixture(scope="session")
def wrong() -> TrainedModel:
    return trained("m", flipped=True)
