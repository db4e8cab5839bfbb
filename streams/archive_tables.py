"""How archived events look: the columns of the Parquet files, their places, joining tables. Pure."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from homeostat.batches import FEATURE_PREFIX, LabelBatch, PredictionBatch
from homeostat.contract import ContractError, key_of

Kind = Literal["predictions", "labels"]

_DAY_US = 86_400_000_000
_MAX_NAME_CHARS = 200
"""File systems take 255 bytes; a name of 255 emoji would be 3,060 when encoded."""

_ORIGIN = (("producer", pa.string()), ("sequence", pa.int64()), ("offset", pa.int64()))
_COMMON = (("id", pa.string()), ("key", pa.uint64()), ("time", pa.timestamp("us", tz="UTC")))
PREDICTION_SCHEMA = pa.schema(
    [
        *_COMMON,
        ("version", pa.string()),
        ("prediction", pa.float64()),
        ("score", pa.float64()),
        ("latency_ms", pa.float32()),
        ("status", pa.string()),
        *_ORIGIN,
    ]
)
"""What every file of predictions has; features follow as `f.<name>`, as float64, float32, int64 or string."""
LABEL_SCHEMA = pa.schema([*_COMMON, ("value", pa.float64()), *_ORIGIN])

SCHEMAS: dict[Kind, pa.Schema] = {"predictions": PREDICTION_SCHEMA, "labels": LABEL_SCHEMA}


@dataclass(frozen=True, slots=True)
class Place:
    """Which files an event belongs to."""

    kind: Kind
    model: str
    day: str


def model_folder(root: Path, kind: Kind, model: str) -> Path:
    """The folder of one model; its name is percent-encoded, so that any name is one folder."""
    # Dots are legal in a file name, but "." and ".." are not names; so "..." is free to mark a cut name.
    name = quote(model, safe="").replace(".", "%2E")
    if len(name) > _MAX_NAME_CHARS:
        name = f"{name[:_MAX_NAME_CHARS]}...{key_of(model):016x}"
    return root / kind / f"model={name}"


def file_path(root: Path, place: Place, partition: int, block_start: int) -> Path:
    """The one file for the events of `place` in the block of input offsets that begins at `block_start`."""
    folder = model_folder(root, place.kind, place.model) / f"day={place.day}"
    return folder / f"p{partition}-{block_start}.parquet"


def day_of(time_us: int) -> str:
    """The UTC day, as YYYY-MM-DD."""
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%d")


def tables_of(batch: PredictionBatch | LabelBatch, offset: int) -> Iterator[tuple[Place, pa.Table]]:
    """The rows of one record, by the day of the event. Raises `ContractError` for a column given twice."""
    names: list[str] = batch.columns.schema.names
    if len(set(names)) < len(names):
        raise ContractError("columns", ", ".join(names), "each column once")
    kind: Kind = "predictions" if isinstance(batch, PredictionBatch) else "labels"
    table = _table(batch, kind, offset)
    days = batch.times_us // _DAY_US
    for day in np.unique(days):
        place = Place(kind, batch.model, day_of(int(day) * 86_400 * 1_000_000))
        yield place, table if days.min() == days.max() else table.filter(pa.array(days == day))


def _table(batch: PredictionBatch | LabelBatch, kind: Kind, offset: int) -> pa.Table:
    columns = pa.Table.from_batches([batch.columns])
    same: dict[str, object] = {"producer": batch.producer, "sequence": batch.sequence, "offset": offset}
    if isinstance(batch, PredictionBatch):
        same["version"] = batch.version
    schema = SCHEMAS[kind]
    arrays = [
        pa.repeat(pa.scalar(same[field.name], field.type), batch.rows)
        if field.name in same
        else columns.column(field.name).cast(field.type)
        for field in schema
    ]
    table = pa.Table.from_arrays(arrays, schema=schema)
    for field in columns.schema:
        if field.name.startswith(FEATURE_PREFIX):
            column = columns.column(field.name)
            plain = column.cast(field.type.value_type) if pa.types.is_dictionary(field.type) else column
            table = table.append_column(field.name, plain)
    return table


def concat(tables: Sequence[pa.Table], kind: Kind) -> pa.Table:
    """One table of all rows, in order. A feature that a table lacks is null there; one that comes as numbers
    here and as text there becomes text."""
    if not tables:
        return SCHEMAS[kind].empty_table()
    texts = mixed_features(tables)
    names = dict.fromkeys(name for table in tables for name in table.schema.names)
    joined = pa.concat_tables([_fit(table, texts) for table in tables], promote_options="permissive")
    for name in names:
        if name not in joined.schema.names:
            joined = joined.append_column(name, pa.nulls(joined.num_rows, pa.float64()))
    return joined.select(list(names))


def mixed_features(tables: Sequence[pa.Table]) -> set[str]:
    """The features that come as numbers in some tables and as text in others."""
    kinds: dict[str, set[bool]] = {}
    for table in tables:
        for field in table.schema:
            if field.name.startswith(FEATURE_PREFIX) and table.column(field.name).null_count < table.num_rows:
                kinds.setdefault(field.name, set()).add(pa.types.is_string(field.type))
    return {name for name, found in kinds.items() if len(found) > 1}


def _fit(table: pa.Table, texts: set[str]) -> pa.Table:
    """Without features that are missing in every row: their type means nothing. Numbers as text if needed."""
    for name in table.schema.names:
        if not name.startswith(FEATURE_PREFIX):
            continue
        column = table.column(name)
        if column.null_count == table.num_rows:
            table = table.drop_columns([name])
        elif name in texts and not pa.types.is_string(column.type):
            position = table.schema.get_field_index(name)
            table = table.set_column(position, name, column.cast(pa.string()))
    return table
