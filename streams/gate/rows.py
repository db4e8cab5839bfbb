"""Homeostat JSON: what an event must look like, and why one is refused. Pure; no bytes can make it raise.

A record holds one object, an array of them, or one per line. Here a row is read and its types are checked; what
can be told of many rows at once (ranges, finite numbers, times) is checked in columns (`streams.gate.columns`).
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec

from detectors.values import UNKNOWN_MODEL

T = TypeVar("T")

MAX_ROW_BYTES = 256_000
MAX_ROWS = 10_000
"""Of one record: every row may become a dead letter of its own, and two bytes are enough for a row."""
MAX_NAME_CHARS = 255
MAX_ID_CHARS = 4_096
"""As many as the SDK takes: an id is a text of the host's, not a name in a path or a label."""

FeatureValue: TypeAlias = float | bool | str | list[float] | None
Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARS)]
Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS)] | int
Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)] | int | float


class PredictionRow(msgspec.Struct, tag_field="kind", tag="prediction", kw_only=True, gc=False):
    """A prediction as it came. `features` is a mapping, or a struct of a model whose features are known."""

    model: Name
    version: Name | int
    id: Id
    time: Time
    features: dict[str, FeatureValue]
    prediction: float | bool | str | None
    score: float | None = None
    scores: list[float] | None = None
    segments: dict[str, str | int | None] | None = None
    trace_id: str | None = None
    latency_ms: float | None = None
    status: str | None = None


class LabelRow(msgspec.Struct, tag_field="kind", tag="label", kw_only=True, gc=False):
    """A label as it came."""

    model: Name
    id: Id
    time: Time
    value: float | bool | str


class _Label(LabelRow, tag=False, kw_only=True, gc=False):
    """A label that says so: a tag that is missing passes where nothing else is expected."""

    kind: Literal["label"]


class _BarePrediction(PredictionRow, tag=False, kw_only=True, gc=False):
    """A prediction whose record says what it is, not the row itself."""


class _BareLabel(LabelRow, tag=False, kw_only=True, gc=False):
    """A label whose record says what it is, not the row itself."""


_PARTS = frozenset({"kind", *PredictionRow.__struct_fields__, *LabelRow.__struct_fields__})


def part_of(path: str) -> str:
    """The part of an event that a path begins with, `row` where it is none: there are few, whatever is sent."""
    part = path.partition(".")[0].partition("[")[0]
    return part if part in _PARTS else "row"


class TooManyRows(ValueError):
    """There are more rows than may come at once."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"more than {most} rows at once, which is the most that are allowed; send them in several parts"
        )


class _Head(msgspec.Struct):
    """As much of a refused row as can be told."""

    kind: Any = None
    model: Any = None
    features: Any = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A refused row: `field` is its path in the row, `row` its place in the array (None: not in an array)."""

    reason: str
    field: str
    row: int | None
    original: bytes
    model: str = UNKNOWN_MODEL
    label: bool = False


GoodRow: TypeAlias = PredictionRow | LabelRow
Row: TypeAlias = GoodRow | BadRow

decode_row = msgspec.json.Decoder(PredictionRow | LabelRow).decode
decode_label = msgspec.json.Decoder(_Label).decode
_decode_bare: dict[str, Callable[[bytes], GoodRow]] = {
    "prediction": msgspec.json.Decoder(_BarePrediction).decode,
    "label": msgspec.json.Decoder(_BareLabel).decode,
}
decode_array = msgspec.json.Decoder(list[PredictionRow | LabelRow]).decode
UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What a decoder raises; a `msgspec.ValidationError` is one of them."""

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_head = msgspec.json.Decoder(_Head).decode

_read_value = json.JSONDecoder().raw_decode
_SPARSE_BYTES = 16
_BLANKS = frozenset(" \t\r\n")

_PATH = re.compile(r" - at `\$\.?([^`]*)`$")
_NO_TIME = (
    "is no time: it must be RFC 3339 with an offset, as in 2026-11-21T10:00:00Z, or seconds or milliseconds "
    "since the epoch"
)
_BETTER = {
    "Invalid RFC3339 encoded datetime": _NO_TIME,
    "Expected `datetime` with a timezone component": _NO_TIME,
}
_MISSING = re.compile(r"missing required field `([^`]*)`")


def read_rows(
    value: bytes | None, kind: str | None = None, trace: str | None = None
) -> Iterator[tuple[int | None, bytes, Row]]:
    """The rows of one record, in order, each with its place in an array and its own bytes, accepted or refused. `kind`
    and `trace` are those of rows that do not say it."""
    if not value or value.isspace():
        reason = "the record is empty; an event or an array of events is needed"
        yield None, value or b"", BadRow(reason, "", None, value or b"")
        return
    try:
        numbered = pieces(value)
    except UNREADABLE as error:
        yield None, value, BadRow(f"the record is not JSON: {error}", "", None, value)
        return
    except TooManyRows as error:
        yield None, value, BadRow(str(error), "", None, value)
        return
    for number, raw in numbered:
        yield number, raw, read_row(raw, number, kind, trace)


def pieces(value: bytes, most: int = MAX_ROWS) -> list[tuple[int | None, bytes]]:
    """The JSON values of an array or of lines with their numbers, or the one value. Raises one of `UNREADABLE`, or
    `TooManyRows`, before it takes memory for them."""
    if value.lstrip()[:1] == b"[":
        _check_array(value, most)
        try:
            return [(number, bytes(raw)) for number, raw in enumerate(_few(_split(value), most))]
        except UNREADABLE as error:
            return _split_loosely(value, error, most)
    if b"\n" in value.strip() and not _is_one_object(value):
        if value.count(b"\n") > most:
            raise TooManyRows(most)
        return [(number, line) for number, line in enumerate(value.split(b"\n")) if line.strip()]
    return [(None, value)]


def read_row(raw: bytes, number: int | None, kind: str | None = None, trace: str | None = None) -> Row:
    """One row, which stands at `number` in its array."""
    if len(raw) > MAX_ROW_BYTES:
        reason = f"the event has {len(raw)} bytes; {MAX_ROW_BYTES} are allowed"
        return BadRow(reason, "", number, raw)
    row = _read_as(decode_row, raw, number)
    if (
        isinstance(row, BadRow)
        and row.field == "kind"
        and kind in _decode_bare
        and _head_of(raw).kind is None
    ):
        row = _read_as(_decode_bare[kind], raw, number)
        row = replace(row, label=kind == "label") if isinstance(row, BadRow) else row
    if not isinstance(row, BadRow):
        set_trace(row, trace)
    return row


def set_trace(row: GoodRow, trace: str | None) -> None:
    """The trace of a prediction that does not say it."""
    if trace is not None and isinstance(row, PredictionRow) and row.trace_id is None:
        row.trace_id = trace


def says_nothing(row: GoodRow) -> bool:
    """Whether there is neither a prediction nor a status."""
    return isinstance(row, PredictionRow) and row.prediction is None and row.status is None


def refused(raw: bytes, number: int | None, field: str, reason: str) -> BadRow:
    """The refusal of a row of Homeostat JSON, under its model where that can be told."""
    head = _head_of(raw)
    if field.startswith("features[...]") and isinstance(head.features, dict):
        field = _bad_feature(head.features) or field
    model = head.model if isinstance(head.model, str) and is_name(head.model) else UNKNOWN_MODEL
    return BadRow(reason, field, number, raw, model, head.kind == "label")


def explain(message: str) -> tuple[str, str]:
    """The field's path and the reason in a message of msgspec."""
    path = _PATH.search(message)
    field = path.group(1) if path else ""
    reason = _PATH.sub("", message)
    reason = _BETTER.get(reason, reason)
    missing = _MISSING.search(reason)
    if missing:
        field = f"{field}.{missing.group(1)}" if field else missing.group(1)
    return field, reason


def is_name(text: str) -> bool:
    """Whether this can be a model's, version's or event's name."""
    return 0 < len(text) <= MAX_NAME_CHARS and is_text(text)


def is_text(text: str) -> bool:
    """Whether this can be written as UTF-8: JSON can carry half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_as(decode: Callable[[bytes], GoodRow], raw: bytes, number: int | None) -> Row:
    try:
        row = decode(raw)
    except msgspec.ValidationError as error:
        field, reason = explain(str(error))
        return refused(raw, number, field, reason)
    except UNREADABLE as error:
        return refused(raw, number, "", f"the event is not JSON: {error}")
    if says_nothing(row):
        reason = "null needs a status that says why there is none"
        return refused(raw, number, "prediction", reason)
    return row


def _is_one_object(value: bytes) -> bool:
    try:
        _head(value)
    except msgspec.ValidationError:
        return True
    except UNREADABLE:
        return False
    return True


def _split_loosely(value: bytes, error: Exception, most: int) -> list[tuple[int | None, bytes]]:
    """One NaN, which Python's own encoder writes, must not take the rest of its array with it."""
    try:
        rows = json.loads(value)
    except (ValueError, RecursionError):
        raise error from None
    return [(number, json.dumps(row).encode()) for number, row in enumerate(_few(rows, most))]


def _few(rows: Sequence[T], most: int) -> Sequence[T]:
    if len(rows) > most:
        raise TooManyRows(most)
    return rows


def _check_array(value: bytes, most: int) -> None:
    """Where commas stand so close that cutting the array up could take many times its bytes, its rows are counted one
    after the other. What is no JSON is left to the decoder."""
    commas = value.count(b",")
    if commas < most or commas * _SPARSE_BYTES < len(value):
        return
    text = value.decode(errors="replace")
    at, rows = text.index("[") + 1, 0
    try:
        while rows <= most:
            _, at = _read_value(text, _after_blanks(text, at))
            at = _after_blanks(text, at)
            rows += 1
            if text[at : at + 1] != ",":
                return
            at += 1
    except (ValueError, RecursionError):
        return
    raise TooManyRows(most)


def _after_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in _BLANKS:
        at += 1
    return at


def _head_of(raw: bytes) -> _Head:
    try:
        return _head(raw)
    except UNREADABLE:
        pass
    try:
        return msgspec.convert(json.loads(raw), _Head)
    except (ValueError, RecursionError):
        return _Head()


def _bad_feature(features: dict[str, Any]) -> str | None:
    return next(
        (f"features.{name}" for name, value in features.items() if not _is_feature(value)),
        None,
    )


def _is_feature(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, int | float) for item in value)
    return not isinstance(value, dict)
