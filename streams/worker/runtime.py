"""A worker: one stage per owned input partition, driven by Faust, checkpointed in transactions.

Faust's part is the group membership, the fetching and the agent; state, positions and commits are ours.
Everything runs in one event loop, and a stage is only called between awaits, so a flush sees whole records.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from typing import Any, cast

import structlog
from faust.types import TP

from streams.broker import memory
from streams.broker.admin import wait_for_broker
from streams.broker.group import KAFKA_TROUBLE, close_within
from streams.broker.log import LogReader, input_record
from streams.control.configuration import Configuration
from streams.control.feed import ControlFeed
from streams.samples import Sample
from streams.stages import InputRecord
from streams.telemetry_names import BEAT, PARTITIONS
from streams.times import now_us
from streams.worker.checkpoint import CheckpointError
from streams.worker.driver import Chunk, StageApp, commit_offsets, expect_place, new_app, reached, waiting
from streams.worker.foresight import look_ahead
from streams.worker.last_resort import LastResort
from streams.worker.owned import Owned, take_over
from streams.worker.rescue import Rescue
from streams.worker.rhythm import Rhythm, while_consuming
from streams.worker.role import Role, StreamsConfig
from streams.worker.state_cleaning import StateCleaner

__all__ = ["Role", "StreamsConfig", "Worker", "run_worker"]

_log = structlog.get_logger()

_BROKER_WAIT_S = 60.0
_REVOKE_TIMEOUT_S = 3.0
"""Half of the session time-out: who takes longer to leave would be thrown out of the group."""
_QUIET_US = 1_000_000
_READY_INTERVAL_S = 1.0
_SAVE_TIMEOUT_S = 7.0
_RELEASE_TIMEOUT_S = 2.0
_STOP_TIMEOUT_S = 3.0
_LAST_RESORT_S = 1.5
"""Together less than the 15 s that a worker is given between SIGTERM and SIGKILL. The last resort waits so much longer
than what it guards."""
_MAX_RESEEKS = 20
_SEEK_TAKES_US = 5_000_000
"""Chunks that were fetched before a seek still arrive after it."""
_MAX_UNSAVED_BYTES = 128 * 1024 * 1024
"""Input after which a checkpoint does not wait for its time, and the stage waits for the checkpoint: what a slow broker
has not confirmed is bounded, and so is what a new owner has to do again."""
_YIELD_S = 0.01
"""After so long at one chunk everybody else in the loop gets a turn: checkpoints, acknowledgements, the pulse."""


def run_worker(config: StreamsConfig, role: Role) -> None:
    """Run until SIGTERM or SIGINT, which end in a last checkpoint; the process ends within 15 s of one.

    Raises `CheckpointError` when a partition cannot go on here (fenced, damaged, or the broker refused): the
    process must end, and a new one starts from the last checkpoint. Raises `ConnectionError` when no broker
    answers.
    """
    memory.settle()
    asyncio.run(_serve(config, role))


async def _serve(config: StreamsConfig, role: Role) -> None:
    await wait_for_broker(config.broker, _BROKER_WAIT_S)
    async with LogReader(config.broker, f"homeostat-{role.name}-restore") as reader:
        await Worker(config, role, reader, LastResort()).run()


class Worker:
    """The owner of some partitions of one role's input. `last_resort` belongs to a process that is nothing else."""

    def __init__(
        self, config: StreamsConfig, role: Role, reader: LogReader, last_resort: LastResort | None = None
    ) -> None:
        self._config = config
        self._role = role
        self._reader = reader
        self._last_resort = last_resort
        self._configuration = Configuration()
        self._control = ControlFeed(reader, self._configuration)
        self._owned: dict[int, Owned] = {}
        self._ownership = asyncio.Lock()
        self._stop = asyncio.Event()
        self._rhythm = Rhythm(config.checkpoint_interval_s)
        self._ready = False
        self._failure: Exception | None = None
        self._cleaner = StateCleaner(config.broker, role.state_topics)
        self._beat_us = 0
        self._app = self._make_app()

    async def run(self) -> None:
        """Serve until a signal or a failure."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        await self._control.refresh()
        self._config.telemetry.attach()
        self._config.telemetry.add(self)
        guarded = map(self._guarded, (self._control.watch(), expect_place(self._app, self._role.name)))
        aside = [asyncio.create_task(work) for work in (self._clean(), *guarded)]
        pulse = asyncio.create_task(self._pulse())
        start = asyncio.create_task(self._app.start())
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if start.done() and (error := start.exception()) is not None:
            self._fail(CheckpointError(f"The {self._role.name} worker could not start: {error!r}"))
        await stop
        for task in aside:
            task.cancel()
        await self._leave(pulse)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End in order, with a last checkpoint."""
        self._stop.set()
        self._rhythm.wake()

    def positions(self) -> Mapping[TP, int]:
        """Where each owned partition goes on (for the driver)."""
        return {
            TP(self._role.input, partition): owned.next_offset for partition, owned in self._owned.items()
        }

    def samples(self) -> Iterator[Sample]:
        """See `streams.samples.Measured`."""
        yield Sample(PARTITIONS, (), len(self._owned))
        yield Sample(BEAT, (), self._beat_us / 1e6)
        for partition, owned in self._owned.items():
            yield from owned.samples(self._waiting(partition, owned))

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
                await self._take_all(event.message.partition, event.message.value)
            except Exception as error:  # noqa: BLE001  (an exception in an agent would pass the record as done)
                self._fail(error)

    async def _take_all(self, partition: int, chunk: Chunk) -> None:
        previous, yielded_s = chunk.previous, time.monotonic()
        for number, message in enumerate(chunk.records):
            owned = self._owned.get(partition)
            if owned is None or self._stop.is_set():
                return
            look_ahead(owned.stage, chunk.records, number)
            if message.offset > owned.stage.offset:
                if previous > owned.stage.offset and previous >= owned.first_offset:
                    await self._seek_back(owned, message)
                    return
                await self._take(owned, input_record(message))
                if time.monotonic() - yielded_s >= _YIELD_S:
                    await asyncio.sleep(0)
                    yielded_s = time.monotonic()
            elif message.offset > owned.took_offset:
                owned.took(input_record(message))  # the stage has taken it with one before it
            previous = message.offset
        if (owned := self._owned.get(partition)) is not None and not self._stop.is_set():
            self._rhythm.listen(owned, self._waiting(partition, owned))

    def _waiting(self, partition: int, owned: Owned) -> int | None:
        return waiting(self._app, TP(self._role.input, partition), owned.next_offset)

    async def _take(self, owned: Owned, record: InputRecord) -> None:
        stage = owned.stage
        try:
            unknown = stage.unconfigured(record)
        except Exception as error:  # noqa: BLE001  (whatever a bug in the stage may raise)
            await self._set_aside(owned, record, error)
            return
        if unknown is not None and self._control.is_due(unknown):
            await self._control.refresh()
            if not self._is_next(owned, record):
                return
        if owned.unsaved_bytes >= _MAX_UNSAVED_BYTES:
            await self._checkpoint(owned)
            if not self._is_next(owned, record):
                return
        while not owned.free.is_set():
            await owned.free.wait()
            if not self._is_next(owned, record):
                return
        try:
            stage.process(record)
        except Exception as error:  # noqa: BLE001  (see above)
            await self._set_aside(owned, record, error)
        else:
            owned.took(record)

    def _is_next(self, owned: Owned, record: InputRecord) -> bool:
        """Whether the partition is still ours and the record still new, after others had their turn."""
        return self._owned.get(owned.partition) is owned and record.offset > owned.stage.offset

    async def _set_aside(self, owned: Owned, record: InputRecord, error: Exception) -> None:
        """The stage failed on `record` and may be half changed."""
        try:
            await Rescue(self._role, self._reader, self._configuration).set_aside(owned, record, error)
        except CheckpointError:
            if not owned.given_up:
                raise

    async def _seek_back(self, owned: Owned, message: Any) -> None:
        """Records between the state and this one did not reach us: read them again. What was fetched before the last
        seek for the same place is left out."""
        now = now_us()
        if owned.sought_offset == owned.stage.offset and now - owned.sought_us < _SEEK_TAKES_US:
            return
        owned.sought_offset, owned.sought_us = owned.stage.offset, now
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

    async def _on_rebalance_complete(self, _app: Any, **_: Any) -> None:
        self._app.placed.set()
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
        owned = await take_over(self._config.broker, self._role, partition, self._configuration, self._reader)
        if self._stop.is_set():
            await self._release(owned)
            return
        self._owned[partition] = owned
        where = {"role": self._role.name, "partition": partition, "next": owned.next_offset}
        _log.info("A partition is restored.", **where)

    async def _on_revoked(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        async with self._ownership:
            leaving = {int(tp.partition) for tp in revoked if tp.topic == self._role.input}
            for partition in sorted(leaving & self._owned.keys()):
                owned = self._owned.pop(partition)
                try:
                    async with asyncio.timeout(_REVOKE_TIMEOUT_S):
                        await self._checkpoint(owned)
                except (CheckpointError, TimeoutError) as error:
                    _log.warning(
                        "A partition was given up without a last checkpoint; its new owner redoes some work.",
                        partition=partition,
                        reason=str(error),
                    )
                self._cleaner.forget(partition)
                await self._release(owned)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Who does not hear of new monitors, or has no place in the group, must not go on."""
        try:
            await work
        except Exception as error:  # noqa: BLE001  (whatever it is)
            self._fail(error)

    async def _clean(self) -> None:
        """Deletes state that is not needed any more."""
        while True:
            await asyncio.sleep(self._config.cleaning_interval_s)
            await self._cleaner.clean()

    async def _pulse(self) -> None:
        """Checkpoints, and the sign of life."""
        told_s = 0.0
        while True:
            due = await self._rhythm.due(self._owned.values(), self._stop)
            if self._stop.is_set():
                return
            try:
                beats = asyncio.gather(*[self._beat(each) for each in due])
                await while_consuming(self._app, self._role.name, self._stop, beats)
                self._beat_us = now_us()
                if self._ready and time.monotonic() - told_s >= _READY_INTERVAL_S:
                    told_s = time.monotonic()
                    self._config.ready_callback()
            except Exception as error:  # noqa: BLE001  (whatever it is, state and log no longer agree)
                self._fail(error)
                return

    async def _beat(self, owned: Owned) -> None:
        began_s, now, caught_up, owned.has_news = time.monotonic(), now_us(), False, False
        if now - max(owned.last_record_us, owned.last_probe_us) >= _QUIET_US:
            owned.last_probe_us = now
            caught_up = await self._is_caught_up(owned)
        if self._owned.get(owned.partition) is owned and not owned.isolating:
            if owned.free.is_set():
                owned.stage.tick(now, caught_up)
            await self._checkpoint(owned)
        owned.beaten_s = time.monotonic()
        owned.beat_s = owned.beaten_s - began_s

    async def _is_caught_up(self, owned: Owned) -> bool:
        """Whether the broker itself says that there is nothing more to read: silence may be an outage."""
        try:
            _, end = await self._reader.bounds(self._role.input, owned.partition)
        except KAFKA_TROUBLE as error:
            _log.info("Kafka does not answer; waiting for it.", role=self._role.name, reason=repr(error))
            return False
        if self._owned.get(owned.partition) is not owned:
            return False
        seen = reached(self._app, TP(self._role.input, owned.partition), owned.next_offset)
        caught_up = seen is not None and seen >= end
        if caught_up:
            owned.caught_up_us = now_us()
        return caught_up

    async def _checkpoint(self, owned: Owned) -> None:
        try:
            async with owned.lock:
                # A stage that has just failed is half changed; the rescue waits for the lock, too.
                written = None if owned.given_up or owned.isolating else await owned.save()
        except CheckpointError:
            if owned.given_up:
                return
            raise
        if written is not None and not owned.given_up:
            self._cleaner.note(owned.partition, written.needed_from)
            await commit_offsets(self._app, {TP(self._role.input, owned.partition): owned.saved_offset + 1})

    async def _leave(self, pulse: asyncio.Task[None]) -> None:
        """The last checkpoints, then everything else, which may fail or hang: nothing is lost from there on."""
        self._end_within(
            _SAVE_TIMEOUT_S + _RELEASE_TIMEOUT_S, 1, "it was busy until now; some work is redone"
        )
        if self._failure is None:
            await self._save_all(pulse)
        pulse.cancel()
        await asyncio.gather(*[self._release(owned) for owned in self._owned.values()])
        self._config.telemetry.remove(self)
        if self._last_resort is not None:
            self._config.telemetry.close()
        code = 0 if self._failure is None else 1
        self._end_within(_STOP_TIMEOUT_S, code, "its Kafka consumer does not stop; the rest is done")
        await close_within(self._app.stop(), _STOP_TIMEOUT_S)

    async def _save_all(self, pulse: asyncio.Task[None]) -> None:
        """The checkpoint that is being written comes to its end first: who breaks it off cannot write another."""
        try:
            async with asyncio.timeout(_SAVE_TIMEOUT_S):
                await asyncio.wait({pulse})
                if self._failure is None:
                    await asyncio.gather(*[self._checkpoint(owned) for owned in self._owned.values()])
        except CheckpointError as error:
            self._fail(error)
        except TimeoutError:
            self._fail(CheckpointError(f"The last checkpoint was not written within {_SAVE_TIMEOUT_S:g} s."))

    def _end_within(self, limit_s: float, code: int, why: str) -> None:
        if self._last_resort is not None:
            self._last_resort.within(limit_s + _LAST_RESORT_S, code, why)

    async def _release(self, owned: Owned) -> None:
        """From here on nobody writes for this partition: whoever still waits to do so is told by `given_up`."""
        owned.given_up = True
        await close_within(owned.log.release(), _RELEASE_TIMEOUT_S)

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
            _log.error(
                "The worker cannot go on and ends; what it has not checkpointed will be done again.",
                role=self._role.name,
                reason=str(error) or repr(error),
                exc_info=not isinstance(error, CheckpointError),
            )
        self.stop()
