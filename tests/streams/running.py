"""Workers inside the test's own process, on topics of their own."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from aiokafka import AIOKafkaProducer

from streams.broker.admin import ensure_topics
from streams.broker.log import LogReader
from streams.stages import InputRecord
from streams.topics import CONTROL, DEADLETTERS, TopicSpec
from streams.worker.role import Role, StreamsConfig
from streams.worker.runtime import Worker
from tests.patience import PATIENCE_S
from tests.streams.counting import counting_topics
from tests.streams.parts import until


@dataclass
class Running:
    """A worker that is ready, and the task that it runs in."""

    worker: Worker
    task: asyncio.Task[None]


@contextlib.asynccontextmanager
async def running(config: StreamsConfig, role: Role) -> AsyncGenerator[Running]:
    """A worker that is ready; stopped in order at the end."""
    ready = asyncio.Event()
    async with LogReader(config.broker, f"test-{role.name}") as reader:
        worker = Worker(replace(config, ready_callback=ready.set), role, reader)
        task = asyncio.create_task(worker.run())
        try:
            waits = asyncio.create_task(ready.wait())
            await asyncio.wait({waits, task}, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
            assert ready.is_set(), f"the worker is not ready: {task}"
            yield Running(worker, task)
        finally:
            worker.stop()
            await asyncio.wait({task}, timeout=PATIENCE_S)
            assert task.done()


async def make_counting_topics(broker: str, prefix: str, partitions: int = 1) -> None:
    specs = [TopicSpec(name, count) for name, count in counting_topics(prefix, partitions).items()]
    await ensure_topics(broker, [*specs, TopicSpec(CONTROL, 1), TopicSpec(DEADLETTERS, 1)])


async def send_numbers(
    broker: str, prefix: str, records: Sequence[Sequence[int]], partition: int = 0
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker, enable_idempotence=True) as producer:
        sent = [
            await producer.send(f"{prefix}.in", json.dumps(list(numbers)).encode(), partition=partition)
            for numbers in records
        ]
        await asyncio.gather(*sent)


async def read_all(broker: str, topic: str, partition: int = 0) -> list[InputRecord]:
    """Every committed record."""
    async with LogReader(broker, "test-read-all") as reader:
        first, end = await reader.bounds(topic, partition)
        return await reader.read(topic, partition, first, end - 1) if end > first else []


async def counts(broker: str, prefix: str, partition: int = 0) -> list[int]:
    """What the counting stage has said: after each record how many numbers it had seen."""
    return [int(record.value or b"") for record in await read_all(broker, f"{prefix}.out", partition)]


async def until_counted(
    broker: str, prefix: str, records: int, partition: int = 0, timeout_s: float = 40
) -> list[int]:
    """Wait until the stage has spoken about so many records."""
    found: list[int] = []

    async def enough() -> bool:
        found[:] = await counts(broker, prefix, partition)
        return len(found) >= records

    await until(f"{records} records counted", enough, timeout_s)
    return found
