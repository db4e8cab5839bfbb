"""A worker: one stage per owned input partition, driven by Faust, checkpointed in transactions.

Faust's part is the group membership, the fetching and the agent; state, positions and commits are ours.
Everything here runs in one event loop, and a stage is only called between awaits, so a flush sees whole
records.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import structlog
from faust.types import TP

from streams.admin import wait_for_broker
from streams.checkpoint import CheckpointError, CheckpointLog
from streams.control import Configuration
from streams.driver import StageApp, commit_offsets, new_app
from streams.log import LogReader
from streams.stages import InputRecord, Stage
from streams.topics import CONTROL

_log = structlog.get_logger()

_BROKER_WAIT_S = 60.0
_REVOKE_TIMEOUT_S = 3.0
"""Half of the session time-out: who checkpoints longer than that while leaving would be thrown out of the
group."""
_QUIET_US = 1_000_000
_READY_INTERVAL_S = 1.0
_STOP_TIMEOUT_S = 8.0
_MAX_RESEEKS = 20
_UNKNOWN_RECHECK_US = 1_000_000


def _nobody() -> None:
    return None


@dataclass(frozen=True, slots=True)
class StreamsConfig:
    """Where the broker is and how a worker behaves.

    `instance` names this worker among those of its role: a restart under the same name takes its partitions
    back without a rebalance. `ready_callback` is called when the partitions are assigned and restored, then
    about every second.
    """

    broker: str
    data_dir: Path
    partitions: int = 4
    checkpoint_interval_s: float = 0.5
    instance: str = "0"
    ready_callback: Callable[[], None] = _nobody


@dataclass(frozen=True, slots=True)
class Role:
    """What kind of worker: its input, where its checkpoints are, and how the stage of a partition is made."""

    name: str
    input: str
    checkpoints: str
    stage: Callable[[int, Configuration], Stage]


@dataclass(slots=True)
class _Owned:
    """A partition that is ours: its stage, the right to write its checkpoints, and when a record last
    came."""

    stage: Stage
    log: CheckpointLog
    first_offset: int
    last_record_us: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    last_probe_us: int = 0
    reseeks: int = 0


def run_worker(config: StreamsConfig, role: Role) -> None:
    """Run until SIGTERM or SIGINT, which end in a last checkpoint.

    Raises `CheckpointError` when a partition cannot go on here (fenced, damaged, or the broker refused): the
    process must end, and a new one starts from the last checkpoint. Raises `ConnectionError` when no broker
    answers.
    """
    asyncio.run(_serve(config, role))


async def _serve(config: StreamsConfig, role: Role) -> None:
    await wait_for_broker(config.broker, _BROKER_WAIT_S)
    async with LogReader(config.broker, f"homeostat-{role.name}-restore") as reader:
        await Worker(config, role, reader).run()


class Worker:
    """The owner of some partitions of one role's input."""

    def __init__(self, config: StreamsConfig, role: Role, reader: LogReader) -> None:
        self._config = config
        self._role = role
        self._reader = reader
        self._configuration = Configuration()
        self._control_offset = 0
        self._unknown: dict[tuple[str, str], int] = {}
        self._owned: dict[int, _Owned] = {}
        self._ownership = asyncio.Lock()
        self._stop = asyncio.Event()
        self._ready = False
        self._failure: Exception | None = None
        self._app = self._make_app()

    async def run(self) -> None:
        """Serve until a signal or a failure."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        await self._refresh_control()
        pulse = asyncio.create_task(self._pulse())
        start = asyncio.create_task(self._app.start())
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if start.done() and start.exception() is not None:
            self._fail(
                CheckpointError(f"The {self._role.name} worker could not start: {start.exception()!r}")
            )
        await stop
        pulse.cancel()
        await self._shut_down()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End in order, with a last checkpoint."""
        self._stop.set()

    def positions(self) -> Mapping[TP, int]:
        """Where each owned partition goes on (for the driver)."""
        return {
            TP(self._role.input, partition): max(owned.stage.offset + 1, owned.first_offset)
            for partition, owned in self._owned.items()
        }

    def _make_app(self) -> StageApp:
        config = self._config
        folder = config.data_dir / f"faust-{self._role.name}-{config.instance}"
        app = new_app(self._role.name, config.broker, config.instance, str(folder), self)
        topic = app.topic(self._role.input, key_serializer="raw", value_serializer="raw")
        app.agent(topic, name=f"homeostat-{self._role.name}", concurrency=1)(self._consume)
        app.on_rebalance_complete.connect(cast(Any, self._on_rebalance_complete))
        app.on_partitions_revoked.connect(cast(Any, self._on_revoked))
        app.finalize()
        return app

    async def _consume(self, stream: Any) -> None:
        async for event in cast(AsyncIterator[Any], stream.noack().events()):
            if self._stop.is_set():
                continue
            try:
                await self._take(event.message)
            except Exception as error:  # noqa: BLE001  (an exception in an agent would pass the record as done)
                self._fail(error)
            await asyncio.sleep(0)

    async def _take(self, message: Any) -> None:
        owned = self._owned.get(message.partition)
        if owned is None or message.offset <= owned.stage.offset:
            return
        *headers, (_, previous) = message.headers
        if int(previous) > owned.stage.offset and int(previous) >= owned.first_offset:
            await self._seek_back(owned, message)
            return
        record = InputRecord(
            message.topic, message.partition, message.offset, message.key, message.value, tuple(headers)
        )
        unknown = owned.stage.unconfigured(record)
        if unknown is not None and self._is_due(unknown):
            await self._refresh_control()
            if self._owned.get(message.partition) is not owned or message.offset <= owned.stage.offset:
                return
        owned.stage.process(record)
        owned.last_record_us = _now_us()
        owned.reseeks = 0

    async def _seek_back(self, owned: _Owned, message: Any) -> None:
        """Records between the state and this one did not reach us: read them again."""
        owned.reseeks += 1
        _log.warning(
            "Records were skipped on the way; reading them again.",
            partition=message.partition,
            after=owned.stage.offset,
            found=message.offset,
        )
        if owned.reseeks > _MAX_RESEEKS:
            raise CheckpointError(
                f"{message.topic}/{message.partition}: the records between {owned.stage.offset} and "
                f"{message.offset} did not come in {_MAX_RESEEKS} attempts"
            )
        await self._app.consumer.perform_seek()

    def _is_due(self, unknown: tuple[str, str]) -> bool:
        """Whether to look for this configuration now: at first sight, then once a second."""
        now = _now_us()
        if now - self._unknown.get(unknown, 0) < _UNKNOWN_RECHECK_US:
            return False
        self._unknown[unknown] = now
        return True

    async def _refresh_control(self) -> None:
        """Read the control topic to its end of this moment."""
        _, end = await self._reader.bounds(CONTROL, 0)
        if end <= self._control_offset:
            return
        for record in await self._reader.read(CONTROL, 0, self._control_offset, end - 1):
            self._configuration.apply(record.key, record.value)
        self._control_offset = end

    async def _on_rebalance_complete(self, _app: Any, **_: Any) -> None:
        try:
            async with self._ownership:
                assigned = {
                    int(tp.partition)
                    for tp in self._app.consumer.assignment()
                    if tp.topic == self._role.input
                }
                await asyncio.gather(*[self._acquire(p) for p in sorted(assigned - self._owned.keys())])
                self._ready = True
        except Exception as error:  # noqa: BLE001  (Faust would log it and go on without the state)
            self._fail(error)

    async def _acquire(self, partition: int) -> None:
        log = CheckpointLog(self._config.broker, self._role.name, self._role.checkpoints, partition)
        await log.acquire()
        stage = self._role.stage(partition, self._configuration)
        restored = await log.load(self._reader, stage)
        first, _ = await self._reader.bounds(self._role.input, partition)
        if restored and first > stage.offset + 1:
            raise CheckpointError(
                f"{self._role.input}/{partition}: retention has deleted the records {stage.offset + 1} to "
                f"{first - 1} before they were read; raise the topic's retention, then delete the checkpoint "
                "to go on without them"
            )
        self._owned[partition] = _Owned(stage, log, first, _now_us())
        _log.info(
            "A partition is restored.", role=self._role.name, partition=partition, next=stage.offset + 1
        )

    async def _on_revoked(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        async with self._ownership:
            leaving = {int(tp.partition) for tp in revoked if tp.topic == self._role.input}
            for partition in sorted(leaving & self._owned.keys()):
                owned = self._owned.pop(partition)
                try:
                    async with asyncio.timeout(_REVOKE_TIMEOUT_S):
                        await self._checkpoint(partition, owned)
                except (CheckpointError, TimeoutError) as error:
                    _log.warning(
                        "A partition was given up without a last checkpoint; its new owner redoes some work.",
                        partition=partition,
                        reason=str(error),
                    )
                await self._release(owned)

    async def _pulse(self) -> None:
        """Checkpoints, and the sign of life."""
        told_s = 0.0
        while True:
            await asyncio.sleep(self._config.checkpoint_interval_s)
            try:
                if self._app.crashed or (self._app.should_stop and not self._stop.is_set()):
                    raise CheckpointError(f"The {self._role.name} worker's consumer has ended unexpectedly.")
                owned = dict(self._owned)
                await asyncio.gather(*[self._beat(partition, item) for partition, item in owned.items()])
                if self._ready and time.monotonic() - told_s >= _READY_INTERVAL_S:
                    told_s = time.monotonic()
                    self._config.ready_callback()
            except Exception as error:  # noqa: BLE001  (whatever it is, state and log no longer agree)
                self._fail(error)
                return

    async def _beat(self, partition: int, owned: _Owned) -> None:
        now = _now_us()
        caught_up = False
        if now - max(owned.last_record_us, owned.last_probe_us) >= _QUIET_US:
            owned.last_probe_us = now
            caught_up = await self._is_caught_up(partition, owned)
        if self._owned.get(partition) is owned:
            owned.stage.tick(now, caught_up)
            await self._checkpoint(partition, owned)

    async def _is_caught_up(self, partition: int, owned: _Owned) -> bool:
        """Whether the broker itself says that there is nothing more to read: silence alone may be an
        outage."""
        last = owned.last_record_us
        _, end = await self._reader.bounds(self._role.input, partition)
        if self._owned.get(partition) is not owned:
            return False
        position = await self._app.consumer.position(TP(self._role.input, partition))
        return position is not None and position >= end and owned.last_record_us == last

    async def _checkpoint(self, partition: int, owned: _Owned, final: bool = False) -> None:
        async with owned.lock:
            offset = owned.stage.offset
            flush = owned.stage.flush(final)
            if flush is None:
                return
            await owned.log.save(owned.stage, flush, offset)
        if partition in self._owned:
            await commit_offsets(self._app, {TP(self._role.input, partition): offset + 1})

    async def _shut_down(self) -> None:
        if self._failure is None:
            for partition, owned in self._owned.items():
                try:
                    await self._checkpoint(partition, owned)
                except CheckpointError as error:
                    self._fail(error)
        for owned in self._owned.values():
            await self._release(owned)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._app.stop()

    async def _release(self, owned: _Owned) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await owned.log.release()

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
            _log.error(
                "The worker cannot go on and ends; what it has not checkpointed will be done again.",
                role=self._role.name,
                reason=str(error) or repr(error),
                exc_info=not isinstance(error, CheckpointError),
            )
        self._stop.set()


def _now_us() -> int:
    return time.time_ns() // 1_000
