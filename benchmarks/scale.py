"""One profile worker against two, on the same topic of four partitions: rows per second of wall time.

    uv run python -m benchmarks.scale --json

Scenarios: `scale.two.times` (wall time; it needs two free processor cores, and the broker works beside the workers),
`scale.two.ready.times` (the same without the time in which a worker was ready to run and others had the cores: the
broker, its own twin, other programs; whatever a worker waits for counts in full), `scale.two.cost` (CPU-seconds per row
of workers and broker with two workers against one: what sharing the work costs, also on a machine that is busy with
other things). Peers of the first say what two cores can give at most.
"""

import asyncio
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from benchmarks.broker import fill, running
from benchmarks.report import Scenario, parser, say, show
from benchmarks.workload import Workload
from streams.topics import EVENTS

_PARTITIONS = 4
_DEADLINE_S = 600.0
_CORES = 2
_JOIN_MS = 8_000


class Measured(NamedTuple):
    """What `count` workers did: rows per second of wall time, rows per second without the `crowded` share of it in
    which a worker was ready and had no core, and CPU-seconds per million rows."""

    rate: float
    crowded: float
    workers_cpu: float
    broker_cpu: float

    @property
    def ready_rate(self) -> float:
        """Rows per second of the time in which a worker ran or waited for something else than a core."""
        return self.rate / (1 - self.crowded)

    @property
    def cpu(self) -> float:
        """Of workers and broker together."""
        return self.workers_cpu + self.broker_cpu


def main() -> int:
    """Run the scenario."""
    options = parser(__doc__ or "")
    options.add_argument("--events", type=int, default=8_000_000, help="events (default: 8,000,000)")
    given = options.parse_args()
    one, two = (_measure(given.events, count, given.seed) for count in (1, 2))
    times = Scenario(
        id="scale.two.times",
        value=two.rate / one.rate,
        unit="times",
        higher_is_better=True,
        peers={
            "rows per second, 1 worker": one.rate,
            "rows per second, 2 workers": two.rate,
            "at most on two cores (CPU of one worker and the broker)": _CORES * one.workers_cpu / one.cpu,
        },
        target=1.7,
    )
    ready = Scenario(
        id="scale.two.ready.times",
        value=two.ready_rate / one.ready_rate,
        unit="times, with a core for each",
        higher_is_better=True,
        peers={
            "rows per second, 1 worker": one.ready_rate,
            "rows per second, 2 workers": two.ready_rate,
            "share of the time without a core, 1 worker": one.crowded,
            "share of the time without a core, 2 workers": two.crowded,
        },
        target=1.7,
    )
    cost = Scenario(
        id="scale.two.cost",
        value=two.cpu / one.cpu,
        unit="CPU-seconds per row, 2 workers : 1",
        higher_is_better=False,
        peers={
            "CPU-seconds per million rows, 1 worker": one.workers_cpu,
            "CPU-seconds per million rows, 2 workers": two.workers_cpu,
            "CPU-seconds per million rows, broker with 1": one.broker_cpu,
            "CPU-seconds per million rows, broker with 2": two.broker_cpu,
        },
        target=1.15,
    )
    return show([times, ready, cost], as_json=given.json)


def _measure(events: int, count: int, seed: int) -> Measured:
    # Nobody is to work alone until the other has come: the broker waits for both before it gives out partitions.
    with running(_PARTITIONS, group_initial_rebalance_delay_ms=str(_JOIN_MS)) as (broker, folder):
        say(f"{count} workers: filling the topic")
        rows = asyncio.run(fill(broker, Workload(events=events, seed=seed), slots=_PARTITIONS))
        workers = [_start(broker, folder, number) for number in range(count)]
        try:
            done = asyncio.run(_progress(broker, workers, folder))
        finally:
            for process in workers:
                process.terminate()
            for process in workers:
                process.wait(30)
    first, last = done[0], done[-1]
    worked = rows * (last.records - first.records) / last.records
    wall_s = last.wall_s - first.wall_s
    return Measured(
        rate=worked / wall_s,
        crowded=(last.crowded_s - first.crowded_s) / wall_s,
        workers_cpu=1e6 * (last.workers_cpu_s - first.workers_cpu_s) / worked,
        broker_cpu=1e6 * (last.broker_cpu_s - first.broker_cpu_s) / worked,
    )


class _Point(NamedTuple):
    """How many records were checkpointed at a moment, and what everybody had used until then. `crowded_s`: how long a
    worker has waited for a core, on the mean."""

    wall_s: float
    records: int
    workers_cpu_s: float
    broker_cpu_s: float
    crowded_s: float


async def _progress(broker: str, workers: list[subprocess.Popen[bytes]], folder: Path) -> list[_Point]:
    """From the moment at which every partition has moved and every worker has taken part, to the end."""
    places = [TopicPartition(EVENTS, number) for number in range(_PARTITIONS)]
    async with AIOKafkaConsumer(bootstrap_servers=broker) as consumer:
        end = sum((await consumer.end_offsets(places)).values())
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    deadline, found = time.monotonic() + _DEADLINE_S, list[_Point]()
    kafka, processes = _broker(), [psutil.Process(worker.pid) for worker in workers]
    try:
        while not found or found[-1].records < end:
            if any(worker.poll() is not None for worker in workers) or time.monotonic() > deadline:
                raise RuntimeError("a worker ended, or the deadline has passed")
            try:
                offsets = await admin.list_consumer_group_offsets("homeostat-profile", partitions=places)
            except GroupCoordinatorNotAvailableError:
                # A broker that has just begun makes the topic of groups at the first question.
                await asyncio.sleep(0.5)
                continue
            committed = [max(0, offset.offset) for offset in offsets.values()]
            begun = found or all(map(partial(_works, folder), range(len(workers))))
            if begun and all(committed) and (not found or sum(committed) > found[-1].records):
                workers_cpu_s = sum(map(_cpu_s, processes))
                crowded_s = sum(map(_crowded_s, processes)) / len(processes)
                found.append(
                    _Point(time.monotonic(), sum(committed), workers_cpu_s, _cpu_s(kafka), crowded_s)
                )
            await asyncio.sleep(0.05)
    finally:
        await admin.close()
    return found


def _cpu_s(process: psutil.Process) -> float:
    """What a process has used, all threads together."""
    times = process.cpu_times()
    return times.user + times.system


def _crowded_s(process: psutil.Process) -> float:
    """How long its main thread, which does the work, was ready to run and did not (Linux counts it)."""
    schedule = Path(f"/proc/{process.pid}/task/{process.pid}/schedstat").read_text().split()
    return int(schedule[1]) / 1e9


def _works(folder: Path, number: int) -> bool:
    """Whether a worker owns a partition that has moved."""
    samples = folder / f"samples-{number}.jsonl"
    lines = samples.read_text().splitlines() if samples.exists() else []
    return bool(lines) and json.loads(lines[-1])["records"] > 0


def _broker() -> psutil.Process:
    """The one that this benchmark has started."""
    return next(one for one in psutil.Process().children(recursive=True) if one.name() == "java")


def _start(broker: str, folder: Path, number: int) -> subprocess.Popen[bytes]:
    samples = folder / f"samples-{number}.jsonl"
    command = [sys.executable, "-m", "benchmarks.stream_worker", broker, str(folder), str(_PARTITIONS)]
    with (folder / f"worker-{number}.log").open("ab") as log:
        return subprocess.Popen([*command, str(number), str(samples)], stdout=log, stderr=log)


if __name__ == "__main__":
    sys.exit(main())
