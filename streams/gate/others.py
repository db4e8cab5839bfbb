"""How far the gate's other workers are with the partitions that they read.

Partitions of one topic keep pace (`streams.gate.pace`), whoever reads them. A worker tells of each of its partitions
the date of the oldest record that it still has to write, as the metadata of the offset that it commits; the others read
that. What is told is never later than what is true, so nobody goes too far by it. A worker that is alone asks nothing.
"""

import asyncio
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from streams.broker.group import COMMIT_TIMEOUT_S

_log = structlog.get_logger()

PATIENCE_S = 15.0
"""So long a partition is waited for that has a backlog and of which nothing is heard: more than the group takes to give
the partitions of a dead worker to another one."""
_EVERY_S = 0.1
_NEVER_MS = float("-inf")
_NOTHING_MS = float("inf")
_TOLD = re.compile(r"oldest_ms=(\d+)")


class Told(NamedTuple):
    """Of a partition: the next offset to read, and the date before which nothing is to come."""

    offset: int
    oldest_ms: float

    def metadata(self) -> str:
        """As it is committed with the offset."""
        return f"oldest_ms={int(self.oldest_ms)}" if self.oldest_ms > 0 else ""

    @classmethod
    def of(cls, offset: int, metadata: str) -> "Told":
        """What was committed; by whom it may be, and whatever it says."""
        found = _TOLD.fullmatch(metadata)
        return cls(offset, float(found.group(1)) if found else _NEVER_MS)


class Others:
    """The partitions of the input topics that this worker does not own (`partitions`). Knows no clock: seconds come
    from the caller's."""

    def __init__(self, partitions: Collection[TopicPartition] = ()) -> None:
        self._partitions = list(partitions)
        self._looked_s = _NEVER_MS
        self._oldest_ms: Mapping[str, float] = {}
        self._heard: dict[TopicPartition, tuple[Told, float]] = {}
        self._said: dict[TopicPartition, Told] = {}
        self._said_s = _NEVER_MS

    async def oldest_ms(self, consumer: AIOKafkaConsumer, now_s: float) -> Mapping[str, float]:
        """By topic: the date of the oldest record that others still have to write. Asked of the broker ten times a
        second at most."""
        if self._partitions and now_s - self._looked_s >= _EVERY_S:
            self._looked_s = now_s
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                told = await _committed(consumer, self._partitions)
                ends: Mapping[TopicPartition, int] = await consumer.end_offsets(self._partitions)
            self._oldest_ms = self.hear(told, ends, now_s)
        return self._oldest_ms

    def hear(
        self, told: Mapping[TopicPartition, Told], ends: Mapping[TopicPartition, int], now_s: float
    ) -> Mapping[str, float]:
        """The same of what the broker says: what the others have `told`, and where their partitions end."""
        found: dict[str, float] = {}
        for place in self._partitions:
            one = told.get(place, Told(0, _NEVER_MS))
            is_behind = one.offset < ends.get(place, 0)
            before, since_s = self._heard.get(place, (one, now_s))
            if one != before or not is_behind:
                since_s = now_s
            self._heard[place] = one, since_s
            if is_behind and now_s - since_s < PATIENCE_S:
                found[place.topic] = min(found.get(place.topic, _NOTHING_MS), one.oldest_ms)
        return found

    def said(self, partition: TopicPartition, one: Told) -> None:
        """This was committed."""
        self._said[partition] = one

    async def tell(
        self, consumer: AIOKafkaConsumer, own: Mapping[TopicPartition, Told], now_s: float
    ) -> None:
        """Tell how far the own partitions are, where that is not known yet; ten times a second at most."""
        if not self._partitions or now_s - self._said_s < _EVERY_S:
            return
        self._said_s = now_s
        news = {place: one for place, one in own.items() if self._said.get(place) != one}
        if not news:
            return
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await consumer.commit({place: (one.offset, one.metadata()) for place, one in news.items()})
        except (CommitFailedError, IllegalStateError) as error:
            # The group moves its partitions; the next owner tells.
            _log.info("Other gate workers were not told how far this one is.", reason=repr(error))
            return
        self._said |= news


async def _committed(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> Mapping[TopicPartition, Told]:
    # The client's public call gives offsets without their metadata.
    coordinator = cast(Any, consumer)._coordinator
    found = await coordinator.fetch_committed_offsets(list(partitions))
    return {place: Told.of(int(one.offset), str(one.metadata)) for place, one in found.items()}
