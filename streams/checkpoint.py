"""Checkpoints: the state of an input partition, the offset it contains and what follows from it, in one
transaction.

One transactional producer per role and partition. Starting it fences the former owner: what that one has not
committed is aborted, what it tries later is refused. Then the last checkpoint is read, and it is the newest.

A transaction holds, in this order: state deltas, outputs, and the checkpoint record, which names the ranges
of log that a restore must read. The offsets of the deltas are known before the record is built because their
sends are awaited. Readers read committed, so outputs and state are seen together or not at all. After a kill
at any moment the new owner starts from a state whose outputs are exactly those that were seen.
"""

import asyncio
from collections.abc import Iterable

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.structs import RecordMetadata

from streams.log import LogReader
from streams.stages import Flush, OffsetRange, OutputRecord, Stage

_MAX_REQUEST_BYTES = 4 * 1024 * 1024
_REQUEST_TIMEOUT_MS = 60_000
"""A broker that is away for less is waited for; after that the transaction is given up and the worker with
it."""
_TRANSACTION_TIMEOUT_MS = 60_000


class CheckpointError(RuntimeError):
    """A partition cannot go on here; a new owner must start from the last checkpoint."""


class PartitionFenced(CheckpointError):
    """Another worker has taken the partition over. Its former owner must stop and write nothing more."""


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The value of a checkpoint record. `offset` is the last input offset that the state contains; `needed`
    the log ranges, both ends included, that hold the rest of the state."""

    format: int
    offset: int
    state: bytes
    needed: dict[str, list[OffsetRange]]


_FORMAT = 1
_decode = msgspec.msgpack.Decoder(Checkpoint).decode


class CheckpointLog:
    """The checkpoints of one input partition, with the right to write them.

    `acquire` must have returned before `load` and `save`. Any error of `save` leaves the transaction undone
    or unknown: the caller must drop the stage, whose memory is then ahead of the log, and start again from
    `load`.
    """

    def __init__(self, broker: str, role: str, topic: str, partition: int) -> None:
        self._topic = topic
        self._partition = partition
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

    async def acquire(self) -> None:
        """Become the one owner; the former one is fenced from here on."""
        await self._producer.start()

    async def release(self) -> None:
        """Close the connection. An open transaction is aborted by the next owner."""
        await self._producer.stop()

    async def load(self, reader: LogReader, stage: Stage) -> bool:
        """Bring `stage` to the last checkpoint; False when there is none yet."""
        record = await reader.last(self._topic, self._partition)
        if record is None or record.value is None:
            return False
        try:
            found = _decode(record.value)
        except msgspec.DecodeError as error:
            raise CheckpointError(
                f"{self._name}: the checkpoint at offset {record.offset} is damaged: {error}"
            ) from error
        if found.format != _FORMAT:
            raise CheckpointError(
                f"{self._name}: the checkpoint at offset {record.offset} has format {found.format}; this "
                f"version of Homeostat reads format {_FORMAT}"
            )
        log = {
            topic: await reader.read_ranges(topic, self._partition, ranges)
            for topic, ranges in found.needed.items()
        }
        stage.restore(found.offset, found.state, log)
        return True

    async def save(self, stage: Stage, flush: Flush, offset: int) -> None:
        """Write `flush` and the stage's snapshot at `offset` in one transaction; returns when it is
        committed.

        Raises `PartitionFenced` when another worker owns the partition, `CheckpointError` when the broker
        refuses.
        """
        try:
            await self._producer.begin_transaction()
            deltas = {
                topic: [await self._send(topic, self._partition, item.key, item.value) for item in items]
                for topic, items in flush.deltas.items()
            }
            outputs = [await self._send_output(item) for item in flush.outputs]
            written = {
                topic: [record.offset for record in await _all(sent)] for topic, sent in deltas.items()
            }
            snapshot = stage.snapshot(written)
            value = msgspec.msgpack.encode(Checkpoint(_FORMAT, offset, snapshot.state, snapshot.needed))
            record = await self._send(self._topic, self._partition, str(self._partition).encode(), value)
            await _all([*outputs, record])
            await self._producer.commit_transaction()
        except ProducerFenced as error:
            raise PartitionFenced(
                f"Another worker has taken over {self._name}; this one stops and writes nothing more."
            ) from error
        except KafkaError as error:
            raise CheckpointError(
                f"The checkpoint of {self._name} could not be written: {error!r}"
            ) from error

    async def _send_output(self, item: OutputRecord) -> asyncio.Future[RecordMetadata]:
        return _watched(
            await self._producer.send(
                item.topic, item.value, key=item.key, partition=item.partition, headers=list(item.headers)
            )
        )

    async def _send(
        self, topic: str, partition: int, key: bytes, value: bytes
    ) -> asyncio.Future[RecordMetadata]:
        return _watched(await self._producer.send(topic, value, key=key, partition=partition))


def _watched(sent: asyncio.Future[RecordMetadata]) -> asyncio.Future[RecordMetadata]:
    """A send whose failure may stay unread: the first failure of a transaction tells about all of them."""
    sent.add_done_callback(lambda done: done.cancelled() or done.exception())
    return sent


async def _all(sent: Iterable[asyncio.Future[RecordMetadata]]) -> list[RecordMetadata]:
    return list(await asyncio.gather(*sent))
