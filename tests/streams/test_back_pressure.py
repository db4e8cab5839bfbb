"""A worker whose stage is slower than the topic, or whose broker does not confirm, holds a bounded amount of memory."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaProducer

from tests.patience import PATIENCE_S
from tests.streams.parts import until
from tests.streams.running import make_counting_topics

PROGRAM = """
import sys, time
from pathlib import Path
from streams.worker.runtime import StreamsConfig, run_worker
from streams.stages import Flush
from streams.worker.role import Role
from tests.streams.counting import CountingStage
broker, prefix, folder = sys.argv[1:4]
class Slow(CountingStage):
    def process(self, record):
        self.offset = record.offset
        time.sleep(0.002)
ready = Path(folder) / "ready"
run_worker(
    StreamsConfig(broker=broker, data_dir=Path(folder), partitions=4, checkpoint_interval_s=0.5,
        ready_callback=ready.touch),
    Role(prefix, f"{prefix}.in", f"{prefix}.checkpoints", lambda partition, _: Slow(partition, prefix)),
)
"""


def start(broker: str, prefix: str, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, broker, prefix, str(folder)],
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": os.getcwd()},
        )


@pytest.mark.soak
async def test_a_slow_stage_does_not_let_memory_grow(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """800 MB wait in four partitions; the worker gets through a part of it and never holds more than its bound."""
    await make_counting_topics(kafka, topic_prefix, 4)
    body = os.urandom(100_000)
    async with AIOKafkaProducer(bootstrap_servers=kafka, max_batch_size=1_000_000) as producer:
        for number in range(8_000):
            await producer.send(f"{topic_prefix}.in", body, partition=number % 4)
        await producer.flush()
    process = start(kafka, topic_prefix, tmp_path)
    try:
        await until("the worker is ready", (tmp_path / "ready").exists, 60)
        seen = psutil.Process(process.pid)
        start_bytes, most_bytes = seen.memory_info().rss, 0
        for _ in range(200):
            await asyncio.sleep(0.1)
            assert process.poll() is None, (tmp_path / "log").read_text()[-2_000:]
            most_bytes = max(most_bytes, seen.memory_info().rss)
        # 6 fetches of 2 MiB in 4 partitions, and 64 MiB of freed memory in each of two arenas.
        assert most_bytes - start_bytes < (6 * 2 * 4 + 2 * 64) * 2**20
        print(f"{start_bytes / 2**20:.0f} MiB at the start, {most_bytes / 2**20:.0f} MiB at most")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait(PATIENCE_S)
