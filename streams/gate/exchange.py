"""One request to a model and its answer, whatever logged them, as prediction rows. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import msgspec

from streams.gate.mapping import Source
from streams.gate.payloads import PayloadError, PayloadRow
from streams.gate.rows import UNREADABLE, BadRow, FeatureValue, PredictionRow, is_name

DEFAULT_VERSION = "1"

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """`attributes` are what a mapping can choose by; `service` and `version` among them are the defaults of the
    model's name and version. `response` is None where the request failed, and `status` says how."""

    attributes: dict[str, str]
    id: str
    time: datetime | float
    request: Sequence[PayloadRow]
    response: Sequence[PayloadRow] | None
    latency_ms: float | None = None
    status: str | None = None
    trace_id: str | None = None


def parse_json(value: bytes | str, field: str) -> Any:
    """Any JSON value; NaN, which Python's own encoder writes, is taken. Raises `PayloadError`."""
    try:
        return _decode(value)
    except UNREADABLE as error:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise PayloadError(field, f"is not JSON: {error}") from error


def parse_time(value: Any, field: str) -> datetime | float:
    """RFC 3339 with an offset, or a number since the epoch. Raises `PayloadError`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        time = msgspec.convert(value, datetime)
    except msgspec.ValidationError as error:
        raise PayloadError(field, f"{value!r} is not a time: {error}") from error
    if time.tzinfo is None:
        raise PayloadError(field, f"{value!r} has no offset from UTC")
    return time


def rows_of_exchange(exchange: Exchange, source: Source) -> Iterator[PredictionRow | BadRow]:
    """A row for each row of the request. The id is the request's, with `-{row}` where it holds several. The refusals
    do not carry the original; the caller has it. Raises `PayloadError` where nothing can be told row by row."""
    model = source.model or exchange.attributes.get("service", "")
    version = str(source.version or exchange.attributes.get("version") or DEFAULT_VERSION)
    for field, name in (("model", model), ("version", version), ("id", exchange.id)):
        if not is_name(name):
            raise PayloadError(field, f"{name!r} cannot be a name; a source of the ingest file can give one")
    requests, responses = exchange.request, exchange.response
    if not requests:
        raise PayloadError("request", "has no rows")
    if responses is not None and len(responses) != len(requests):
        raise PayloadError("response", f"has {len(responses)} rows; the request has {len(requests)}")
    for number, inputs in enumerate(requests):
        row = number if len(requests) > 1 else None
        try:
            outputs = responses[number] if responses is not None else None
            yield _row(exchange, source, (model, version), row, inputs, outputs)
        except PayloadError as error:
            yield BadRow(error.reason, error.field, row, b"", model)


def _row(
    exchange: Exchange,
    source: Source,
    names: tuple[str, str],
    number: int | None,
    inputs: PayloadRow,
    outputs: PayloadRow | None,
) -> PredictionRow:
    features = _inputs(source, inputs)
    name = exchange.id if number is None else f"{exchange.id}-{number}"
    if source.id is not None:
        given = features.pop(source.id, None)
        given = exchange.attributes.get(source.id) if given is None else given
        if given is None:
            raise PayloadError(source.id, "is to be the id and is missing")
        # A number that came as text of CSV is a float here, and an id has no decimals.
        name = str(int(given)) if isinstance(given, float) and given.is_integer() else str(given)
        if not is_name(name):
            raise PayloadError(source.id, f"{name!r} cannot be an id")
    segments = {key: _segment(features.pop(key, None)) for key in source.segments}
    prediction, score, scores = _outcome(source, outputs)
    return PredictionRow(
        model=names[0],
        version=names[1],
        id=name,
        time=exchange.time,
        features={key: _feature(key, value) for key, value in features.items() if key not in source.drop},
        prediction=prediction,
        score=score,
        scores=scores,
        segments=segments or None,
        trace_id=exchange.trace_id,
        latency_ms=exchange.latency_ms,
        status=exchange.status,
    )


def _inputs(source: Source, inputs: PayloadRow) -> PayloadRow:
    """The inputs under their names: those of the mapping where the body has none."""
    found = dict(inputs)
    for name in source.embeddings:
        parts = [key for key in found if key.startswith(f"{name}.")]
        if parts:
            found[name] = [found.pop(key) for key in parts]
    if not source.features:
        return found
    others = {*source.segments, *([source.id] if source.id else []), *source.drop, *source.embeddings}
    if all(name in found for name in source.features):
        return {name: found[name] for name in found if name in source.features or name in others}
    named = {name: found.pop(name) for name in others & found.keys()}
    if len(found) != len(source.features):
        raise PayloadError(
            "features", f"{len(found)} inputs ({', '.join(list(found)[:5])}) for {len(source.features)} names"
        )
    return dict(zip(source.features, found.values(), strict=True)) | named


def _feature(name: str, value: Any) -> FeatureValue:
    if isinstance(value, list):
        numbers = cast("list[Any]", value)
        if all(isinstance(one, int | float) for one in numbers):
            return [float(one) for one in numbers]
        raise PayloadError(f"features.{name}", "is a list that holds more than numbers")
    if value is None or isinstance(value, str | float | bool):
        return value
    if isinstance(value, int):
        return _as_float(f"features.{name}", value)
    raise PayloadError(f"features.{name}", f"{type(value).__name__} is not a feature's value")


def _segment(value: Any) -> str | int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if value is None or isinstance(value, str | int) else str(value)


def _outcome(
    source: Source, outputs: PayloadRow | None
) -> tuple[float | str | None, float | None, list[float] | None]:
    """Prediction, score, scores."""
    if outputs is None:
        return None, None, None
    score = _number("score", _output(outputs, source.score)) if source.score is not None else None
    scores = _class_scores(source.scores, outputs) if source.scores is not None else None
    if source.prediction is not None:
        return _prediction(_output(outputs, source.prediction)), score, scores
    if source.threshold is not None:
        score = _number("score", _output(outputs, 0)) if score is None else score
        return float(score >= source.threshold), score, scores
    if scores:
        return float(scores.index(max(scores))), score, scores
    left = [name for name in outputs if name != str(source.score)]
    if not left:
        raise PayloadError("prediction", "there is no output but the score; give its source a threshold")
    return _prediction(outputs[left[0]]), score, scores


def _output(outputs: PayloadRow, which: str | int) -> Any:
    if str(which) in outputs:
        return outputs[str(which)]
    values = list(outputs.values())
    if isinstance(which, int) and which < len(values):
        return values[which]
    raise PayloadError("response", f"there is no output {which!r}; there are {', '.join(list(outputs)[:5])}")


def _class_scores(which: str | tuple[str, ...], outputs: PayloadRow) -> list[float]:
    if isinstance(which, tuple):
        return [_number("scores", _output(outputs, name)) for name in which]
    if isinstance(outputs.get(which), list):
        return [_number("scores", value) for value in outputs[which]]
    parts = [value for name, value in outputs.items() if name.startswith(f"{which}.")]
    if not parts:
        raise PayloadError("scores", f"there is no output {which!r} of several numbers")
    return [_number("scores", value) for value in parts]


def _prediction(value: Any) -> float | str:
    if isinstance(value, list) and len(cast("list[Any]", value)) == 1:
        value = cast("list[Any]", value)[0]
    return value if isinstance(value, str) and value else _number("prediction", value)


def _number(field: str, value: Any) -> float:
    if isinstance(value, int | float):
        return _as_float(field, value)
    raise PayloadError(field, f"{value!r} is not a number")


def _as_float(field: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise PayloadError(field, "is a number too large for float64") from error


def text_attributes(values: Mapping[str, Any]) -> dict[str, str]:
    """Those of the values that a mapping can compare, as text."""
    return {
        name: str(value)
        for name, value in values.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    }
