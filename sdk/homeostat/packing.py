"""From the line of waiting events to parcels: encoded records that lack a partition and a sequence."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from homeostat.arguments import Block, Label, Prediction
from homeostat.columns import name_text, record_batches
from homeostat.config import Config
from homeostat.contract import MAX_RECORD_BYTES, encode_columns, record_headers
from homeostat.errors import ContractError
from homeostat.ledger import Ledger

Item: TypeAlias = Prediction | Label | Block

_NO_TICKET = -1


@dataclass(slots=True)
class Parcel:
    """One Kafka record in waiting. `sequence` is set when it is first sent and stays the same on a resend.

    `slot`: which of the model's `spread` partitions. `ticket`: what its rows are paid back with.
    """

    ticket: int
    model: str
    version: str | None
    slot: int
    rows: int
    value: bytes
    sequence: int | None = None
    handed_over: bool = False

    def headers(self, producer: str, sequence: int) -> list[tuple[str, bytes]]:
        """The record's headers."""
        return record_headers(self.model, self.version, producer, sequence)

    def halves(self) -> tuple["Parcel", "Parcel"]:
        """Two smaller parcels of the same rows and ticket, for when this one is too large."""
        with pa.ipc.open_stream(self.value) as reader:
            columns = reader.read_next_batch()
        cut = self.rows // 2
        return self._of(columns.slice(0, cut)), self._of(columns.slice(cut))

    def _of(self, columns: pa.RecordBatch) -> "Parcel":
        value = encode_columns(_without_unused_texts(columns))
        return Parcel(self.ticket, self.model, self.version, self.slot, columns.num_rows, value)


def blocks_of(items: Sequence[Item], rows: int) -> Iterator[Block]:
    """The items in blocks of at most `rows` rows; single events go by model, version and features."""
    predictions: dict[tuple[object, ...], list[Prediction]] = {}
    labels: dict[object, list[Label]] = {}
    for item in items:
        if isinstance(item, Block):
            yield from (item.part(start, start + rows) for start in range(0, item.rows, rows))
        elif isinstance(item, Prediction):
            key = (_plain(item.model), _plain(item.version), *item.features)
            predictions.setdefault(key, []).append(item)
        else:
            labels.setdefault(_plain(item.model), []).append(item)
    for gathered in predictions.values():
        for start in range(0, len(gathered), rows):
            yield _prediction_block(gathered[start : start + rows])
    for known in labels.values():
        for start in range(0, len(known), rows):
            yield _label_block(known[start : start + rows])


def parcels_of(block: Block, config: Config, ledger: Ledger[Item]) -> Iterator[Parcel]:
    """The block's good rows, encoded; its bad ones are told to the ledger. Never raises."""
    accounted = 0

    def refuse(rows: int, field: str, found: object, expected: str) -> None:
        nonlocal accounted
        accounted += rows
        ledger.refused(rows, field, found, expected)

    try:
        for columns in record_batches(block, refuse):
            for parcel in _parcels(columns, block, config, ledger):
                accounted += parcel.rows
                yield parcel
    except ContractError as error:
        ledger.refused(block.rows - accounted, error.field, error.found, error.expected)
    except Exception as error:  # noqa: BLE001 - a host's object can raise anything while it is read
        if block.rows > 1 and accounted == 0:
            cut = block.rows // 2
            yield from parcels_of(block.part(0, cut), config, ledger)
            yield from parcels_of(block.part(cut, block.rows), config, ledger)
        else:
            ledger.refused(block.rows - accounted, "event", error, "values that can be read")


def _parcels(columns: pa.RecordBatch, block: Block, config: Config, ledger: Ledger[Item]) -> Iterator[Parcel]:
    model = name_text("model", block.model)
    version = None if block.label else name_text("version", block.version)
    spread = config.spread_of(model)
    slots = columns.column("key").to_numpy() % np.uint64(spread)
    for slot in range(spread):
        mine = slots == slot
        if not mine.any():
            continue
        part = columns if mine.all() else columns.filter(pa.array(mine))
        parcel = Parcel(_NO_TICKET, model, version, slot, part.num_rows, encode_columns(part))
        for small in _small_enough(parcel):
            small.ticket = ledger.packed(small.rows)
            yield small


def _small_enough(parcel: Parcel) -> Iterator[Parcel]:
    if len(parcel.value) <= MAX_RECORD_BYTES or parcel.rows == 1:
        yield parcel
        return
    for half in parcel.halves():
        yield from _small_enough(half)


def _without_unused_texts(columns: pa.RecordBatch) -> pa.RecordBatch:
    """A slice of a dictionary column drags the whole dictionary along: make it small as well."""
    arrays = [
        column.cast(pa.string()).dictionary_encode() if pa.types.is_dictionary(column.type) else column
        for column in columns.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=columns.schema)


def _prediction_block(events: Sequence[Prediction]) -> Block:
    first = events[0]
    _, _, ids, features, values, scores, times_us, latencies_ms, statuses = zip(*events, strict=True)
    columns = zip(*(row.values() for row in features), strict=True)
    return Block(
        model=first.model,
        version=first.version,
        ids=ids,
        values=values,
        times_us=times_us,
        scores=_given(scores),
        latencies_ms=_given(latencies_ms),
        statuses=_given(statuses),
        features=dict(zip(first.features, columns, strict=True)),
    )


def _label_block(events: Sequence[Label]) -> Block:
    _, ids, values, times_us = zip(*events, strict=True)
    return Block(model=events[0].model, version=None, ids=ids, values=values, times_us=times_us, label=True)


def _given(column: Sequence[object]) -> Sequence[object] | None:
    return None if all(value is None for value in column) else column


def _plain(name: object) -> object:
    """Names come unchecked: no method of a host's own type may run here. What is no name is refused later."""
    if isinstance(name, str):
        return str.__str__(name)
    return int.__int__(name) if isinstance(name, int) else type(name)
