"""Rows held against the schema of their version, by the rules of `streams.control.evolution`: the profile stage would
refuse their batch as a whole, and nobody could tell the sender which row it was.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from homeostat.batches import FEATURE_PREFIX, SCORES_COLUMN, LabelBatch, PredictionBatch
from homeostat.contract_layout import ColumnKind, Layout, layout_of
from homeostat.errors import ContractError
from streams.control.evolution import Evolution, check
from streams.control.schema_words import differences
from streams.control.schemas import Schema

Refuse = Callable[[int, str, str], None]
"""Takes a row, the field, the reason."""

_EVERY_ROW = " in every row"
_WORDS = {
    ColumnKind.CODES.value: "text",
    ColumnKind.TEXT.value: "text",
    ColumnKind.NUMBER.value: "a number",
    ColumnKind.VECTOR.value: "a list of numbers",
}
"""What a column holds, in words of JSON."""


def conform(batch: pa.RecordBatch, schema: Schema, *, labels: bool, refuse: Refuse) -> pa.RecordBatch:
    """The batch without the values that the schema cannot read; the rows that had them are refused."""
    while (error := _check(batch, schema, labels).refused) is not None:
        name = error.field.removeprefix("column ")
        place = batch.schema.get_field_index(name)
        field = f"features.{name.removeprefix(FEATURE_PREFIX)}" if name.startswith(FEATURE_PREFIX) else name
        reason = _reason(schema, error)
        for row in np.flatnonzero(_present(batch.column(place))).tolist():
            refuse(row, field, reason)
        if name == SCORES_COLUMN:
            batch = batch.remove_column(place)
        else:
            nothing = pa.field(name, pa.float64())
            batch = batch.set_column(place, nothing, pa.nulls(batch.num_rows, pa.float64()))
    return batch


def notes(batch: pa.RecordBatch, schema: Schema, *, labels: bool) -> Iterator[str]:
    """How an accepted batch differs from the schema, in sentences."""
    if batch.num_rows:
        yield from differences(_check(batch, schema, labels))


def _check(batch: pa.RecordBatch, schema: Schema, labels: bool) -> Evolution:
    layout = _layout(batch.schema, labels)
    if labels:
        return check(
            schema,
            LabelBatch(columns=batch, model=schema.model, producer="", sequence=0, known_layout=layout),
        )
    found = PredictionBatch(
        columns=batch,
        model=schema.model,
        version=schema.version,
        producer="",
        sequence=0,
        known_layout=layout,
    )
    return check(schema, found)


@lru_cache(maxsize=256)
def _layout(schema: pa.Schema, labels: bool) -> Layout:
    """One object for each Arrow schema: what the types alone say is remembered by it."""
    return layout_of(schema, labels=labels)


def _present(column: pa.Array) -> npt.NDArray[np.bool_]:
    present = np.asarray(column.is_valid())
    if pa.types.is_floating(column.type):
        present &= ~np.isnan(column.to_numpy(zero_copy_only=False))
    return present


def _reason(schema: Schema, error: ContractError) -> str:
    found = next((word for kind, word in _WORDS.items() if error.found.startswith(kind)), error.found)
    return (
        f"is {found}; the schema of version {schema.version} (revision {schema.revision}) says "
        f"{error.expected.removesuffix(_EVERY_ROW)}"
    )
