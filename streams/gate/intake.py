"""Events that come over HTTP: looked through at once, so that the sender learns which rows are bad, and put on the
ingest topic as they are.

The gate then reads them as it reads everybody's: one place accepts, refuses, counts and writes dead letters, so the
accounts are exact, and what was acknowledged is as safe as the broker. Under an idempotency key a request becomes the
same records for the same partition again, and the gate takes each of them once.
"""

import asyncio
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import xxhash
from aiokafka import ConsumerRecord

from homeostat.contract import CONTENT_TYPE as ARROW_STREAM
from homeostat.tracing import TRACE_HEADER, trace_of
from streams.control.configuration import Configuration
from streams.gate.arrow_table import read_table, split_table
from streams.gate.cloudevents import BATCHED, STRUCTURED
from streams.gate.exchange import parse_json
from streams.gate.known import KnownModels
from streams.gate.mapping import IngestMap
from streams.gate.output import examine
from streams.gate.payloads import PayloadError
from streams.gate.places import HEADER_FIRST_ROW, HEADER_IDEMPOTENCY, HEADER_KIND, short
from streams.gate.reader import Reader
from streams.gate.rows import MAX_ROWS as RECORD_ROWS
from streams.gate.rows import UNREADABLE, TooManyRows, pieces
from streams.gate.waiting import Seen
from streams.topics import INGEST

MAX_ROWS = 50_000
_TOO_MANY = (
    f"There are more than {MAX_ROWS} rows in the request, which is the most that are allowed; send several."
)
_RECORD_BYTES = 800_000
"""Of one record: a broker takes 1 MiB with headers."""
_ARRAY_BYTES = 250_000
"""Of rows put together in one record: an array below the limit of a row is read in one go."""
_BUSY_BYTES = 65_536
"""Larger bodies are looked through in a thread, so that other requests are answered meanwhile."""
_JSON = ("", "application/json", "application/x-ndjson", "application/jsonl", "application/jsonlines")
_CLOUD_EVENTS = (STRUCTURED, BATCHED)

Why = Literal["unreadable", "unsupported", "too_large"]


class Publish(Protocol):
    """Puts a record on a topic and returns when the broker has it (see `streams.bus`)."""

    async def __call__(
        self, topic: str, *, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class RowError:
    """A refused row: its place in the request (None: the request is one event), the field, the reason."""

    row: int | None
    field: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a request: rows by outcome, or why it was not taken at all. `notes`: how accepted rows differ
    from the schema of their version."""

    accepted: int = 0
    errors: Sequence[RowError] = field(default_factory=tuple[RowError, ...])
    notes: Sequence[str] = ()
    refused: Why | None = None
    detail: str = ""


class _Refused(Exception):
    """Inside this file only: becomes a receipt."""

    def __init__(self, why: Why, detail: str) -> None:
        self.why: Why = why
        super().__init__(detail)


class Intake:
    """Takes bodies of requests. `ingest` is the gate's own mapping, and `models` what is registered, so that both judge
    alike."""

    def __init__(
        self, publish: Publish, ingest: IngestMap, topic: str = INGEST, models: Configuration | None = None
    ) -> None:
        self._publish = publish
        self._ingest = ingest
        self._topic = topic
        self._models = models or Configuration()

    async def take(
        self, body: bytes, headers: Mapping[str, str], *, kind: str, idempotency_key: str | None
    ) -> Receipt:
        """Returns when the broker has every row, good or bad. `headers` are the request's, names in small letters;
        `kind` (prediction or label) is that of rows that do not say it."""
        try:
            if len(body) > _BUSY_BYTES:
                parts, receipt = await asyncio.to_thread(self._examine, body, headers, kind)
            else:
                parts, receipt = self._examine(body, headers, kind)
        except _Refused as error:
            return Receipt(refused=error.why, detail=str(error))
        name = uuid.uuid4().hex
        if idempotency_key is not None:
            digest = xxhash.xxh3_128_hexdigest(body)
            name = xxhash.xxh3_128_hexdigest(f"{kind}\n{idempotency_key}\n{digest}".encode())
        about = _record_headers(headers, kind)
        sends = [
            self._publish(
                self._topic,
                key=name.encode(),
                value=value,
                headers=about
                | ({HEADER_FIRST_ROW: str(first).encode()} if first else {})
                | ({HEADER_IDEMPOTENCY: f"{name}-{number}".encode()} if idempotency_key is not None else {}),
            )
            for number, (first, value) in enumerate(parts)
        ]
        await asyncio.gather(*sends)
        return receipt

    def _examine(
        self, body: bytes, headers: Mapping[str, str], kind: str
    ) -> tuple[list[tuple[int, bytes]], Receipt]:
        """The records to write, each with the number of its first row, and what to answer."""
        parts = list(_parts(body, headers))
        about = tuple(_record_headers(headers, kind).items())
        now_ms = int(time.time() * 1_000)
        rows, told = 0, dict[str, None]()
        errors: list[RowError] = []
        for first, value in parts:
            named = (*about, (HEADER_FIRST_ROW, str(first).encode()))
            record: ConsumerRecord[bytes | None, bytes | None] = ConsumerRecord(
                self._topic, 0, 0, now_ms, 0, None, value, None, 0, len(value), named
            )
            reader = Reader(self._ingest, KnownModels(), Seen())
            reader.read([record])
            bad = examine(reader, self._models, told)
            errors += [RowError(place.row, row.field, short(row.reason)) for place, row in bad]
            rows += sum(len(table.rows) for table in reader.tables) + len(reader.bad) + len(reader.halves)
            if rows > MAX_ROWS:
                raise _Refused("too_large", _TOO_MANY)
        errors.sort(key=lambda error: -1 if error.row is None else error.row)
        return parts, Receipt(accepted=rows - len(errors), errors=errors, notes=list(told))


def _parts(body: bytes, headers: Mapping[str, str]) -> Iterator[tuple[int, bytes]]:
    media_type = _media_type(headers)
    if media_type == ARROW_STREAM:
        try:
            table = read_table(body)
        except PayloadError as error:
            what = f"The column {error.field}" if error.field else "The body"
            raise _Refused("unreadable", f"{what} {error.reason}.") from error
        if table.num_rows > MAX_ROWS:
            raise _Refused("too_large", _TOO_MANY)
        yield from split_table(table, _RECORD_BYTES)
        return
    if not (_is_event(headers) or media_type in (*_JSON, *_CLOUD_EVENTS)):
        known = ", ".join((*_JSON[1:], *_CLOUD_EVENTS, ARROW_STREAM))
        raise _Refused("unsupported", f"Content-Type is {media_type!r}; it must be one of {known}.")
    if _is_event(headers) or media_type == STRUCTURED:
        if len(body) > _RECORD_BYTES:
            raise _Refused("too_large", f"The event has {len(body)} bytes; {_RECORD_BYTES} are allowed.")
        yield 0, body
        return
    yield from _json_parts(body)


def _json_parts(body: bytes) -> Iterator[tuple[int, bytes]]:
    if not body.strip():
        raise _Refused("unreadable", "The body is empty; an event, an array or lines of events are needed.")
    try:
        numbered = pieces(body, MAX_ROWS)
    except UNREADABLE as error:
        raise _Refused("unreadable", f"The body is not JSON: {error}.") from error
    except TooManyRows as error:
        raise _Refused("too_large", _TOO_MANY) from error
    rows = [raw.strip() for _, raw in numbered]
    too_large = next((i for i, raw in enumerate(rows) if len(raw) > _RECORD_BYTES), None)
    if too_large is not None:
        size = len(rows[too_large])
        raise _Refused("too_large", f"Row {too_large} has {size} bytes; {_RECORD_BYTES} are allowed.")
    if numbered and numbered[0][0] is None:
        if not _is_json(rows[0]):
            raise _Refused("unreadable", "The body is not JSON.")
        yield 0, rows[0]
        return
    first, size = 0, 0
    for number, raw in enumerate(rows):
        if number > first and (size + len(raw) > _ARRAY_BYTES or number - first == RECORD_ROWS):
            yield first, b"[" + b",".join(rows[first:number]) + b"]"
            first, size = number, 0
        size += len(raw) + 1
    if rows:
        yield first, b"[" + b",".join(rows[first:]) + b"]"


def _record_headers(headers: Mapping[str, str], kind: str) -> dict[str, bytes]:
    found = {HEADER_KIND: kind.encode()}
    media_type = _media_type(headers)
    if media_type in (*_CLOUD_EVENTS, ARROW_STREAM) or (_is_event(headers) and media_type):
        found["content-type"] = media_type.encode()
    if trace_of(headers.get(TRACE_HEADER, "")) is not None:
        found[TRACE_HEADER] = headers[TRACE_HEADER].encode()
    for name, value in headers.items():
        if name.startswith("ce-"):
            found[f"ce_{name[3:]}"] = value.encode()
    return found


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").split(";")[0].strip().lower()


def _is_event(headers: Mapping[str, str]) -> bool:
    """Whether this is a CloudEvent in binary mode."""
    return "ce-type" in headers


def _is_json(value: bytes) -> bool:
    try:
        parse_json(value, "")
    except PayloadError:
        return False
    return True
