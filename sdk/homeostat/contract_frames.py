"""The frame of a record: what an Arrow IPC stream says about itself, read before pyarrow may believe it.

Arrow's format lets a few bytes ask for much memory: a compressed body inflates without limit, and lengths or
offsets may name the same bytes many times over. So the messages are walked first, in place and without
allocating by what they say. A record passes when it is one schema, at most one dictionary for each column that
has one, one batch, and nothing else; when nothing is compressed; and when everything it names, counted each
time it is named, adds up to no more bytes than it has.

Source: the Arrow columnar format (IPC streaming format, Message.fbs, Schema.fbs) and FlatBuffers' internals.
"""

import struct
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from homeostat.errors import ContractError

MAX_VALUE_BYTES = 64 * 2**20
MAX_METADATA_BYTES = 2**20
MAX_COLUMNS = 4_096
MAX_BATCH_ROWS = 100_000

_CONTINUATION = 0xFFFFFFFF
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_CACHED_META_BYTES = 16_384
_MAX_NOTES = 64
"""Entries of custom metadata: of a schema, and of a field."""

_U16, _I16, _U32, _I32, _I64 = (struct.Struct("<" + code) for code in "HhIiq")
_PREFIX = struct.Struct("<Ii")
_EXPECTED = "an Arrow IPC stream of one record batch"


@dataclass(frozen=True, slots=True, eq=False)
class Meta:
    """What the metadata of a message says: the kind of the message, where in the metadata its header is, how many bytes
    its body has. Of a batch also how many rows, the nulls of each column, and the bytes of its body that belong to
    it, as pairs of beginning and length. Compared by identity: it keys caches."""

    kind: int
    header: int
    body_bytes: int
    rows: int = 0
    nulls: tuple[int, ...] = ()
    spans: tuple[int, ...] = ()
    named_bytes: int = 0
    """All spans together; -1 where one is none."""


class Frame(NamedTuple):
    """Where the parts of a stream are: `schema` its first message, `batch` where that of the batch begins,
    `stop` where it ends, `meta` what it says, `body` where its body begins."""

    schema: bytes
    dictionaries: int
    batch: int
    stop: int
    meta: Meta
    body: int


class _Message(NamedTuple):
    meta: bytes
    known: Meta
    body: int
    stop: int


class _Refused(Exception):
    """Metadata that is refused, whatever the record around it."""


def frame_of(value: bytes) -> Frame:
    """The messages of a stream; raises `ContractError` when they are not those of one plain record batch."""
    return _frame(value, 1)


def check_stream(value: bytes, *, max_batches: int) -> None:
    """The same bounds for a stream that is no record of the contract: up to `max_batches` batches, whose
    dictionaries may be replaced on the way. Raises `ContractError`.
    """
    check_schema(_frame(value, max_batches).schema)


def check_schema(message: bytes) -> None:
    """Refuse a first message that is no schema, or one that would be large once it is read.

    The fields, their names and the metadata may add up to no more bytes than the message has.
    Raises `ContractError`.
    """
    try:
        found = _message(message, 0)
        if found.known.kind != _SCHEMA or found.stop != len(message):
            raise _wrong(message, "it does not begin with a schema")
        _check_schema(found.meta)
    except (struct.error, IndexError, OverflowError) as error:
        raise ContractError("columns", f"a damaged schema ({error})", _EXPECTED) from error


def _frame(value: bytes, max_batches: int) -> Frame:
    if len(value) > MAX_VALUE_BYTES:
        raise ContractError("value", f"{len(value)} bytes", f"at most {MAX_VALUE_BYTES} bytes")
    try:
        return _walk(value, max_batches)
    except (struct.error, IndexError, OverflowError) as error:
        raise _wrong(value, f"damaged: {error}") from error


def _walk(value: bytes, max_batches: int) -> Frame:
    # What kind of message the first is, `check_schema` looks at: once for each schema, not for each record.
    mark, meta_bytes = _PREFIX.unpack_from(value, 0)
    start = 8 + meta_bytes
    if mark != _CONTINUATION or meta_bytes <= 0 or start > len(value):
        raise _wrong(value, "it does not begin with a schema")
    if meta_bytes > MAX_METADATA_BYTES:
        raise _wrong(value, f"{meta_bytes} bytes of metadata; at most {MAX_METADATA_BYTES} are read")
    at, dictionaries, batches, batch, found = start, 0, 0, 0, None
    while at < len(value) and not _is_end(value, at):
        message = _message(value, at)
        if message.known.kind == _DICTIONARY:
            _check_dictionary(value, message)
            dictionaries += 1
            if (batches and max_batches == 1) or dictionaries > MAX_COLUMNS:
                raise _wrong(value, "a dictionary that replaces another")
        elif message.known.kind == _BATCH:
            _check_body(value, message.known, message.known.body_bytes)
            batch, found = at, message
            batches += 1
            if batches > max_batches:
                break
        else:
            raise _wrong(value, f"a message of kind {message.known.kind}")
        at = message.stop
    if found is None or batches > max_batches:
        expected = "one record batch" if max_batches == 1 else f"1 to {max_batches} record batches"
        raise ContractError("value", f"{batches} record batches", expected)
    if at < len(value) and at + 8 != len(value):
        raise _wrong(value, "bytes after the end of the stream")
    return Frame(value[:start], dictionaries, batch, found.stop, found.known, found.body)


def _is_end(value: bytes, at: int) -> bool:
    return _PREFIX.unpack_from(value, at) == (_CONTINUATION, 0)


def _message(value: bytes, at: int) -> _Message:
    mark, meta_bytes = _PREFIX.unpack_from(value, at)
    start = at + 8
    if mark != _CONTINUATION or not 0 < meta_bytes <= len(value) - start:
        raise _wrong(value, f"no message at byte {at}")
    if meta_bytes > MAX_METADATA_BYTES:
        raise _wrong(value, f"{meta_bytes} bytes of metadata; at most {MAX_METADATA_BYTES} are read")
    meta, body = value[start : start + meta_bytes], start + meta_bytes
    try:
        known = (_known_meta if meta_bytes <= _CACHED_META_BYTES else _read_meta)(meta)
    except _Refused as error:
        raise _wrong(value, str(error)) from error
    if not known.kind or not known.header or not 0 <= known.body_bytes <= len(value) - body:
        raise _wrong(value, f"a message at byte {at} that is cut off")
    return _Message(meta, known, body, body + known.body_bytes)


def _read_meta(meta: bytes) -> Meta:
    """What metadata says, as far as that does not depend on the record around it."""
    table: int = _U32.unpack_from(meta, 0)[0]
    kind, header, body = _slot(meta, table, 1), _slot(meta, table, 2), 0
    if place := _slot(meta, table, 3):
        body = _I64.unpack_from(meta, place)[0]
    if not kind or not header:
        return Meta(0, 0, body)
    if _slot(meta, table, 4):
        raise _Refused("metadata on a message")
    found = Meta(meta[kind], _follow(meta, header), body)
    return _read_batch(meta, found.header, found) if found.kind == _BATCH else found


_known_meta = lru_cache(maxsize=512)(_read_meta)
"""Batches of as many rows, with ids as long, have the same metadata."""


def _read_batch(meta: bytes, table: int, found: Meta) -> Meta:
    """`table`: a RecordBatch."""
    if _slot(meta, table, 3):
        raise _Refused("compressed; what it would inflate to has no bound")
    place = _slot(meta, table, 0)
    rows: int = _I64.unpack_from(meta, place)[0] if place else 0
    nodes, spans = _pairs(meta, table, 1), _pairs(meta, table, 2)
    named_bytes = -1 if min(spans, default=0) < 0 else sum(spans[1::2])
    return replace(found, rows=rows, nulls=nodes[1::2], spans=spans, named_bytes=named_bytes)


def _pairs(meta: bytes, table: int, index: int) -> tuple[int, ...]:
    """A vector of structures of two numbers of 64 bits, one behind the other."""
    place = _slot(meta, table, index)
    if not place:
        return ()
    vector = _follow(meta, place)
    count: int = _U32.unpack_from(meta, vector)[0]
    return struct.unpack_from(f"<{2 * count}q", meta, vector + 4)


def _check_dictionary(value: bytes, message: _Message) -> None:
    meta, header = message.meta, message.known.header
    data, delta = _slot(meta, header, 1), _slot(meta, header, 2)
    if not data or (delta and meta[delta]):
        raise _wrong(value, "a dictionary in pieces")
    try:
        found = _read_batch(meta, _follow(meta, data), message.known)
    except _Refused as error:
        raise _wrong(value, str(error)) from error
    _check_body(value, found, message.known.body_bytes, rows=None)


def _check_body(value: bytes, batch: Meta, body_bytes: int, *, rows: int | None = MAX_BATCH_ROWS) -> None:
    """The buffers of a batch may not name more bytes than its body has."""
    if rows is not None and not 1 <= batch.rows <= rows:
        raise ContractError("value", f"{batch.rows} rows", f"1 to {rows} rows")
    if not 0 <= batch.named_bytes <= body_bytes:
        raise _wrong(value, "columns that share their bytes")


def _check_schema(meta: bytes) -> None:
    schema = _follow(meta, _slot(meta, _U32.unpack_from(meta, 0)[0], 2))
    budget = len(meta)
    endianness = _slot(meta, schema, 0)
    if endianness and _I16.unpack_from(meta, endianness)[0] != 0:
        raise ContractError("columns", "big-endian numbers", "little-endian ones")
    fields = _tables(meta, schema, 1)
    if len(fields) > MAX_COLUMNS:
        raise ContractError("columns", f"{len(fields)} columns", f"at most {MAX_COLUMNS}")
    budget -= _notes_bytes(meta, schema, 2)
    for field in fields:
        name = _text(meta, _slot(meta, field, 0))
        budget -= len(name) + _notes_bytes(meta, field, 6)
        children = _tables(meta, field, 5)
        if len(children) > 1 or any(_tables(meta, child, 5) for child in children):
            raise ContractError(f"column {name.decode(errors='replace')}", "a nested type", "a plain type")
        for child in children:
            budget -= len(_text(meta, _slot(meta, child, 0))) + _notes_bytes(meta, child, 6)
        if budget < 0:
            raise ContractError("columns", "names or metadata that share their bytes", "each of their own")


def _notes_bytes(meta: bytes, table: int, index: int) -> int:
    """Bytes of the custom metadata (a vector of pairs of texts) of a table."""
    notes = _tables(meta, table, index)
    if len(notes) > _MAX_NOTES:
        raise ContractError("columns", f"{len(notes)} entries of metadata", f"at most {_MAX_NOTES}")
    return sum(len(_text(meta, _slot(meta, note, slot))) for note in notes for slot in (0, 1))


def _slot(meta: bytes, table: int, index: int) -> int:
    """Where the field `index` of a FlatBuffers table is; 0 when the table does not have it."""
    vtable = table - _I32.unpack_from(meta, table)[0]
    offset = 4 + 2 * index
    if vtable < 0 or offset >= _U16.unpack_from(meta, vtable)[0]:
        return 0
    within: int = _U16.unpack_from(meta, vtable + offset)[0]
    return table + within if within else 0


def _follow(meta: bytes, place: int) -> int:
    return place + _U32.unpack_from(meta, place)[0]


def _tables(meta: bytes, table: int, index: int) -> list[int]:
    """Where the tables of a vector of tables are. Its length is believed as far as there are bytes."""
    place = _slot(meta, table, index)
    if not place:
        return []
    vector = _follow(meta, place)
    count: int = _U32.unpack_from(meta, vector)[0]
    if count > MAX_COLUMNS:
        raise ContractError("columns", f"{count} columns or entries of metadata", f"at most {MAX_COLUMNS}")
    return [_follow(meta, vector + 4 + 4 * i) for i in range(count)]


def _text(meta: bytes, place: int) -> bytes:
    if not place:
        return b""
    start = _follow(meta, place)
    length: int = _U32.unpack_from(meta, start)[0]
    if length > len(meta) - start:
        raise ContractError("columns", f"a text of {length} bytes", "texts inside the schema")
    return meta[start + 4 : start + 4 + length]


def _wrong(value: bytes, what: str) -> ContractError:
    return ContractError("value", f"{len(value)} bytes ({what})", _EXPECTED)
