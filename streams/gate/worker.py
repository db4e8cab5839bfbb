"""The gate: foreign and single events in, columnar batches out, refused rows to dead letters. Effectively once.

Each input partition is a lane with a transactional producer of its own (`streams.gate.lane`). Requests and answers that
come as two events go once through a topic of the gate's own, partitioned by what they have in common, so that they meet
whichever partitions they came from.
"""

import asyncio
import gc
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pyarrow as pa
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from detectors.structs import lay_out
from streams.broker.admin import ensure_topics
from streams.broker.group import (
    KAFKA_TROUBLE,
    Batches,
    Record,
    close_within,
    consume,
    run_until_signal,
    wait_for_stop,
)
from streams.broker.log import LogReader
from streams.broker.standing import standing
from streams.control.configuration import Configuration
from streams.control.feed import ControlFeed
from streams.gate.config import GateConfig
from streams.gate.join import arrived_ms
from streams.gate.known import KnownModels
from streams.gate.lane import Lane
from streams.gate.others import Others, Told
from streams.gate.pace import Pace
from streams.samples import Sample, accounting_samples
from streams.telemetry_names import GATE_HALVES, GATE_REFUSED
from streams.topics import COMPACT, COMPACT_SOON, TopicSpec

_log = structlog.get_logger()

_LINGER_S = 0.05
"""Pause after a transaction while little comes, so that slow single events come together in batches."""
_BUSY_RECORDS = 500
"""A poll that brings so many is followed by the next one at once."""
_SHARE_OF_LATENESS = 4
"""How far a partition may be ahead of another: requests and answers go through two topics, and half is to be left."""
_LEAST_AHEAD_MS = 1_000.0
_HELD_S = 0.05
"""Pause where other workers are waited for."""
_TURNS_S = 1.0
"""So long partitions take turns before the gate looks for more records."""
LOOK_EVERY_S = 10.0
"""How often a foreign topic that does not exist yet is looked for."""
_STOP_TIMEOUT_S = 5.0
_YOUNG_OBJECTS = 200_000
"""Rows make many objects and no cycles: the collector looks that seldom."""


def run_gate(config: GateConfig) -> None:
    """Run until SIGTERM or SIGINT."""
    prepare_process()
    run_until_signal(lambda stop: serve_gate(config, stop))


def prepare_process() -> None:
    """Everything that is there stays: the collector need not look at it, and seldom at what comes."""
    # pyarrow imports pandas at its first array: a second that must not fall between two heartbeats.
    pa.array([0.0])
    lay_out()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)


async def serve_gate(config: GateConfig, stop: asyncio.Event) -> None:
    """Run until `stop` is set. A foreign topic that does not exist yet is read as soon as it does."""
    while not stop.is_set():
        missing = await _missing(config, stop)
        if missing:
            _log.warning("Topics to read do not exist yet; they are looked for.", topics=sorted(missing))
        ended = asyncio.Event()
        watch = asyncio.create_task(_end(config, missing, stop, ended))
        try:
            topics = [topic for topic in config.inputs if topic not in missing]
            await consume(config, topics, lambda: _Gate(config), ended)
        finally:
            watch.cancel()


async def _end(config: GateConfig, missing: set[str], stop: asyncio.Event, ended: asyncio.Event) -> None:
    """Set `ended` with `stop`, or when a topic that is missing has come: a client that subscribes to one that is not
    there reads nothing at all."""
    waits: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
    if missing:
        waits.append(asyncio.create_task(_come(config, missing, stop)))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    ended.set()


async def _come(config: GateConfig, missing: set[str], stop: asyncio.Event) -> bool:
    """Wait until one of these topics is there."""
    while not await wait_for_stop(stop, LOOK_EVERY_S):
        if await _missing(config, stop) != missing:
            break
    return True


async def _missing(config: GateConfig, stop: asyncio.Event) -> set[str]:
    """The foreign topics that the broker does not have."""
    wanted = set(config.mapping.topics)
    while wanted and not stop.is_set():
        consumer = AIOKafkaConsumer(bootstrap_servers=config.broker)
        try:
            await consumer.start()
            return wanted - await consumer.topics()
        except KAFKA_TROUBLE as error:
            _log.warning("Kafka does not answer; waiting for it.", broker=config.broker, reason=repr(error))
            await wait_for_stop(stop, 1.0)
        finally:
            await close_within(consumer.stop(), _STOP_TIMEOUT_S)
    return set()


class _Gate:
    """All partitions that this process owns."""

    def __init__(self, config: GateConfig) -> None:
        self._config = config
        self._models = KnownModels()
        self._lanes: dict[TopicPartition, Lane] = {}
        self._registered = Configuration()
        self._pace = Pace(self._date_ms)
        self._others = Others()
        self._open = AsyncExitStack()
        self._control: ControlFeed | None = None

    async def assigned(
        self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]
    ) -> dict[TopicPartition, int]:
        await self._ensure_state(consumer, {partition.topic for partition in partitions})
        await self._follow(consumer)
        lanes = [
            Lane(self._config, partition, self._models, self._registered) for partition in sorted(partitions)
        ]
        self._lanes = {lane.partition: lane for lane in lanes}
        self._pace.open(partitions, time.monotonic())
        self._others = Others(_all_partitions(consumer, self._config.inputs) - partitions)
        await asyncio.gather(*(lane.open() for lane in lanes))
        starts: dict[TopicPartition, int] = {}
        for lane in lanes:
            known = [lane.next_offset, await consumer.committed(lane.partition)]
            offsets = [offset for offset in known if offset is not None]
            if offsets:
                starts[lane.partition] = max(offsets)
        _log.info(
            "The gate reads.", partitions=[f"{one.topic}/{one.partition}" for one in sorted(partitions)]
        )
        return starts

    async def handle(self, consumer: AIOKafkaConsumer, batches: Batches) -> None:
        started_s = time.monotonic()
        self._pace.add(batches)
        for lane in self._lanes.values():
            if lane.partition not in batches:
                lane.idle()
        busy = sum(map(len, batches.values())) >= _BUSY_RECORDS
        while True:
            taken = await self._take(consumer)
            held = self._pace.held
            wrote = await self._commit(busy=busy and not held)
            if not held or not (taken or wrote) or time.monotonic() - started_s > _TURNS_S:
                break
        await self._others.tell(consumer, self._reached(consumer), time.monotonic())
        if held and not taken and not wrote:
            await asyncio.sleep(_HELD_S)
        elif wrote and not busy and not held:
            await asyncio.sleep(_LINGER_S)

    def wanted(self) -> Collection[TopicPartition] | None:
        """See `streams.broker.group.Choosing`."""
        return (self._pace.empty or None) if self._pace.held else ()

    async def _take(self, consumer: AIOKafkaConsumer) -> bool:
        """Let the lanes read what is their turn; whether there was anything."""
        behind = [partition for partition in self._lanes if _is_behind(consumer, partition)]
        ahead_ms = max(_LEAST_AHEAD_MS, self._registered.shortest_lateness_s() * 1_000 / _SHARE_OF_LATENESS)
        elsewhere_ms = await self._others.oldest_ms(consumer, time.monotonic()) if self._pace.held else {}
        found = self._pace.take(behind, ahead_ms, time.monotonic(), elsewhere_ms)
        for partition, records in found.items():
            self._lanes[partition].take(records)
            # Heartbeats and answers of the broker are not to wait for a whole poll.
            await asyncio.sleep(0)
        return bool(found)

    async def _commit(self, *, busy: bool) -> bool:
        """Write what is due; whether there was anything."""
        due = [lane for lane in self._lanes.values() if lane.is_due(busy=busy)]
        if not due or self._control is None:
            return False
        # What was registered before an event was sent holds for it.
        await self._control.refresh()
        told = [self._told(lane) for lane in due]
        await asyncio.gather(*(lane.commit(one.metadata()) for lane, one in zip(due, told, strict=True)))
        for lane, one in zip(due, told, strict=True):
            self._pace.written(lane.partition)
            self._others.said(lane.partition, one)
        return True

    def _told(self, lane: Lane) -> Told:
        """How far its partition is once all is written that was taken."""
        return Told(lane.next_offset or 0, self._pace.next_ms(lane.partition))

    def _reached(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, Told]:
        """How far the partitions are of which everything is written that was taken."""
        found: dict[TopicPartition, Told] = {}
        for partition in self._lanes:
            place = standing(consumer, partition)
            offset = None if place is None else self._pace.next_offset(partition, place.position)
            if offset is not None:
                found[partition] = Told(offset, self._pace.next_ms(partition))
        return found

    def _date_ms(self, record: Record) -> float:
        """When a record came; who dates it into the future is not to wait for that."""
        dated_ms = arrived_ms(record) if record.topic == self._config.halves else record.timestamp
        return min(dated_ms, time.time() * 1_000)

    async def released(self, consumer: AIOKafkaConsumer | None) -> None:
        lanes, self._lanes = self._lanes, {}
        self._pace.open((), 0.0)
        self._control = None
        await asyncio.gather(*(lane.close() for lane in lanes.values()))
        await close_within(self._open.aclose(), _STOP_TIMEOUT_S)

    def samples(self) -> Iterable[Sample]:
        """For Prometheus (see `streams.telemetry`)."""
        for lane in self._lanes.values():
            for account in lane.accounts.values():
                yield from accounting_samples(account)
            for part, rows in lane.refused.items():
                yield Sample(GATE_REFUSED, (str(lane.number), part), rows)
            if lane.partition.topic == self._config.halves:
                yield Sample(GATE_HALVES, (str(lane.partition.partition),), len(lane.waiting.halves))

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        """Read what is registered, all of it, and be ready to read on."""
        config = self._config
        if config.control not in await consumer.topics():
            await ensure_topics(config.broker, [TopicSpec(config.control, 1, COMPACT)])
        reader = await self._open.enter_async_context(LogReader(config.broker, f"{config.group}-control"))
        self._control = ControlFeed(reader, self._registered, config.control)
        await self._control.refresh()

    async def _ensure_state(self, consumer: AIOKafkaConsumer, topics: set[str]) -> None:
        """Foreign topics come at any time; each needs a place for the gate's state."""
        foreign = topics - {self._config.ingest}
        specs = [
            TopicSpec(
                self._config.state_of(topic), len(consumer.partitions_for_topic(topic) or ()), COMPACT_SOON
            )
            for topic in sorted(foreign)
        ]
        if specs:
            await ensure_topics(self._config.broker, specs)


def _all_partitions(consumer: AIOKafkaConsumer, topics: Sequence[str]) -> set[TopicPartition]:
    return {
        TopicPartition(topic, number)
        for topic in topics
        for number in consumer.partitions_for_topic(topic) or ()
    }


def _is_behind(consumer: AIOKafkaConsumer, partition: TopicPartition) -> bool:
    """Whether there is more than was fetched, or nobody knows yet."""
    found = standing(consumer, partition)
    end = consumer.last_stable_offset(partition) if found is not None else None
    return found is None or end is None or found.position < end
