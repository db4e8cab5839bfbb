"""What the tests of the plain workers share: processes to kill, topics of their own, reading back."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.broker.admin import ensure_topics
from streams.topics import TopicSpec
from tests.patience import PATIENCE_S, patient_s

ROOT = Path(__file__).parents[2]


class Worker:
    """A worker as a process of its own, which can be killed at any moment."""

    def __init__(self, code: str, config: dict[str, Any], log: Path) -> None:
        self._command = [sys.executable, "-c", code, json.dumps(config)]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=output, stderr=output)

    def send(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=PATIENCE_S)

    def stop(self, timeout_s: float = PATIENCE_S) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=timeout_s)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=PATIENCE_S)

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


async def until(what: str, condition: Callable[[], Any], timeout_s: float = 60) -> Any:
    """Poll until `condition()` (a coroutine function or a function) is true; returns its value."""
    deadline_s = time.monotonic() + patient_s(timeout_s)
    while True:
        began_s = time.monotonic()
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline_s, f"not in {timeout_s} s: {what}"
        # Who looks all the time takes the processor from those whom it waits for.
        await asyncio.sleep(max(0.1, 2 * (time.monotonic() - began_s)))


async def make_topics(broker: str, counts: dict[str, int]) -> None:
    await ensure_topics(broker, [TopicSpec(name, partitions) for name, partitions in counts.items()])


async def produce(
    broker: str,
    topic: str,
    values: list[bytes | None],
    *,
    partition: int | None = None,
    headers: list[tuple[str, bytes]] | None = None,
) -> None:
    """Round robin over the partitions unless one is named."""
    async with AIOKafkaProducer(bootstrap_servers=broker, max_request_size=2_000_000) as producer:
        partitions = sorted(await producer.partitions_for(topic))
        sent = [
            await producer.send(
                topic,
                value,
                key=b"k",
                partition=partitions[number % len(partitions)] if partition is None else partition,
                headers=headers or [],
            )
            for number, value in enumerate(values)
        ]
        await asyncio.gather(*sent)


async def read(broker: str, topic: str) -> list[Any]:
    """Every committed record of the topic."""
    async with AIOKafkaConsumer(bootstrap_servers=broker, isolation_level="read_committed") as consumer:
        await consumer.topics()
        numbers: set[int] = set()
        async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
            numbers = await producer.partitions_for(topic)
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[Any] = []
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                found += (await consumer.getmany(partition, timeout_ms=500)).get(partition, [])
    return found
