"""Checkpoints: the state of an input partition, the offset it contains and what follows from it, in one
transaction.

One transactional producer per role and partition. Starting it fences the former owner: what that one has not
committed is aborted, what it tries later is refused. Then the last checkpoint is read, and it is the newest.

A transaction holds, in this order: state deltas, outputs, and the checkpoint record, which names the ranges
of log that a restore must read. The offsets of the deltas are known before the record is built because their
sends are awaited. A state that does not fit one record goes in pieces before the record, in the same transaction.
Readers read committed, so outputs and state are seen together or not at all. After a kill at any moment the new owner
starts from a state whose outputs are exactly those that were seen.

Every record carries the CRC-32 of its value: what a disk, a tool or a mistake has changed is told, and never believed.
"""

import asyncio
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.structs import RecordMetadata

from streams.broker.group import close_within
from streams.broker.log import LogReader
from streams.stages import Flush, InputRecord, OffsetRange, OutputRecord, Snapshot, Stage
from streams.topics import PROFILES

_log = structlog.get_logger()

_MAX_REQUEST_BYTES = 4 * 1024 * 1024
_PIECE_BYTES = 512 * 1024
"""Half of what a broker takes as one record by default. The keys of the pieces are numbered, so a compacted topic keeps
all pieces of the last checkpoint."""
_REQUEST_TIMEOUT_MS = 60_000
"""A broker that is away for less is waited for; after that the transaction is given up and the worker with
it."""
_TRANSACTION_TIMEOUT_MS = 60_000
_ACQUIRE_TIMEOUT_S = 60.0
_CLOSE_TIMEOUT_S = 2.0
_VISIBLE_TIMEOUT_S = 30.0
_VISIBLE_RECHECK_S = 0.01


class CheckpointError(RuntimeError):
    """A partition cannot go on here; a new owner must start from the last checkpoint."""


class PartitionFenced(CheckpointError):
    """Another worker has taken the partition over. Its former owner must stop and write nothing more."""


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The value of a checkpoint record. `offset` is the last input offset that the state contains; `needed`
    the log ranges, both ends included, that hold the rest of the state. `state` begins with `pieces` other records of
    the same topic, which stand at the offsets `at`, both ends included."""

    format: int
    offset: int
    state: bytes
    needed: dict[str, list[OffsetRange]]
    pieces: int = 0
    at: OffsetRange = (0, 0)


HEADER_CRC = "crc32"

_WHOLE, _IN_PIECES = 1, 2
_ADVICE = (
    "Restore the topic from a copy. Without one delete the checkpoint's records: the worker then begins again at the "
    "start of its input"
)
_decode = msgspec.msgpack.Decoder(Checkpoint).decode


@dataclass(frozen=True, slots=True)
class Saved:
    """A state as a checkpoint holds it: what `Stage.restore` takes. `place`: where the checkpoint stands, in words."""

    offset: int
    state: bytes
    log: Mapping[str, Sequence[InputRecord]]
    place: str

    def into(self, stage: Stage) -> None:
        """Bring a new stage to this state; raises `CheckpointError` where the stage does not understand it."""
        try:
            stage.restore(self.offset, self.state, self.log)
        except Exception as error:
            # Whatever a damaged state makes of a stage.
            why = f"{type(error).__name__}: {error}"
            raise CheckpointError(f"{self.place} cannot be restored ({why}). {_ADVICE}") from error


@dataclass(frozen=True, slots=True)
class Written:
    """What a committed checkpoint was made of. `needed_from`: for each state topic the first offset that any restore
    can still ask for; what is before it may be deleted."""

    size_bytes: int
    needed_from: Mapping[str, int]


class CheckpointLog:
    """The checkpoints of one input partition, with the right to write them.

    `acquire` must have returned before `load` and `save`. Any error of `save` leaves the transaction undone
    or unknown: the caller must drop the stage, whose memory is then ahead of the log, and start again from
    `load`.
    """

    def __init__(self, broker: str, role: str, topic: str, partition: int) -> None:
        self._topic = topic
        self._partition = partition
        self._key = str(partition).encode()
        self._name = f"homeostat-{role}-{partition}"
        self._producer = AIOKafkaProducer(
            bootstrap_servers=broker,
            client_id=self._name,
            transactional_id=self._name,
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
            max_request_size=_MAX_REQUEST_BYTES,
            max_batch_size=256 * 1024,
        )
        self._saving: asyncio.Timeout | None = None

    async def acquire(self) -> None:
        """Become the one owner; the former one is fenced from here on.

        Raises `CheckpointError` where the broker does not grant it within a minute, and aiokafka's `KafkaError`.
        """
        try:
            # The client looks for the coordinator of transactions without end.
            async with asyncio.timeout(_ACQUIRE_TIMEOUT_S):
                await self._producer.start()
        except TimeoutError as error:
            await close_within(self._producer.stop(), _CLOSE_TIMEOUT_S)
            raise CheckpointError(
                f"{self._name}: Kafka has not granted the writing of checkpoints within {_ACQUIRE_TIMEOUT_S:g} s. It "
                "answers, or did: look whether its coordinator of transactions works (the topic __transaction_state "
                "needs a leader for every partition)"
            ) from error
        except BaseException:  # nobody releases what was not acquired: its connections would stay open
            await close_within(self._producer.stop(), _CLOSE_TIMEOUT_S)
            raise

    async def release(self) -> None:
        """Close the connection. An open transaction is aborted by the next owner, and whoever still waits for its end
        is told by a `CheckpointError`: a producer that has stopped would let it wait for ever."""
        try:
            await self._producer.stop()
        finally:
            if self._saving is not None and not self._saving.expired():
                self._saving.reschedule(asyncio.get_running_loop().time())

    async def load(self, reader: LogReader, stage: Stage) -> bool:
        """Bring `stage` to the last checkpoint; False when there is none yet."""
        saved = await self.read(reader)
        if saved is None:
            return False
        await asyncio.to_thread(saved.into, stage)
        return True

    async def read(self, reader: LogReader, at_least: int = -1) -> Saved | None:
        """The last checkpoint with everything that it needs; None when there is none yet.

        A new owner finds all that was committed. Who reads back what it has just written itself says so by the input
        offset `at_least`: a commit is confirmed some milliseconds before readers see it. Raises `CheckpointError` for a
        checkpoint that cannot be read or does not come.
        """
        deadline_s = time.monotonic() + _VISIBLE_TIMEOUT_S
        record, found = await self._last(reader)
        while at_least >= 0 and (found is None or found.offset < at_least):
            if time.monotonic() > deadline_s:
                raise CheckpointError(
                    f"{self._name}: the checkpoint of offset {at_least} was committed and cannot be seen after "
                    f"{_VISIBLE_TIMEOUT_S:g} s"
                )
            await asyncio.sleep(_VISIBLE_RECHECK_S)
            record, found = await self._last(reader)
        if record is None or found is None:
            return None
        place = f"{self._name}: the checkpoint at offset {record.offset} of {self._topic}/{self._partition}"
        log: dict[str, list[InputRecord]] = {}
        for topic, ranges in found.needed.items():
            if ranges:
                await self._check_there(reader, place, topic, ranges)
            log[topic] = await reader.read_ranges(topic, self._partition, ranges)
            _check(place, log[topic])
        return Saved(found.offset, await self._whole_state(reader, place, found), log, place)

    async def _check_there(
        self, reader: LogReader, place: str, topic: str, ranges: Sequence[OffsetRange]
    ) -> None:
        """Raises `CheckpointError` where the log begins after what is needed, or ends before it: somebody has deleted
        records. Panes on the way to the judge go with the topic's retention, and the rest has to go on without them."""
        first, last = min(one for one, _ in ranges), max(one for _, one in ranges)
        start, end = await reader.bounds(topic, self._partition)
        deadline_s = time.monotonic() + _VISIBLE_TIMEOUT_S
        while end <= last and time.monotonic() < deadline_s:
            # The marks of a transaction come to one partition after the other.
            await asyncio.sleep(_VISIBLE_RECHECK_S)
            start, end = await reader.bounds(topic, self._partition)
        if start <= first and last < end:
            return
        told = f"the offsets {start} to {end - 1}" if start < end else "nothing"
        found = (
            f"{place} needs the records {first} to {last} of {topic}/{self._partition}, which holds {told}"
        )
        if topic != PROFILES or end <= last:
            raise CheckpointError(
                f"{found}: retention, or somebody, has deleted them (retention.ms of a state topic must be -1). "
                f"{_ADVICE}"
            )
        _log.error(
            "Panes that were not measured yet are lost: the topic's retention is shorter than they waited. Windows "
            "that hold them will have fewer rows. Raise retention.ms of the topic.",
            topic=topic,
            what=found,
        )

    async def _last(self, reader: LogReader) -> tuple[InputRecord | None, Checkpoint | None]:
        record = await reader.last(self._topic, self._partition)
        if record is None or record.value is None:
            return None, None
        place = f"{self._name}: the checkpoint at offset {record.offset} of {self._topic}/{self._partition}"
        _check(place, [record])
        try:
            found = _decode(record.value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise CheckpointError(f"{place} is damaged: {error}. {_ADVICE}") from error
        if found.format not in (_WHOLE, _IN_PIECES):
            raise CheckpointError(
                f"{place} has format {found.format}; this version of Homeostat reads the formats {_WHOLE} and "
                f"{_IN_PIECES}"
            )
        return record, found

    async def _whole_state(self, reader: LogReader, place: str, found: Checkpoint) -> bytes:
        if not found.pieces:
            return found.state
        records = await reader.read(self._topic, self._partition, *found.at)
        pieces = [record for record in records if record.key != self._key]
        if len(pieces) != found.pieces:
            raise CheckpointError(
                f"{place} is damaged: it has {len(pieces)} of {found.pieces} pieces at the offsets "
                f"{found.at[0]} to {found.at[1]}. {_ADVICE}"
            )
        _check(place, pieces)
        return b"".join([*(record.value or b"" for record in pieces), found.state])

    async def save(self, stage: Stage, flush: Flush, offset: int) -> Written:
        """Write `flush` and the stage's snapshot at `offset` in one transaction; returns when it is
        committed.

        Raises `PartitionFenced` when another worker owns the partition, `CheckpointError` when the broker
        refuses, does not answer for as long as it keeps a transaction, or the partition is released meanwhile.
        """
        try:
            # The client waits without end for a broker that is away, and for a producer that was stopped.
            async with asyncio.timeout(_TRANSACTION_TIMEOUT_MS / 1_000) as self._saving:
                return await self._transaction(stage, flush, offset)
        except ProducerFenced as error:
            raise PartitionFenced(
                f"Another worker has taken over {self._name}; this one stops and writes nothing more."
            ) from error
        except TimeoutError as error:
            raise CheckpointError(
                f"The checkpoint of {self._name} was given up: the broker has not confirmed it, and it may exist or not"
            ) from error
        except KafkaError as error:
            raise CheckpointError(
                f"The checkpoint of {self._name} could not be written: {error!r}"
            ) from error
        finally:
            self._saving = None

    async def _transaction(self, stage: Stage, flush: Flush, offset: int) -> Written:
        await self._producer.begin_transaction()
        deltas = {
            topic: [await self._send(topic, item.key, item.value) for item in items]
            for topic, items in flush.deltas.items()
        }
        outputs = [await self._send_output(item) for item in flush.outputs]
        written = {topic: [record.offset for record in await _all(sent)] for topic, sent in deltas.items()}
        snapshot = stage.snapshot(written)
        value = msgspec.msgpack.encode(await self._in_pieces(offset, snapshot))
        record = await self._send(self._topic, self._key, value)
        await _all([*outputs, record])
        await self._producer.commit_transaction()
        size = sum(len(item.value) for items in flush.deltas.values() for item in items)
        return Written(size + len(snapshot.state), _needed_from(snapshot, written))

    async def _in_pieces(self, offset: int, snapshot: Snapshot) -> Checkpoint:
        """The checkpoint record; what is too large for it is sent before it."""
        state = snapshot.state
        if len(state) <= _PIECE_BYTES:
            return Checkpoint(_WHOLE, offset, state, snapshot.needed)
        starts = range(0, len(state) - _PIECE_BYTES, _PIECE_BYTES)
        sent = [
            await self._send(self._topic, b"%s/%d" % (self._key, number), state[at : at + _PIECE_BYTES])
            for number, at in enumerate(starts)
        ]
        places = [record.offset for record in await _all(sent)]
        rest = state[len(places) * _PIECE_BYTES :]
        return Checkpoint(_IN_PIECES, offset, rest, snapshot.needed, len(places), (min(places), max(places)))

    async def _send_output(self, item: OutputRecord) -> asyncio.Future[RecordMetadata]:
        return _watched(
            await self._producer.send(
                item.topic,
                item.value,
                key=item.key,
                partition=item.partition,
                headers=[*item.headers, _crc(item.value)],
            )
        )

    async def _send(self, topic: str, key: bytes, value: bytes) -> asyncio.Future[RecordMetadata]:
        return _watched(
            await self._producer.send(topic, value, key=key, partition=self._partition, headers=[_crc(value)])
        )


def _crc(value: bytes) -> tuple[str, bytes]:
    return HEADER_CRC, zlib.crc32(value).to_bytes(4, "big")


def _check(place: str, records: Iterable[InputRecord]) -> None:
    """Raises `CheckpointError` for a record whose value is not what was written."""
    for record in records:
        wanted = dict(record.headers).get(HEADER_CRC)
        if wanted is not None and wanted != _crc(record.value or b"")[1]:
            raise CheckpointError(
                f"{place} needs the record at offset {record.offset} of {record.topic}/{record.partition}, whose "
                f"content is damaged: its checksum is not {wanted.hex()}. {_ADVICE}"
            )


def _watched(sent: asyncio.Future[RecordMetadata]) -> asyncio.Future[RecordMetadata]:
    """A send whose failure may stay unread: the first failure of a transaction tells about all of them."""
    sent.add_done_callback(lambda done: done.cancelled() or done.exception())
    return sent


async def _all(sent: Iterable[asyncio.Future[RecordMetadata]]) -> list[RecordMetadata]:
    return list(await asyncio.gather(*sent))


def _needed_from(snapshot: Snapshot, written: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Where each log begins to be needed: behind everything written when nothing of it is."""
    ends = {topic: max(offsets) + 1 for topic, offsets in written.items() if offsets}
    starts = {topic: min(first for first, _ in ranges) for topic, ranges in snapshot.needed.items() if ranges}
    return ends | starts
