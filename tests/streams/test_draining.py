"""Workers come and go in full flow: with SIGTERM they leave in order and soon, and nothing is lost or doubled."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer

from tests.patience import PATIENCE_S
from tests.streams.parts import until
from tests.streams.running import counts, make_counting_topics

pytestmark = pytest.mark.slow

PARTITIONS = 4
PROGRAM = """
import sys
from pathlib import Path
from streams.worker.runtime import StreamsConfig, run_worker
from tests.streams.counting import counting_role
from streams.worker.owned import Owned
broker, prefix, folder, instance = sys.argv[1:5]
taken, took = (Path(folder) / "taken").open("ab", buffering=0), Owned.took
def count(self, record):
    taken.write(b".")
    took(self, record)
Owned.took = count
ready = Path(folder) / f"{instance}.ready"
(Path(folder) / f"{instance}.begun").touch()
run_worker(
    StreamsConfig(broker=broker, data_dir=Path(folder), partitions=4, checkpoint_interval_s=0.2, instance=instance,
        ready_callback=ready.touch, cleaning_interval_s=1.0),
    counting_role(prefix),
)
"""
STUCK = """
import threading
from faust.transport.drivers import aiokafka as driver
async def on_thread_stop(self):
    threading.Event().wait()
driver.AIOKafkaConsumerThread.on_thread_stop = on_thread_stop
"""


class CountingWorker:
    """A worker of the counting role as a process of its own."""

    def __init__(self, broker: str, prefix: str, folder: Path, instance: str, program: str = PROGRAM) -> None:
        self._argv = [sys.executable, "-c", program, broker, prefix, str(folder), instance]
        self._ready, self.log = folder / f"{instance}.ready", folder / f"{instance}.log"
        self._begun = folder / f"{instance}.begun"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._ready.unlink(missing_ok=True)
        self._begun.unlink(missing_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._argv, stdout=output, stderr=output, env=os.environ | {"PYTHONPATH": os.getcwd()}
            )

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2_000:]
        return self._ready.exists()

    def has_begun(self) -> bool:
        """What it needs is imported."""
        return self._begun.exists()

    def end(self, number: signal.Signals) -> tuple[int, float]:
        """The exit code, and the seconds that it took."""
        assert self.process is not None
        started_s = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S), time.monotonic() - started_s

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)


class Flow:
    """Numbers sent without a break, as fast as is asked, until it is stopped."""

    def __init__(self, broker: str, prefix: str, records_per_s: int) -> None:
        self._broker, self._topic, self._rate = broker, f"{prefix}.in", records_per_s
        self._stop = asyncio.Event()
        self.sent = [0] * PARTITIONS
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        body = json.dumps(list(range(10))).encode()
        async with AIOKafkaProducer(bootstrap_servers=self._broker, enable_idempotence=True) as producer:
            while not self._stop.is_set():
                for _ in range(self._rate // 20):
                    partition = int(np.argmin(self.sent))
                    await producer.send(self._topic, body, partition=partition)
                    self.sent[partition] += 1
                await asyncio.sleep(0.05)
            await producer.flush()

    async def stop(self) -> None:
        self._stop.set()
        await self._task


@pytest.fixture
def workers(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[list[CountingWorker]]:
    found = [CountingWorker(kafka, topic_prefix, tmp_path, str(number)) for number in range(3)]
    yield found
    for worker in found:
        worker.kill()


async def assert_all_counted_once(broker: str, prefix: str, sent: list[int]) -> None:
    async def all_are_there() -> bool:
        return [len(await counts(broker, prefix, one)) for one in range(PARTITIONS)] >= sent

    await until("all records are counted", all_are_there, 60)
    for partition in range(PARTITIONS):
        expected = [10 * (number + 1) for number in range(sent[partition])]
        assert await counts(broker, prefix, partition) == expected


async def _come_and_go(
    broker: str, prefix: str, workers: list[CountingWorker], rounds: int, seed: int
) -> float:
    """Each round one worker gets SIGTERM while the last one to come is still joining; the slowest end, in seconds."""
    await make_counting_topics(broker, prefix, PARTITIONS)
    rng, slowest_s = np.random.default_rng(seed), 0.0
    for worker in workers:
        worker.start()
    flow = Flow(broker, prefix, 400)
    for number in range(rounds):
        worker = workers[number % len(workers)]
        await until("it has begun", worker.has_begun)
        await asyncio.sleep(float(rng.uniform(0.0, 1.5)))
        code, took_s = await asyncio.to_thread(worker.end, signal.SIGTERM)
        # Who has no handler yet is ended by the system.
        assert code in (0, -signal.SIGTERM), worker.log.read_text()[-3_000:]
        assert took_s < 15, worker.log.read_text()[-3_000:]
        slowest_s = max(slowest_s, took_s)
        worker.start()
    await flow.stop()
    await assert_all_counted_once(broker, prefix, flow.sent)
    return slowest_s


@pytest.mark.soak
async def test_workers_end_soon_whenever_they_are_told_to(
    kafka: str, topic_prefix: str, workers: list[CountingWorker]
) -> None:
    slowest_s = await _come_and_go(kafka, topic_prefix, workers, 20, seed=2)
    ended = [worker.log.read_text().count("is ended") for worker in workers]
    print(f"slowest end: {slowest_s:.1f} s; ended by the last resort: {ended}")


async def test_a_worker_that_ends_under_load_leaves_nothing_to_do_again(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Also where its consumer does not stop: then the process ends without it."""
    await make_counting_topics(kafka, topic_prefix, PARTITIONS)
    flow = Flow(kafka, topic_prefix, 400)
    for program in (STUCK + PROGRAM, PROGRAM):
        worker = CountingWorker(kafka, topic_prefix, tmp_path, "0", program)
        worker.start()
        try:
            await until("it is ready", worker.is_ready)
            enough = taken(tmp_path) + 100
            await until("it is at work", lambda wanted=enough: taken(tmp_path) > wanted)
            if program is PROGRAM:
                await flow.stop()
                await assert_all_counted_once(kafka, topic_prefix, flow.sent)
            code, took_s = await asyncio.to_thread(worker.end, signal.SIGTERM)
        finally:
            worker.kill()
        assert (code, took_s < 15) == (0, True), worker.log.read_text()[-3_000:]
    assert "its Kafka consumer does not stop; the rest is done" in worker.log.read_text()
    assert taken(tmp_path) == sum(flow.sent)


def taken(folder: Path) -> int:
    """How many records all workers have taken, those that were taken again included."""
    found = folder / "taken"
    return found.stat().st_size if found.exists() else 0


@pytest.mark.soak
async def test_workers_that_come_and_go_in_full_flow_lose_and_double_nothing(
    kafka: str, topic_prefix: str, workers: list[CountingWorker]
) -> None:
    await make_counting_topics(kafka, topic_prefix, PARTITIONS)
    first, second, _ = workers
    first.start()
    second.start()
    flow = Flow(kafka, topic_prefix, 400)
    await until("both are ready", lambda: first.is_ready() and second.is_ready())
    code, took_s = await asyncio.to_thread(first.end, signal.SIGTERM)
    assert (code, took_s < 15) == (0, True), f"{took_s:.1f} s"
    first.start()
    await until("the first is ready again", first.is_ready)
    assert (await asyncio.to_thread(second.end, signal.SIGKILL))[0] == -signal.SIGKILL
    await asyncio.sleep(0.5)
    await flow.stop()
    await assert_all_counted_once(kafka, topic_prefix, flow.sent)
    assert (await asyncio.to_thread(first.end, signal.SIGTERM))[0] == 0


@pytest.mark.soak
async def test_three_workers_that_rebalance_every_few_seconds(
    kafka: str, topic_prefix: str, workers: list[CountingWorker]
) -> None:
    await make_counting_topics(kafka, topic_prefix, PARTITIONS)
    rng = np.random.default_rng(3)
    for worker in workers:
        worker.start()
    flow = Flow(kafka, topic_prefix, 400)
    deadline_s = time.monotonic() + 120
    slowest_s = 0.0
    while time.monotonic() < deadline_s:
        worker = workers[int(rng.integers(3))]
        await until("it is ready", worker.is_ready)
        await asyncio.sleep(float(rng.uniform(0.5, 3.0)))
        number = signal.SIGTERM if rng.random() < 0.6 else signal.SIGKILL
        code, took_s = await asyncio.to_thread(worker.end, number)
        assert code == (0 if number is signal.SIGTERM else -signal.SIGKILL), worker.log.read_text()[-3_000:]
        slowest_s = max(slowest_s, took_s)
        worker.start()
    await flow.stop()
    await assert_all_counted_once(kafka, topic_prefix, flow.sent)
    print(f"slowest end: {slowest_s:.1f} s; {sum(flow.sent)} records")
