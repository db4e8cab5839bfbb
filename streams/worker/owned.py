"""A partition that a worker owns: its stage, the right to write its checkpoints, and what has happened to it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from streams.broker.log import LogReader
from streams.control.configuration import Configuration
from streams.deadletters import DeadLetter
from streams.samples import Measured, Sample
from streams.stages import Filing, Flush, InputRecord, OutputRecord, Stage
from streams.telemetry_names import (
    BYTES,
    CHECKPOINT_AGE,
    CHECKPOINT_BYTES,
    CHECKPOINT_SECONDS,
    CHECKPOINT_SECONDS_TOTAL,
    CHECKPOINTS,
    LAG_RECORDS,
    LAG_SECONDS,
    MODEL_LAG_SECONDS,
    POISONED,
    RECORDS,
    RESTORE_SECONDS,
)
from streams.times import MICROSECONDS, now_us
from streams.topics import DEADLETTERS
from streams.worker.checkpoint import CheckpointError, CheckpointLog, Written
from streams.worker.role import Role

_MAX_MODELS = 1_000
"""Whoever sends can invent keys without end."""


@dataclass(slots=True)
class Meters:
    """What a worker has done for a partition since it took it over."""

    records: int = 0
    bytes: int = 0
    checkpoints: int = 0
    checkpoint_s_total: float = 0.0
    checkpoint_s: float = 0.0
    checkpoint_bytes: int = 0
    restore_s: float = 0.0
    poisoned: int = 0


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Owned:
    """`lock` is held while the stage's state is written or replaced. While `free` is not set a thread works on the
    stage, and nobody else may. `unsaved_bytes`: input since the last flush. `letters` go out with the next checkpoint.
    `last_record_us` is when a record last came, `dated_us` its own time. `waited_us`: how long the last record of
    each key, which is the model's name, had waited; 0 since nothing waited. `took_offset`: of the last record
    that was counted. `has_news`: somebody waits for what the next checkpoint brings. `beaten_s`, `beat_s`: when the
    last one ended (monotonic), and how long it took."""

    partition: int
    stage: Stage
    log: CheckpointLog
    first_offset: int
    last_record_us: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    free: asyncio.Event = field(default_factory=_set)
    meters: Meters = field(default_factory=Meters)
    waited_us: dict[bytes, int] = field(default_factory=dict[bytes, int])
    letters: list[DeadLetter] = field(default_factory=list[DeadLetter])
    last_probe_us: int = 0
    caught_up_us: int = 0
    dated_us: int = 0
    saved_offset: int = -1
    took_offset: int = -1
    unsaved_bytes: int = 0
    unsaved_since_us: int = 0
    sought_offset: int | None = None
    sought_us: int = 0
    reseeks: int = 0
    isolating: bool = False
    given_up: bool = False
    has_news: bool = False
    beaten_s: float = field(default_factory=time.monotonic)
    beat_s: float = 0.0

    @property
    def next_offset(self) -> int:
        """Where the input goes on behind what the stage contains."""
        return max(self.stage.offset + 1, self.first_offset)

    def took(self, record: InputRecord) -> None:
        """The stage contains one record more."""
        now, size = now_us(), len(record.value or b"")
        self.took_offset = record.offset
        self.last_record_us = now
        self.dated_us = record.timestamp_us
        self.reseeks = 0
        self.unsaved_bytes += size
        self.unsaved_since_us = self.unsaved_since_us or now
        self.meters.records += 1
        self.meters.bytes += size
        key, is_dated = record.key, record.timestamp_us > 0
        if key and is_dated and (key in self.waited_us or len(self.waited_us) < _MAX_MODELS):
            self.waited_us[key] = max(0, now - record.timestamp_us)

    async def save(self) -> Written | None:
        """Write a checkpoint of the stage as it is; None when nothing has changed. `lock` must be held.

        Raises `CheckpointError`: see `CheckpointLog.save`.
        """
        stage = self.stage
        if isinstance(stage, Filing):
            await self._file(stage.slow_work())
        offset, flush = stage.offset, stage.flush()
        if flush is None and not self.letters:
            return None
        flush = flush or Flush()
        flush.outputs.extend(_letter_record(letter) for letter in self.letters)
        self.letters = []
        self.unsaved_bytes, waiting_since_us, self.unsaved_since_us = 0, self.unsaved_since_us, 0
        started_s = time.monotonic()
        try:
            written = await self.log.save(stage, flush, offset)
        except BaseException:
            self.unsaved_since_us = waiting_since_us
            raise
        if isinstance(stage, Filing):
            await _in_thread(stage.committed)
        self.saved_offset = offset
        meters = self.meters
        meters.checkpoint_s = time.monotonic() - started_s
        meters.checkpoint_s_total += meters.checkpoint_s
        meters.checkpoint_bytes = written.size_bytes
        meters.checkpoints += 1
        return written

    async def _file(self, work: Callable[[], None] | None) -> None:
        if work is not None:
            self.free.clear()
            try:
                await _in_thread(work)
            finally:
                self.free.set()

    def samples(self, waiting: int | None) -> Iterator[Sample]:
        """See `Measured`; `waiting` is the number of records that the stage has not seen yet, if known."""
        label, meters, now = (str(self.partition),), self.meters, now_us()
        if waiting is not None:
            if waiting == 0:
                self.caught_up_us = now
                self.waited_us = dict.fromkeys(self.waited_us, 0)
            yield Sample(LAG_RECORDS, label, waiting)
            yield Sample(LAG_SECONDS, label, self._lag_s(waiting, now))
            for key, waited_us in self.waited_us.items():
                lag_s = waited_us / MICROSECONDS if waiting else 0.0
                yield Sample(MODEL_LAG_SECONDS, (*label, key.decode(errors="replace")), lag_s)
        unsaved_s = (now - self.unsaved_since_us) / MICROSECONDS if self.unsaved_since_us else 0.0
        yield from (
            Sample(RECORDS, label, meters.records),
            Sample(BYTES, label, meters.bytes),
            Sample(CHECKPOINTS, label, meters.checkpoints),
            Sample(CHECKPOINT_SECONDS_TOTAL, label, meters.checkpoint_s_total),
            Sample(CHECKPOINT_SECONDS, label, meters.checkpoint_s),
            Sample(CHECKPOINT_BYTES, label, meters.checkpoint_bytes),
            Sample(CHECKPOINT_AGE, label, max(0.0, unsaved_s)),
            Sample(RESTORE_SECONDS, label, meters.restore_s),
            Sample(POISONED, label, meters.poisoned),
        )
        if isinstance(self.stage, Measured) and not self.isolating:
            yield from self.stage.samples()

    def _lag_s(self, waiting: int, now: int) -> float:
        """What waits is younger than what was worked on last, and it came after the last moment at which nothing
        waited. Before anything was worked on only the time since the take-over is known."""
        if waiting == 0:
            return 0.0
        since_us = max(self.dated_us, self.caught_up_us) or self.last_record_us
        return max(0.0, (now - since_us) / MICROSECONDS)


async def take_over(
    broker: str, role: Role, partition: int, configuration: Configuration, reader: LogReader
) -> Owned:
    """Fence the former owner and go on where it was.

    Raises `CheckpointError` where the state cannot be read, or the input after it is gone.
    """
    started_s = time.monotonic()
    log = CheckpointLog(broker, role.name, role.checkpoints, partition)
    await log.acquire()
    stage = role.stage(partition, configuration)
    restored = await log.load(reader, stage)
    first, _ = await reader.bounds(role.input, partition)
    if restored and first > stage.offset + 1:
        raise CheckpointError(
            f"{role.input}/{partition}: retention has deleted the records {stage.offset + 1} to {first - 1} before "
            "they were read; raise the topic's retention, then delete the checkpoint to go on without them"
        )
    owned = Owned(partition, stage, log, first, now_us(), took_offset=stage.offset)
    owned.meters.restore_s = time.monotonic() - started_s
    return owned


async def _in_thread(work: Callable[[], None]) -> None:
    """Whoever is cancelled waits for the thread all the same: until then the stage is not free."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


def _letter_record(letter: DeadLetter) -> OutputRecord:
    return OutputRecord(DEADLETTERS, 0, letter.model.encode(), letter.to_json())
