"""What the stream is compared with, each in a process of its own: reading only, and one event at a time."""

import asyncio
import json
import os
import sys
import tempfile
import time
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.broker.memory import settle

_DEADLINE_S = 120.0


async def getmany(broker: str, topic: str, partitions: int) -> dict[str, float]:
    """Read every record with aiokafka and drop it."""
    places = [TopicPartition(topic, number) for number in range(partitions)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker,
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=2 * 1024 * 1024,
    )
    await consumer.start()
    consumer.assign(places)
    await consumer.seek_to_beginning(*places)
    ends = await consumer.end_offsets(places)
    left = sum(ends.values())
    records = 0
    wall, cpu = time.perf_counter(), time.process_time()
    while records < left:
        for found in (await consumer.getmany(timeout_ms=200)).values():
            records += len(found)
    result = {
        "records": float(records),
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
    }
    await consumer.stop()
    return result


async def faust_events(broker: str, topic: str, events: int, folder: str) -> dict[str, float]:
    """Faust as it comes, one JSON event a message, decoded and dropped."""
    app = faust.App(
        "bench-faust",
        broker=f"kafka://{broker}",
        value_serializer="json",
        datadir=folder,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
    )
    seen: list[tuple[int, float, float]] = []

    async def consume(stream: Any) -> None:
        async for values in stream.take(1_000, within=0.2):
            before = seen[-1][0] if seen else 0
            seen.append((before + len(values), time.process_time(), time.perf_counter()))

    app.agent(app.topic(topic, value_serializer="json"), name="bench")(consume)
    app.finalize()
    started = asyncio.ensure_future(app.start())
    while not seen or seen[-1][0] < events:
        if started.done():
            started.result()
        await asyncio.sleep(0.05)
    (first, cpu_0, wall_0), (last, cpu_1, wall_1) = seen[0], seen[-1]
    return {"records": float(last - first), "cpu_s": cpu_1 - cpu_0, "wall_s": wall_1 - wall_0}


def main() -> None:
    """Arguments: which, broker, topic, and the number of partitions (getmany) or events (faust). `getmany_settled`
    is `getmany` with the memory settings that our workers use."""
    which, broker, topic, number = sys.argv[1:5]
    if which == "getmany_settled":
        settle()
    if which.startswith("getmany"):
        outcome = asyncio.run(getmany(broker, topic, int(number)))
        print(json.dumps(outcome))
        return
    with tempfile.TemporaryDirectory() as folder:

        async def bounded() -> None:
            found = await asyncio.wait_for(faust_events(broker, topic, int(number), folder), _DEADLINE_S)
            print(json.dumps(found), flush=True)
            # Faust's own way to the end takes seconds and is not what is measured.
            os._exit(0)

        asyncio.run(bounded())


if __name__ == "__main__":
    main()
