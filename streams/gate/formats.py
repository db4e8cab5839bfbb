"""Which format a record has, or a value in it."""

from collections.abc import Mapping

from homeostat.contract import CONTENT_TYPE as ARROW_STREAM
from streams.gate.cloudevents import BATCHED, STRUCTURED, has_attributes
from streams.gate.exchange import parse_json
from streams.gate.mapping import Format
from streams.gate.payloads import PayloadError


def format_of(headers: Mapping[str, bytes], configured: Format) -> Format:
    """What the headers say wins over what is configured for the topic."""
    media_type = headers.get("content-type", b"").split(b";")[0].strip().lower().decode(errors="replace")
    if media_type == ARROW_STREAM:
        return Format.ARROW
    if media_type in (STRUCTURED, BATCHED) or has_attributes(headers):
        return Format.CLOUDEVENTS
    return configured


def shape_of(raw: bytes) -> Format | None:
    """What a JSON value looks like that is no Homeostat JSON."""
    try:
        found = parse_json(raw, "")
    except PayloadError:
        return None
    if not isinstance(found, dict):
        return None
    names: set[str] = set(found)
    if "specversion" in names and "type" in names:
        return Format.CLOUDEVENTS
    if "captureData" in names:
        return Format.SAGEMAKER
    if {"request", "response"} <= names and names & {"databricks_request_id", "request_id", "timestamp_ms"}:
        return Format.INFERENCE_TABLE
    return None
