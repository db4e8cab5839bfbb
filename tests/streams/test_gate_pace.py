"""In which order the gate takes the partitions of a topic, whatever the broker brings first."""

from collections.abc import Sequence
from itertools import pairwise

from aiokafka import ConsumerRecord, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.broker.group import Record
from streams.gate.others import PATIENCE_S as OTHERS_PATIENCE_S
from streams.gate.others import Others, Told
from streams.gate.pace import PATIENCE_S, Pace

BOUND_MS = 1_000
DATES = st.lists(st.integers(0, 30_000), max_size=30).map(sorted)


def record(partition: TopicPartition, offset: int, timestamp: int) -> Record:
    return ConsumerRecord(
        topic=partition.topic,
        partition=partition.partition,
        offset=offset,
        timestamp=timestamp,
        timestamp_type=0,
        key=None,
        value=b"",
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=0,
        headers=(),
    )


class Broker:
    """Partitions with records that nobody has read, and what a gate has written of them, in order."""

    def __init__(self, dates: Sequence[Sequence[int]], topics: Sequence[str]) -> None:
        self.parts = [TopicPartition(topic, number) for number, topic in enumerate(topics)]
        self.unread = {
            part: [record(part, offset, at) for offset, at in enumerate(own)]
            for part, own in zip(self.parts, dates, strict=True)
        }
        self.pending: dict[TopicPartition, list[Record]] = {part: [] for part in self.parts}
        self.written: list[Record] = []
        self.pace = Pace(lambda one: one.timestamp)
        self.pace.open(self.parts, 0.0)

    @property
    def behind(self) -> list[TopicPartition]:
        return [part for part, records in self.unread.items() if records]

    def fetch(self, part: TopicPartition, count: int) -> None:
        """Some records of a partition of which nothing waits."""
        if part in self.pace.empty and self.unread[part]:
            self.pace.add({part: self.unread[part][:count]})
            del self.unread[part][:count]

    def take(self, now_s: float = 0.0) -> bool:
        found = self.pace.take(self.behind, BOUND_MS, now_s)
        for part, records in found.items():
            self.pending[part] += records
        return bool(found)

    def commit(self, part: TopicPartition) -> bool:
        records, self.pending[part] = self.pending[part], []
        self.written += records
        self.pace.written(part)
        return bool(records)

    def finish(self) -> None:
        """As the gate goes on when nothing new comes."""
        while self.behind or self.pace.held or any(self.pending.values()):
            moved = False
            for part in self.parts:
                if part in self.pace.empty and self.unread[part]:
                    self.fetch(part, 3)
                    moved = True
            moved |= self.take()
            for part in self.parts:
                moved |= self.commit(part)
            assert moved, "it stands still"


@settings(deadline=None)
@given(st.lists(DATES, min_size=2, max_size=4), st.data())
def test_no_partition_is_far_ahead_of_another(dates: list[list[int]], data: st.DataObject) -> None:
    broker = Broker(dates, ["t"] * len(dates))
    parts = st.sampled_from(broker.parts)
    for _ in range(data.draw(st.integers(0, 30))):
        step = data.draw(st.sampled_from(("fetch", "take", "commit")))
        if step == "fetch":
            broker.fetch(data.draw(parts), data.draw(st.integers(1, 10)))
        elif step == "take":
            broker.take()
        else:
            broker.commit(data.draw(parts))
    broker.finish()
    written = broker.written
    assert len(written) == sum(map(len, dates))
    for part in broker.parts:
        offsets = [one.offset for one in written if one.partition == part.partition]
        assert all(a < b for a, b in pairwise(offsets))
    newest = 0
    for one in written:
        assert one.timestamp >= newest - BOUND_MS
        newest = max(newest, one.timestamp)


def test_topics_do_not_wait_for_each_other() -> None:
    broker = Broker([[0, 1], [90_000]], ["a", "b"])
    broker.fetch(broker.parts[1], 1)
    assert broker.take()
    assert broker.pending[broker.parts[1]]


def test_one_without_a_backlog_is_not_waited_for() -> None:
    broker = Broker([[], [1, 90_000, 180_000]], ["t", "t"])
    broker.fetch(broker.parts[1], 3)
    broker.take()
    assert len(broker.pending[broker.parts[1]]) == 3


def test_one_that_brings_nothing_is_waited_for_so_long() -> None:
    broker = Broker([[1], [1, 90_000]], ["t", "t"])
    broker.fetch(broker.parts[1], 2)
    assert not broker.take(PATIENCE_S - 0.1)
    assert broker.take(PATIENCE_S)
    assert not broker.pace.held


def test_one_that_was_held_is_waited_for_afresh() -> None:
    broker = Broker([[0, 20_000], [20_000, 40_000]], ["t", "t"])
    first, second = broker.parts
    broker.fetch(second, 1)
    assert not broker.take(PATIENCE_S - 1)
    broker.fetch(first, 2)
    assert broker.take(10 * PATIENCE_S)
    broker.commit(first)
    assert broker.take(10 * PATIENCE_S)
    broker.commit(first)
    broker.commit(second)
    broker.unread[first].append(record(first, 2, 90_000))
    broker.fetch(first, 1)
    assert not broker.take(11 * PATIENCE_S - 0.1)
    assert broker.take(11 * PATIENCE_S)


def test_what_is_not_written_yet_holds_the_others() -> None:
    broker = Broker([[0], [5_000]], ["t", "t"])
    for part in broker.parts:
        broker.fetch(part, 1)
    broker.take()
    assert not broker.take()
    broker.commit(broker.parts[0])
    assert broker.take()


def test_what_other_workers_still_have_to_write_holds_too() -> None:
    broker = Broker([[0, 2_000]], ["t"])
    (part,) = broker.parts
    broker.fetch(part, 2)
    found = broker.pace.take([], BOUND_MS, 0.0, {"t": 500.0, "another": -9_000.0})
    assert [one.timestamp for one in found[part]] == [0]
    assert broker.pace.next_ms(part) == 2_000
    assert broker.pace.next_offset(part, 2) is None, "something is not written yet"
    broker.pace.written(part)
    assert broker.pace.next_offset(part, 2) == 1
    assert broker.pace.take([], BOUND_MS, 0.0, {"t": 1_000.0})[part][0].timestamp == 2_000
    broker.pace.written(part)
    assert (broker.pace.next_offset(part, 7), broker.pace.next_ms(part)) == (7, 2_000)


def test_what_others_tell_is_heard_while_they_go_on() -> None:
    part, other = TopicPartition("t", 0), TopicPartition("t", 1)
    others = Others([part, other])
    ends = {part: 9, other: 9}
    assert Told.of(3, Told(3, 500.0).metadata()) == Told(3, 500.0)
    assert Told.of(3, "of somebody else").oldest_ms == float("-inf")
    told = {part: Told(3, 500.0), other: Told(9, 100.0)}
    assert others.hear(told, ends, 0.0) == {"t": 500.0}, "without a backlog nobody is waited for"
    assert others.hear(told, ends, OTHERS_PATIENCE_S - 1) == {"t": 500.0}
    assert others.hear(told, ends, OTHERS_PATIENCE_S) == {}, "nothing is heard of it"
    told[part] = Told(4, 600.0)
    assert others.hear(told, ends, 100.0) == {"t": 600.0}
    ends[other] = 10
    assert others.hear(told, ends, 101.0) == {"t": 100.0}, "its backlog is new"
    assert Others([part]).hear({}, ends, 0.0) == {"t": float("-inf")}, "it has told nothing yet"
