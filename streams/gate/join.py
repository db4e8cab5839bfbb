"""Two halves of an exchange become rows, or dead letters that say which half is missing. Pure."""

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from streams.broker.group import Record
from streams.gate.cloudevents import BATCHED, CloudEvent, cloud_events, exchange_of, has_attributes
from streams.gate.mapping import IngestMap
from streams.gate.payloads import PayloadError
from streams.gate.places import Place
from streams.gate.reader import MARK_EVERY, Reader, model_of
from streams.gate.rows import BadRow
from streams.gate.waiting import Half, Waiting


class _Dated(msgspec.Struct):
    """The part of a half that tells when it came."""

    arrived_ms: int


_decode = msgspec.msgpack.Decoder(Half).decode
_decode_date = msgspec.msgpack.Decoder(_Dated).decode
_JSON_BATCH = (("content-type", BATCHED.encode()),)


def encode_half(half: Half) -> bytes:
    """A half as it travels to the partition where the other comes, too."""
    return msgspec.msgpack.encode(half)


def arrived_ms(record: Record) -> float:
    """When the half in a record came to the gate."""
    try:
        return _decode_date(record.value or b"").arrived_ms
    except (msgspec.DecodeError, UnicodeDecodeError):
        return record.timestamp


def join_halves(records: Sequence[Record], waiting: Waiting, reader: Reader, ingest: IngestMap) -> None:
    """Add the rows of every exchange that these records complete; the others wait."""
    reader.records += len(records)
    for record in records:
        try:
            half = _decode(record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            place = Place(record.topic, record.partition, record.offset, record.value or b"")
            reader.bad.append(
                (place, BadRow(f"is no half of an exchange: {error}", "", None, place.original))
            )
            continue
        displaced = waiting.displaced_by(half)
        if displaced is not None:
            kinds = ("response", "request") if half.response else ("request", "response")
            reason = "another {} with this id has come before its {}; an id may be used once".format(*kinds)
            _refuse(displaced, reason, reader, ingest)
        other = waiting.add(msgspec.structs.replace(half, since_ms=record.timestamp))
        if other is not None:
            request, response = (other, half) if half.response else (half, other)
            _add(request, response, reader, ingest)
        if record.offset % MARK_EVERY == 0:
            reader.mark()


def give_up(now_ms: int, waiting: Waiting, reader: Reader, ingest: IngestMap) -> None:
    """Halves whose other half does not come become dead letters."""
    for half, reason in waiting.given_up(now_ms):
        _refuse(half, reason, reader, ingest)


def _refuse(half: Half, reason: str, reader: Reader, ingest: IngestMap) -> None:
    model = model_of(_event(half), half.place.topic, ingest)
    reader.bad.append((half.place, BadRow(reason, "id", half.place.row, half.place.original, model)))


def _add(request: Half, response: Half, reader: Reader, ingest: IngestMap) -> None:
    asked, answered = _event(request), _event(response)
    place = msgspec.structs.replace(
        request.place,
        original=b"[" + _structured(asked, request) + b"," + _structured(answered, response) + b"]",
        headers=_JSON_BATCH,
        replay_of=request.place.replay_of
        if request.place.replay_of is not None
        else response.place.replay_of,
    )
    only = request.only_row if request.only_row is not None else response.only_row
    try:
        exchange = exchange_of(asked, answered, request.place.topic, request.arrived_ms)
        reader.add_exchange(exchange, place, only)
    except PayloadError as error:
        model = model_of(asked, place.topic, ingest)
        reader.bad.append((place, BadRow(error.reason, error.field, place.row, place.original, model)))


def _event(half: Half) -> CloudEvent:
    [(_, _, event)] = cloud_events(half.place.original, dict(half.place.headers))
    return event


def _structured(event: CloudEvent, half: Half) -> bytes:
    """The event as JSON, whatever mode it came in."""
    if not has_attributes(dict(half.place.headers)):
        return half.place.original
    values: dict[str, Any] = dict(event.attributes)
    try:
        values["data"] = msgspec.Raw(msgspec.json.encode(event.body()))
    except (PayloadError, msgspec.EncodeError):
        values["data_base64"] = base64.b64encode(half.place.original).decode()
    return msgspec.json.encode(values)
