"""The dead letters that a broker holds, the newest first."""

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.broker.group import Record
from streams.deadletters import DeadLetter, Wanted
from streams.topics import DEADLETTERS

_READ_TIMEOUT_MS = 1_000

_decode = msgspec.json.Decoder(DeadLetter).decode
_ALL = Wanted()


async def list_deadletters(
    broker: str, limit: int = 100, *, wanted: Wanted = _ALL, topic: str = DEADLETTERS
) -> list[DeadLetter]:
    """The newest dead letters that are wanted, newest first, at most `limit`; raises aiokafka's `KafkaError` with
    no broker.

    A record that is none is listed as one whose reason says so.
    """
    if limit < 1:
        raise ValueError(f"limit: {limit} is not a number of dead letters; at least 1 is needed")
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, isolation_level="read_committed")
    try:
        await consumer.start()
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        first = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        # Every transaction leaves a mark between the letters, so the last `limit` offsets hold fewer letters.
        span = 2 * limit
        while True:
            start = max(first, end - span)
            found = [one for one in await _read(consumer, partition, start, end) if wanted.fits(one)]
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
