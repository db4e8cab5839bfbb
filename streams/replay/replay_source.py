"""The topics read again from a moment on, all partitions in the order of the broker's time."""

import heapq
from collections.abc import AsyncIterator, Sequence

from aiokafka import AIOKafkaConsumer

from streams.broker.log import LogReader
from streams.stages import InputRecord

_CHUNK = 256
"""Records of a partition in memory at a time: 256 batches of 100 KB are 25 MB."""


async def first_offsets(broker: str, topic: str, from_us: int | None) -> list[tuple[int, bool]]:
    """For each partition: where to begin so that nothing the broker took at or after `from_us` is missing
    (None: what is still there), and whether that is the very beginning of the topic."""
    async with AIOKafkaConsumer(topic, bootstrap_servers=broker, client_id="homeostat-replay") as consumer:
        places = sorted(consumer.assignment(), key=lambda place: place.partition)
        beginnings = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
        found = (
            None
            if from_us is None
            else await consumer.offsets_for_times(dict.fromkeys(places, from_us // 1_000))
        )
    offsets: list[tuple[int, bool]] = []
    for place in places:
        offset = beginnings[place]
        if found is not None:
            at = found[place]
            offset = ends[place] if at is None else at.offset
        offsets.append((offset, offset == 0))
    return offsets


async def read_merged(
    reader: LogReader, topics: Sequence[tuple[str, int]], starts: Sequence[int]
) -> AsyncIterator[InputRecord]:
    """Everything that is committed now, of several partitions, ordered by the broker's time; each partition in
    its own order."""
    streams = [
        _read(reader, topic, number, start) for (topic, number), start in zip(topics, starts, strict=True)
    ]
    heap: list[tuple[int, int, InputRecord]] = []
    marks = [0] * len(streams)
    for place, stream in enumerate(streams):
        await _push(heap, marks, place, stream)
    while heap:
        _, place, record = heapq.heappop(heap)
        yield record
        await _push(heap, marks, place, streams[place])


async def _push(
    heap: list[tuple[int, int, InputRecord]], marks: list[int], place: int, stream: AsyncIterator[InputRecord]
) -> None:
    async for record in stream:
        # A producer may set times of its own: within a partition they must not go back.
        marks[place] = max(marks[place], record.timestamp_us)
        heapq.heappush(heap, (marks[place], place, record))
        return


async def _read(reader: LogReader, topic: str, partition: int, start: int) -> AsyncIterator[InputRecord]:
    _, end = await reader.bounds(topic, partition)
    while start < end:
        last = min(start + _CHUNK, end) - 1
        for record in await reader.read(topic, partition, start, last):
            yield record
        start = last + 1
