"""The gate's speed: single JSON events from a topic to columnar batches, against a bare consume-and-decode loop.

    uv run python -m benchmarks.gate --json

The topic already holds the events. Both sides run in a process of their own, one after the other, and are measured in
CPU-seconds of that process with all its threads (the gate has no children), start of the clients included, imports
excluded. The bare loop is aiokafka's `getmany` and orjson on every value; the gate does everything it does in
production: checks, columns, keys, transactions with state and accounting.
"""

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.report import Scenario, parser, say, show
from deploy.stack.kafka import KafkaBroker, KafkaConfig, parent_bound_launcher
from streams.broker.admin import ensure_topics
from streams.broker.memory import settle
from streams.gate.config import GateConfig
from streams.topics import TopicSpec

PARTITIONS = 2
FEATURES = [f"feature_{i}" for i in range(13)]
TOPICS = ("ingest", "halves", "events", "metrics", "state")


def main() -> int:
    options = parser("The gate's speed against a bare consume-and-decode loop.")
    options.add_argument("--events", type=int, default=400_000, help="single JSON events (default: 400000)")
    options.add_argument("--worker", choices=["gate", "bare"], help=argparse.SUPPRESS)
    options.add_argument("--broker", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.worker:
        seconds = asyncio.run(WORKERS[given.worker](_config(given.broker), PARTITIONS, given.events))
        print(json.dumps({"cpu_s": seconds}))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        config = KafkaConfig(Path(folder) / "kafka")
        with KafkaBroker(config, launcher=parent_bound_launcher()) as broker:
            return show(_measure(broker.bootstrap, given.events, given.seed), as_json=given.json)


def _measure(broker: str, events: int, seed: int) -> list[Scenario]:
    say(f"Writing {events} events.")
    asyncio.run(_fill(broker, events, seed))
    rates: dict[str, float] = {}
    for name in ("bare", "gate"):
        command = [sys.executable, "-m", "benchmarks.gate", "--worker", name, "--broker", broker]
        done = subprocess.run([*command, "--events", str(events)], stdout=subprocess.PIPE, check=True)
        answer = json.loads(done.stdout.splitlines()[-1])
        rates[name] = events / answer["cpu_s"]
        say(f"{name}: {rates[name]:,.0f} events per CPU-second")
    return [
        Scenario(
            id="gate.json.ratio",
            value=rates["gate"] / rates["bare"],
            unit="ratio of events per CPU-second",
            higher_is_better=True,
            peers={f"{name} (events per CPU-second)": rate for name, rate in rates.items()},
            target=0.5,
        ),
    ]


async def _fill(broker: str, events: int, seed: int) -> None:
    counts = dict.fromkeys(TOPICS, PARTITIONS) | {"deadletters": 1, "control": 1}
    await ensure_topics(broker, [TopicSpec(name, partitions) for name, partitions in counts.items()])
    rng = random.Random(seed)
    async with AIOKafkaProducer(bootstrap_servers=broker, linger_ms=20, max_batch_size=262_144) as producer:
        for number in range(events):
            value = orjson.dumps(
                {
                    "kind": "prediction",
                    "model": "churn",
                    "version": "7",
                    "id": f"{rng.getrandbits(128):032x}",
                    "time": 1_790_000_000 + number / 100,
                    "features": {name: round(rng.gauss(0, 1), 6) for name in FEATURES},
                    "prediction": number % 2,
                    "score": round(rng.random(), 6),
                }
            )
            await producer.send("ingest", value, partition=number % PARTITIONS)
        await producer.flush()


def _config(broker: str) -> GateConfig:
    return GateConfig(broker=broker, **{name: name for name in (*TOPICS, "deadletters", "control")})


async def read_bare(config: GateConfig, count: int, events: int, **settings: int) -> float:
    """CPU-seconds of reading and decoding so many events of the ingest topic's partitions."""
    before = _cpu_s()
    consumer = AIOKafkaConsumer(bootstrap_servers=config.broker, **settings)
    await consumer.start()
    try:
        partitions = [TopicPartition(config.ingest, number) for number in range(count)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        seen = 0
        while seen < events:
            for records in (await consumer.getmany(timeout_ms=1_000, max_records=5_000)).values():
                for record in records:
                    orjson.loads(record.value)
                seen += len(records)
    finally:
        await consumer.stop()
    return _cpu_s() - before


async def run_gate(config: GateConfig, count: int, events: int) -> float:
    """CPU-seconds of a gate until it has committed so many events of the ingest topic's partitions."""
    from streams.gate.worker import prepare_process, serve_gate

    settle()
    prepare_process()
    before = _cpu_s()
    stop = asyncio.Event()
    gate = asyncio.create_task(serve_gate(config, stop))
    watch = AIOKafkaConsumer(bootstrap_servers=config.broker, group_id=config.group, enable_auto_commit=False)
    await watch.start()
    try:
        while True:
            await asyncio.sleep(0.25)
            places = [TopicPartition(config.ingest, number) for number in range(count)]
            done = [await watch.committed(place) or 0 for place in places]
            if sum(done) >= events:
                break
            if gate.done():
                gate.result()
    finally:
        await watch.stop()
    spent = _cpu_s() - before
    stop.set()
    await gate
    return spent


def _cpu_s() -> float:
    found = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        found += usage.ru_utime + usage.ru_stime
    return found


async def read_settled(config: GateConfig, count: int, events: int) -> float:
    """The same with the memory and fetch settings of our workers."""
    settle()
    return await read_bare(config, count, events, max_partition_fetch_bytes=config.fetch_bytes)


WORKERS = {"gate": run_gate, "bare": read_bare, "settled": read_settled}

if __name__ == "__main__":
    sys.exit(main())
