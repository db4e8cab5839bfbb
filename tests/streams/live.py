"""Real workers as processes on a real broker, for tests that kill them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer

from streams.broker.log import LogReader
from streams.control.configuration import monitor_record, reference_record
from streams.replay.inprocess import Results
from streams.stages import InputRecord
from streams.topics import ALERTS, CONTROL, DEADLETTERS, METRICS, SEALS
from tests.patience import PATIENCE_S, patient_s

PROGRAM = """
import sys
from pathlib import Path
from deploy.logs import configure_logging
from streams.app import StreamsConfig, run_judge, run_profile
configure_logging("INFO")
role, broker, folder, partitions, instance = sys.argv[1:6]
ready = Path(folder) / f"{role}-{instance}.ready"
config = StreamsConfig(
    broker=broker, data_dir=Path(folder), partitions=int(partitions), checkpoint_interval_s=0.2,
    instance=instance, ready_callback=ready.touch,
)
{"profile": run_profile, "judge": run_judge}[role](config)
"""


class Worker:
    """One worker process."""

    def __init__(self, role: str, broker: str, folder: Path, partitions: int, instance: str = "0") -> None:
        self.role = role
        self._argv = [
            sys.executable, "-c", PROGRAM, role, broker, str(folder), str(partitions), instance,
        ]  # fmt: skip
        self._ready = folder / f"{role}-{instance}.ready"
        self.log = folder / f"{role}-{instance}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> None:
        self._ready.unlink(missing_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._argv, stdout=output, stderr=output, env=os.environ | {"PYTHONPATH": os.getcwd()}
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout_s: float = 120) -> None:
        wait_for(
            self.is_ready, timeout_s, lambda: f"{self.role} is not ready:\n{self.log.read_text()[-3000:]}"
        )

    def is_ready(self) -> bool:
        assert self.process is not None
        code = self.process.poll()
        if code is not None:
            raise AssertionError(f"{self.role} ended with {code}:\n{self.log.read_text()[-3000:]}")
        return self._ready.exists()

    def send_signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, with_signal: signal.Signals) -> int:
        self.send_signal(with_signal)
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)


def wait_for(condition: Callable[[], bool], timeout_s: float, why: Callable[[], str]) -> None:
    deadline = time.monotonic() + patient_s(timeout_s)
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(why())
        time.sleep(0.05)


async def publish(broker: str, records: Sequence[InputRecord], pause_s: float = 0.0) -> None:
    """Send records to their partitions, in order."""
    producer = AIOKafkaProducer(bootstrap_servers=broker, enable_idempotence=True)
    await producer.start()
    try:
        for record in records:
            await producer.send_and_wait(
                record.topic,
                record.value,
                key=record.key,
                partition=record.partition,
                headers=list(record.headers),
            )
            if pause_s:
                await asyncio.sleep(pause_s)
    finally:
        await producer.stop()


async def publish_configuration(
    broker: str, monitors: Sequence[object], references: Sequence[object]
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    try:
        for key, value in [
            *(monitor_record(monitor) for monitor in monitors),  # pyright: ignore[reportArgumentType]
            *(reference_record(reference) for reference in references),  # pyright: ignore[reportArgumentType]
        ]:
            await producer.send_and_wait(CONTROL, value, key=key, partition=0)
    finally:
        await producer.stop()


async def collect(broker: str, partitions: int) -> Results:
    """Everything that the workers have committed until now."""
    results = Results()
    async with LogReader(broker, "test-collect") as reader:
        for topic in (METRICS, ALERTS, SEALS, DEADLETTERS):
            for partition in range(1 if topic == DEADLETTERS else partitions):
                first, end = await reader.bounds(topic, partition)
                if first == end:
                    continue
                for record in await reader.read(topic, partition, first, end - 1):
                    results.take(topic, dict(record.headers).get("kind", b""), record.value or b"")
    return results
