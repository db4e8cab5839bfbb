"""Checkpoints and state records with flipped bits and cut ends: told as what they are, never believed."""

import asyncio
import dataclasses
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import streams.worker.checkpoint
from streams.judge.stage import JudgeStage
from streams.profile.stage import ProfileStage
from streams.stages import InputRecord, Stage
from streams.topics import PROFILES
from streams.worker.checkpoint import CheckpointError, CheckpointLog
from tests.streams.memory_broker import Gate, MemoryBroker, MemoryProducer, MemoryReader, gate_of
from tests.streams.stream_data import interleaved, make_configuration, make_events

MODEL = "loan"
CONFIGURATION = make_configuration(MODEL)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_PEAK_BYTES = 64 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Damage:
    """Which record (as a share of all), which bit of it (as a share), or where it is cut."""

    record: float
    place: float
    bit: int
    cut: bool

    def of(self, value: bytes) -> bytes:
        at = int(self.place * len(value))
        return value[:at] if self.cut else value[:at] + bytes([value[at] ^ 1 << self.bit]) + value[at + 1 :]


SHARE = st.floats(0, 1, exclude_max=True)
DAMAGE = st.builds(Damage, SHARE, SHARE, st.integers(0, 7), st.booleans())


@dataclasses.dataclass
class Written:
    """Two checkpoints of a stage in memory, and the numbers that it had."""

    make: Callable[[], Stage]
    broker: MemoryBroker
    numbers: list[Any]

    async def load(self) -> Stage:
        stage = self.make()
        assert await CheckpointLog("", "r", "c", 0).load(MemoryReader(self.broker), stage)
        return stage

    def damaged(self, damage: Damage, *, told: bool) -> "Written":
        """The same with one record changed; without `told` no record has a checksum."""
        broker = MemoryBroker()
        broker.topics = {
            topic: [dataclasses.replace(entry, headers=entry.headers if told else ()) for entry in entries]
            for topic, entries in self.broker.topics.items()
        }
        entries = [entry for log in broker.topics.values() for entry in log if entry.value]
        chosen = entries[int(damage.record * len(entries))]
        chosen.value = damage.of(chosen.value or b"")
        return dataclasses.replace(self, broker=broker)


def numbers(stage: Stage) -> list[Any]:
    """What it says of itself."""
    assert isinstance(stage, ProfileStage | JudgeStage)
    return [stage.offset, *stage.samples()]


@pytest.fixture
def written(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Written:
    monkeypatch.setattr(streams.worker.checkpoint, "AIOKafkaProducer", MemoryProducer)
    monkeypatch.setattr(streams.worker.checkpoint, "_PIECE_BYTES", 300)
    monkeypatch.setattr(streams.worker.checkpoint, "_VISIBLE_TIMEOUT_S", 0.0)
    gate_of.set(Gate(10**9))
    broker = MemoryBroker()
    monkeypatch.setattr(MemoryProducer, "broker", broker, raising=False)
    records = interleaved(make_events(300, 3), MODEL, batch_rows=30)
    stage: Stage = ProfileStage(0, 1, CONFIGURATION)
    asyncio.run(_save(stage, records))
    make: Callable[[], Stage] = lambda: ProfileStage(0, 1, CONFIGURATION)  # noqa: E731
    if request.param == "judge":
        stage, make = JudgeStage(0, 1, CONFIGURATION), lambda: JudgeStage(0, 1, CONFIGURATION)
        for topic in [topic for topic in broker.topics if topic != PROFILES]:
            del broker.topics[topic]
        profiles = [
            InputRecord(PROFILES, 0, entry.offset, entry.key, entry.value, entry.headers)
            for entry in broker.committed(PROFILES)
        ]
        asyncio.run(_save(stage, profiles))
    return Written(make, broker, numbers(stage))


async def _save(stage: Stage, records: list[InputRecord]) -> None:
    log = CheckpointLog("", "r", "c", 0)
    await log.acquire()
    for part in (records[: len(records) // 2], records[len(records) // 2 :]):
        for record in part:
            stage.process(record)
        flush = stage.flush(final=True)
        assert flush is not None
        await log.save(stage, flush, stage.offset)
    await log.release()
    MemoryProducer.broker.marks_come()


BOTH = pytest.mark.parametrize("written", ["profile", "judge"], indirect=True)


@BOTH
def test_what_is_sound_is_restored(written: Written) -> None:
    assert numbers(asyncio.run(written.load())) == written.numbers


async def _loaded(written: Written) -> tuple[Stage | None, str]:
    """The stage, or why there is none."""
    try:
        return await written.load(), ""
    except CheckpointError as error:
        return None, str(error)


@BOTH
@QUICK
@given(damage=DAMAGE)
@example(damage=Damage(0.0, 0.0, 0, cut=True))
@example(damage=Damage(0.99, 0.5, 3, cut=False))
def test_damage_is_told_or_is_where_nobody_looks(written: Written, damage: Damage) -> None:
    stage, why = asyncio.run(_loaded(written.damaged(damage, told=True)))
    if stage is not None:
        assert numbers(stage) == written.numbers
    else:
        assert "r-0: the checkpoint at offset" in why
        assert "of c/0" in why
        assert "delete the checkpoint" in why


@BOTH
@QUICK
@given(damage=DAMAGE)
def test_records_without_a_checksum_end_no_worse_and_cost_no_memory(written: Written, damage: Damage) -> None:
    found = written.damaged(damage, told=False)
    tracemalloc.start()
    try:
        stage, why = asyncio.run(_loaded(found))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stage is not None or "of c/0" in why
    assert peak_bytes < _PEAK_BYTES
