"""From blocks of events to parcels: encoded records that lack a partition and, until they are sent, a sequence."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from homeostat.arguments import Block
from homeostat.columns import name_text, record_batches
from homeostat.config import Config
from homeostat.contract import MAX_RECORD_BYTES, encode_columns, record_headers
from homeostat.errors import ContractError
from homeostat.intake import Unit
from homeostat.ledger import Holding, Ledger
from homeostat.protection import protected

# What a parcel costs in memory besides its value, roughly.
_PARCEL_BYTES = 600


@dataclass(slots=True, eq=False, kw_only=True)
class Parcel(Holding):
    """One Kafka record in waiting: its value in memory, or in the spool's file `path`.

    `slot`: which of the model's `spread` partitions. `sequence` is set when it is first sent or spooled, and
    stays the same on a resend; so does `producer`, None for this process. `done`: delivered, or dropped for good.
    `packed_s`: since when it waits, of the monotonic clock.
    """

    model: str
    version: str | None
    slot: int
    value: bytes | None
    path: Path | None = None
    producer: str | None = None
    sequence: int | None = None
    handed_over: bool = False
    done: bool = False
    packed_s: float = field(default_factory=time.monotonic)

    def headers(self, producer: str, sequence: int) -> list[tuple[str, bytes]]:
        """The record's headers."""
        return record_headers(self.model, self.version, self.producer or producer, sequence)


def parcel_of(ticket: int, model: str, version: str | None, slot: int, columns: pa.RecordBatch) -> Parcel:
    """The columns as a new parcel in memory."""
    value = encode_columns(columns)
    return Parcel(
        ticket=ticket,
        rows=columns.num_rows,
        nbytes=len(value) + _PARCEL_BYTES,
        model=model,
        version=version,
        slot=slot,
        value=value,
    )


def halves(parcel: Parcel, value: bytes) -> list[Parcel]:
    """Two smaller parcels in memory of the same rows and ticket, for when this one is too large."""
    with pa.ipc.open_stream(value) as reader:
        columns = reader.read_next_batch()
    cut = parcel.rows // 2
    parts = (columns.slice(0, cut), columns.slice(cut))
    return [
        parcel_of(parcel.ticket, parcel.model, parcel.version, parcel.slot, _without_unused_texts(part))
        for part in parts
    ]


class Breath:
    """Called between pieces of work, lets other threads have the interpreter when `slice_s` are over.

    A thread that only computes is made to let go after 5 ms (`sys.getswitchinterval`): too long for a host that
    serves requests. One that just offers to let go gets the interpreter back before the other has woken up.
    """

    def __init__(self, slice_s: float = 0.0005, pause_s: float = 0.0001) -> None:
        self._slice_s = slice_s
        self._pause_s = pause_s
        self._begun_s = time.perf_counter()

    def __call__(self) -> None:
        if time.perf_counter() - self._begun_s > self._slice_s:
            time.sleep(self._pause_s)
            self._begun_s = time.perf_counter()


def parcels_of_unit(unit: Unit, config: Config, ledger: Ledger) -> Iterator[Parcel]:
    """The unit's good rows; its bad ones are told to the ledger. Never raises."""
    try:
        blocks = unit.blocks()
    except Exception as error:  # noqa: BLE001 - a host's object can raise anything while it is read
        ledger.refused(unit.ticket, unit.rows, "event", error, "values that can be read")
    else:
        for block in blocks:
            yield from parcels_of(block, unit.ticket, config, ledger)
    finally:
        ledger.release(unit.nbytes)


def parcels_of(block: Block, ticket: int, config: Config, ledger: Ledger) -> Iterator[Parcel]:
    """The block's good rows, encoded; its bad ones are told to the ledger. Never raises."""
    accounted = 0
    breathe = Breath()

    def refuse(rows: int, field: str, found: object, expected: str) -> None:
        nonlocal accounted
        accounted += rows
        ledger.refused(ticket, rows, field, found, expected)

    try:
        model = name_text("model", block.model)
        version = None if block.label else name_text("version", block.version)
        safe = protected(block, config.protection_of(model), config.secret, breathe)
        for columns in record_batches(safe, refuse, breathe):
            breathe()
            for slot, part in _by_slot(columns, config.spread_of(model)):
                for parcel in _small_enough(parcel_of(ticket, model, version, slot, part)):
                    accounted += parcel.rows
                    ledger.hold(parcel)
                    yield parcel
    except ContractError as error:
        ledger.refused(ticket, block.rows - accounted, error.field, error.found, error.expected)
    except Exception as error:  # noqa: BLE001 - a host's object can raise anything while it is read
        if block.rows > 1 and accounted == 0:
            cut = block.rows // 2
            yield from parcels_of(block.part(0, cut), ticket, config, ledger)
            yield from parcels_of(block.part(cut, block.rows), ticket, config, ledger)
        else:
            ledger.refused(ticket, block.rows - accounted, "event", error, "values that can be read")


def _by_slot(columns: pa.RecordBatch, spread: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    if spread == 1:
        yield 0, columns
        return
    slots = columns.column("key").to_numpy() % np.uint64(spread)
    for slot in range(spread):
        mine = slots == slot
        if mine.any():
            yield slot, columns if mine.all() else columns.filter(pa.array(mine))


def _small_enough(parcel: Parcel) -> Iterator[Parcel]:
    value = parcel.value
    if value is None or len(value) <= MAX_RECORD_BYTES or parcel.rows == 1:
        yield parcel
        return
    for half in halves(parcel, value):
        yield from _small_enough(half)


def _without_unused_texts(columns: pa.RecordBatch) -> pa.RecordBatch:
    """A slice of a dictionary column drags the whole dictionary along: make it small as well."""
    arrays = [
        column.cast(pa.string()).dictionary_encode() if pa.types.is_dictionary(column.type) else column
        for column in columns.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=columns.schema)
