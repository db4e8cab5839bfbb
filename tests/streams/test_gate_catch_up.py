"""A gate that comes back after hours finds hours of events in every partition; none of them is to come late by that."""

import asyncio
import json
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from detectors.values import Monitor
from homeostat.contract import decode
from streams.control.configuration import monitor_record
from streams.gate.config import GateConfig
from streams.gate.worker import serve_gate
from tests.streams.parts import make_topics, read, until

PARTITIONS = 3
ROWS = 300
STEP_S = 4
START_S = 1_780_000_000
LATENESS_S = 240.0


async def backlog(broker: str, topic: str) -> None:
    """One event every four seconds on each partition, dated when it happened; all can be read at the same moment."""
    async with (
        AIOKafkaProducer(bootstrap_servers=broker, transactional_id=topic) as producer,
        producer.transaction(),
    ):
        for partition in range(PARTITIONS):
            for number in range(ROWS):
                at_s = START_S + number * STEP_S + partition
                event = {
                    "kind": "prediction",
                    "model": "m",
                    "version": "1",
                    "id": f"{partition}-{number}",
                    "time": at_s,
                    "features": {"x": 1.0},
                    "prediction": 1,
                }
                await producer.send(
                    topic, json.dumps(event).encode(), partition=partition, timestamp_ms=at_s * 1_000
                )


async def members(broker: str, group: str) -> int:
    """How many workers have their partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        (told,) = cast("list[Any]", await admin.describe_consumer_groups([group]))
    except GroupCoordinatorNotAvailableError:
        return 0
    finally:
        await admin.close()
    _, _, state, _, _, found, *_ = told.groups[0]
    return len(found) if state == "Stable" else 0


@pytest.mark.parametrize(
    "max_records",
    [
        (50,),
        pytest.param((5_000,), marks=pytest.mark.soak),
        pytest.param((5_000, 20), marks=pytest.mark.soak),
    ],
)
async def test_partitions_are_caught_up_in_turns(
    kafka: str, topic_prefix: str, max_records: tuple[int, ...]
) -> None:
    """By one worker, and by a quick and a slow one, which have parts of them."""
    parts = ("ingest", "halves", "events", "metrics", "state", "deadletters", "control")
    names: dict[str, Any] = {name: f"{topic_prefix}-{name}" for name in parts}
    await make_topics(
        kafka, {names[name]: 1 if name in ("control", "deadletters") else PARTITIONS for name in parts}
    )
    key, value = monitor_record(Monitor(model="m", lateness_s=LATENESS_S))
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait(names["control"], value, key=key)
    group, stop = f"{topic_prefix}-gate", asyncio.Event()
    gates = [
        asyncio.create_task(
            serve_gate(GateConfig(broker=kafka, group=group, max_records=most, **names), stop)
        )
        for most in max_records
    ]

    async def complete() -> bool:
        return await members(kafka, group) == len(max_records)

    await until("all workers have their parts", complete)
    await backlog(kafka, names["ingest"])

    async def times_us() -> list[int]:
        records = await read(kafka, names["events"])
        return [int(one) for item in records for one in decode(item.value, item.headers).times_us]

    async def done() -> bool:
        return len(await times_us()) >= PARTITIONS * ROWS

    await until("everything is caught up", done)
    stop.set()
    await asyncio.gather(*gates)
    found = await times_us()
    assert len(found) == PARTITIONS * ROWS
    newest_us = late_us = 0
    for at_us in found:
        late_us = max(late_us, newest_us - at_us)
        newest_us = max(newest_us, at_us)
    assert late_us <= LATENESS_S / 2 * 1e6
