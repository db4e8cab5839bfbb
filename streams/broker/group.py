"""How a worker reads topics in a consumer group: assignment, batches, a broker that goes away, a clean stop.

What is in memory is bounded: one poll of at most `max_records` records, and what the client fetches ahead
(`fetch_bytes` of each partition). A rebalance and the work on a batch never overlap: partitions are given up only
between two batches, and records fetched under an older assignment are dropped, because the new one starts from stored
positions.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import ConsumerStoppedError, IllegalOperation, KafkaError

from streams.broker import memory
from streams.broker.meters import GroupMeters
from streams.samples import Measured
from streams.telemetry import Telemetry

_log = structlog.get_logger()

Record: TypeAlias = ConsumerRecord[bytes | None, bytes | None]
Batches: TypeAlias = Mapping[TopicPartition, Sequence[Record]]

KAFKA_TROUBLE = (KafkaError, IllegalOperation, ConsumerStoppedError, OSError, TimeoutError)
"""What a client raises when the broker is away, slow, or has given our place away: worth another attempt."""

_POLL_MS = 200
_READY_EVERY_S = 1.0
_PROBE_TIMEOUT_S = 3.0
_STOP_TIMEOUT_S = 5.0
_TAKE_TIMEOUT_S = 30.0
COMMIT_TIMEOUT_S = 10.0
"""The client waits for a coordinator without end; a worker that is told to stop must not."""
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0)
_SESSION_TIMEOUT_MS = 6_000
"""The least a broker allows by default; partitions of a dead worker without an instance name move then."""


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupConfig:
    """Where a worker reads. `instance` is its static name in the group: a restart under the same name finds
    its partitions at once. `ready_callback` is called once it runs and then about every second while the
    broker answers. `max_records`: at most so many are handled in one go; `fetch_bytes` of each partition are fetched
    ahead. `telemetry` is given the numbers of
    the reading, and those of the handler where it has any (`Measured`)."""

    broker: str
    group: str
    instance: str | None = None
    ready_callback: Callable[[], None] = _nothing
    max_records: int = 500
    fetch_bytes: int = 1024 * 1024
    telemetry: Telemetry = field(default_factory=Telemetry)


class Handler(Protocol):
    """The work of one worker. All methods are called one after the other, never at the same time."""

    async def assigned(
        self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Take over partitions: returns where to start; one left out starts at its committed offset."""
        ...

    async def handle(self, consumer: AIOKafkaConsumer, batches: Batches) -> None:
        """Work on records; called with none every 0.2 s when nothing comes."""
        ...

    async def released(self, consumer: AIOKafkaConsumer | None) -> None:
        """Give up everything. `consumer` is None when the connection is not to be used any more."""
        ...


@runtime_checkable
class Choosing(Protocol):
    """A handler that keeps records back and does not want more of the same partitions meanwhile."""

    def wanted(self) -> Collection[TopicPartition] | None:
        """What to read next. None: nothing; an empty one: whatever comes."""
        ...


# aiokafka awaits coroutines of a listener; its annotations do not say so.
# pyright: reportIncompatibleMethodOverride=false


class _Assignment(ConsumerRebalanceListener):
    """Serialises rebalances with the work, and keeps the failure of a take-over for the loop to see."""

    def __init__(self, consumer: AIOKafkaConsumer, handler: Handler) -> None:
        self._consumer = consumer
        self._handler = handler
        self.lock = asyncio.Lock()
        self.epoch = 0
        self.taken = False
        self.failure: BaseException | None = None

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        async with self.lock:
            self.epoch += 1
            self.taken = False
            await self._guard(self._handler.released(self._consumer))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        async with self.lock:
            await self._guard(self._take(assigned))
            self.epoch += 1  # in the same step as the seeks
            self.taken = self.failure is None

    async def _take(self, assigned: set[TopicPartition]) -> None:
        async with asyncio.timeout(_TAKE_TIMEOUT_S):
            starts = await self._handler.assigned(self._consumer, assigned)
            first: dict[TopicPartition, int] = await self._consumer.beginning_offsets(list(assigned))
            for partition in assigned - starts.keys():
                committed = await self._consumer.committed(partition)
                starts[partition] = first[partition] if committed is None else committed
        # No await from the first seek until the epoch has changed: a poll that returned records in between
        # would move the position on, and its records would be dropped.
        for partition, start in starts.items():
            self._consumer.seek(partition, max(start, first[partition]))

    async def _guard(self, work: Awaitable[None]) -> None:
        # The client logs an exception of a listener and goes on as if nothing had happened.
        try:
            await work
        except Exception as error:  # noqa: BLE001 - raised again by the loop
            self.failure = error


async def consume(
    config: GroupConfig, topics: Sequence[str], make: Callable[[], Handler], stop: asyncio.Event
) -> None:
    """Read `topics` until `stop` is set. After Kafka trouble everything starts afresh from stored positions
    with a new handler; any other exception of the handler ends the worker."""
    failures = 0
    while not stop.is_set():
        started_s = time.monotonic()
        try:
            await _consume_once(config, topics, make(), stop)
        except KAFKA_TROUBLE as error:
            failures = 1 if time.monotonic() - started_s > 30 else failures + 1
            pause_s = _BACKOFF_S[min(failures, len(_BACKOFF_S)) - 1]
            _log.warning(
                "Reading from Kafka was interrupted; starting again from the last stored position.",
                group=config.group,
                reason=repr(error),
                retry_in_s=pause_s,
            )
            await wait_for_stop(stop, pause_s)


async def _consume_once(
    config: GroupConfig, topics: Sequence[str], handler: Handler, stop: asyncio.Event
) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=config.broker,
        group_id=config.group,
        group_instance_id=config.instance,
        client_id=config.instance or config.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        session_timeout_ms=_SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=1_500,
        metadata_max_age_ms=30_000,
        max_partition_fetch_bytes=config.fetch_bytes,
    )
    assignment = _Assignment(consumer, handler)
    consumer.subscribe(topics, listener=assignment)
    meters = GroupMeters(consumer)
    sources: list[Measured] = [meters, handler] if isinstance(handler, Measured) else [meters]
    clean = False
    try:
        await consumer.start()
        config.telemetry.attach()
        for source in sources:
            config.telemetry.add(source)
        await _read(config, consumer, assignment, handler, stop, meters)
        clean = True
    finally:
        for source in sources:
            config.telemetry.remove(source)
        async with assignment.lock:
            assignment.epoch += 1
            await handler.released(consumer if clean else None)
        await close_within(consumer.stop(), _STOP_TIMEOUT_S)


async def _read(
    config: GroupConfig,
    consumer: AIOKafkaConsumer,
    assignment: _Assignment,
    handler: Handler,
    stop: asyncio.Event,
    meters: GroupMeters,
) -> None:
    ready_s, answered = -_READY_EVERY_S, True
    while not stop.is_set():
        wanted = handler.wanted() if isinstance(handler, Choosing) else ()
        batches: Batches = {}
        if wanted is not None:
            batches = await consumer.getmany(*wanted, timeout_ms=_POLL_MS, max_records=config.max_records)
        epoch = assignment.epoch
        async with assignment.lock:
            if assignment.failure is not None:
                raise assignment.failure
            if epoch != assignment.epoch or not assignment.taken:
                continue
            await handler.handle(consumer, batches)
            meters.took(batches)
        if time.monotonic() - ready_s >= _READY_EVERY_S:
            ready_s = time.monotonic()
            was, answered = answered, await _answers(consumer)
            if answered:
                config.ready_callback()
                meters.beat()
            if answered != was:
                message = "Kafka answers again." if answered else "Kafka does not answer; waiting for it."
                _log.warning(message, broker=config.broker, group=config.group)


async def _answers(consumer: AIOKafkaConsumer) -> bool:
    try:
        await asyncio.wait_for(consumer.topics(), _PROBE_TIMEOUT_S)
    except KAFKA_TROUBLE:
        return False
    return True


async def close_within(closing: Awaitable[Any], timeout_s: float) -> None:
    """Close a client that may have lost its broker: told, not raised, when it does not close in time."""
    try:
        await asyncio.wait_for(closing, timeout_s)
    except KAFKA_TROUBLE as error:
        _log.info("A Kafka client did not close cleanly.", reason=repr(error))
    except asyncio.CancelledError:
        # The client cancels tasks of its own and can let that out; our own cancellation goes on.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        _log.info("A Kafka client did not close cleanly.", reason="it cancelled itself")


async def wait_for_stop(stop: asyncio.Event, timeout_s: float) -> bool:
    """Sleep, but wake up when `stop` is set; returns whether it is."""
    try:
        await asyncio.wait_for(stop.wait(), timeout_s)
    except TimeoutError:
        return False
    return True


def _tell_briefly(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A client that lost its broker or its place leaves futures behind; their failure is being handled."""
    error = context.get("exception")
    if isinstance(error, KAFKA_TROUBLE):
        _log.info("A Kafka client left a failure behind.", reason=repr(error))
    else:
        loop.default_exception_handler(context)


def run_until_signal(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main(stop)` in a new event loop; SIGTERM and SIGINT set `stop`."""

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_tell_briefly)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await main(stop)

    memory.settle()
    asyncio.run(run())
