"""What a reader has collected, as the records to write: batches, dead letters, halves, and the counts."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import msgspec
import numpy as np
import pyarrow as pa
import structlog

from detectors.values import UNKNOWN_MODEL, Accounting
from homeostat.contract import MAX_RECORD_BYTES, encode_columns, key_of, record_headers
from streams.control.configuration import Configuration
from streams.control.schemas import Schema
from streams.deadletters import DeadLetter
from streams.gate.columns import Refusal, Refusals, label_batches, prediction_batches
from streams.gate.conform import notes
from streams.gate.places import Place, letter_of
from streams.gate.reader import Places, Reader, Table
from streams.gate.rounds import rounds
from streams.gate.rows import BadRow, GoodRow, LabelRow, PredictionRow, is_text, part_of
from streams.gate.strangers import REASON
from streams.gate.waiting import Half

_log = structlog.get_logger()

MAX_ROWS = 2_000

MAX_COPIES = 16
"""Of the bytes of one record in its dead letters."""

_SEQUENCE_BITS = 20
"""A batch's sequence is its last input offset and a number: the 63 bits of the contract hold a million
batches of one transaction and offsets up to 2**43."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One record for the events topic."""

    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(slots=True)
class Counts:
    """Rows of one model: all, and those refused."""

    received: int = 0
    deadlettered: int = 0
    label_received: int = 0
    label_deadlettered: int = 0

    def add(self, rows: int, dead: int, *, label: bool) -> None:
        if label:
            self.label_received += rows
            self.label_deadlettered += dead
        else:
            self.received += rows
            self.deadlettered += dead

    def onto(self, account: Accounting) -> Accounting:
        """The account with these rows."""
        return msgspec.structs.replace(
            account,
            received=account.received + self.received,
            deadlettered=account.deadlettered + self.deadlettered,
            label_received=account.label_received + self.label_received,
            label_deadlettered=account.label_deadlettered + self.label_deadlettered,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where batches go: the partitions of the events topic, and what names the batches: a producer, and the last input
    offset that rows come from, which rises. `models`: what is registered, the spread and the schemas among it.
    `admits`: whether events of a model go on; those of others are dead letters under no model's name."""

    partitions: int
    producer: str
    offset: int
    models: Configuration = field(default_factory=Configuration)
    admits: Callable[[str], bool] = lambda _: True


@dataclass(slots=True)
class Output:
    """What one transaction writes."""

    batches: list[Batch] = field(default_factory=list[Batch])
    letters: list[DeadLetter] = field(default_factory=list[DeadLetter])
    halves: list[Half] = field(default_factory=list[Half])
    counts: dict[str, Counts] = field(default_factory=dict[str, Counts])

    def count(self, model: str, rows: int, dead: int, *, label: bool) -> None:
        self.counts.setdefault(model, Counts()).add(rows, dead, label=label)

    def refused(self) -> Counter[str]:
        """Refused rows by the part of the event that was wrong, `row` where it was the event as a whole."""
        return Counter(part_of(letter.field) for letter in self.letters)


def output_of(reader: Reader, target: Target) -> Output:
    """Encode everything that the reader has collected."""
    output = Output(halves=reader.halves)
    for place, bad in reader.bad:
        named = bad if target.admits(bad.model) else replace(bad, model=UNKNOWN_MODEL)
        output.letters.append(letter_of(place, named))
        output.count(named.model, 1, 1, label=named.label)
    for table, start, end in rounds(reader.tables, reader.marks, target.models):
        _write(table, start, end, target, output)
    _share_originals(output.letters)
    return output


def _share_originals(letters: list[DeadLetter]) -> None:
    """Of many refused rows that are in the same bytes, the first few letters keep them: a request of 100,000 rows
    must not be written 100,000 times."""
    kept: Counter[tuple[str, int, int]] = Counter()
    for number, letter in enumerate(letters):
        if letter.only_row is not None:
            record = letter.topic, letter.partition, letter.offset
            kept[record] += 1
            if kept[record] > MAX_COPIES:
                letters[number] = msgspec.structs.replace(letter, original=b"", truncated=True)


def examine(reader: Reader, models: Configuration, told: dict[str, None]) -> list[tuple[Place, BadRow]]:
    """All refusals of what the reader has collected, without writing anything. `told` gets what else there is to say
    of the rows."""
    found = list(reader.bad)
    for table in reader.tables:
        bad: Refusals = {}
        schema = models.schema(table.model, table.version)
        for columns in _columns(table, 0, len(table.rows), bad, schema):
            if schema is not None:
                who = f"{table.model} version {schema.version}"
                said = notes(columns, schema, labels=table.version is None)
                told |= dict.fromkeys(f"{who}: {one}" for one in said)
        places = Places()
        for place, refusal in sorted(bad.items()):
            found.append(_refused(table, places.at(table.places[place]), refusal))
    return found


def _write(table: Table, first: int, stop: int, target: Target, output: Output) -> None:
    bad: Refusals = {}
    model, rows = _name(table), stop - first
    if not target.admits(model):
        model, bad = UNKNOWN_MODEL, dict.fromkeys(range(first, stop), Refusal("model", REASON))
        stop = first
    for start in range(first, stop, MAX_ROWS):
        end = min(start + MAX_ROWS, stop)
        for partition, value in _encoded(table, start, end, target, bad):
            sequence = (target.offset << _SEQUENCE_BITS) + len(output.batches)
            headers = record_headers(model, table.version, target.producer, sequence)
            output.batches.append(Batch(partition, model.encode(), value, headers))
    places = Places()
    for place, refusal in bad.items():
        at, row = _refused(table, places.at(table.places[place]), refusal)
        output.letters.append(letter_of(at, replace(row, model=model)))
    output.count(model, rows, len(bad), label=table.version is None)
    if table.known is not None:
        table.known.rows += rows


def _encoded(table: Table, start: int, end: int, target: Target, bad: Refusals) -> list[tuple[int, bytes]]:
    """Rows `start` to `end` as records, each with its partition, in pieces that fit. Rows on which the gate breaks are
    found by halving, and refused, and so is a row that is too large alone."""
    try:
        found = [
            (partition, encode_columns(part))
            for columns in _columns(table, start, end, bad, target.models.schema(table.model, table.version))
            for partition, part in _spread(columns, _name(table), target)
        ]
        if all(len(value) <= MAX_RECORD_BYTES for _, value in found):
            return found
        refusal = Refusal("", f"the event needs {len(found[0][1])} bytes; {MAX_RECORD_BYTES} are allowed")
    except Exception as error:  # noqa: BLE001 - a row that breaks the gate must not stop its partition
        if end - start == 1:
            _log.exception("The gate broke on a row; it is a dead letter.", model=table.model)
        refusal = Refusal("", f"the gate failed: {error!r}")
    if end - start == 1:
        bad[start] = refusal
        return []
    middle = (start + end) // 2
    return _encoded(table, start, middle, target, bad) + _encoded(table, middle, end, target, bad)


def _columns(
    table: Table, start: int, end: int, bad: Refusals, schema: Schema | None
) -> Iterator[pa.RecordBatch]:
    if not is_text(table.model) or not is_text(table.version or ""):
        field = "version" if is_text(table.model) else "model"
        refusal = Refusal(field, "holds half of a surrogate pair, which is no text")
        bad.update(dict.fromkeys(range(start, end), refusal))
        return
    rows: Sequence[GoodRow] = table.rows[start:end]
    places = range(start, end)
    if table.version is None:
        yield from label_batches(cast("Sequence[LabelRow]", rows), places, bad, schema)
    else:
        predictions = cast("Sequence[PredictionRow]", rows)
        yield from prediction_batches(predictions, places, bad, table.known, schema)


def _spread(columns: pa.RecordBatch, model: str, target: Target) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows by the partition of their key (see `homeostat.contract.partition_of`)."""
    first, spread = key_of(model), target.models.spread(model)
    if spread == 1:
        yield first % target.partitions, columns
        return
    steps = columns.column("key").to_numpy() % np.uint64(spread)
    for step in np.unique(steps).tolist():
        yield (first + step) % target.partitions, columns.filter(pa.array(steps == step))


def _name(table: Table) -> str:
    return table.model if is_text(table.model) else UNKNOWN_MODEL


def _refused(table: Table, at: Place, refusal: Refusal) -> tuple[Place, BadRow]:
    return at, BadRow(refusal.reason, refusal.field, at.row, at.original, _name(table), table.version is None)
