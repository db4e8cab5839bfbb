"""Topics as plain messages, for rooms that must not know Kafka (fulfils `remediation.bus.Bus`)."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Self

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, TopicAuthorizationFailedError, UnsupportedVersionError

from streams.broker.group import KAFKA_TROUBLE, Record, close_within

_log = structlog.get_logger()

_RETRY_S = 0.5
_STOP_TIMEOUT_S = 5.0
_POLL_MS = 500
_MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""The client's own limit of 1 MiB is too little for a large reference; the broker's limit holds as well."""

_HOPELESS = (MessageSizeTooLargeError, TopicAuthorizationFailedError, UnsupportedVersionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One record of a topic. `timestamp_ms` is the broker's."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    timestamp_ms: int


class KafkaBus:
    """Publish and follow over one broker address: an async context manager, or call `start` and `stop`.

    Nothing here gives up while the broker is away: each call waits and tries again, and says so in the log.
    """

    def __init__(self, broker: str, client_id: str = "homeostat-bus") -> None:
        self._broker = broker
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._stopped = False

    async def start(self) -> None:
        """Connections are opened when they are first needed, so that a broker that is down delays nobody."""
        self._stopped = False

    async def stop(self) -> None:
        """Close the producer. Followers end when their iterators are closed."""
        self._stopped = True
        await self._drop(self._producer)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def publish(
        self, topic: str, *, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None
    ) -> None:
        """Returns when the broker has the record on all in-sync replicas; retries while it is away.

        Idempotent within one connection; an attempt that failed after 40 s may have been written, so that a
        reader can see the record twice. Raises aiokafka's `MessageSizeTooLargeError`: no retry can help.
        """
        while True:
            producer: AIOKafkaProducer | None = None
            try:
                producer = await self._open_producer()
                await producer.send_and_wait(
                    topic, value=value, key=key, headers=list((headers or {}).items())
                )
                return
            except _HOPELESS:
                raise
            except KAFKA_TROUBLE as error:
                if self._stopped:
                    raise
                await self._tell_and_wait("A message could not be published yet; trying again.", topic, error)
                # A batch that timed out leaves a gap in the producer's sequence: only a new one can go on.
                await self._drop(producer)

    async def follow(self, topic: str, *, group: str | None = None) -> AsyncGenerator[Message, None]:
        """Committed records in order. Without a group: everything from the start of the topic, and then what
        comes. With a group: from the group's position; a message counts as handled when the next one is asked
        for, and is seen again after a crash before that.
        """
        async with aclosing(self.follow_batches(topic, group=group, at_most=1)) as batches:
            async for (message,) in batches:
                yield message

    async def follow_batches(
        self, topic: str, *, group: str | None = None, at_most: int
    ) -> AsyncGenerator[list[Message], None]:
        """The same, up to `at_most` records that are there already at a time; they count as handled together."""
        positions: dict[TopicPartition, int] = {}
        while True:
            consumer = self._consumer(group)
            try:
                if group is None:
                    await consumer.start()
                    await self._assign(consumer, topic, positions)
                else:
                    consumer.subscribe([topic])
                    await consumer.start()
                while True:
                    found = await consumer.getmany(timeout_ms=_POLL_MS, max_records=at_most)
                    if not found:
                        continue
                    yield [_message(record) for records in found.values() for record in records]
                    handled = {partition: records[-1].offset + 1 for partition, records in found.items()}
                    positions |= handled
                    if group is not None:
                        await consumer.commit(handled)
            except KAFKA_TROUBLE as error:
                if self._stopped:
                    return
                await self._tell_and_wait("Following a topic was interrupted; trying again.", topic, error)
            finally:
                await close_within(consumer.stop(), _STOP_TIMEOUT_S)

    async def read_all(self, topic: str) -> list[Message]:
        """Everything committed in the topic now, partition by partition, in order; a compacted topic may
        still hold several records of a key, of which the last counts."""
        while True:
            consumer = self._consumer(None)
            try:
                await consumer.start()
                partitions = await self._assign(consumer, topic, {})
                ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
                found: list[Message] = []
                for partition in partitions:
                    found += await _read_until(consumer, partition, ends[partition])
                return found
            except KAFKA_TROUBLE as error:
                if self._stopped:
                    raise
                await self._tell_and_wait("A topic could not be read yet; trying again.", topic, error)
            finally:
                await close_within(consumer.stop(), _STOP_TIMEOUT_S)

    async def _assign(
        self, consumer: AIOKafkaConsumer, topic: str, positions: Mapping[TopicPartition, int]
    ) -> list[TopicPartition]:
        producer = await self._open_producer()
        numbers: set[int] = await producer.partitions_for(topic)
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        for partition in partitions:
            if partition in positions:
                consumer.seek(partition, positions[partition])
            else:
                await consumer.seek_to_beginning(partition)
        return partitions

    def _consumer(self, group: str | None) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._broker,
            client_id=self._client_id,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )

    async def _open_producer(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._broker,
                    client_id=self._client_id,
                    acks="all",
                    enable_idempotence=True,
                    max_request_size=_MAX_MESSAGE_BYTES,
                )
                try:
                    await producer.start()
                except BaseException:  # cancelled, too: its connections would stay open
                    await close_within(producer.stop(), _STOP_TIMEOUT_S)
                    raise
                self._producer = producer
            return self._producer

    async def _drop(self, producer: AIOKafkaProducer | None) -> None:
        if producer is None:
            return
        if self._producer is producer:
            self._producer = None
        await close_within(producer.stop(), _STOP_TIMEOUT_S)

    async def _tell_and_wait(self, message: str, topic: str, error: BaseException) -> None:
        _log.warning(message, topic=topic, broker=self._broker, reason=repr(error), retry_in_s=_RETRY_S)
        await asyncio.sleep(_RETRY_S)


async def _read_until(consumer: AIOKafkaConsumer, partition: TopicPartition, end: int) -> list[Message]:
    found: list[Message] = []
    while await consumer.position(partition) < end:
        batches = await consumer.getmany(partition, timeout_ms=_POLL_MS)
        found += [_message(record) for record in batches.get(partition, []) if record.offset < end]
    return found


def _message(record: Record) -> Message:
    return Message(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=dict(record.headers),
        timestamp_ms=record.timestamp,
    )
