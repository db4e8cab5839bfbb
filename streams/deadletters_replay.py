"""Dead letters sent again, to the topic they came from: marked, counted, and never twice by mistake.

A letter and the note that it was sent are written in one transaction, whose id fences another replay at work: what was
sent is known before anything is sent. A row that fails again comes back as a new letter with a link to the old one,
which can be sent again in its turn.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerFenced

from homeostat.contract import (
    HEADER_PRODUCER,
    HEADER_SEQUENCE,
    ContractError,
    decode,
    encode_columns,
)
from streams.broker.log import LogReader
from streams.deadletters import HEADER_ONLY_ROW, HEADER_REPLAY_OF, DeadLetter, Wanted
from streams.deadletters_read import list_deadletters
from streams.stages import InputRecord
from streams.topics import DEADLETTERS, EVENTS, REPLAYS

_TRANSACTION = "homeostat-deadletters-replay"
_LETTERS_AT_ONCE = 200
_MOST_LETTERS = 50_000
"""They are in memory until they are sent; what is older waits for the next replay."""
_MAX_REQUEST_BYTES = 1_040_000
_GATE = "gate"

Headers = list[tuple[str, bytes]]


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each letter, by its number: sent (or to be sent, in a dry run), sent before, or why not."""

    sent: list[int] = []
    before: list[int] = []
    refused: dict[int, str] = {}


async def replay_deadletters(
    broker: str,
    wanted: Wanted,
    *,
    dry_run: bool = False,
    topic: str = DEADLETTERS,
    marks: str = REPLAYS,
    events: str = EVENTS,
) -> Replayed:
    """Send the letters that are wanted again, oldest first.

    Letters carry what is needed; of a batch that was cut the record is taken from the events topic, where it still is.
    What a later stage than the gate refused is sent as a batch of its own. Raises aiokafka's `KafkaError` with no
    broker, and `ReplayOvertaken` where another replay has begun meanwhile.
    """
    result = Replayed()
    producer = AIOKafkaProducer(
        bootstrap_servers=broker,
        transactional_id=f"{_TRANSACTION}-{topic}",
        max_request_size=_MAX_REQUEST_BYTES,
    )
    async with LogReader(broker, "homeostat-replay") as reader:
        if not dry_run:
            await producer.start()
        try:
            sent_before = await _marked(reader, marks)
            letters = await list_deadletters(broker, _MOST_LETTERS, wanted=wanted, topic=topic)
            ready: list[tuple[DeadLetter, bytes, Headers]] = []
            for letter in reversed(letters):
                if letter.number in sent_before:
                    result.before.append(letter.number)
                    continue
                try:
                    ready.append((letter, *await _content(reader, letter, events)))
                    result.sent.append(letter.number)
                except Unsendable as error:
                    result.refused[letter.number] = str(error)
            if not dry_run:
                for some in _portions(ready):
                    await _send(producer, marks, some)
        except ProducerFenced as error:
            raise ReplayOvertaken(
                "another replay has begun meanwhile; it goes on where this one ended"
            ) from error
        finally:
            await producer.stop()
    return result


class ReplayOvertaken(RuntimeError):
    """Two replays at the same time: the later one has the word."""


class Unsendable(ValueError):
    """Why a letter cannot be sent again."""


async def _content(reader: LogReader, letter: DeadLetter, events: str) -> tuple[bytes, Headers]:
    marked: Headers = [(HEADER_REPLAY_OF, str(letter.number).encode())]
    if letter.stage == _GATE:
        if letter.truncated:
            kept = "only the beginning of the original was kept"
            shared = "its bytes are kept by the first dead letters of the same record only"
            raise Unsendable(kept if letter.original else shared)
        if not letter.original:
            raise Unsendable("the original is empty")
        if letter.only_row is not None:
            marked.append((HEADER_ONLY_ROW, str(letter.only_row).encode()))
        return letter.original, [*letter.headers, *marked]
    if letter.topic != events:
        raise Unsendable(f"it was a record of {letter.topic}, which the system itself writes")
    if letter.headers and not letter.truncated:
        return letter.original, [*_of_its_own(letter, letter.headers), *marked]
    record = await _source(reader, letter)
    value, headers = _alone(letter, record)
    return value, [*headers, *marked]


async def _source(reader: LogReader, letter: DeadLetter) -> InputRecord:
    first, end = await reader.bounds(letter.topic, letter.partition)
    if first <= letter.offset < end:
        for record in await reader.read(letter.topic, letter.partition, letter.offset, letter.offset):
            return record
    raise Unsendable(f"{letter.topic} does not hold its record any more")


def _of_its_own(letter: DeadLetter, headers: Iterable[tuple[str, bytes]]) -> Headers:
    """Under a producer of its own, so that it is no redelivery."""
    own = {HEADER_PRODUCER: f"replay-{letter.number}".encode(), HEADER_SEQUENCE: b"0"}
    return [(name, own.get(name, value)) for name, value in headers]


def _alone(letter: DeadLetter, record: InputRecord) -> tuple[bytes, Headers]:
    """The refused row, or the batch."""
    headers = _of_its_own(letter, record.headers)
    if letter.row is None:
        return record.value or b"", headers
    try:
        batch = decode(record.value, record.headers)
    except ContractError as error:
        raise Unsendable(f"its batch cannot be read: {error}") from error
    return encode_columns(batch.columns.slice(letter.row, 1)), headers


async def _marked(reader: LogReader, marks: str) -> set[int]:
    first, end = await reader.bounds(marks, 0)
    if first == end:
        return set()
    return {int(record.key or b"-1") for record in await reader.read(marks, 0, first, end - 1)}


async def _send(
    producer: AIOKafkaProducer, marks: str, letters: Sequence[tuple[DeadLetter, bytes, Headers]]
) -> None:
    async with producer.transaction():
        for letter, value, headers in letters:
            partitions: set[int] = await producer.partitions_for(letter.topic)
            partition = letter.partition if letter.partition in partitions else None
            await producer.send(letter.topic, value, partition=partition, headers=headers)
            note = msgspec.json.encode({"sent_ms": int(time.time() * 1_000), "topic": letter.topic})
            await producer.send(marks, note, key=str(letter.number).encode(), partition=0)


def _portions(
    letters: Sequence[tuple[DeadLetter, bytes, Headers]],
) -> Iterator[list[tuple[DeadLetter, bytes, Headers]]]:
    rest = iter(letters)
    while some := list(islice(rest, _LETTERS_AT_ONCE)):
        yield some
