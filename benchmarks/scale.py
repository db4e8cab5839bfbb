"""One profile worker against two, on the same topic of four partitions: rows per second of wall time.

    uv run python -m benchmarks.scale --json

Scenario `scale.two.times`. It needs two free processor cores, and the broker works beside the workers.
"""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from benchmarks.broker import fill, running
from benchmarks.report import Scenario, parser, say, show
from benchmarks.workload import Workload
from streams.topics import EVENTS

_PARTITIONS = 4
_DEADLINE_S = 600.0


def main() -> int:
    """Run the scenario."""
    options = parser(__doc__ or "")
    options.add_argument("--events", type=int, default=4_000_000, help="events (default: 4,000,000)")
    given = options.parse_args()
    rates = {count: _rate(given.events, count, given.seed) for count in (1, 2)}
    scenario = Scenario(
        id="scale.two.times",
        value=rates[2] / rates[1],
        unit="times",
        higher_is_better=True,
        peers={f"rows per second, {count} workers": rate for count, rate in rates.items()},
        target=1.7,
    )
    return show([scenario], as_json=given.json)


def _rate(events: int, count: int, seed: int) -> float:
    with running(_PARTITIONS) as (broker, folder):
        say(f"{count} workers: filling the topic")
        rows = asyncio.run(fill(broker, Workload(events=events, seed=seed), slots=_PARTITIONS))
        workers = [_start(broker, folder, number) for number in range(count)]
        try:
            done = asyncio.run(_progress(broker, workers))
        finally:
            for process in workers:
                process.terminate()
            for process in workers:
                process.wait(30)
    (first_s, first), (last_s, last) = done[0], done[-1]
    return rows * (last - first) / last / (last_s - first_s)


async def _progress(broker: str, workers: list[subprocess.Popen[bytes]]) -> list[tuple[float, int]]:
    """When how many records were checkpointed, from the moment at which every partition has moved to the end."""
    places = [TopicPartition(EVENTS, number) for number in range(_PARTITIONS)]
    async with AIOKafkaConsumer(bootstrap_servers=broker) as consumer:
        end = sum((await consumer.end_offsets(places)).values())
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    deadline, found = time.monotonic() + _DEADLINE_S, list[tuple[float, int]]()
    try:
        while not found or found[-1][1] < end:
            if any(worker.poll() is not None for worker in workers) or time.monotonic() > deadline:
                raise RuntimeError("a worker ended, or the deadline has passed")
            try:
                offsets = await admin.list_consumer_group_offsets("homeostat-profile", partitions=places)
            except GroupCoordinatorNotAvailableError:
                # A broker that has just begun makes the topic of groups at the first question.
                await asyncio.sleep(0.5)
                continue
            committed = [max(0, offset.offset) for offset in offsets.values()]
            if all(committed) and (not found or sum(committed) > found[-1][1]):
                found.append((time.monotonic(), sum(committed)))
            await asyncio.sleep(0.05)
    finally:
        await admin.close()
    return found


def _start(broker: str, folder: Path, number: int) -> subprocess.Popen[bytes]:
    samples = folder / f"samples-{number}.jsonl"
    command = [sys.executable, "-m", "benchmarks.stream_worker", broker, str(folder), str(_PARTITIONS)]
    with (folder / f"worker-{number}.log").open("ab") as log:
        return subprocess.Popen([*command, str(number), str(samples)], stdout=log, stderr=log)


if __name__ == "__main__":
    sys.exit(main())
