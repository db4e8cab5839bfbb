"""Logs that hold request and answer in one record: SageMaker's data capture, MLflow's and Databricks' inference tables.

Sources: Amazon SageMaker, "Capture data from real-time endpoint"; Databricks, "Inference tables for monitoring and
debugging models" (also the columns of its AI Gateway).
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, cast

from streams.gate.exchange import Exchange, parse_json, parse_time, text_attributes
from streams.gate.mapping import Format
from streams.gate.payloads import PayloadError, PayloadRow, csv_rows, rows_of

_ID_COLUMNS = ("databricks_request_id", "request_id", "client_request_id")
_TIME_COLUMNS = ("timestamp_ms", "request_time", "timestamp")
_LATENCY_COLUMNS = ("execution_time_ms", "execution_duration_ms")
_NAME_COLUMNS = ("model_name", "endpoint_name", "served_entity_name", "served_entity_id")


def capture_exchange(capture: Mapping[str, Any], topic: str) -> Exchange:
    """A line of SageMaker's data capture. Raises `PayloadError`."""
    data = _object(capture, "captureData")
    about = _object(capture, "eventMetadata")
    request = _captured(_object(data, "endpointInput"), "captureData.endpointInput")
    response = _captured(_object(data, "endpointOutput"), "captureData.endpointOutput")
    if len(response) == 1 and len(request) > 1 and len(response[0]) == len(request):
        # Built-in algorithms answer several lines with one line of numbers.
        response = [{"0": value} for value in response[0].values()]
    attributes = {"service": topic, **text_attributes(about), **_custom(about.get("customAttributes"))}
    identity = about.get("inferenceId") or about.get("eventId")
    return Exchange(
        attributes={**attributes, "topic": topic, "format": Format.SAGEMAKER},
        id=str(identity or ""),
        time=parse_time(about.get("inferenceTime"), "eventMetadata.inferenceTime"),
        request=request,
        response=response,
    )


def table_exchange(row: Mapping[str, Any], topic: str) -> Exchange:
    """A row of an inference table, as JSON. Raises `PayloadError`."""
    about = row.get("request_metadata")
    metadata = _inner(about, "request_metadata") if about else {}
    attributes = text_attributes(row) | text_attributes(metadata if isinstance(metadata, dict) else {})
    names = [attributes[name] for name in _NAME_COLUMNS if attributes.get(name)]
    attributes |= {"service": names[0] if names else topic, "topic": topic, "format": Format.INFERENCE_TABLE}
    if attributes.get("model_version"):
        attributes["version"] = attributes["model_version"]
    time = next((row[name] for name in _TIME_COLUMNS if row.get(name) is not None), None)
    latency = next((row[name] for name in _LATENCY_COLUMNS if row.get(name) is not None), None)
    status = row.get("status_code")
    failed = status is not None and not str(status).startswith("2")
    return Exchange(
        attributes=attributes,
        id=next((str(row[name]) for name in _ID_COLUMNS if row.get(name)), ""),
        time=parse_time(time, "timestamp_ms"),
        request=_body(row, "request"),
        response=None if failed else _body(row, "response"),
        latency_ms=float(latency) if isinstance(latency, int | float) else None,
        status=None if status is None else str(status),
    )


def _captured(part: Mapping[str, Any], field: str) -> list[PayloadRow]:
    data = part.get("data")
    if not isinstance(data, str):
        raise PayloadError(f"{field}.data", "is not a text")
    encoding = str(part.get("encoding", "")).upper()
    media_type = str(part.get("observedContentType", "")).lower()
    if encoding == "BASE64":
        try:
            data = base64.b64decode(data, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise PayloadError(f"{field}.data", f"is not text in Base64: {error}") from error
        encoding = "JSON" if "json" in media_type else "CSV"
    try:
        if encoding == "CSV":
            return csv_rows(data)
        if encoding != "JSON":
            raise PayloadError("encoding", f"{encoding!r} is none of CSV, JSON, BASE64")
        if "jsonlines" in media_type:
            lines = [parse_json(line, "data") for line in data.splitlines() if line.strip()]
            return [row for line in lines for row in _line(line)]
        return rows_of(parse_json(data, "data"))
    except PayloadError as error:
        raise PayloadError(f"{field}.{error.field}", error.reason) from error


def _line(line: Any) -> list[PayloadRow]:
    """A line is a row: an object of its columns, a list, a scalar, or `{"features": [...]}`."""
    if isinstance(line, dict):
        named = cast("dict[str, Any]", line)
        return rows_of([named["features"]]) if isinstance(named.get("features"), list) else [named]
    return rows_of([line])


def _body(row: Mapping[str, Any], name: str) -> list[PayloadRow]:
    if row.get(name) is None:
        raise PayloadError(name, "is missing")
    try:
        return rows_of(_inner(row[name], name))
    except PayloadError as error:
        raise PayloadError(f"{name}.{error.field}" if error.field != name else name, error.reason) from error


def _inner(value: Any, field: str) -> Any:
    """JSON inside a JSON text, or the value itself."""
    return parse_json(value, field) if isinstance(value, str) else value


def _custom(values: Any) -> dict[str, str]:
    """`name=value` texts among the custom attributes of a request."""
    if not isinstance(values, list):
        return {}
    pairs = [str(value).partition("=") for value in cast("list[Any]", values)]
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _object(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = values.get(name)
    if not isinstance(value, dict):
        raise PayloadError(name, "is missing")
    return cast("dict[str, Any]", value)
