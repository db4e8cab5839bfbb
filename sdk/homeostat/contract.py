"""The event contract, version 1: what one Kafka record on the events topic carries.

A record is a batch of one kind, of one model and (predictions) one version, as an Arrow IPC stream of one
record batch. What all its rows share is in the record's headers; the Kafka key is the model's name.

    header         predictions and labels
    contract       "1"
    kind           "predictions" | "labels"
    model          name
    version        name (predictions only)
    producer       who sent it: one id per process
    sequence       decimal; (producer, sequence) names the batch, also on a resend; rises along a partition
    content-type   "application/vnd.apache.arrow.stream"
    traceparent    optional, W3C trace context

    column         type                     null       meaning
    id             string                   no         of the event, not empty
    key            uint64                   no         xxh3_64 of the UTF-8 id
    time           timestamp(us, UTC)       no         of the prediction; of a label: when it became known
    prediction     float64                  no         finite; binary: 0 or 1
    score          float64                  missing    probability of class 1
    latency_ms     float32                  missing
    status         string                   missing
    f.<name>       float64, float32, int64, string or dictionary of strings; null or NaN = missing
    value          float64                  no         finite (labels, in place of all from `prediction` on)

A feature that is missing in every row may come as float64 whatever its type is elsewhere.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from homeostat.batches import (
    FEATURE_PREFIX,
    LABEL_FIELDS,
    PREDICTION_FIELDS,
    LabelBatch,
    PredictionBatch,
)
from homeostat.errors import ContractError
from homeostat.keys import key_of, keys_of, partition_of

__all__ = [
    "CONTENT_TYPE",
    "CONTRACT_VERSION",
    "EVENTS_TOPIC",
    "FEATURE_PREFIX",
    "HEADER_CONTENT_TYPE",
    "HEADER_CONTRACT",
    "HEADER_KIND",
    "HEADER_MODEL",
    "HEADER_PRODUCER",
    "HEADER_SEQUENCE",
    "HEADER_TRACEPARENT",
    "HEADER_VERSION",
    "KIND_LABELS",
    "KIND_PREDICTIONS",
    "MAX_BATCH_ROWS",
    "MAX_RECORD_BYTES",
    "SCORE_TOLERANCE",
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

CONTRACT_VERSION = "1"
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

KIND_PREDICTIONS = "predictions"
KIND_LABELS = "labels"

MAX_BATCH_ROWS = 100_000
# A broker's default limit (message.max.bytes) is 1 MiB + 12 bytes; the rest is for headers and framing.
MAX_RECORD_BYTES = 900_000
# A probability computed in float32 can end a few units in the last place outside [0, 1].
SCORE_TOLERANCE = 1e-6

_MAX_NAME_CHARS = 255
_MAX_SEQUENCE = 2**63 - 1
_MAX_TIME_US = 253_402_300_800_000_000  # the year 10000
_FEATURE_TYPES = (pa.float64(), pa.float32(), pa.int64(), pa.string())

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
    return record_headers(batch.model, version, batch.producer, batch.sequence, batch.traceparent)


def record_headers(
    model: str, version: str | None, producer: str, sequence: int, traceparent: str | None = None
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
    }
    return [(name, text.encode()) for name, text in named.items() if text is not None]


def decode(value: bytes | None, headers: Headers) -> PredictionBatch | LabelBatch:
    """Read one Kafka record, checking everything the contract says.

    The columns of the result are views into `value`. Of the keys only the first is checked against its id:
    that finds a producer with another hash without hashing every id again.

    Raises `ContractError`, and nothing else, whatever the bytes and headers hold.
    """
    named = _named(headers)
    _check_constant(named, HEADER_CONTRACT, CONTRACT_VERSION)
    _check_constant(named, HEADER_CONTENT_TYPE, CONTENT_TYPE)
    kind = _text(named, HEADER_KIND)
    if kind not in (KIND_PREDICTIONS, KIND_LABELS):
        raise ContractError("header kind", kind, f"{KIND_PREDICTIONS} or {KIND_LABELS}")
    model = _text(named, HEADER_MODEL)
    producer = _text(named, HEADER_PRODUCER)
    sequence = _sequence(named)
    traceparent = _text(named, HEADER_TRACEPARENT) if HEADER_TRACEPARENT in named else None
    if kind == KIND_LABELS:
        if HEADER_VERSION in named:
            raise ContractError("header version", named[HEADER_VERSION], "no version on labels")
        columns = _read(value)
        _check_columns(columns.schema, LABEL_FIELDS, features=False)
        _check_rows(columns)
        _check_finite(columns, "value")
        return LabelBatch(
            columns=columns, model=model, producer=producer, sequence=sequence, traceparent=traceparent
        )
    version = _text(named, HEADER_VERSION)
    columns = _read(value)
    _check_columns(columns.schema, PREDICTION_FIELDS, features=True)
    _check_rows(columns)
    _check_finite(columns, "prediction")
    _check_scores(columns)
    return PredictionBatch(
        columns=columns,
        model=model,
        version=version,
        producer=producer,
        sequence=sequence,
        traceparent=traceparent,
    )


def encode_columns(columns: pa.RecordBatch) -> bytes:
    """Columns of either kind as an Arrow IPC stream of one record batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, columns.schema) as writer:
        writer.write_batch(columns)
    return sink.getvalue().to_pybytes()


def _named(headers: Headers) -> dict[str, bytes]:
    return dict(headers.items() if isinstance(headers, Mapping) else headers)


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


def _check_constant(named: Mapping[str, bytes], name: str, expected: str) -> None:
    found = _text(named, name)
    if found != expected:
        raise ContractError(f"header {name}", found, expected)


def _sequence(named: Mapping[str, bytes]) -> int:
    text = _text(named, HEADER_SEQUENCE)
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MAX_SEQUENCE):
        raise ContractError("header sequence", text, f"a whole number from 0 to {_MAX_SEQUENCE}")
    return int(text)


def _read(value: bytes | None) -> pa.RecordBatch:
    if value is None:
        raise ContractError("value", "nothing", "an Arrow IPC stream")
    try:
        with pa.ipc.open_stream(pa.py_buffer(value)) as reader:
            batches = list(reader)
        for batch in batches:
            batch.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ContractError("value", f"{len(value)} bytes ({reason[0]})", "an Arrow IPC stream") from error
    if len(batches) != 1:
        raise ContractError("value", f"{len(batches)} record batches", "one record batch")
    rows = batches[0].num_rows
    if not 1 <= rows <= MAX_BATCH_ROWS:
        raise ContractError("value", f"{rows} rows", f"1 to {MAX_BATCH_ROWS} rows")
    return batches[0]


def _check_columns(schema: pa.Schema, fields: tuple[pa.Field, ...], *, features: bool) -> None:
    try:
        names: list[str] = schema.names
    except UnicodeDecodeError as error:
        raise ContractError("columns", error.object, "names in UTF-8") from error
    types: list[pa.DataType] = schema.types
    expected: list[str] = [field.name for field in fields]
    if names[: len(fields)] != expected:
        raise ContractError("columns", ", ".join(names), "first " + ", ".join(expected))
    for field, found in zip(fields, types, strict=False):
        if found != field.type:
            raise ContractError(f"column {field.name}", str(found), str(field.type))
    rest = names[len(fields) :]
    if not features and rest:
        raise ContractError("columns", ", ".join(rest), "no other column")
    if len(set(rest)) < len(rest):
        raise ContractError("columns", ", ".join(rest), "each feature once")
    for name, found in zip(rest, types[len(fields) :], strict=True):
        if not name.startswith(FEATURE_PREFIX) or name == FEATURE_PREFIX:
            raise ContractError(f"column {name}", "an unknown column", "a feature, named f.<name>")
        if not _is_feature_type(found):
            expected_types = "float64, float32, int64, string or dictionary of strings"
            raise ContractError(f"column {name}", str(found), expected_types)


def _is_feature_type(type: pa.DataType) -> bool:
    if pa.types.is_dictionary(type):
        return type.value_type == pa.string()
    return type in _FEATURE_TYPES


def _check_rows(columns: pa.RecordBatch) -> None:
    for name in ("id", "key", "time"):
        _check_no_nulls(columns, name)
    ids = columns.column("id")
    ends = np.frombuffer(ids.buffers()[1], dtype=np.int32, count=len(ids) + 1, offset=4 * ids.offset)
    if not np.diff(ends).all():
        raise ContractError("column id", "an empty id", "an id in every row")
    times_us = columns.column("time").view(pa.int64()).to_numpy()
    if times_us.min() < 0 or times_us.max() >= _MAX_TIME_US:
        outside = times_us.min() if times_us.min() < 0 else times_us.max()
        raise ContractError("column time", f"{outside} us", "a time from 1970 to 9999")
    first_id, first_key = ids[0].as_py(), columns.column("key")[0].as_py()
    if key_of(first_id) != first_key:
        raise ContractError("column key", str(first_key), f"xxh3_64 of the id {first_id!r}")


def _check_no_nulls(columns: pa.RecordBatch, name: str) -> None:
    nulls = columns.column(name).null_count
    if nulls:
        raise ContractError(f"column {name}", f"{nulls} nulls", "a value in every row")


def _check_finite(columns: pa.RecordBatch, name: str) -> None:
    _check_no_nulls(columns, name)
    values = columns.column(name).to_numpy()
    if not np.isfinite(values).all():
        raise ContractError(f"column {name}", "NaN or infinity", "a finite number in every row")


def _check_scores(columns: pa.RecordBatch) -> None:
    scores = columns.column("score").to_numpy(zero_copy_only=False)
    outside = scores[(scores < -SCORE_TOLERANCE) | (scores > 1 + SCORE_TOLERANCE)]
    if outside.size:
        raise ContractError("column score", str(outside[0]), "a probability from 0 to 1, or null")
