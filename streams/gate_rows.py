"""Single JSON events: what a row must look like, and why one is refused. Pure; no row can make it raise.

A record holds one object or an array of them. Times are RFC 3339 with an offset, or a number since the epoch:
below 1e11 seconds (until the year 5138), from there milliseconds (1e11 ms is March 1973).
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeAlias

import msgspec

from homeostat.contract import SCORE_TOLERANCE
from streams.deadletters import UNKNOWN_MODEL

MAX_ROW_BYTES = 256_000
MAX_NAME_CHARS = 255
MAX_LATENCY_MS = 1e9

_MILLISECONDS_FROM = 1e11
_MAX_TIME_US = 253_402_300_800_000_000  # the year 10000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FeatureValue: TypeAlias = float | bool | str | None
_Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)] | int | float


class _Prediction(msgspec.Struct, tag_field="kind", tag="prediction"):
    model: str
    version: str | int
    id: str | int
    time: _Time
    features: dict[str, FeatureValue]
    prediction: float | bool
    score: float | None = None
    latency_ms: float | None = None
    status: str | None = None


class _Label(msgspec.Struct, tag_field="kind", tag="label"):
    model: str
    id: str | int
    time: _Time
    value: float | bool


class _Head(msgspec.Struct):
    """As much of a refused row as can be told."""

    kind: Any = None
    model: Any = None
    features: Any = None


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """An accepted prediction. Numeric features are floats (True is 1), missing ones None."""

    model: str
    version: str
    id: str
    time_us: int
    features: dict[str, float | str | None]
    prediction: float
    score: float | None
    latency_ms: float | None
    status: str | None


@dataclass(frozen=True, slots=True)
class LabelRow:
    """An accepted label."""

    model: str
    id: str
    time_us: int
    value: float


@dataclass(frozen=True, slots=True)
class BadRow:
    """A refused row: `field` is its path in the row, `row` its place in the array (None: not in an array)."""

    reason: str
    field: str
    row: int | None
    original: bytes
    model: str = UNKNOWN_MODEL
    label: bool = False


Row: TypeAlias = PredictionRow | LabelRow | BadRow

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.Decoder(_Prediction | _Label).decode
_head = msgspec.json.Decoder(_Head).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)

_PATH = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `([^`]*)`")


class _Refused(Exception):
    """Inside this file only: becomes a BadRow."""

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(reason)


def parse_record(value: bytes | None) -> Iterator[Row]:
    """The rows of one record, in order, each accepted or refused."""
    if not value or value.isspace():
        yield BadRow("the record is empty; an event or an array of events is needed", "", None, value or b"")
        return
    if value.lstrip()[:1] != b"[":
        yield _parse_row(value, None)
        return
    try:
        rows: list[bytes] = [bytes(raw) for raw in _split(value)]
    except _UNREADABLE as error:
        yield from _parse_loosely(value, error)
        return
    for number, raw in enumerate(rows):
        yield _parse_row(raw, number)


def _parse_loosely(value: bytes, error: Exception) -> Iterator[Row]:
    """One NaN, which Python's own encoder writes, must not take the rest of its array with it."""
    try:
        rows = json.loads(value)
    except (ValueError, RecursionError):
        yield BadRow(f"the record is not JSON: {error}", "", None, value)
        return
    for number, row in enumerate(rows):
        yield _parse_row(json.dumps(row).encode(), number)


def _parse_row(raw: bytes, number: int | None) -> Row:
    if len(raw) > MAX_ROW_BYTES:
        return BadRow(f"the event has {len(raw)} bytes; {MAX_ROW_BYTES} are allowed", "", number, raw)
    try:
        event = _decode(raw)
        return _prediction(event) if isinstance(event, _Prediction) else _label(event)
    except msgspec.ValidationError as error:
        field, reason = _explain(str(error))
        return _bad(raw, number, field, reason)
    except _Refused as error:
        return _bad(raw, number, error.field, error.reason)
    except _UNREADABLE as error:
        return _bad(raw, number, "", f"the event is not JSON: {error}")


def _prediction(event: _Prediction) -> PredictionRow:
    score, latency_ms = event.score, event.latency_ms
    if score is not None and not -SCORE_TOLERANCE <= score <= 1 + SCORE_TOLERANCE:
        raise _Refused("score", f"{score} is not a probability from 0 to 1")
    if latency_ms is not None and not 0 <= latency_ms <= MAX_LATENCY_MS:
        raise _Refused("latency_ms", f"{latency_ms} is not a duration from 0 to {MAX_LATENCY_MS:g} ms")
    if event.status is not None:
        _encodable("status", event.status)
    return PredictionRow(
        model=_name("model", event.model),
        version=_name("version", str(event.version)),
        id=_name("id", str(event.id)),
        time_us=_time_us(event.time),
        features={_feature_name(name): _feature(name, value) for name, value in event.features.items()},
        prediction=_finite("prediction", event.prediction),
        score=score,
        latency_ms=latency_ms,
        status=event.status,
    )


def _label(event: _Label) -> LabelRow:
    return LabelRow(
        model=_name("model", event.model),
        id=_name("id", str(event.id)),
        time_us=_time_us(event.time),
        value=_finite("value", event.value),
    )


def _name(field: str, text: str) -> str:
    if not 0 < len(text) <= MAX_NAME_CHARS:
        raise _Refused(field, f"has {len(text)} characters; 1 to {MAX_NAME_CHARS} are allowed")
    return _encodable(field, text)


def _feature_name(name: str) -> str:
    if not name:
        raise _Refused("features", "a feature without a name")
    return _encodable("features", name)


def _feature(name: str, value: FeatureValue) -> float | str | None:
    if isinstance(value, str):
        return _encodable(f"features.{name}", value)
    return None if value is None else float(value)


def _encodable(field: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _Refused(field, "holds half of a surrogate pair, which is no text") from error
    return text


def _finite(field: str, value: float) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise _Refused(field, f"{number} is not a finite number")
    return number


def _time_us(value: datetime | float) -> int:
    if isinstance(value, datetime):
        time_us = (value - _EPOCH) // timedelta(microseconds=1)
    elif not math.isfinite(value):
        raise _Refused("time", f"{value} is not a time")
    else:
        seconds = abs(value) < _MILLISECONDS_FROM
        time_us = round(value * (1_000_000 if seconds else 1_000))
    if not 0 <= time_us < _MAX_TIME_US:
        raise _Refused("time", f"{value} is outside the years 1970 to 9999")
    return time_us


def _explain(message: str) -> tuple[str, str]:
    path = _PATH.search(message)
    field = path.group(1) if path else ""
    reason = _PATH.sub("", message)
    missing = _MISSING.search(reason)
    if missing:
        field = f"{field}.{missing.group(1)}" if field else missing.group(1)
    return field, reason


def _bad(raw: bytes, number: int | None, field: str, reason: str) -> BadRow:
    head = _head_of(raw)
    if field == "features[...]" and isinstance(head.features, dict):
        field = _bad_feature(head.features) or field
    model = head.model if isinstance(head.model, str) else ""
    known = 0 < len(model) <= MAX_NAME_CHARS and _is_text(model)
    return BadRow(reason, field, number, raw, model if known else UNKNOWN_MODEL, head.kind == "label")


def _head_of(raw: bytes) -> _Head:
    try:
        return _head(raw)
    except _UNREADABLE:
        pass
    try:
        return msgspec.convert(json.loads(raw), _Head)
    except (ValueError, RecursionError):
        return _Head()


def _bad_feature(features: dict[str, Any]) -> str | None:
    return next(
        (f"features.{name}" for name, value in features.items() if isinstance(value, list | dict)),
        None,
    )


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
