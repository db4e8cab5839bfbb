"""Checkpoints of any size, and state topics that do not grow without end."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

import streams.worker.checkpoint
from deploy.stack.kafka import KafkaBroker
from streams.broker.admin import ensure_topics
from streams.broker.log import LogReader
from streams.control.configuration import Configuration
from streams.stages import Delta, Flush, InputRecord, Snapshot
from streams.topics import TopicSpec
from streams.worker.checkpoint import CheckpointError, CheckpointLog
from streams.worker.role import Role, StreamsConfig
from streams.worker.state_cleaning import StateCleaner
from tests.patience import PATIENCE_S
from tests.streams.counting import CountingStage
from tests.streams.parts import until
from tests.streams.running import make_counting_topics, read_all, running, send_numbers, until_counted

pytestmark = pytest.mark.slow


class Sized:
    """A stage whose state is given; its deltas are nothing."""

    def __init__(self, state: bytes = b"") -> None:
        self.offset = -1
        self.state = state

    def unconfigured(self, record: InputRecord) -> None:
        return None

    def process(self, record: InputRecord) -> None: ...
    def tick(self, now_us: int, caught_up: bool) -> None: ...

    def flush(self, final: bool = False) -> Flush:
        return Flush()

    def snapshot(self, written: Mapping[str, Sequence[int]]) -> Snapshot:
        return Snapshot(self.state, {})

    def restore(self, offset: int, state: bytes, log: Mapping[str, Sequence[InputRecord]]) -> None:
        self.offset, self.state = offset, state


def state_of(size: int) -> bytes:
    return bytes(range(256)) * (size // 256) + b"x" * (size % 256)


async def test_a_state_of_any_size_comes_back_as_it_was(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}.checkpoints"
    await ensure_topics(kafka, [TopicSpec(topic, 2, {"cleanup.policy": "compact"})])
    log = CheckpointLog(kafka, topic_prefix, topic, 1)
    await log.acquire()
    async with LogReader(kafka, "test-checkpoints") as reader:
        piece = 512 * 1024
        assert not await log.load(reader, Sized())
        for offset, size in enumerate([0, 5, piece, piece + 1, 2 * piece, 20_000_000, 3 * piece + 7, 10]):
            written = await log.save(Sized(state_of(size)), Flush(), offset)
            assert written.size_bytes == size
            found = await log.read(reader, at_least=offset)
            assert found is not None
            assert (found.offset, found.state == state_of(size)) == (offset, True), size
        # Each key once is what compaction leaves: the pieces of the last large one, and the record.
        await log.save(Sized(state_of(20_000_000)), Flush(), 9)
        await log.read(reader, at_least=9)
        records = await read_all(kafka, topic, 1)
        kept = {record.key: record for record in records}
        assert len(kept) == 39
        assert sorted(one.offset for one in kept.values()) == [one.offset for one in records[-39:]]
    await log.release()


async def test_a_checkpoint_that_lost_a_piece_is_told_and_not_used(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}.checkpoints"
    await ensure_topics(kafka, [TopicSpec(topic, 1)])
    log = CheckpointLog(kafka, topic_prefix, topic, 0)
    await log.acquire()
    await log.save(Sized(state_of(3_000_000)), Flush(), 4)
    async with LogReader(kafka, "test-checkpoints") as reader:
        assert await log.read(reader, at_least=4)
    cleaner = StateCleaner(kafka, [topic])
    cleaner.note(0, {topic: 2})
    await cleaner.clean()
    async with LogReader(kafka, "test-checkpoints") as reader:
        with pytest.raises(CheckpointError, match="has 3 of 5 pieces"):
            await log.load(reader, Sized())
    await log.release()


class Counted(Sized):
    """Needs all its deltas."""

    def __init__(self, topic: str) -> None:
        super().__init__(b"state")
        self.topic = topic

    def snapshot(self, written: Mapping[str, Sequence[int]]) -> Snapshot:
        places = written[self.topic]
        return Snapshot(self.state, {self.topic: [(places[0], places[-1])]})


@pytest.mark.parametrize("kind", ["deltas", "profiles"])
async def test_deltas_that_retention_took_are_told_and_not_done_without(
    kafka: str,
    topic_prefix: str,
    kind: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But for panes on their way: they have a retention, and the judge goes on without them."""
    checkpoints = f"{topic_prefix}.checkpoints"
    deltas = f"{topic_prefix}.{kind}"
    monkeypatch.setattr(streams.worker.checkpoint, "PROFILES", f"{topic_prefix}.profiles")
    await ensure_topics(kafka, [TopicSpec(checkpoints, 1), TopicSpec(deltas, 1)])
    log = CheckpointLog(kafka, topic_prefix, checkpoints, 0)
    await log.acquire()
    async with LogReader(kafka, "test-checkpoints") as reader:
        flush = Flush(deltas={deltas: [Delta(b"k", b"%d" % number) for number in range(5)]})
        await log.save(Counted(deltas), flush, 4)
        saved = await log.read(reader, at_least=4)
        assert saved is not None
        assert len(saved.log[deltas]) == 5
        cleaner = StateCleaner(kafka, [deltas])
        cleaner.note(0, {deltas: 2})
        await cleaner.clean()
        what = f"needs the records 0 to 4 of {deltas}/0, which holds the offsets 2 to"
        if kind == "profiles":
            assert await log.load(reader, Sized())
            assert what in capsys.readouterr().out
        else:
            with pytest.raises(CheckpointError, match=what):
                await log.load(reader, Sized())
    await log.release()


async def test_only_what_is_free_is_deleted(kafka: str, topic_prefix: str) -> None:
    deltas, compacted = f"{topic_prefix}.deltas", f"{topic_prefix}.compacted"
    await ensure_topics(kafka, [TopicSpec(deltas, 2), TopicSpec(compacted, 1, {"cleanup.policy": "compact"})])
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for topic, partition in ((deltas, 0), (deltas, 1), (compacted, 0)):
            for number in range(20):
                await producer.send_and_wait(topic, b"%d" % number, key=b"k", partition=partition)
    cleaner = StateCleaner(kafka, [deltas, compacted])
    cleaner.note(0, {deltas: 7, "another.topic": 3})
    await cleaner.clean()
    assert [record.offset for record in await read_all(kafka, deltas, 0)] == list(range(7, 20))
    assert len(await read_all(kafka, deltas, 1)) == 20
    # A former owner wakes up: what it would delete is gone already.
    zombie = StateCleaner(kafka, [deltas])
    zombie.note(0, {deltas: 5})
    await zombie.clean()
    assert (await read_all(kafka, deltas, 0))[0].offset == 7
    # A topic that must not be deleted from is left alone; the others go on.
    cleaner.note(0, {deltas: 20, compacted: 9})
    await cleaner.clean()
    await cleaner.clean()
    assert len(await read_all(kafka, compacted)) == 20
    assert not await read_all(kafka, deltas, 0)
    # Somebody else owns the partition.
    cleaner.note(1, {deltas: 9})
    cleaner.forget(1)
    await cleaner.clean()
    assert len(await read_all(kafka, deltas, 1)) == 20


async def test_a_broker_that_is_away_leaves_the_cleaning_for_later() -> None:
    cleaner = StateCleaner("127.0.0.1:1", ["t"])
    cleaner.note(0, {"t": 5})
    await cleaner.clean()


class Forgetful(CountingStage):
    """Needs its last three deltas only."""

    def snapshot(self, written: Mapping[str, Sequence[int]]) -> Snapshot:
        found = super().snapshot(written)
        return Snapshot(found.state, {f"{self.prefix}.deltas": [(self._places[-3:][0], self._places[-1])]})

    def restore(self, offset: int, state: bytes, log: Mapping[str, Sequence[InputRecord]]) -> None:
        self.count = self.total = 0
        super().restore(offset, b"[0, 0, 0]" + state[state.index(b"\0") :], {})
        self._places = [record.offset for record in log[f"{self.prefix}.deltas"]]
        assert len(self._places) <= 3


async def test_a_worker_keeps_its_state_topics_short(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    def make(partition: int, configuration: Configuration) -> Forgetful:
        return Forgetful(partition, topic_prefix)

    names = (f"{topic_prefix}.{name}" for name in ("in", "checkpoints", "deltas"))
    source, checkpoints, deltas = names
    role = Role(topic_prefix, source, checkpoints, make, (deltas,))
    config = StreamsConfig(
        broker=kafka,
        data_dir=tmp_path,
        partitions=1,
        checkpoint_interval_s=0.02,
        cleaning_interval_s=0.2,
    )
    await make_counting_topics(kafka, topic_prefix)
    async with running(config, role), LogReader(kafka, "test-short") as reader:
        for number in range(12):
            await send_numbers(kafka, topic_prefix, [[number]])
            await asyncio.sleep(0.03)
        await until_counted(kafka, topic_prefix, 12)

        async def is_short() -> bool:
            first, end = await reader.bounds(deltas, 0)
            return first > 0 and len(await reader.read(deltas, 0, first, end - 1)) <= 3

        await until("the state topic is short", is_short)
    async with running(config, role):
        await send_numbers(kafka, topic_prefix, [[1]])
        await until_counted(kafka, topic_prefix, 13)


async def test_a_checkpoint_in_the_air_ends_when_its_partition_is_given_up(
    kafka_broker: KafkaBroker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker is gone when everything is sent and nothing is committed; nobody waits for that commit for ever."""
    topic, committing = f"{topic_prefix}.checkpoints", asyncio.Event()
    commit = AIOKafkaProducer.commit_transaction

    async def commit_without_a_broker(producer: AIOKafkaProducer) -> None:
        await asyncio.to_thread(kafka_broker.kill)
        committing.set()
        await commit(producer)

    monkeypatch.setattr(AIOKafkaProducer, "commit_transaction", commit_without_a_broker)
    await ensure_topics(kafka_broker.bootstrap, [TopicSpec(topic, 1)])
    log = CheckpointLog(kafka_broker.bootstrap, topic_prefix, topic, 0)
    await log.acquire()
    saving = asyncio.create_task(log.save(Sized(b"state"), Flush(), 1))
    await committing.wait()
    await log.release()
    with pytest.raises(CheckpointError, match="given up"):
        async with asyncio.timeout(PATIENCE_S / 4):
            await saving


async def test_a_partition_is_given_up_while_its_checkpoint_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both at the same moment: the time is over, and who waits for the broker has not heard of it yet."""

    async def never(_: AIOKafkaProducer) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await log.release()

    monkeypatch.setattr(streams.worker.checkpoint, "_TRANSACTION_TIMEOUT_MS", 10)
    monkeypatch.setattr(AIOKafkaProducer, "begin_transaction", never)
    log = CheckpointLog("nobody:9092", "loan", "loan.checkpoints", 0)
    with pytest.raises(CheckpointError, match="given up"):
        async with asyncio.timeout(PATIENCE_S / 4):
            await log.save(Sized(b"state"), Flush(), 1)
