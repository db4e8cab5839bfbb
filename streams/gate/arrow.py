"""Arrow tables of events, as they come over HTTP or in a record: an IPC stream whose columns are the fields of
Homeostat JSON (`id`, `time`, `prediction`, `score`, `status`, ..., `f.<name>`, `s.<name>`; `value` for labels), with
`model` and `version` as columns or in the schema's metadata. Every row passes the same checks as a JSON row.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from homeostat.batches import FEATURE_PREFIX, SCORES_COLUMN, SEGMENT_PREFIX, TRACE_COLUMN
from streams.gate.payloads import PayloadError
from streams.gate.rows import BadRow, Row, read_row

MAX_ROWS = 100_000
MAX_COLUMNS = 2_000
MAX_BYTES = 64 * 1024 * 1024

_RENAMED = {TRACE_COLUMN: "trace_id"}
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
        "latency_ms",
        "status",
        "value",
    }
)


def arrow_rows(value: bytes, kind: str | None) -> Iterator[tuple[bytes, Row]]:
    """The rows of an IPC stream, each with itself as JSON: in columns a row has no bytes of its own.

    Raises `PayloadError` where the stream as a whole cannot be read.
    """
    table = read_table(value)
    metadata = {
        key.decode(): text.decode(errors="replace") for key, text in (table.schema.metadata or {}).items()
    }
    shared = {name: metadata[name] for name in ("model", "version", "kind") if name in metadata}
    if "kind" not in shared:
        shared["kind"] = kind or ("label" if "value" in table.schema.names else "prediction")
    number = 0
    for batch in table.to_batches(max_chunksize=1_000):
        for values in batch.to_pylist():
            yield _row(shared, values, number)
            number += 1


def read_table(value: bytes) -> pa.Table:
    """The table in an IPC stream, bounded. Raises `PayloadError`."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(value)) as reader:
            if len(reader.schema.names) > MAX_COLUMNS:
                raise PayloadError("", f"{len(reader.schema.names)} columns; {MAX_COLUMNS} are allowed")
            batches: list[pa.RecordBatch] = []
            rows = size = 0
            for batch in reader:
                rows, size = rows + batch.num_rows, size + batch.nbytes
                if rows > MAX_ROWS or size > MAX_BYTES:
                    raise PayloadError("", f"more than {MAX_ROWS} rows or {MAX_BYTES} bytes")
                batch.validate(full=True)
                batches.append(batch)
            return pa.Table.from_batches(batches, reader.schema)
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
        if isinstance(error, PayloadError):
            raise
        raise PayloadError("", f"is not an Arrow IPC stream: {error}") from error


def split_table(table: pa.Table, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The table in IPC streams of at most `max_bytes` where rows allow, each with the number of its first row."""
    step = max(1, table.num_rows)
    first = 0
    while first < table.num_rows:
        piece = _stream(table.slice(first, step))
        if len(piece) > max_bytes and step > 1:
            step = max(1, step // 2)
            continue
        yield first, piece
        first += step


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def _row(shared: dict[str, str], values: dict[str, Any], number: int) -> tuple[bytes, Row]:
    event: dict[str, Any] = dict(shared)
    features: dict[str, Any] = {}
    segments: dict[str, Any] = {}
    for name, value in values.items():
        if name.startswith(FEATURE_PREFIX):
            features[name.removeprefix(FEATURE_PREFIX)] = value
        elif name.startswith(SEGMENT_PREFIX):
            segments[name.removeprefix(SEGMENT_PREFIX)] = value
        elif value is not None and (name in _FIELDS or name in _RENAMED):
            event[_RENAMED.get(name, name)] = value
    if event["kind"] == "prediction":
        event.setdefault("prediction", None)
        event |= {"features": features} | ({"segments": segments} if segments else {})
    try:
        raw = msgspec.json.encode(event, enc_hook=_plain)
    except (TypeError, UnicodeError, NotImplementedError) as error:
        raw = repr(event).encode(errors="replace")
        return raw, BadRow(f"cannot be read: {error}", "", number, raw)
    return raw, read_row(raw, number)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not a value of an event")
