"""Reading parts of topics from outside a consumer group: the last record, a range, everything up to now."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import ConsumerRecord

from streams.broker.group import close_within
from streams.stages import InputRecord, OffsetRange

_POLL_MS = 500
_STOP_TIMEOUT_S = 5.0
_PATIENCE_S = 40.0
"""The client asks a broker that is away again and again; whoever reads holds up everybody else who reads."""
_FETCH_WAIT_MS = 10
"""A request waits behind a fetch on the same connection, so fetches must not linger."""
_FIRST_SPAN = 4
_MAX_FETCH_BYTES = 8 * 1024 * 1024


def input_record(record: "ConsumerRecord[bytes, bytes]") -> InputRecord:
    """As the stages know it."""
    return InputRecord(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        record.headers,
        record.timestamp * 1_000,
    )


class LogReader:
    """One connection that reads committed records wherever it is sent. Use it as an async context manager."""

    def __init__(self, broker: str, client_id: str) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=broker,
            client_id=client_id,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_partition_fetch_bytes=_MAX_FETCH_BYTES,
        )
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
        except BaseException:  # nobody leaves a block that was not entered: its connections would stay open
            await close_within(self._consumer.stop(), _STOP_TIMEOUT_S)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await close_within(self._consumer.stop(), _STOP_TIMEOUT_S)

    async def bounds(self, topic: str, partition: int) -> OffsetRange:
        """The first offset that is still there, and the offset after the last committed record."""
        where = TopicPartition(topic, partition)
        async with self._lock:
            first = await self._consumer.beginning_offsets([where])
            end = await self._consumer.end_offsets([where])
        return first[where], end[where]

    async def last(self, topic: str, partition: int) -> InputRecord | None:
        """The last committed record. Transactions leave marks at the end, so the search steps back in growing
        strides."""
        first, end = await self.bounds(topic, partition)
        span = _FIRST_SPAN
        while first < end:
            start = max(first, end - span)
            found = await self.read(topic, partition, start, end - 1)
            if found:
                return found[-1]
            if start == first:
                return None
            span *= 2
        return None

    async def read_ranges(
        self, topic: str, partition: int, ranges: Sequence[OffsetRange]
    ) -> list[InputRecord]:
        """The records of several ranges, in their order."""
        return [record for first, last in ranges for record in await self.read(topic, partition, first, last)]

    async def read(self, topic: str, partition: int, first: int, last: int) -> list[InputRecord]:
        """The committed records at the offsets `first` to `last`, both included, that are still there.

        Raises aiokafka's `KafkaTimeoutError` where nothing comes for 40 s, as for any request.
        """
        where = TopicPartition(topic, partition)
        found: list[InputRecord] = []
        async with self._lock:
            self._consumer.assign([where])
            self._consumer.seek(where, at := first)
            try:
                async with asyncio.timeout(_PATIENCE_S) as patience:
                    while at <= last:
                        batches = await self._consumer.getmany(where, timeout_ms=_POLL_MS)
                        records = batches.get(where, [])
                        found += [input_record(item) for item in records if first <= item.offset <= last]
                        before, at = at, await self._consumer.position(where)
                        if at != before:
                            patience.reschedule(asyncio.get_running_loop().time() + _PATIENCE_S)
            except TimeoutError as error:
                raise KafkaTimeoutError(
                    f"{topic}/{partition}: nothing came at offset {at} for {_PATIENCE_S:g} s; {last} is to be reached"
                ) from error
            self._consumer.pause(where)
        return found
