"""The event contract, version 2: what one Kafka record on the events topic carries.

A record is a batch of one kind, of one model and (predictions) one version, as an Arrow IPC stream of one
record batch, not compressed. What all its rows share is in the record's headers; the Kafka key is the model's
name. Version 1 is version 2 without what is marked (2); both are read, 2 is written.

    header         predictions and labels
    contract       "1" or "2"
    kind           "predictions" | "labels"
    model          name
    version        name (predictions only)
    producer       who sent it: one id per process
    sequence       decimal; (producer, sequence) names the batch, also on a resend; rises along a partition
    content-type   "application/vnd.apache.arrow.stream"
    traceparent    optional, W3C trace context
    schema         optional, the revision of the model version's schema that the producer believes in (2)

    column         type                     null       meaning
    id             string                   no         of the event, not empty
    key            uint64                   no         xxh3_64 of the UTF-8 id
    time           timestamp(us, UTC)       no         of the prediction; of a label: when it became known
    prediction     float64, text (2)        see below  binary: 0 or 1; a regression's value; a class, by index or name
    score          float64                  missing    probability of class 1 (binary) or of the predicted class
    latency_ms     float32                  missing
    status         string                   missing    what became of the request: "ok", "timeout", ...

    after these, in any order:
    f.<name>       float64, float32, int64, text, bool (2), vector (2); null or NaN = missing
    s.<name>       text                     none       the segment that the event belongs to (2)
    scores         vector of 2 to 1,024     missing    probability of each class, in the schema's order (2)
    trace          string                   missing    W3C trace id of the event (2)

    labels have id, key, time and
    value          float64, text (2)        no         what turned out to be true

text: string, or dictionary of strings. vector: fixed-size list of float32 or float64 without nulls inside, of 1 to
4,096 where it is an embedding. A number in `prediction` and `value` is finite. `prediction` may be null where
`status` is not: a request that failed has no prediction (2). A feature that is missing in every row may come as
float64 whatever its type is elsewhere.

Bounds: a record 64 MiB; 100,000 rows; 4,096 columns; names 255 characters; all texts of the columns that are
dictionaries, written out, 64 MiB. See docs/events.md for the reasons.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import pyarrow as pa

from homeostat.batches import FEATURE_PREFIX, SEGMENT_PREFIX, LabelBatch, PredictionBatch
from homeostat.contract_checks import (
    SCORE_TOLERANCE,
    check_outcomes,
    check_rows,
    check_scores,
    check_written_out,
)
from homeostat.contract_dense import seen_of
from homeostat.contract_frames import MAX_BATCH_ROWS, MAX_VALUE_BYTES, Frame, check_schema, frame_of
from homeostat.contract_layout import Layout, layout_of
from homeostat.contract_plain import plain_of, vouch
from homeostat.errors import ContractError
from homeostat.keys import key_of, keys_of, partition_of

__all__ = [
    "CONTENT_TYPE",
    "CONTRACT_VERSION",
    "CONTRACT_VERSIONS",
    "EVENTS_TOPIC",
    "FEATURE_PREFIX",
    "HEADER_CONTENT_TYPE",
    "HEADER_CONTRACT",
    "HEADER_KIND",
    "HEADER_MODEL",
    "HEADER_PRODUCER",
    "HEADER_SCHEMA",
    "HEADER_SEQUENCE",
    "HEADER_TRACEPARENT",
    "HEADER_VERSION",
    "KIND_LABELS",
    "KIND_PREDICTIONS",
    "MAX_BATCH_ROWS",
    "MAX_RECORD_BYTES",
    "MAX_VALUE_BYTES",
    "SCORE_TOLERANCE",
    "SEGMENT_PREFIX",
    "ContractError",
    "Headers",
    "LabelBatch",
    "PredictionBatch",
    "decode",
    "encode_columns",
    "encode_labels",
    "encode_predictions",
    "headers_of",
    "key_of",
    "keys_of",
    "partition_of",
    "record_headers",
]

CONTRACT_VERSION = "2"
CONTRACT_VERSIONS = ("1", "2")
CONTENT_TYPE = "application/vnd.apache.arrow.stream"
EVENTS_TOPIC = "homeostat.events"

HEADER_CONTRACT = "contract"
HEADER_KIND = "kind"
HEADER_MODEL = "model"
HEADER_VERSION = "version"
HEADER_PRODUCER = "producer"
HEADER_SEQUENCE = "sequence"
HEADER_CONTENT_TYPE = "content-type"
HEADER_TRACEPARENT = "traceparent"
HEADER_SCHEMA = "schema"

KIND_PREDICTIONS = "predictions"
KIND_LABELS = "labels"

# A broker's default limit (message.max.bytes) is 1 MiB + 12 bytes; the rest is for headers and framing.
MAX_RECORD_BYTES = 900_000

_MAX_NAME_CHARS = 255
_MAX_SEQUENCE = 2**63 - 1
_CACHED_SCHEMA_BYTES = 65_536

Headers = Mapping[str, bytes] | Sequence[tuple[str, bytes]]


def encode_predictions(batch: PredictionBatch) -> bytes:
    """The value of the Kafka record that carries `batch`; `headers_of` gives its headers."""
    return encode_columns(batch.columns)


def encode_labels(batch: LabelBatch) -> bytes:
    """The value of the Kafka record that carries `batch`; `headers_of` gives its headers."""
    return encode_columns(batch.columns)


def headers_of(batch: PredictionBatch | LabelBatch) -> list[tuple[str, bytes]]:
    """The headers of the Kafka record that carries `batch`."""
    version = batch.version if isinstance(batch, PredictionBatch) else None
    return record_headers(
        batch.model, version, batch.producer, batch.sequence, batch.traceparent, batch.schema
    )


def record_headers(
    model: str,
    version: str | None,
    producer: str,
    sequence: int,
    traceparent: str | None = None,
    schema: str | None = None,
) -> list[tuple[str, bytes]]:
    """The headers of a record of predictions, or of labels where `version` is None."""
    named = {
        HEADER_CONTRACT: CONTRACT_VERSION,
        HEADER_KIND: KIND_LABELS if version is None else KIND_PREDICTIONS,
        HEADER_MODEL: model,
        HEADER_VERSION: version,
        HEADER_PRODUCER: producer,
        HEADER_SEQUENCE: str(sequence),
        HEADER_CONTENT_TYPE: CONTENT_TYPE,
        HEADER_TRACEPARENT: traceparent,
        HEADER_SCHEMA: schema,
    }
    return [(name, text.encode()) for name, text in named.items() if text is not None]


def decode(value: bytes | None, headers: Headers) -> PredictionBatch | LabelBatch:
    """Read one Kafka record, checking everything the contract says.

    The columns of the result are views into `value`; where nothing is out of the ordinary, those of Arrow are made when
    somebody asks for them. Of the keys only the first is checked against its id:
    that finds a producer with another hash without hashing every id again. What a schema says is read once
    and remembered.

    Raises `ContractError`, and nothing else, whatever the bytes and headers hold.
    """
    named = dict(headers.items() if isinstance(headers, Mapping) else headers)
    told = _told(tuple([None if (raw := named.get(name)) is None else bytes(raw) for name in _LASTING]))
    sequence = _sequence(named)
    traceparent = _text(named, HEADER_TRACEPARENT) if HEADER_TRACEPARENT in named else None
    if value is None:
        raise ContractError("value", "nothing", "an Arrow IPC stream")
    frame = frame_of(value)
    layout = _layout(frame.schema, told.version is None)
    if told.contract == "1" and layout.beyond_1 is not None:
        found = f"1, with column {layout.beyond_1} of type {layout.schema.field(layout.beyond_1).type}"
        raise ContractError("header contract", found, CONTRACT_VERSION)
    shared: dict[str, Any] = {"model": told.model, "producer": told.producer, "sequence": sequence}
    shared |= {"traceparent": traceparent, "schema": told.schema, "known_layout": layout}
    kind: type[PredictionBatch | LabelBatch] = LabelBatch
    if told.version is not None:
        kind, shared["version"] = PredictionBatch, told.version
    seen = plain_of(value, frame, layout)
    if seen is not None:
        return kind.in_place(partial(_read, value, frame, layout), shared | seen)
    batch = kind(columns=_read(value, frame, layout), **shared)
    batch.know(seen_of(value, frame, layout))
    _check(batch, layout, may_lack=told.contract != "1")
    vouch(frame, layout)
    return batch


def _check(batch: PredictionBatch | LabelBatch, layout: Layout, *, may_lack: bool) -> None:
    check_rows(batch)
    check_written_out(batch.columns, layout)
    if isinstance(batch, LabelBatch):
        check_outcomes(batch, layout, may_lack=False)
        return
    check_outcomes(batch, layout, may_lack=may_lack)
    check_scores(batch, layout)


def encode_columns(columns: pa.RecordBatch) -> bytes:
    """Columns of either kind as an Arrow IPC stream of one record batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, columns.schema) as writer:
        writer.write_batch(columns)
    return sink.getvalue().to_pybytes()


class _Told(NamedTuple):
    """What the headers say that are the same in many records. `version`: None for labels."""

    contract: str
    model: str
    version: str | None
    producer: str
    schema: str | None


_LASTING = (
    HEADER_CONTRACT,
    HEADER_CONTENT_TYPE,
    HEADER_KIND,
    HEADER_MODEL,
    HEADER_VERSION,
    HEADER_PRODUCER,
    HEADER_SCHEMA,
)


@lru_cache(maxsize=1_024)
def _told(headers: tuple[bytes | None, ...]) -> _Told:
    """`headers`: the values of `_LASTING`."""
    named = {name: raw for name, raw in zip(_LASTING, headers, strict=True) if raw is not None}
    contract = _one_of(named, HEADER_CONTRACT, CONTRACT_VERSIONS)
    _one_of(named, HEADER_CONTENT_TYPE, (CONTENT_TYPE,))
    kind = _one_of(named, HEADER_KIND, (KIND_PREDICTIONS, KIND_LABELS))
    model, producer = _text(named, HEADER_MODEL), _text(named, HEADER_PRODUCER)
    schema = _text(named, HEADER_SCHEMA) if HEADER_SCHEMA in named else None
    if kind == KIND_LABELS and HEADER_VERSION in named:
        raise ContractError("header version", named[HEADER_VERSION], "no version on labels")
    version = None if kind == KIND_LABELS else _text(named, HEADER_VERSION)
    return _Told(contract, model, version, producer, schema)


def _text(named: Mapping[str, bytes], name: str) -> str:
    field = f"header {name}"
    raw = named.get(name)
    if raw is None:
        raise ContractError(field, "nothing", "this header")
    try:
        text = bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise ContractError(field, raw, "UTF-8 text") from error
    if not 0 < len(text) <= _MAX_NAME_CHARS:
        raise ContractError(field, text or "nothing", f"1 to {_MAX_NAME_CHARS} characters")
    return text


def _one_of(named: Mapping[str, bytes], name: str, expected: tuple[str, ...]) -> str:
    found = _text(named, name)
    if found not in expected:
        raise ContractError(f"header {name}", found, " or ".join(expected))
    return found


def _sequence(named: Mapping[str, bytes]) -> int:
    text = _text(named, HEADER_SEQUENCE)
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MAX_SEQUENCE):
        raise ContractError("header sequence", text, f"a whole number from 0 to {_MAX_SEQUENCE}")
    return int(text)


def _layout(schema: bytes, labels: bool) -> Layout:
    if len(schema) > _CACHED_SCHEMA_BYTES:
        return _read_layout(schema, labels)
    return _known_layout(schema, labels)


def _read_layout(schema: bytes, labels: bool) -> Layout:
    check_schema(schema)
    try:
        found = pa.ipc.read_schema(pa.py_buffer(schema))
    except _UNREADABLE as error:
        raise ContractError("columns", _reason(error), "the schema of an Arrow IPC stream") from error
    return layout_of(found, labels=labels)


_known_layout = lru_cache(maxsize=256)(_read_layout)
_UNREADABLE = (pa.ArrowException, OSError, ValueError, MemoryError)


def _read(value: bytes, frame: Frame, layout: Layout) -> pa.RecordBatch:
    if bool(layout.codes) != bool(frame.dictionaries):
        found = f"{frame.dictionaries} dictionaries for {len(layout.codes)} columns"
        raise ContractError("value", found, "one for each column of that type")
    buffer = pa.py_buffer(value)
    try:
        if layout.codes:
            with pa.ipc.open_stream(buffer) as reader:
                columns = reader.read_next_batch()
        else:
            message = buffer.slice(frame.batch, frame.stop - frame.batch)
            columns = pa.ipc.read_record_batch(message, layout.schema)
        columns.validate(full=True)
    except (StopIteration, *_UNREADABLE) as error:
        found = f"{len(value)} bytes ({_reason(error)})"
        raise ContractError("value", found, "an Arrow IPC stream") from error
    return columns


def _reason(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
