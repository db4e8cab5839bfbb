"""The table in an Arrow IPC stream that somebody sent: read within bounds, in columns that JSON can be made of.

Nothing is believed before `homeostat.contract_frames` has looked at it: a compressed body, or one whose columns share
their bytes, is refused unread. What is read holds numbers, truth values, texts, times, and lists of numbers.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from homeostat.batches import FEATURE_PREFIX, SCORES_COLUMN, SEGMENT_PREFIX, TRACE_COLUMN
from homeostat.contract_frames import check_stream
from homeostat.errors import ContractError
from streams.gate.payloads import PayloadError

MAX_ROWS = 100_000
MAX_COLUMNS = 2_000
MAX_BATCHES = 1_000
MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Of dictionaries, written out: an index of one byte can stand for a text of 100 kB in every row."""
MAX_JSON_BYTES = 16 * 1024 * 1024
"""About so much may a record take as rows of JSON: names count in every row, and a column of nulls has no bytes."""

TROUBLE = (pa.ArrowException, OSError, ValueError, TypeError, LookupError, OverflowError, NotImplementedError)
"""What pyarrow raises for what it cannot read or make values of, time zones that nobody knows included."""

_FIELDS = frozenset(
    {
        "kind",
        "model",
        "version",
        "id",
        "time",
        "prediction",
        "score",
        SCORES_COLUMN,
        TRACE_COLUMN,
        "latency_ms",
        "status",
        "value",
    }
)
_PLAIN = (
    pa.types.is_null,
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_string,
    pa.types.is_large_string,
)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_EXPECTED = "numbers, truth values, texts, times and lists of numbers are read"
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_MAX_TIME_S = 253_402_300_800  # the year 10000


def read_table(value: bytes) -> pa.Table:
    """The columns of an IPC stream that mean something, without dictionaries, in UTC. Raises `PayloadError`."""
    try:
        check_stream(value, max_batches=MAX_BATCHES)
        with pa.ipc.open_stream(pa.py_buffer(value)) as reader:
            _check_names(reader.schema)
            return _bounded(reader)
    except PayloadError:
        raise
    except ContractError as error:
        field = error.field.removeprefix("column ") if error.field.startswith("column ") else ""
        raise PayloadError(
            field, f"is not a plain Arrow IPC stream: found {error.found}; expected {error.expected}"
        ) from error
    except TROUBLE as error:
        raise PayloadError("", f"is not an Arrow IPC stream: {error}") from error


def json_bytes(table: pa.Table) -> int:
    """About how many bytes the rows take as JSON."""
    names = sum(len(name) + 8 for name in table.schema.names)
    return table.num_rows * names + 3 * table.nbytes


def split_table(table: pa.Table, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The table in IPC streams of at most `max_bytes` where rows allow, each with the number of its first row; each
    can be read as a record."""
    step = max(1, table.num_rows)
    first = 0
    while first < table.num_rows:
        part = table.slice(first, step)
        piece = _stream(part)
        if step > 1 and (len(piece) > max_bytes or json_bytes(part) > MAX_JSON_BYTES):
            step = max(1, step // 2)
            continue
        yield first, piece
        first += step


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def _check_names(schema: pa.Schema) -> None:
    names: list[str] = schema.names
    if len(names) > MAX_COLUMNS:
        raise PayloadError("", f"{len(names)} columns; {MAX_COLUMNS} are allowed")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise PayloadError(twice[0], "is the name of two columns")
    if "id" not in names:
        raise PayloadError("id", f"is missing; the columns are {', '.join(names[:10])}")


def _bounded(reader: Any) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    rows = text_bytes = 0
    for batch in reader:
        rows += batch.num_rows
        if rows > MAX_ROWS:
            raise PayloadError("", f"more than {MAX_ROWS} rows; send them in several records")
        batch.validate(full=True)
        text_bytes += sum(map(_written_bytes, batch.columns))
        if text_bytes > MAX_TEXT_BYTES:
            raise PayloadError("", f"dictionaries that are more than {MAX_TEXT_BYTES} bytes when written out")
        batches.append(_readable(batch))
    schema = batches[0].schema if batches else pa.schema([])
    return pa.Table.from_batches(batches, schema).replace_schema_metadata(reader.schema.metadata)


def _written_bytes(column: pa.Array) -> int:
    """Of a dictionary's texts, each counted in every row that has it."""
    if not pa.types.is_dictionary(column.type) or not _is_text(column.type.value_type):
        return 0
    lengths = pc.call_function("binary_length", [column.dictionary]).cast(pa.int64())
    return pc.call_function("sum", [lengths.take(column.indices)]).as_py() or 0


def _readable(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns: dict[str, pa.Array] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name in _FIELDS or name.startswith((FEATURE_PREFIX, SEGMENT_PREFIX)):
            columns[name] = _plain(name, column)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _plain(name: str, column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind) and (_is_text(kind.value_type) or _is_number(kind.value_type)):
        return column.dictionary_decode()
    if pa.types.is_timestamp(kind):
        return _times(column)
    is_numbers = any(is_list(kind) for is_list in _LISTS) and _is_number(kind.value_type)
    if is_numbers or any(is_plain(kind) for is_plain in _PLAIN):
        return column
    raise PayloadError(name, f"is a column of the type {kind}; {_EXPECTED}")


def _times(column: pa.Array) -> pa.Array:
    """Microseconds, in UTC where there is a zone; null where there is no such year."""
    per_second = _PER_SECOND[column.type.unit]
    given = column.view(pa.int64())
    seconds = pc.call_function("divide", [given, pa.scalar(per_second, pa.int64())])
    low = pc.call_function("greater_equal", [given, pa.scalar(0, pa.int64())])
    inside = pc.call_function(
        "and", [low, pc.call_function("less", [seconds, pa.scalar(_MAX_TIME_S, pa.int64())])]
    )
    kept = pc.call_function("if_else", [inside, given, pa.scalar(None, pa.int64())])
    if per_second > 1_000_000:
        kept = pc.call_function("divide", [kept, pa.scalar(per_second // 1_000_000, pa.int64())])
    else:
        kept = pc.call_function("multiply", [kept, pa.scalar(1_000_000 // per_second, pa.int64())])
    return kept.view(pa.timestamp("us", "UTC" if column.type.tz else None))


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)
