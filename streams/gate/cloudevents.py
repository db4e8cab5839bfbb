"""CloudEvents of the inference loggers of KServe and Seldon: request and answer are two events, told apart by type.

Both name the request: by the same `id` (KServe), or by the extension `requestid` (Seldon, where each event has an id
of its own). A record holds one in binary mode (attributes in headers `ce_...`), one in structured mode, or an array.
Sources: CloudEvents 1.0 with its JSON format and Kafka binding; KServe, "Inference Logger"; Seldon, "Payload Logging".
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from homeostat.tracing import TRACE_HEADER, trace_of
from streams.gate.exchange import Exchange, parse_json, parse_time
from streams.gate.mapping import Format
from streams.gate.payloads import PayloadError, rows_of
from streams.gate.rows import UNREADABLE, TooManyRows, pieces

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"

_TYPES = {
    f"{prefix}.inference.{part}": part
    for prefix in ("org.kubeflow.serving", "io.seldon.serving")
    for part in ("request", "response")
}
_MAX_JOIN_CHARS = 2_048
_SERVICE = ("inferenceservicename", "modelid", "endpoint")
_SAME_EXCHANGE = ("namespace", "inferenceservicename", "modelid", "component", "endpoint")


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """Attributes as text, and the data: bytes, or a JSON value that was inside a structured event."""

    attributes: dict[str, str]
    data: Any

    @property
    def is_response(self) -> bool:
        """Raises `PayloadError` for an event of another type."""
        kind = self.attributes.get("type", "")
        if kind not in _TYPES:
            raise PayloadError("type", f"{kind!r} is none of {', '.join(_TYPES)}")
        return _TYPES[kind] == "response"

    @property
    def join(self) -> str:
        """What request and answer have in common. Raises `PayloadError`."""
        identity = self.attributes.get("requestid") or self.attributes.get("id")
        if not identity:
            raise PayloadError("id", "is missing")
        join = "/".join([*(self.attributes.get(name, "") for name in _SAME_EXCHANGE), identity])
        if len(join) > _MAX_JOIN_CHARS:
            raise PayloadError(
                "id", f"has {len(join)} characters with its service; {_MAX_JOIN_CHARS} are allowed"
            )
        return join

    def body(self) -> Any:
        """The data as JSON, whatever media type the sender of the request claimed. Raises `PayloadError`."""
        return parse_json(self.data, "data") if isinstance(self.data, bytes | str) else self.data


def has_attributes(headers: Mapping[str, bytes]) -> bool:
    """Whether these headers (names in small letters) are those of an event in binary mode."""
    return any(name in headers for name in ("ce_type", "ce-type", "ce_specversion", "ce-specversion"))


def cloud_events(
    value: bytes, headers: Mapping[str, bytes]
) -> Iterator[tuple[int | None, bytes, CloudEvent]]:
    """The events of a record: each with its place in an array and its own bytes. Raises `PayloadError`."""
    if has_attributes(headers):
        yield None, value, CloudEvent(_attributes_of(headers), value)
        return
    if value.lstrip()[:1] == b"[":
        try:
            parts = pieces(value)
        except UNREADABLE as error:
            raise PayloadError("", f"is not JSON: {error}") from error
        except TooManyRows as error:
            raise PayloadError("", str(error)) from error
        for number, part in parts:
            yield number, part, _structured(part)
        return
    yield None, value, _structured(value)


def _structured(value: bytes) -> CloudEvent:
    event = parse_json(value, "")
    if not isinstance(event, dict):
        raise PayloadError("", "is not a CloudEvent")
    named = cast("dict[str, Any]", event)
    attributes = {
        name.lower(): str(found)
        for name, found in named.items()
        if name not in ("data", "data_base64") and found is not None
    }
    if "data_base64" in named:
        try:
            return CloudEvent(attributes, base64.b64decode(str(named["data_base64"]), validate=True))
        except binascii.Error as error:
            raise PayloadError("data_base64", f"is not Base64: {error}") from error
    return CloudEvent(attributes, named.get("data"))


def _attributes_of(headers: Mapping[str, bytes]) -> dict[str, str]:
    return {
        name[3:]: value.decode(errors="replace")
        for name, value in headers.items()
        if name.startswith(("ce_", "ce-"))
    }


def exchange_of(request: CloudEvent, response: CloudEvent, topic: str, arrived_ms: int) -> Exchange:
    """The two halves as one; `arrived_ms` is the time of those that do not say it. Raises `PayloadError`."""
    asked, answered = request.body(), response.body()
    reply = cast("dict[str, Any]", answered) if isinstance(answered, dict) else {}
    attributes = {**response.attributes, **request.attributes}
    attributes |= {
        "service": service_of(attributes, reply),
        "version": attributes.get("modelversion") or str(reply.get("model_version") or ""),
        "topic": topic,
        "format": Format.CLOUDEVENTS,
    }
    started = parse_time(
        request.attributes.get("time") or response.attributes.get("time") or arrived_ms, "time"
    )
    return Exchange(
        attributes=attributes,
        id=attributes.get("requestid") or attributes["id"],
        time=started,
        request=rows_of(asked),
        response=rows_of(answered),
        latency_ms=_latency_ms(request, response),
        trace_id=trace_of(attributes.get(TRACE_HEADER, "")),
    )


def service_of(attributes: Mapping[str, str], reply: Mapping[str, Any]) -> str:
    """What stands for the model's name: the service, the model in the answer, the end of the source."""
    for name in _SERVICE:
        if attributes.get(name):
            return attributes[name]
    if isinstance(reply.get("model_name"), str):
        return cast("str", reply["model_name"])
    return attributes.get("source", "").rstrip("/").rpartition("/")[2]


def _latency_ms(request: CloudEvent, response: CloudEvent) -> float | None:
    if not (request.attributes.get("time") and response.attributes.get("time")):
        return None
    started = parse_time(request.attributes["time"], "time")
    ended = parse_time(response.attributes["time"], "time")
    if isinstance(started, int | float) or isinstance(ended, int | float):
        return None
    passed_ms = (ended - started).total_seconds() * 1_000
    return passed_ms if passed_ms >= 0 else None
