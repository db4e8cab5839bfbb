"""How far the partitions of an input topic may be read ahead of each other.

What is late is told by the order in which events reach the next stage. A gate that has stood still finds hours of
events in every partition; were one read to its end before the next, all in that one would come late. So no partition is
taken further than `bound_ms` beyond what any other one of its topic still has to bring, by the dates of the records. A
partition without a backlog holds nobody up, and neither does one of which nothing comes for a while. Of the partitions
that other workers read it is told (`streams.gate.others`).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from aiokafka import TopicPartition

from streams.broker.group import Record

PATIENCE_S = 5.0
"""So long others wait for a partition that has a backlog and brings nothing."""
_NEVER_MS = float("-inf")
_NOTHING_MS = float("inf")
_NOWHERE: Mapping[str, float] = {}

Date = Callable[[Record], float]
"""When a record came, milliseconds since the epoch."""


@dataclass(slots=True)
class _Line:
    """One partition: what was fetched of it and not yet taken, since when that is nothing, and the date of the newest
    that was taken. `unwritten_ms`: of the oldest that was taken since the last commit."""

    empty_s: float
    records: Sequence[Record] = ()
    taken_ms: float = _NEVER_MS
    unwritten_ms: float = _NOTHING_MS


@dataclass(slots=True)
class Pace:
    """The records that wait for their turn. Knows no clock: seconds come from the caller's."""

    date: Date
    _lines: dict[TopicPartition, _Line] = field(default_factory=dict[TopicPartition, _Line])

    def open(self, partitions: Collection[TopicPartition], now_s: float) -> None:
        """Start afresh with these partitions."""
        self._lines = {partition: _Line(now_s) for partition in partitions}

    @property
    def held(self) -> bool:
        """Whether any records wait."""
        return any(line.records for line in self._lines.values())

    @property
    def empty(self) -> list[TopicPartition]:
        """The partitions of which nothing waits."""
        return [partition for partition, line in self._lines.items() if not line.records]

    def add(self, batches: Mapping[TopicPartition, Sequence[Record]]) -> None:
        """Records of partitions of which nothing waited."""
        for partition, records in batches.items():
            self._lines[partition].records = records

    def take(
        self,
        behind: Collection[TopicPartition],
        bound_ms: float,
        now_s: float,
        elsewhere_ms: Mapping[str, float] = _NOWHERE,
    ) -> dict[TopicPartition, Sequence[Record]]:
        """The records whose turn it is. `behind`: the partitions that have more than was fetched; `elsewhere_ms`: by
        topic, the date of the oldest record that other workers still have to write."""
        topics: dict[str, dict[TopicPartition, _Line]] = defaultdict(dict)
        for partition, line in self._lines.items():
            topics[partition.topic][partition] = line
        found: dict[TopicPartition, Sequence[Record]] = {}
        for topic, lines in topics.items():
            others_ms = elsewhere_ms.get(topic, _NOTHING_MS)
            waited_for = {one for one in behind if one in lines and now_s - lines[one].empty_s < PATIENCE_S}
            oldest_ms = {one: self._oldest_ms(line, one in waited_for) for one, line in lines.items()}
            first, second = (*sorted(oldest_ms, key=oldest_ms.__getitem__), None)[:2]
            for partition, line in lines.items():
                other = second if partition == first else first
                horizon_ms = min(others_ms, _NOTHING_MS if other is None else oldest_ms[other]) + bound_ms
                if records := self._up_to(line, horizon_ms, now_s):
                    found[partition] = records
        return found

    def written(self, partition: TopicPartition) -> None:
        """What was taken of it is committed."""
        self._lines[partition].unwritten_ms = _NOTHING_MS

    def next_ms(self, partition: TopicPartition) -> float:
        """The date before which nothing comes of it that was not taken yet."""
        line = self._lines[partition]
        return self.date(line.records[0]) if line.records else line.taken_ms

    def next_offset(self, partition: TopicPartition, position: int) -> int | None:
        """Where it is to be read on, by all that is written; None while something is not. `position`: behind all that
        was fetched."""
        line = self._lines[partition]
        if line.unwritten_ms < _NOTHING_MS:
            return None
        return line.records[0].offset if line.records else position

    def _oldest_ms(self, line: _Line, is_behind: bool) -> float:
        """The date of the oldest that is still to be written of this partition."""
        to_come_ms = (
            self.date(line.records[0]) if line.records else line.taken_ms if is_behind else _NOTHING_MS
        )
        return min(line.unwritten_ms, to_come_ms)

    def _up_to(self, line: _Line, horizon_ms: float, now_s: float) -> Sequence[Record]:
        if not line.records:
            return ()
        found = line.records
        if horizon_ms < _NOTHING_MS:
            found = list(takewhile(lambda record: self.date(record) <= horizon_ms, found))
        if found:
            line.records, line.empty_s = line.records[len(found) :], now_s
            line.taken_ms = max(line.taken_ms, self.date(found[-1]))
            line.unwritten_ms = min(line.unwritten_ms, self.date(found[0]))
        return found
