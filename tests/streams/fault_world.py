"""A broker, the five roles of the stream, and what becomes of them: for tests that break things."""

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from db.accounting import totals
from db.tables import AccountingRow, AlertRow, PointRow
from deploy.stack.kafka import KafkaBroker, KafkaConfig, parent_bound_launcher
from detectors.values import Accounting, Alert, MetricPoint
from homeostat.contract import ContractError, LabelBatch, decode
from streams.archive.read import ArchiveReader
from streams.broker.admin import ensure_topics
from streams.broker.log import LogReader
from streams.topics import ALERTS, DEADLETTERS, EVENTS, METRICS, PROFILES, SEALS, all_topics
from tests.patience import patient_s
from tests.streams.fault_load import Load, Send
from tests.streams.fault_outcome import Outcome, assert_same
from tests.streams.fault_roles import OWNED, PARTITIONS, READY_S, ROLES, Database, Process, Scrape, until
from tests.streams.live import publish_configuration


@pytest.fixture(name="world", scope="module")
def world_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator["World"]:
    """One broker for all tests of a file; each test has models of its own."""
    folder = tmp_path_factory.mktemp("faults")
    with KafkaBroker(KafkaConfig(folder / "kafka"), launcher=parent_bound_launcher()) as broker:
        world = World(broker, folder)
        yield world
        world.close()


class World:
    """Made before the event loop: fixtures keep one for several tests. `close` ends what it has started."""

    def __init__(self, broker: KafkaBroker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.database = Database(folder / "record.db")
        self.faults: Counter[str] = Counter()
        self._processes: dict[tuple[str, str], Process] = {}
        self._outcome = Outcome()
        self._read: dict[tuple[str, int], int] = {}

    def process(self, role: str, instance: str = "0") -> Process:
        """The worker, made but not started where it is new."""
        found = self._processes.get((role, instance))
        if found is None:
            found = Process(role, instance, self.broker.bootstrap, self.folder)
            self._processes[role, instance] = found
        return found

    async def start(self, *roles: str) -> None:
        """Topics, and one worker of each role, at work."""
        await ensure_topics(self.broker.bootstrap, all_topics(PARTITIONS))
        for role in roles or ROLES:
            if not self.process(role).alive:
                self.process(role).start()
        for role in roles or ROLES:
            await self.process(role).ready()

    async def add(self, instance: str, *roles: str) -> None:
        """One more worker of some roles, at work."""
        for role in roles:
            self.process(role, instance).start()
        for role in roles:
            await self.process(role, instance).ready()

    async def scraped(self, role: str, models: Iterable[str]) -> Scrape:
        """What a worker tells Prometheus, as soon as it has something to tell of all these models."""
        wanted, found = set(models), Scrape()

        async def told() -> bool:
            nonlocal found
            found = await self.process(role).metrics()
            return wanted <= {value for _, labels in found for name, value in labels if name == "model"}

        await until(f"{role} tells of {wanted}", told)
        return found

    @property
    def started(self) -> bool:
        """Whether any worker has been started."""
        return bool(self._processes)

    async def freeze_broker(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so many seconds."""
        assert self.broker.pid is not None
        os.kill(self.broker.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(self.broker.pid, signal.SIGCONT)

    async def kill(self, *roles: str) -> None:
        """kill -9 of some workers, which are started again at once; returns when they work."""
        for role in roles:
            await self.process(role).kill()
            self.faults[f"kill -9 of {role}"] += 1
            self.process(role).start()
        for role in roles:
            await self.process(role).ready()

    def close(self) -> None:
        for process in self._processes.values():
            process.close()

    async def configure(self, load: Load) -> None:
        """Publish monitors and references."""
        await publish_configuration(self.broker.bootstrap, load.monitors(), load.references())

    async def send(self, sends: Sequence[Send], over_s: float = 0.0) -> None:
        """Send in order, spread over so many seconds; waits for the broker for as long as it takes."""
        started_s, confirmed = time.monotonic(), 0
        async with self._producer() as producer:
            futures: list[asyncio.Future[Any]] = []
            for number, send in enumerate(sends):
                futures.append(
                    await producer.send(
                        send.topic,
                        send.value,
                        key=send.key,
                        partition=send.partition,
                        headers=list(send.headers),
                    )
                )
                pause_s = started_s + over_s * number / len(sends) - time.monotonic()
                if pause_s > 0:
                    await asyncio.sleep(pause_s)
            for sent in futures:
                await sent
                confirmed += 1
        assert confirmed == len(sends)

    async def trickle(self, sends: Sequence[Send], share: Callable[[], float]) -> None:
        """Send in order, never more than the share of all that is asked for."""
        sent = 0
        while sent < len(sends):
            end = int(share() * len(sends))
            if end > sent:
                await self.send(sends[sent:end])
                sent = end
            else:
                await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def _producer(self) -> AsyncGenerator[AIOKafkaProducer, None]:
        deadline_s = time.monotonic() + READY_S
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=self.broker.bootstrap,
                enable_idempotence=True,
                request_timeout_ms=180_000,
                max_request_size=128 * 1024 * 1024,
            )
            try:
                await producer.start()
            except KafkaConnectionError:
                await producer.stop()
                if time.monotonic() > deadline_s:
                    raise
                await asyncio.sleep(0.3)
            else:
                break
        try:
            yield producer
        finally:
            await producer.stop()

    def revive(self) -> None:
        """Start again what has ended, as a supervisor would."""
        for (role, _), process in self._processes.items():
            if process.revive():
                self.faults[f"{role} gave up and was started again"] += 1

    def forget(self, role: str, instance: str) -> None:
        """A worker that is not to be started again."""
        self._processes.pop((role, instance)).close()

    async def look(self) -> Outcome:
        """Everything committed until now."""
        async with LogReader(self.broker.bootstrap, "fault-world") as reader:
            for topic in (PROFILES, METRICS, ALERTS, SEALS, DEADLETTERS):
                for partition in range(1 if topic == DEADLETTERS else PARTITIONS):
                    await self._look(reader, topic, partition)
        return self._outcome

    async def _look(self, reader: LogReader, topic: str, partition: int) -> None:
        first = self._read.get((topic, partition), 0)
        _, end = await reader.bounds(topic, partition)
        if first < end:
            for record in await reader.read(topic, partition, first, end - 1):
                self._outcome.take(topic, dict(record.headers).get("kind", b""), record.value or b"")
            self._read[topic, partition] = end

    async def settled(self, load: Load, expected: Outcome, timeout_s: float = 100) -> Outcome:
        """Wait until everything has come through, and compare it with the undisturbed run."""
        deadline_s = time.monotonic() + patient_s(timeout_s)
        expected = expected.of(load.models)
        while True:
            self.revive()
            found = (await self.look()).of(load.models)
            if found.final_points == expected.final_points and found.profiled == expected.profiled:
                break
            if time.monotonic() > deadline_s:
                break
            await asyncio.sleep(0.3)
        assert_same(found, expected)
        return found

    async def assert_closed(self, load: Load, found: Outcome) -> None:
        """Both equations of the accounting close for every model, over all stages."""
        for model in load.models:
            sums = totals(model, [one for name, one in found.accounts.items() if name[1] == model])
            assert sums["closes"], sums

    async def assert_recorded(self, found: Outcome, timeout_s: float = 120) -> None:
        """The database holds the final points, alerts and accounts, and nothing else of these models."""
        models = {name[1] for name in found.accounts}

        def same() -> bool:
            points = {one.id: one for one in self.database.rows(PointRow, MetricPoint) if one.model in models}
            alerts = {one.id: one for one in self.database.rows(AlertRow, Alert) if one.model in models}
            accounts = {
                (one.stage, one.model, one.partition): one
                for one in self.database.rows(AccountingRow, Accounting)
            }
            mine = {name: one for name, one in accounts.items() if name[1] in models}
            return (points, alerts, mine) == (
                found.points,
                {one.id: one for one in found.alerts},
                found.accounts,
            )

        await until("the record is complete", same, timeout_s)

    async def assert_archived(self, load: Load, timeout_s: float = 120) -> int:
        """The archive holds each row of the events topic once; how many."""
        expected: dict[str, Counter[tuple[str, str]]] = {model: Counter() for model in load.models}
        async with LogReader(self.broker.bootstrap, "fault-world-events") as reader:
            for partition in range(PARTITIONS):
                _, end = await reader.bounds(EVENTS, partition)
                for record in await reader.read(EVENTS, partition, 0, end - 1) if end else ():
                    with contextlib.suppress(ContractError):
                        batch = decode(record.value, record.headers)
                        kind = "labels" if isinstance(batch, LabelBatch) else "predictions"
                        if batch.model in expected:
                            expected[batch.model].update((kind, one) for one in batch.ids)
        archive = ArchiveReader(self.folder / "archive")

        def same() -> bool:
            return all(self._archived(archive, model) == rows for model, rows in expected.items())

        await until("the archive is complete", same, timeout_s)
        return sum(rows.total() for rows in expected.values())

    def _archived(self, archive: ArchiveReader, model: str) -> Mapping[tuple[str, str], int]:
        return Counter(
            (kind, one)
            for kind, table in archive.batches(model, ["predictions", "labels"], columns=["id"])
            for one in table.column("id").to_pylist()
        )


async def owns(process: Process, partitions: int) -> bool:
    """Whether a worker says that it owns so many."""
    return await process.partitions() == partitions


async def has_part(process: Process) -> bool:
    """Whether a worker says that it owns any partition."""
    return await process.partitions() > 0


async def has_given_up(sleeper: Process) -> bool:
    """Whether it has ended, or given up what others own now."""
    return not sleeper.alive or 0 < await sleeper.partitions() < OWNED[sleeper.role]
