"""The archive: every event once, as Parquet, by model and day of event time.

Exactly once by names and a fence. For each partition the end of the next block is first committed to the group, then
its files are written, then its offsets are committed. A file's name and rows follow from the block and the input alone,
so a block that is written twice is the same files; and nobody whose place in the group is taken can begin a block.

Storage that is away costs no memory: reading pauses until it is back.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from detectors.structs import lay_out
from homeostat.contract import ContractError, LabelBatch, PredictionBatch, decode
from streams.archive.counters import ArchiveCounters
from streams.archive.erasure import Erasures, read_erasures
from streams.archive.files import list_files
from streams.archive.lane import Block, Lane, Mark
from streams.archive.layout import ArchiveFile
from streams.archive.tables import table_of, to_parquet
from streams.archive.upkeep import Retiring, Upkeep, UpkeepConfig
from streams.broker.group import (
    COMMIT_TIMEOUT_S,
    KAFKA_TROUBLE,
    Batches,
    GroupConfig,
    Record,
    close_within,
    consume,
    run_until_signal,
    wait_for_stop,
)
from streams.samples import Sample
from streams.store import StorageInvalid, Store, open_store
from streams.topics import EVENTS

_log = structlog.get_logger()

_BACKOFF_S = (1.0, 2.0, 5.0, 15.0, 30.0)
_CLOSE_TIMEOUT_S = 5.0
_STORAGE_TROUBLE = (OSError, StorageInvalid)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveConfig(GroupConfig):
    """`location`: a folder or a URI (see `open_store`). A block is cut when its oldest record has waited `flush_s`, or
    when all partitions hold `flush_bytes` in memory. `upkeep_every_s` None: no upkeep in this process; `retiring`: see
    `Upkeep`."""

    group: str = "homeostat-parquet"
    location: str
    events: str = EVENTS
    flush_s: float = 5.0
    flush_bytes: int = 64 * 1024 * 1024
    upkeep: UpkeepConfig = field(default_factory=UpkeepConfig)
    upkeep_every_s: float | None = 60.0
    retiring: Retiring = nullcontext
    counters: ArchiveCounters = field(default_factory=ArchiveCounters)


def run_archive(config: ArchiveConfig) -> None:
    """Run until SIGTERM or SIGINT. Raises `StorageInvalid` for a location that cannot be."""
    store = open_store(config.location)
    _warm_up()
    run_until_signal(lambda stop: serve_archive(config, stop, store))


def _warm_up() -> None:
    """What pyarrow imports at its first table takes seconds on a busy machine: not while the group waits for a sign
    of life."""
    batch = LabelBatch.of(model="m", producer="p", sequence=0, ids=["e"], times_us=[0], values=[0.0])
    to_parquet(table_of("labels", [(batch, 0)], 0), "labels")
    lay_out()


async def serve_archive(config: ArchiveConfig, stop: asyncio.Event, store: Store | None = None) -> None:
    """Run until `stop` is set."""
    store = store or open_store(config.location)
    tidying = asyncio.create_task(_keep_upkeep(config, store, stop))
    try:
        await consume(config, [config.events], lambda: _Archive(config, store), stop)
    finally:
        stop.set()
        await tidying


class _Archive:
    """All partitions that this process owns."""

    def __init__(self, config: ArchiveConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._counters = config.counters
        self._lanes: dict[TopicPartition, Lane] = {}
        self._erasures = Erasures()
        self._failures = 0
        self._again_s = 0.0

    async def assigned(
        self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]
    ) -> dict[TopicPartition, int]:
        starts = await _kept(self._config, partitions)
        unknown = [one for one in partitions if one not in starts]
        if unknown:
            starts |= await self._first_starts(consumer, unknown)
        first: dict[TopicPartition, int] = await consumer.beginning_offsets(list(partitions))
        self._lanes = {one: _lane(one, *starts[one], first[one]) for one in partitions}
        self._failures, self._counters.storage_away = 0, False
        _log.info("The archive reads.", partitions=sorted(one.partition for one in partitions))
        return {one: start for one, (start, _) in starts.items()}

    async def _first_starts(
        self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, tuple[int, Mark]]:
        """Where to start with partitions of which the group knows nothing."""
        files = await asyncio.to_thread(list_files, self._store)
        first: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return {one: first_start(files, one.partition, first[one], ends[one]) for one in partitions}

    async def handle(self, consumer: AIOKafkaConsumer, batches: Batches) -> None:
        now_s = time.monotonic()
        for partition, records in batches.items():
            for record in records:
                self._lanes[partition].add(record, self._read(record), now_s)
        since_s = [lane.since_s for lane in self._lanes.values() if lane.since_s is not None]
        self._tell(min(since_s, default=None), now_s)
        if not since_s or now_s < self._again_s:
            return
        config = self._config
        full = self._counters.pending_bytes >= config.flush_bytes
        if full or now_s - min(since_s) >= config.flush_s or any(lane.due for lane in self._lanes.values()):
            await self._flush(consumer)

    async def released(self, consumer: AIOKafkaConsumer | None) -> None:
        if consumer is not None:
            try:
                await self._flush(consumer)
            except KAFKA_TROUBLE as error:
                _log.info("The archive leaves its last records to the next owner.", reason=repr(error))
        self._lanes = {}
        self._tell(None, 0.0)

    def samples(self) -> Iterator[Sample]:
        """See `streams.samples.Measured`."""
        return self._counters.samples(self._config.flush_s)

    def _read(self, record: Record) -> PredictionBatch | LabelBatch | None:
        """The batch in a record; one that breaks the contract is left to the profile stage and its dead letters."""
        self._counters.records += 1
        try:
            return decode(record.value, record.headers)
        except ContractError as error:
            self._counters.refused_records += 1
            _log.warning(
                "A record is not archived: it breaks the contract.",
                partition=record.partition,
                offset=record.offset,
                reason=str(error),
                refused=self._counters.refused_records,
            )
            return None

    async def _flush(self, consumer: AIOKafkaConsumer) -> None:
        """Cut, write, commit. A failing storage leaves everything as it is, to be written later."""
        blocks = {at: lane.block for at, lane in self._lanes.items()}
        ready = {at: block for at, block in blocks.items() if block is not None}
        fresh = {at: block for at, block in ready.items() if block.cut is None}
        if fresh:
            marks = {
                at: (block.start, Mark(self._lanes[at].run, block.last + 1).to_text())
                for at, block in fresh.items()
            }
            # Without a known answer nothing may be written: somebody else may cut otherwise.
            await asyncio.wait_for(consumer.commit(marks), COMMIT_TIMEOUT_S)
            for block in fresh.values():
                block.cut = block.last + 1
        try:
            for at, block in ready.items():
                files = await asyncio.to_thread(self._write, self._lanes[at], block)
                self._counters.written_again += 0 if at in fresh else files
        except _STORAGE_TROUBLE as error:
            self._pause(consumer, error)
            return
        ends = {at: (block.cut, Mark(self._lanes[at].run).to_text()) for at, block in ready.items()}
        if ends:
            await asyncio.wait_for(consumer.commit(ends), COMMIT_TIMEOUT_S)
        for at, block in ready.items():
            self._lanes[at].done(block)
        self._resume(consumer)

    def _write(self, lane: Lane, block: Block) -> int:
        """Write the files of a block; again as long as orders to erase have come in between."""
        erasures = read_erasures(self._store, self._erasures)
        while True:
            files = rows = size = 0
            known: set[str] = set()
            for place, span, content, count in lane.files(block, erasures):
                if lane.truncated and not known:
                    known = {entry.path for entry in self._store.entries()}
                path = f"{place.folder}/{span.name}"
                if path not in known:
                    self._store.put(path, content)
                files, rows, size = files + 1, rows + count, size + content.size
            self._erasures, before = read_erasures(self._store, erasures), erasures
            if len(self._erasures.orders) == len(before.orders):
                break
            erasures = self._erasures
        self._counters.files += files
        self._counters.rows += rows
        self._counters.bytes += size
        self._counters.erased_rows += block.erased
        self._counters.unfit_rows += block.unfit
        return files

    def _pause(self, consumer: AIOKafkaConsumer, error: BaseException) -> None:
        self._failures += 1
        wait_s = _BACKOFF_S[min(self._failures, len(_BACKOFF_S)) - 1]
        self._again_s = time.monotonic() + wait_s
        self._counters.storage_failures += 1
        self._counters.storage_away = True
        consumer.pause(*self._lanes)
        _log.warning(
            "The archive's storage does not take files; reading waits for it.",
            archive=self._store.location,
            reason=str(error),
            retry_in_s=wait_s,
        )

    def _resume(self, consumer: AIOKafkaConsumer) -> None:
        if self._failures:
            consumer.resume(*self._lanes)
            self._failures, self._again_s, self._counters.storage_away = 0, 0.0, False
            _log.info("The archive's storage takes files again.", archive=self._store.location)

    def _tell(self, since_s: float | None, now_s: float) -> None:
        counters = self._counters
        counters.pending_rows = sum(lane.rows for lane in self._lanes.values())
        counters.pending_bytes = sum(lane.size for lane in self._lanes.values())
        counters.pending_since_s = 0.0 if since_s is None else time.time() - (now_s - since_s)


async def _kept(
    config: ArchiveConfig, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, tuple[int, Mark]]:
    """What the group keeps: offsets, and the blocks that were begun."""
    admin = AIOKafkaAdminClient(bootstrap_servers=config.broker, client_id=config.instance or config.group)
    try:
        await admin.start()
        kept = await admin.list_consumer_group_offsets(config.group, partitions=list(partitions))
    finally:
        await close_within(admin.close(), _CLOSE_TIMEOUT_S)
    return {
        at: (found.offset, Mark.from_text(found.metadata)) for at, found in kept.items() if found.offset >= 0
    }


def _lane(at: TopicPartition, start: int, mark: Mark, first: int) -> Lane:
    """`first` is the oldest offset that the broker still has."""
    if first > start:
        _log.warning(
            "Records were deleted from the topic before they were archived.",
            partition=at.partition,
            wanted=start,
            oldest=first,
        )
    if mark.cut is not None and first >= mark.cut:
        return Lane(at.partition, first, Mark(mark.run))
    if mark.cut is None:
        return Lane(at.partition, max(start, first), mark)
    return Lane(at.partition, start, mark, truncated=first > start)


def first_start(files: Iterable[ArchiveFile], partition: int, first: int, end: int) -> tuple[int, Mark]:
    """Where to start when the group knows nothing of a partition whose log goes from `first` to `end` (excluded).

    Either the archive has never read it; or the group was forgotten, as a broker does after a week without members:
    then the files tell how far it was; or the topic was made anew, and its log is shorter than the files say: then it
    is another run of the input.
    """
    spans = [file.span for file in files if file.span.partition == partition]
    if not spans:
        return first, Mark()
    run = max(span.run for span in spans)
    last = max(span.last for span in spans if span.run == run)
    if end <= last:
        _log.warning("The topic of events was made anew; the archive goes on with it.", partition=partition)
        return first, Mark(run + 1)
    _log.warning(
        "The group's offsets were forgotten; the archive goes on behind its last file.",
        partition=partition,
        offset=last + 1,
    )
    return max(first, last + 1), Mark(run)


async def _keep_upkeep(config: ArchiveConfig, store: Store, stop: asyncio.Event) -> None:
    """Upkeep in a thread, again and again."""
    if config.upkeep_every_s is None:
        return
    upkeep, ending = Upkeep(store, config.upkeep, retiring=config.retiring), threading.Event()
    while not await wait_for_stop(stop, config.upkeep_every_s):
        working = asyncio.create_task(asyncio.to_thread(upkeep.run, time.time(), stop=ending.is_set))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set():
            ending.set()
        try:
            report = await working
        except Exception as error:  # noqa: BLE001 - upkeep can wait, archiving cannot
            config.counters.upkeep_failures += 1
            _log.warning("The archive could not be tidied; trying again later.", reason=str(error))
            continue
        config.counters.tidied(report)
