"""A broker in memory with transactions, fencing and readers that see what is committed: as much of Kafka as the
checkpoint protocol relies on, one partition. Every step of a producer waits until the test lets it go on."""

import asyncio
import contextvars
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.structs import RecordMetadata

from streams.broker.log import LogReader
from streams.stages import Headers, InputRecord, OffsetRange

OPEN, COMMITTED, ABORTED = "open", "committed", "aborted"


@dataclass
class Entry:
    """A record, or the mark that ends a transaction (`key` and `value` are None)."""

    offset: int
    key: bytes | None
    value: bytes | None
    state: str
    is_mark: bool = False
    headers: Headers = ()


@dataclass
class Gate:
    """How many more steps a worker may take."""

    steps: int = 0
    waiting: list[asyncio.Future[None]] = field(default_factory=list[asyncio.Future[None]])

    async def step(self) -> None:
        if self.steps > 0:
            self.steps -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        await turn

    def open(self, steps: int) -> None:
        while steps and self.waiting:
            steps -= 1
            turn = self.waiting.pop(0)
            if not turn.done():
                turn.set_result(None)
        self.steps = steps if steps > 100 else 0  # only an open door stays open


gate_of: contextvars.ContextVar[Gate] = contextvars.ContextVar("gate_of")
"""The gate of the worker that the running task belongs to."""


class MemoryBroker:
    """Topics, and who may write in which transaction."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Entry]] = {}
        self.epochs: dict[str, int] = {}
        self.running: dict[str, list[tuple[str, Entry]]] = {}
        self.committing: dict[str, list[tuple[str, Entry]]] = {}

    def append(
        self, topic: str, key: bytes | None, value: bytes | None, state: str, mark: bool = False
    ) -> Entry:
        log = self.topics.setdefault(topic, [])
        entry = Entry(log[-1].offset + 1 if log else 0, key, value, state, mark)
        log.append(entry)
        return entry

    def take_over(self, name: str) -> int:
        """A new epoch of a transactional id; what the former one has not committed is aborted."""
        self.epochs[name] = self.epochs.get(name, 0) + 1
        self.marks_come()
        self._end(self.running.pop(name, []), ABORTED)
        return self.epochs[name]

    def write(
        self, name: str, epoch: int, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> int:
        self._check(name, epoch)
        self.marks_come()
        entry = self.append(topic, key, value, OPEN)
        entry.headers = headers
        self.running.setdefault(name, []).append((topic, entry))
        return entry.offset

    def commit(self, name: str, epoch: int) -> None:
        """It is decided from here on; readers see it when the marks come, which may be after the answer."""
        self._check(name, epoch)
        self.committing.setdefault(name, []).extend(self.running.pop(name, []))

    def marks_come(self) -> None:
        """What was committed is seen now."""
        for entries in self.committing.values():
            self._end(entries, COMMITTED)
        self.committing = {}

    def compact(self, topic: str) -> None:
        """Keep the last committed record of each key, as a compacted topic may at any time."""
        log = self.topics.get(topic, [])
        last = {entry.key: entry.offset for entry in log if entry.state == COMMITTED and not entry.is_mark}
        end = log[-1].offset if log else 0
        self.topics[topic] = [
            entry
            for entry in log
            if entry.offset == end
            or entry.state == OPEN
            or (not entry.is_mark and last.get(entry.key) == entry.offset)
        ]

    def committed(self, topic: str) -> list[Entry]:
        """What readers see: nothing behind the first record of an open transaction."""
        found: list[Entry] = []
        for entry in self.topics.get(topic, []):
            if entry.state == OPEN:
                break
            if entry.state == COMMITTED and not entry.is_mark:
                found.append(entry)
        return found

    def end(self, topic: str) -> int:
        """The offset after the last one that readers may look at."""
        log = self.topics.get(topic, [])
        return next((entry.offset for entry in log if entry.state == OPEN), log[-1].offset + 1 if log else 0)

    def _check(self, name: str, epoch: int) -> None:
        if self.epochs[name] != epoch:
            raise ProducerFenced

    def _end(self, entries: list[tuple[str, Entry]], state: str) -> None:
        for _, entry in entries:
            entry.state = state
        for topic in sorted({topic for topic, _ in entries}):
            self.append(topic, None, None, state, mark=True)


class MemoryProducer:
    """Stands for `AIOKafkaProducer` with a transactional id."""

    broker: MemoryBroker

    def __init__(self, *, transactional_id: str, **_: Any) -> None:
        self._name = transactional_id
        self._epoch = 0
        self._stopped = False

    async def start(self) -> None:
        await gate_of.get().step()
        self._epoch = self.broker.take_over(self._name)

    async def stop(self) -> None:
        self._stopped = True

    async def begin_transaction(self) -> None:
        self._check()

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Headers = (),
    ) -> asyncio.Future[RecordMetadata]:
        await gate_of.get().step()
        self._check()
        offset = self.broker.write(self._name, self._epoch, topic, key, value, headers)
        done: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        done.set_result(RecordMetadata(topic, 0, TopicPartition(topic, 0), offset, 0, 0, 0))
        return done

    async def commit_transaction(self) -> None:
        await gate_of.get().step()
        self._check()
        self.broker.commit(self._name, self._epoch)
        # The answer is on its way: who dies now has committed and does not know it.
        await gate_of.get().step()

    def _check(self) -> None:
        if self._stopped:
            raise KafkaError("the producer is closed")


class MemoryReader(LogReader):
    """Reads committed records, as `LogReader` does."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def bounds(self, topic: str, partition: int) -> OffsetRange:
        log = self._broker.topics.get(topic, [])
        return (log[0].offset if log else 0), self._broker.end(topic)

    async def read(self, topic: str, partition: int, first: int, last: int) -> list[InputRecord]:
        return [
            InputRecord(topic, partition, entry.offset, entry.key, entry.value, entry.headers)
            for entry in self._broker.committed(topic)
            if first <= entry.offset <= last
        ]
