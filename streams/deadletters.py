"""Dead letters: rows that could not be accepted, with the reason, where they stood, and what they were."""

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.group import Record
from streams.topics import DEADLETTERS

MAX_ORIGINAL_BYTES = 400_000
"""Base64 makes 4 bytes of 3: 400 kB of original stay below the 1 MB that a broker takes by default."""

UNKNOWN_MODEL = "_unknown"

_READ_TIMEOUT_MS = 1_000


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One refused row. `topic`, `partition`, `offset` and `row` (in an array, from 0) say where it stood;
    `field` is the path in the row, empty when the row as a whole was refused. `original` is base64 in JSON;
    `truncated` tells that it is only the beginning. `number` and `written_ms` are its own position in the
    dead-letter topic and the time of the broker, known when it is read back."""

    reason: str
    field: str = ""
    topic: str
    partition: int
    offset: int
    row: int | None = None
    model: str = UNKNOWN_MODEL
    stage: str = "gate"
    original: bytes = b""
    truncated: bool = False
    number: int = -1
    written_ms: int = 0

    def to_json(self) -> bytes:
        """The record's value; a long original is cut."""
        if len(self.original) <= MAX_ORIGINAL_BYTES:
            return msgspec.json.encode(self)
        cut = msgspec.structs.replace(self, original=self.original[:MAX_ORIGINAL_BYTES], truncated=True)
        return msgspec.json.encode(cut)


_decode = msgspec.json.Decoder(DeadLetter).decode


async def list_deadletters(broker: str, limit: int = 100, *, topic: str = DEADLETTERS) -> list[DeadLetter]:
    """The newest dead letters, newest first, at most `limit`; raises aiokafka's `KafkaError` with no broker.

    A record that is none is listed as one whose reason says so.
    """
    if limit < 1:
        raise ValueError(f"limit: {limit} is not a number of dead letters; at least 1 is needed")
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, isolation_level="read_committed")
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        first = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        # Every transaction leaves a mark between the letters, so the last `limit` offsets hold fewer letters.
        span = 2 * limit
        while True:
            start = max(first, end - span)
            found = await _read(consumer, partition, start, end)
            if len(found) >= limit or start == first:
                return found[-limit:][::-1]
            span *= 4
    finally:
        await consumer.stop()


async def _read(
    consumer: AIOKafkaConsumer, partition: TopicPartition, start: int, end: int
) -> list[DeadLetter]:
    consumer.seek(partition, start)
    found: list[DeadLetter] = []
    while await consumer.position(partition) < end:
        batches = await consumer.getmany(partition, timeout_ms=_READ_TIMEOUT_MS)
        for record in batches.get(partition, []):
            letter = _letter(record)
            found.append(msgspec.structs.replace(letter, number=record.offset, written_ms=record.timestamp))
    return found


def _letter(record: Record) -> DeadLetter:
    try:
        return _decode(record.value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return DeadLetter(
            reason="this record of the dead-letter topic is not a dead letter",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            stage="unknown",
            original=record.value or b"",
        )
