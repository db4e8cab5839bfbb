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

from homeostat.batches import FEATURE_PREFIX, SEGMENT_PREFIX, TRACE_COLUMN
from streams.gate.arrow_table import MAX_JSON_BYTES, TROUBLE, json_bytes, read_table
from streams.gate.payloads import PayloadError
from streams.gate.rows import Row, read_row

_RENAMED = {TRACE_COLUMN: "trace_id"}


def arrow_rows(value: bytes, kind: str | None, trace: str | None = None) -> Iterator[tuple[bytes, Row]]:
    """The rows of an IPC stream, each with itself as JSON: in columns a row has no bytes of its own. `kind` and `trace`
    are those of rows that do not say it.

    Raises `PayloadError` where the stream as a whole cannot be read, before the first row.
    """
    table = read_table(value)
    if json_bytes(table) > MAX_JSON_BYTES:
        raise PayloadError(
            "",
            f"{table.num_rows} rows of {table.num_columns} columns are more than {MAX_JSON_BYTES} bytes when written "
            "as rows; send them in several records",
        )
    try:
        originals = list(_as_json(table, kind))
    except TROUBLE as error:
        raise PayloadError("", f"holds values that cannot be read: {error}") from error
    for number, raw in enumerate(originals):
        yield raw, read_row(raw, number, trace=trace)


def _as_json(table: pa.Table, kind: str | None) -> Iterator[bytes]:
    metadata = {
        key.decode(errors="replace"): text.decode(errors="replace")
        for key, text in (table.schema.metadata or {}).items()
    }
    shared = {name: metadata[name] for name in ("model", "version", "kind") if name in metadata}
    if "kind" not in shared:
        shared["kind"] = kind or ("label" if "value" in table.schema.names else "prediction")
    for batch in table.to_batches(max_chunksize=1_000):
        for values in batch.to_pylist():
            yield msgspec.json.encode(_event(shared, values), enc_hook=_number)


def _event(shared: dict[str, str], values: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = dict(shared)
    features: dict[str, Any] = {}
    segments: dict[str, Any] = {}
    for name, value in values.items():
        if name.startswith(FEATURE_PREFIX):
            features[name.removeprefix(FEATURE_PREFIX)] = value
        elif name.startswith(SEGMENT_PREFIX):
            segments[name.removeprefix(SEGMENT_PREFIX)] = value
        elif value is not None:
            event[_RENAMED.get(name, name)] = value
    if event["kind"] == "prediction":
        event.setdefault("prediction", None)
        event |= {"features": features} | ({"segments": segments} if segments else {})
    return event


def _number(value: Any) -> Any:
    """Half-precision numbers come as NumPy's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not a value of an event")
