"""From input records to rows in tables by model and version. Pure: knows no broker and no clock.

The common case, one JSON event in a record without headers, is the loop in `Reader.read`; everything else takes the
longer way below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import msgspec
import structlog
import xxhash

from streams.broker.group import Record
from streams.deadletters import HEADER_ONLY_ROW, HEADER_REPLAY_OF, UNKNOWN_MODEL
from streams.gate.arrow import arrow_rows
from streams.gate.captures import capture_exchange, table_exchange
from streams.gate.cloudevents import STRUCTURED, CloudEvent, cloud_events, service_of
from streams.gate.exchange import Exchange, parse_json, rows_of_exchange
from streams.gate.formats import format_of, shape_of
from streams.gate.known import Known, KnownModels, hint_of
from streams.gate.mapping import Format, IngestMap
from streams.gate.payloads import PayloadError
from streams.gate.places import (
    HEADER_FIRST_ROW,
    HEADER_IDEMPOTENCY,
    HEADER_KIND,
    Headers,
    Place,
    headers_of,
    kind_in,
    place_of,
    trace_in,
    wanted_row,
)
from streams.gate.rows import (
    MAX_ROW_BYTES,
    UNREADABLE,
    BadRow,
    GoodRow,
    LabelRow,
    PredictionRow,
    TooManyRows,
    decode_array,
    decode_label,
    is_name,
    pieces,
    read_rows,
    says_nothing,
    set_trace,
)
from streams.gate.waiting import Half, Seen

_log = structlog.get_logger()

Where: TypeAlias = Record | tuple[Record, int] | Place
"""Where a row stood: a record that is the row, one and the row's number in its array, or a place."""

_OWN_HEADERS = (HEADER_KIND, HEADER_FIRST_ROW, HEADER_IDEMPOTENCY, HEADER_REPLAY_OF, HEADER_ONLY_ROW)
MARK_EVERY = 128
"""Records between two marks."""
_KIND_BYTES = 40
"""Where a label says that it is one, in most cases; elsewhere it is read the long way."""
_MAX_KEY_BYTES = 255
_MAX_FOREIGN_BYTES = 900_000
"""A half travels and waits in a record of its own, which a broker takes up to 1 MiB."""


@dataclass(slots=True)
class Table:
    """Rows of one model and version (labels: None), and where each stood. `known` reads their features;
    `given_version` is the version as it came, text or a whole number."""

    model: str
    version: str | None
    known: Known | None = None
    given_version: str | int | None = None
    rows: list[GoodRow] = field(default_factory=list[GoodRow])
    places: list[Where] = field(default_factory=list[Where])


class Reader:
    """Collects rows, refusals and halves until they are taken. `models` is what is known of models that come often;
    it outlives the reader. `marks`: how many rows each of `tables` had, now and then."""

    def __init__(self, ingest: IngestMap, models: KnownModels, seen: Seen) -> None:
        self._ingest = ingest
        self._models = models
        self._seen = seen
        self._by_name: dict[tuple[str, str | int | None], Table] = {}
        self._by_known: dict[tuple[int, str | int], Table] = {}
        self.tables: list[Table] = []
        self.marks: list[list[int]] = []
        self.bad: list[tuple[Place, BadRow]] = []
        self.halves: list[Half] = []
        self.records = 0

    def mark(self) -> None:
        """Remember how many rows there are: so is known, roughly, which came before which (`streams.gate.rounds`)."""
        self.marks.append([len(table.rows) for table in self.tables])

    def read(self, records: Sequence[Record]) -> None:
        """Sort the rows of these records into tables."""
        self.records += len(records)
        configured = self._ingest.topics.get(records[0].topic, Format.AUTO) if records else Format.AUTO
        for start in range(0, len(records), MARK_EVERY):
            self._read(records[start : start + MARK_EVERY], configured)
            self.mark()
        for table in self._by_name.values():
            _learn(table, self._models)

    def _read(self, records: Sequence[Record], configured: Format) -> None:
        """What begins as the record before did, up to the model's name, is of the same model."""
        plain = configured in (Format.AUTO, Format.HOMEOSTAT)
        known: Known | None = None
        table: Table | None = None
        prefix = hint = b""
        for record in records:
            value = record.value
            if not value or not plain or record.headers or len(value) > MAX_ROW_BYTES:
                self._read_any(record, configured)
                continue
            if known is None or not value.startswith(prefix):
                if value.find(b'"label"', 0, _KIND_BYTES) > 0:
                    self._read_label(record, value, configured)
                    continue
                hint, prefix = hint_of(value)
                known, table = self._models.by_hint.get(hint), None
                if known is None:
                    self._read_any(record, configured)
                    continue
            try:
                row = known.decode(value)
            except UNREADABLE:
                if self._read_any(record, configured):
                    self._models.missed(hint)
                    known = None
                continue
            if row.prediction is None and row.status is None:
                self._read_any(record, configured)
                continue
            if table is None or row.version != table.given_version:
                table = self._known_table(known, row)
            table.rows.append(row)
            table.places.append(record)

    def _read_label(self, record: Record, value: bytes, configured: Format) -> None:
        try:
            self.add(decode_label(value), record)
        except UNREADABLE:
            self._read_any(record, configured)

    def add(self, row: GoodRow, place: Where) -> None:
        """A good row."""
        table = self._table(row)
        table.rows.append(row)
        table.places.append(place)

    def _table(self, row: GoodRow) -> Table:
        version = None if isinstance(row, LabelRow) else row.version
        table = self._by_name.get((row.model, version))
        if table is None:
            name = None if version is None else str(version)
            table = self._by_name[row.model, version] = Table(row.model, name)
            self.tables.append(table)
        return table

    def _known_table(self, known: Known, row: PredictionRow) -> Table:
        table = self._by_known.get((id(known), row.version))
        if table is None:
            table = Table(row.model, str(row.version), known, row.version)
            self._by_known[id(known), row.version] = table
            self.tables.append(table)
        return table

    def _read_any(self, record: Record, configured: Format) -> bool:
        """The long way; whether the record was one good prediction."""
        try:
            headers = headers_of(record) if record.headers else {}
            form = format_of(headers, configured)
            if form in (Format.AUTO, Format.HOMEOSTAT) and not any(name in headers for name in _OWN_HEADERS):
                return self._read_json(record, headers, form)
            key = headers.get(HEADER_IDEMPOTENCY)
            if key is not None and not self._seen.is_new(_name_of(key), record.timestamp):
                return False
            if form in (Format.AUTO, Format.HOMEOSTAT):
                return self._read_json(record, headers, form)
            self._read_foreign(record, headers, form)
        except Exception as error:  # noqa: BLE001 - a record that breaks the gate must not stop its partition
            _log.exception("The gate could not read a record; it is a dead letter.", offset=record.offset)
            bad = BadRow(f"the gate failed: {error!r}", "", None, record.value or b"")
            self.bad.append((place_of(record, {}), bad))
        return False

    def _read_json(self, record: Record, headers: Headers, form: Format) -> bool:
        """Homeostat JSON; with `auto` a row of another shape is read as what it is."""
        trace = trace_in(headers)
        if (record.value or b"").startswith(b"[") and self._read_array(record, trace):
            return False
        for number, raw, row in read_rows(record.value, kind_in(headers), trace):
            if not isinstance(row, BadRow):
                if number is None and not headers:
                    self.add(row, record)
                    return isinstance(row, PredictionRow)
                self.add(row, place_of(record, headers, row=number, original=raw))
                continue
            shape = shape_of(raw) if form is Format.AUTO else None
            if shape is None:
                self.bad.append((place_of(record, headers, row=number, original=raw), row))
            else:
                self._read_piece(shape, record, headers, number, raw)
        return False

    def _read_array(self, record: Record, trace: str | None) -> bool:
        """An array of good rows at once; False, and nothing is taken, where one is not."""
        value = record.value or b""
        known = self._models.by_hint.get(hint_of(value)[0])
        if len(value) > MAX_ROW_BYTES:
            return False
        rows: Sequence[GoodRow] = ()
        if known is not None:
            try:
                rows = known.decode_array(value)
            except UNREADABLE:
                known = None
        try:
            rows = rows or decode_array(value)
        except UNREADABLE:
            return False
        if any(map(says_nothing, rows)):
            return False
        for number, row in enumerate(rows):
            set_trace(row, trace)
            table = (
                self._table(row) if known is None else self._known_table(known, cast("PredictionRow", row))
            )
            table.rows.append(row)
            table.places.append((record, number))
        return True

    def _read_foreign(self, record: Record, headers: Headers, form: Format) -> None:
        value = record.value or b""
        if form is Format.CLOUDEVENTS:
            self._read_cloud_events(record, headers, value, None)
            return
        if form is Format.ARROW:
            self._read_arrow(record, headers, value)
            return
        try:
            parts = pieces(value)
        except UNREADABLE as error:
            self._refuse(place_of(record, headers), PayloadError("", f"the record is not JSON: {error}"))
            return
        except TooManyRows as error:
            self._refuse(place_of(record, headers), PayloadError("", str(error)))
            return
        for number, raw in parts:
            self._read_piece(form, record, headers, number, raw)

    def _read_arrow(self, record: Record, headers: Headers, value: bytes) -> None:
        position = {name: headers[name] for name in (HEADER_FIRST_ROW, HEADER_REPLAY_OF) if name in headers}
        try:
            for number, (raw, row) in enumerate(arrow_rows(value, kind_in(headers), trace_in(headers))):
                self._add(row, place_of(record, position, row=number, original=raw))
        except PayloadError as error:
            self._refuse(place_of(record, headers), error)

    def _read_piece(
        self, form: Format, record: Record, headers: Headers, number: int | None, raw: bytes
    ) -> None:
        """One value of a record that is not Homeostat JSON."""
        if form is Format.CLOUDEVENTS:
            self._read_cloud_events(record, headers, raw, number)
            return
        place = place_of(record, headers, row=number, original=raw)
        try:
            found = parse_json(raw, "")
            if not isinstance(found, dict):
                raise PayloadError("", f"is not an object of the format {form}")
            make = capture_exchange if form is Format.SAGEMAKER else table_exchange
            self.add_exchange(make(found, record.topic), place, wanted_row(headers))
        except PayloadError as error:
            self._refuse(place, error)

    def _read_cloud_events(self, record: Record, headers: Headers, value: bytes, row: int | None) -> None:
        place = place_of(record, headers, row=row, original=value)
        try:
            if len(value) > _MAX_FOREIGN_BYTES:
                raise PayloadError("", f"the event has {len(value)} bytes; {_MAX_FOREIGN_BYTES} are allowed")
            events = list(cloud_events(value, headers))
        except PayloadError as error:
            self._refuse(place, error)
            return
        for number, raw, event in events:
            if number is not None:
                place = place_of(
                    record, {**headers, "content-type": STRUCTURED.encode()}, row=number, original=raw
                )
            try:
                self.halves.append(_half(event, place, record.timestamp, wanted_row(headers)))
            except PayloadError as error:
                self._refuse(place, error, model_of(event, record.topic, self._ingest))

    def add_exchange(self, exchange: Exchange, place: Place, only_row: int | None) -> None:
        """The rows of a request and its answer. Raises `PayloadError` where it is refused as a whole."""
        source = self._ingest.source(exchange.attributes)
        several = len(exchange.request) > 1
        for number, row in enumerate(rows_of_exchange(exchange, source)):
            if only_row is None or number == only_row:
                at = msgspec.structs.replace(place, only_row=number) if several else place
                self._add(row, at)

    def _add(self, row: GoodRow | BadRow, place: Place) -> None:
        if isinstance(row, BadRow):
            self.bad.append((place, row))
        else:
            self.add(row, place)

    def _refuse(self, place: Place, error: PayloadError, model: str = UNKNOWN_MODEL) -> None:
        self.bad.append((place, BadRow(error.reason, error.field, place.row, place.original, model)))


def _learn(table: Table, models: KnownModels) -> None:
    """Remember the features of a model whose events came as Homeostat JSON without headers of their own."""
    where, row = table.places[0], table.rows[0]
    record = where[0] if isinstance(where, tuple) else where
    if isinstance(record, Place) or record.value is None or isinstance(row, LabelRow):
        return
    if all(isinstance(value, str | float | bool) for value in row.features.values()):
        kinds = {name: str if isinstance(value, str) else float for name, value in row.features.items()}
        models.learn(record.value, table.model, len(table.rows), kinds)


class Places:
    """Where rows stood, with their own bytes: an array is cut up once for those of its rows that follow each other."""

    def __init__(self) -> None:
        self._record: Record | None = None
        self._pieces: list[tuple[int | None, bytes]] = []

    def at(self, where: Where) -> Place:
        """The place of a row."""
        if isinstance(where, Place):
            return where
        if not isinstance(where, tuple):
            return place_of(where, {})
        record, number = where
        if record is not self._record:
            self._record, self._pieces = record, pieces(record.value or b"")
        return place_of(record, headers_of(record), row=number, original=self._pieces[number][1])


def model_of(event: CloudEvent, topic: str, ingest: IngestMap) -> str:
    """The model that a half belongs to, as far as can be told."""
    service = service_of(event.attributes, {})
    attributes = {**event.attributes, "service": service, "topic": topic, "format": Format.CLOUDEVENTS}
    model = ingest.source(attributes).model or service
    return model if is_name(model) else UNKNOWN_MODEL


def _name_of(key: bytes) -> str:
    """An idempotency key that fits into a record of the gate's state, whatever its length."""
    return key.decode(errors="replace") if len(key) <= _MAX_KEY_BYTES else xxhash.xxh3_128_hexdigest(key)


def _half(event: CloudEvent, place: Place, arrived_ms: int, only_row: int | None) -> Half:
    return Half(event.join, event.is_response, arrived_ms, place, only_row)
