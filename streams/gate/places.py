"""Where rows stood in the input, so that a refused one can be found, shown and sent again."""

from collections.abc import Iterator, Mapping

import msgspec

from homeostat.tracing import TRACE_HEADER, trace_of
from streams.broker.group import Record
from streams.deadletters import HEADER_ONLY_ROW, HEADER_REPLAY_OF, DeadLetter
from streams.gate.rows import BadRow

STAGE = "gate"

HEADER_KIND = "kind"
"""On an ingest record: `prediction` or `label`, the kind of rows that do not say it."""
HEADER_FIRST_ROW = "first-row"
"""On an ingest record: what number its first row had in the request that it is a part of."""
HEADER_IDEMPOTENCY = "idempotency"
"""On an ingest record: a second record with the same value is a redelivery."""

_KEPT = ("content-type", HEADER_KIND, TRACE_HEADER)
_MAX_HEADER_BYTES = 4_096
_MAX_HEADERS_BYTES = 32_768
_MAX_REASON_CHARS = 1_000
"""What was found may be in a reason, whatever its size."""

Headers = Mapping[str, bytes]


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """`original` is what stood there: the row's own bytes, or the record's where these hold more; then `only_row`
    tells which. `headers` are those that the bytes are not understood without. `replay_of` is the dead letter that
    was sent again."""

    topic: str
    partition: int
    offset: int
    original: bytes
    row: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    only_row: int | None = None
    replay_of: int | None = None


def headers_of(record: Record) -> Headers:
    """By name in small letters."""
    return {name.lower(): value for name, value in record.headers}


def place_of(
    record: Record,
    headers: Headers,
    *,
    row: int | None = None,
    original: bytes | None = None,
    whole: bool = False,
) -> Place:
    """The place of a row. `whole`: the original is the record's, not the row's alone."""
    first = number_in(headers, HEADER_FIRST_ROW) or 0
    return Place(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        original=(record.value or b"") if original is None else original,
        row=None if row is None else row + first,
        headers=tuple(_kept(headers)),
        only_row=row if whole else None,
        replay_of=number_in(headers, HEADER_REPLAY_OF),
    )


def _kept(headers: Headers) -> Iterator[tuple[str, bytes]]:
    """The headers that the bytes are not understood without, as far as they have room in a record."""
    size = 0
    for name, value in headers.items():
        if (name in _KEPT or name.startswith(("ce_", "ce-"))) and len(value) <= _MAX_HEADER_BYTES:
            size += len(name) + len(value)
            if size <= _MAX_HEADERS_BYTES:
                yield name, value


def number_in(headers: Headers, name: str) -> int | None:
    """The number in a header, if there is one."""
    text = headers.get(name, b"")
    return int(text) if text.isdigit() and len(text) < 19 else None


def kind_in(headers: Headers) -> str | None:
    """The kind of the record's rows that do not say it."""
    return headers.get(HEADER_KIND, b"").decode(errors="replace") or None


def trace_in(headers: Headers) -> str | None:
    """The trace that the record's sender was in, if it says so: that of the rows that do not say it."""
    found = headers.get(TRACE_HEADER)
    return None if found is None else trace_of(found.decode(errors="replace"))


def wanted_row(headers: Headers) -> int | None:
    """The only row to take, where a dead letter of one of several rows was sent again."""
    return number_in(headers, HEADER_ONLY_ROW)


def short(text: str) -> str:
    """As much of a reason as anybody reads."""
    return text if len(text) <= _MAX_REASON_CHARS else text[:_MAX_REASON_CHARS] + "…"


def letter_of(place: Place, bad: BadRow) -> DeadLetter:
    """The dead letter of a refused row."""
    return DeadLetter(
        reason=short(bad.reason),
        field=short(bad.field),
        topic=place.topic,
        partition=place.partition,
        offset=place.offset,
        row=place.row,
        model=bad.model,
        stage=STAGE,
        original=place.original,
        headers=place.headers,
        only_row=place.only_row,
        replay_of=place.replay_of,
    )
