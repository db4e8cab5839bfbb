"""The archive: every event once, as Parquet, by model and day.

Exactly once by naming: a file holds what an aligned block of input offsets says about one model and day.
While a block fills, its files are written again and again; its offsets are committed when it is complete. So
a restart reads the block again and writes the same files.

A write never takes away: rows of offsets that this writer has not read stay in the file. So a paused former
owner that wakes up does no harm, and a reader never sees fewer rows than before.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import asyncio
import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from homeostat.contract import ContractError, decode
from streams.archive_tables import Place, concat, file_path, tables_of
from streams.group import (
    COMMIT_TIMEOUT_S,
    KAFKA_TROUBLE,
    Batches,
    GroupConfig,
    Record,
    consume,
    run_until_signal,
)
from streams.topics import EVENTS

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveConfig(GroupConfig):
    """`root` is the folder; `block_offsets` must never change for an existing archive, it names the files."""

    group: str = "homeostat-archive"
    root: Path
    events: str = EVENTS
    block_offsets: int = 256
    flush_s: float = 1.0
    flush_bytes: int = 64 * 1024 * 1024


def run_archive(config: ArchiveConfig) -> None:
    """Run until SIGTERM or SIGINT."""
    run_until_signal(lambda stop: serve_archive(config, stop))


async def serve_archive(config: ArchiveConfig, stop: asyncio.Event) -> None:
    """Run until `stop` is set."""
    await consume(config, [config.events], lambda: _Archive(config), stop)


class ArchiveDamaged(RuntimeError):
    """A file of the archive cannot be read; the message names it."""


class _Archive:
    """All partitions that this process owns."""

    def __init__(self, config: ArchiveConfig) -> None:
        self._config = config
        self._lanes: dict[TopicPartition, Lane] = {}
        self._flushed_s = time.monotonic()
        self._pending_bytes = 0

    async def assigned(
        self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]
    ) -> dict[TopicPartition, int]:
        config = self._config
        self._lanes = {one: Lane(config.root, one.partition, config.block_offsets) for one in partitions}
        _log.info("The archive reads.", partitions=sorted(one.partition for one in partitions))
        return {}

    async def handle(self, consumer: AIOKafkaConsumer, batches: Batches) -> None:
        for partition, records in batches.items():
            for record in records:
                self._lanes[partition].add(record)
                self._pending_bytes += len(record.value or b"")
        due = time.monotonic() - self._flushed_s >= self._config.flush_s
        if due or self._pending_bytes >= self._config.flush_bytes:
            await self._flush(consumer)

    async def released(self, consumer: AIOKafkaConsumer | None) -> None:
        await self._flush(consumer)
        self._lanes = {}

    async def _flush(self, consumer: AIOKafkaConsumer | None) -> None:
        for lane in self._lanes.values():
            await asyncio.to_thread(lane.write)
        self._flushed_s, self._pending_bytes = time.monotonic(), 0
        moved = {partition: lane for partition, lane in self._lanes.items() if lane.safe != lane.committed}
        if consumer is None or not moved:
            return
        try:
            offsets = {partition: lane.safe for partition, lane in moved.items()}
            await asyncio.wait_for(consumer.commit(offsets), COMMIT_TIMEOUT_S)
        except KAFKA_TROUBLE as error:
            # Only lag shows it; what is read again is written to the same files.
            _log.info("Offsets of the archive could not be committed yet.", reason=repr(error))
            return
        for lane in moved.values():
            lane.committed = lane.safe


@dataclass(slots=True)
class _Block:
    """What is known of one block: `first` and `last` are the offsets read, both included."""

    start: int
    first: int
    last: int
    tables: dict[Place, list[pa.Table]] = field(default_factory=dict[Place, list[pa.Table]])
    unwritten: set[Place] = field(default_factory=set[Place])


class Lane:
    """One input partition: its block that fills, and those not written yet."""

    def __init__(self, root: Path, partition: int, block_offsets: int) -> None:
        self._root = root
        self._partition = partition
        self._block_offsets = block_offsets
        self._blocks: dict[int, _Block] = {}
        self.skipped = 0
        self.safe: int | None = None
        """The start of the oldest incomplete block, when all before it is written."""
        self.committed: int | None = None

    def add(self, record: Record) -> None:
        """Take one record; one that breaks the contract is left to the profile stage and its dead letters."""
        start = record.offset - record.offset % self._block_offsets
        # A block read from its beginning knows that offsets before its first record hold nothing.
        first = start if self._blocks or self.safe is not None else record.offset
        block = self._blocks.setdefault(start, _Block(start, first, record.offset))
        block.last = record.offset
        try:
            parts = list(tables_of(decode(record.value, record.headers), record.offset))
        except ContractError as error:
            self.skipped += 1
            _log.warning(
                "A record is not archived: it breaks the contract.",
                partition=self._partition,
                offset=record.offset,
                reason=str(error),
                skipped=self.skipped,
            )
            return
        for place, table in parts:
            block.tables.setdefault(place, []).append(table)
            block.unwritten.add(place)

    def write(self) -> None:
        """Write all files that have grown; forget the blocks that are complete."""
        for block in self._blocks.values():
            for place in sorted(block.unwritten, key=str):
                path = file_path(self._root, place, self._partition, block.start)
                with self._lock():
                    merge_into(path, concat(block.tables[place], place.kind), place, block.first, block.last)
            block.unwritten.clear()
        if self._blocks:
            newest = max(self._blocks)
            block = self._blocks[newest]
            full = block.last == newest + self._block_offsets - 1
            self.safe = newest + self._block_offsets if full else newest
            self._blocks = {} if full else {newest: block}

    @contextmanager
    def _lock(self) -> Generator[None]:
        """Between reading a file and replacing it, no other process does the same for this partition."""
        folder = self._root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"p{self._partition}").open("wb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def merge_into(path: Path, table: pa.Table, place: Place, first: int, last: int) -> None:
    """Make the file hold `table` for the offsets `first` to `last`, and for others what it held before."""
    if path.exists():
        try:
            with pq.ParquetFile(path) as file:
                known = file.read()
        except pa.ArrowException as error:
            raise ArchiveDamaged(f"{path} is no Parquet file ({error}); move it away to go on") from error
        offsets = known.column("offset").to_numpy()
        before, after = known.filter(pa.array(offsets < first)), known.filter(pa.array(offsets > last))
        table = concat([part for part in (before, table, after) if part.num_rows], place.kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as sink:
        pq.write_table(table, sink, compression="zstd")
        sink.flush()
        os.fsync(sink.fileno())
    temporary.replace(path)
