"""What of a decoded batch can be measured: held against the schema of its version and against the broker's clock."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from homeostat.contract import LabelBatch, PredictionBatch, encode_columns
from streams.control.configuration import Configuration
from streams.control.evolution import Evolution, check
from streams.control.schema_words import refusal
from streams.control.schemas import Schema
from streams.deadletters import DeadLetter
from streams.profile.clock_skew import ahead_s, from_the_future, is_from_the_future
from streams.stages import InputRecord

Batch = PredictionBatch | LabelBatch


class Taken(NamedTuple):
    """`batch`: the rows to measure, None where there are none. `letters`, `refused`: what was set aside, and how
    many rows that are, `future` of them from the future. `evolution`: how the batch differs from the schema."""

    batch: Batch | None
    letters: tuple[DeadLetter, ...] = ()
    refused: int = 0
    evolution: Evolution = Evolution()
    future: int = 0


def take_in(record: InputRecord, batch: Batch, schema: Schema | None, max_ahead_s: float) -> Taken:
    """Set aside what cannot be measured: the whole batch where its columns clash with the schema, and rows from
    the future, one of which would make every later event late. Without a schema everything fits."""
    evolution = Evolution() if schema is None else check(schema, batch)
    if schema is not None and evolution.refused is not None:
        refused = evolution.refused
        reason = refusal(schema, refused, batch.rows)
        letter = _letter(record, batch, reason, refused.field, record.value or encode_columns(batch.columns))
        return Taken(None, (letter,), batch.rows, evolution)
    if not is_from_the_future(batch.span_us[1], record.timestamp_us, max_ahead_s):
        return Taken(batch, (), 0, evolution)
    future = from_the_future(batch.times_us, record.timestamp_us, max_ahead_s)
    count = int(np.count_nonzero(future))
    furthest_s = ahead_s(batch.times_us, record.timestamp_us)
    reason = (
        f"{count} of {batch.rows} rows are from the future, up to {furthest_s:,.0f} s after the broker got them; "
        f"{max_ahead_s:g} s are allowed (max_ahead_s): set the producer's clock right"
    )
    original = encode_columns(_rows(batch.columns, future))
    letter = _letter(record, batch, reason, "time", original)
    kept = None if count == batch.rows else replace(batch, columns=_rows(batch.columns, ~future))
    return Taken(kept, (letter,), count, evolution, count)


def by_monitor(batch: Batch, configuration: Configuration) -> Iterator[Batch]:
    """The batch in stretches, in its order, in each of which all rows lie in panes of one monitor."""
    from_us = configuration.monitors_from_us(batch.model)[1:]
    if not from_us or bisect_right(from_us, batch.span_us[0]) == bisect_right(from_us, batch.span_us[1]):
        yield batch
        return
    number = np.searchsorted(np.array(from_us), batch.times_us, side="right")
    stretch = np.cumsum(np.diff(number, prepend=number[0]) != 0)
    for one in range(int(stretch[-1]) + 1):
        yield replace(batch, columns=_rows(batch.columns, stretch == one))


def _rows(columns: pa.RecordBatch, chosen: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    return columns.filter(pa.array(chosen))


def _letter(record: InputRecord, batch: Batch, reason: str, field: str, original: bytes) -> DeadLetter:
    return DeadLetter(
        reason=reason,
        field=field,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        model=batch.model,
        stage="profile",
        original=original,
        headers=tuple(record.headers),
    )
