"""A gate that comes back after hours finds hours of events in every partition; none of them is to come late by that."""

import asyncio
import json
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from detectors.values import Monitor
from homeostat.contract import decode
from streams.control.configuration import monitor_record
from streams.gate.config import GateConfig
from streams.gate.worker import serve_gate
from tests.streams.parts import make_topics, read, until

PARTITIONS = 3
ROWS = 450
STEP_S = 4
START_S = 1_780_000_000
LATENESS_S = 60.0


async def backlog(broker: str, topic: str) -> None:
    """One event every four seconds on each partition, dated when it happened; one whole partition after the other, as a
    broker brings them."""
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
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


@pytest.mark.parametrize("max_records", [50, pytest.param(5_000, marks=pytest.mark.soak)])
async def test_partitions_are_caught_up_in_turns(kafka: str, topic_prefix: str, max_records: int) -> None:
    parts = ("ingest", "halves", "events", "metrics", "state", "deadletters", "control")
    names: dict[str, Any] = {name: f"{topic_prefix}-{name}" for name in parts}
    await make_topics(
        kafka, {names[name]: 1 if name in ("control", "deadletters") else PARTITIONS for name in parts}
    )
    key, value = monitor_record(Monitor(model="m", lateness_s=LATENESS_S))
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait(names["control"], value, key=key)
    await backlog(kafka, names["ingest"])
    config = GateConfig(broker=kafka, group=f"{topic_prefix}-gate", max_records=max_records, **names)
    stop = asyncio.Event()
    gate = asyncio.create_task(serve_gate(config, stop))

    async def times_us() -> list[int]:
        records = await read(kafka, names["events"])
        return [int(one) for item in records for one in decode(item.value, item.headers).times_us]

    async def done() -> bool:
        return len(await times_us()) >= PARTITIONS * ROWS

    await until("everything is caught up", done)
    stop.set()
    await gate
    found = await times_us()
    assert len(found) == PARTITIONS * ROWS
    newest_us = late_us = 0
    for at_us in found:
        late_us = max(late_us, newest_us - at_us)
        newest_us = max(newest_us, at_us)
    assert late_us <= LATENESS_S / 2 * 1e6
