"""Dead letters: rows that could not be accepted, with the reason, where they stood, and what they were."""

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from detectors.values import UNKNOWN_MODEL
from streams.broker.group import Record
from streams.topics import DEADLETTERS

MAX_ORIGINAL_BYTES = 400_000
"""Base64 makes 4 bytes of 3: 400 kB of original stay below the 1 MB that a broker takes by default."""

HEADER_REPLAY_OF = "replay-of"
"""On a record that is a dead letter sent again: the letter's number."""
HEADER_ONLY_ROW = "only-row"
"""On a record that is sent again for one of its rows: which."""

_READ_TIMEOUT_MS = 1_000


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One refused row. `topic`, `partition`, `offset` and `row` (in an array, from 0) say where it stood;
    `field` is the path in the row, empty when the row as a whole was refused. `original` is base64 in JSON;
    `truncated` tells that it is only the beginning. `headers` are those of the record that its bytes are not
    understood without; `only_row` is set where the original holds more rows than the refused one; `replay_of` is
    the number of the letter that was sent again and failed once more. `number` and `written_ms` are its own
    position in the dead-letter topic and the time of the broker, known when it is read back."""

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
    headers: tuple[tuple[str, bytes], ...] = ()
    only_row: int | None = None
    replay_of: int | None = None
    number: int = -1
    written_ms: int = 0

    def to_json(self) -> bytes:
        """The record's value; a long original is cut."""
        if len(self.original) <= MAX_ORIGINAL_BYTES:
            return msgspec.json.encode(self)
        cut = msgspec.structs.replace(self, original=self.original[:MAX_ORIGINAL_BYTES], truncated=True)
        return msgspec.json.encode(cut)


_decode = msgspec.json.Decoder(DeadLetter).decode


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters: all of `model`, with `reason` in reason or field (small and capital letters alike), written at or
    after `since_ms`, with one of `numbers`. What is None does not choose."""

    model: str | None = None
    reason: str | None = None
    since_ms: int | None = None
    numbers: frozenset[int] | None = None

    def fits(self, letter: DeadLetter) -> bool:
        """Whether the letter is one of them."""
        if self.reason is not None and self.reason.lower() not in f"{letter.field} {letter.reason}".lower():
            return False
        return (
            self.model in (None, letter.model)
            and (self.since_ms is None or letter.written_ms >= self.since_ms)
            and (self.numbers is None or letter.number in self.numbers)
        )


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
