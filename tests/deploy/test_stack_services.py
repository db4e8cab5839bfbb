"""Kafka and MLflow under the supervisor: killed, they come back at the same address with what they held.

It takes half a minute of processor time, so it runs with the soak tests. In every run test_kafka_broker.py kills a
broker that has to come back with its records, and test_stack_lifecycle.py a part that has to be started again."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.stack.ending import marked_processes
from deploy.stack.lifecycle import down, status, up_detached
from deploy.stack.state import Health, PartState
from streams.broker.admin import ensure_topics
from streams.topics import TopicSpec
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.slow, pytest.mark.soak]

MEMORY_LIMIT_MB = 1_000
"""Broker and registry are given a quarter of the 4 GiB that everything together may take."""

TOPIC = "kept"
MODEL = "churn"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of a running stack of Kafka and MLflow."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("SCENARIO", "services")
    home = tmp_path / "home"
    script = str(Path(__file__).with_name("small_stack.py"))
    assert up_detached(
        home, lambda event: None, [sys.executable, script, str(home)], timeout_s=PATIENCE_S
    ).started
    yield home
    down(home)
    assert marked_processes(home) == []


def _part(home: Path, name: str) -> PartState:
    part = status(home).part(name)
    assert part is not None
    return part


def _kill_and_wait(home: Path, name: str) -> None:
    process = _part(home, name).process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while not ((part := _part(home, name)).restarts == 1 and part.health is Health.HEALTHY):
        assert time.monotonic() < deadline, part
        time.sleep(0.1)


async def _send(broker: str) -> None:
    await ensure_topics(broker, [TopicSpec(TOPIC, 1)])
    async with AIOKafkaProducer(bootstrap_servers=broker, acks="all") as producer:
        await producer.send_and_wait(TOPIC, b"before the kill", partition=0)


async def _first_record(broker: str) -> bytes | None:
    async with AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False) as consumer:
        consumer.assign([TopicPartition(TOPIC, 0)])
        await consumer.seek_to_beginning()
        record = await asyncio.wait_for(consumer.getone(), PATIENCE_S)
        return record.value


def _register_model(registry: str) -> None:
    created = httpx.post(
        f"{registry}/api/2.0/mlflow/registered-models/create", json={"name": MODEL}, timeout=PATIENCE_S
    )
    created.raise_for_status()


def _registered_model(registry: str) -> str:
    found = httpx.get(
        f"{registry}/api/2.0/mlflow/registered-models/get", params={"name": MODEL}, timeout=PATIENCE_S
    )
    return found.raise_for_status().json()["registered_model"]["name"]


async def test_killed_broker_and_registry_come_back_with_what_they_held(home: Path) -> None:
    broker, registry = _part(home, "kafka").url, _part(home, "mlflow").url
    assert broker is not None
    assert registry is not None
    memory_mb = sum(process.memory_info().rss for process in marked_processes(home)) / 1e6
    assert memory_mb < MEMORY_LIMIT_MB
    await _send(broker)
    await asyncio.to_thread(_register_model, registry)

    await asyncio.to_thread(_kill_and_wait, home, "kafka")
    assert _part(home, "kafka").url == broker
    assert await _first_record(broker) == b"before the kill"

    await asyncio.to_thread(_kill_and_wait, home, "mlflow")
    assert _part(home, "mlflow").url == registry
    assert await asyncio.to_thread(_registered_model, registry) == MODEL
