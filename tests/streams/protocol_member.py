"""A worker whose every step the test of the checkpoint protocol decides: the real `Worker`, its Faust app replaced."""

# What Faust does: it calls what is the worker's own.
# pyright: reportPrivateUsage=false

import asyncio
import contextvars
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from faust.types import TP

from streams.worker.driver import Chunk
from streams.worker.role import StreamsConfig
from streams.worker.runtime import Worker
from tests.streams.counting import counting_role
from tests.streams.memory_broker import Gate, MemoryBroker, MemoryReader, gate_of

POISON = frozenset({13})
SOURCE, OUT, CHECKPOINTS = "t.in", "t.out", "t.checkpoints"
PLACE = TP(SOURCE, 0)


class Message:
    """A record as the consumer hands it out."""

    def __init__(self, offset: int, value: bytes) -> None:
        self.topic, self.partition, self.offset, self.value = SOURCE, 0, offset, value
        self.key, self.headers, self.timestamp = None, (), 0


class FakeConsumer:
    """Where a worker's fetching is; a seek goes to where its stage is."""

    def __init__(self) -> None:
        self.worker: Worker
        self.assigned: set[TP] = set()
        self.next = 0
        self.previous = -1

    def assignment(self) -> set[TP]:
        return self.assigned

    async def perform_seek(self) -> None:
        self.next = self.worker.positions().get(PLACE, self.next)
        self.previous = self.next - 1


class FakeApp:
    def __init__(self) -> None:
        self.consumer = FakeConsumer()
        self.placed = asyncio.Event()
        self.crashed = self.should_stop = False


class Member(Worker):
    """A worker without Faust."""

    def _make_app(self) -> Any:
        app = FakeApp()
        app.consumer.worker = self
        return app

    async def _is_caught_up(self, owned: object) -> bool:
        return False

    def _waiting(self, partition: int, owned: object) -> None:
        """Nobody knows: checkpoints come by the rules of the test only."""


class Process:
    """A worker, its gate, and the tasks that run in it."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop, broker: MemoryBroker) -> None:
        self.gate = Gate()
        self._loop = loop
        self.context = contextvars.copy_context()
        self.context.run(gate_of.set, self.gate)
        config = StreamsConfig(broker="", data_dir=Path(), instance=str(number))
        role = counting_role("t", POISON)
        self.worker = self.context.run(Member, config, role, MemoryReader(broker))
        self.consumer: FakeConsumer = self.worker._app.consumer  # type: ignore[assignment]
        self.tasks: list[asyncio.Task[Any]] = []
        self.chunks: list[Chunk] = []
        self.agent: asyncio.Task[Any] | None = None
        self.asleep = self.slept = False

    @property
    def failed(self) -> bool:
        return self.worker._failure is not None

    def do(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.context.run(self._loop.create_task, self._guarded(work))
        self.tasks.append(task)
        return task

    def receives(self, chunk: Chunk) -> None:
        """One chunk after the other, as a stream hands them to the agent."""
        self.chunks.append(chunk)
        if self.agent is None or self.agent.done():
            self.agent = self.do(self._consume())

    async def _consume(self) -> None:
        while self.chunks:
            await self.worker._take_all(0, self.chunks.pop(0))

    async def _guarded(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  (what the pulse and the agent do)
            self.worker._fail(error)
