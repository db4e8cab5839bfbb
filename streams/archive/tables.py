"""How archived events look: the columns of the Parquet files, and making one table of many. Pure.

Every file has the columns of its kind's schema. After them come those that only some events have: `scores`,
`s.<segment>` and `f.<feature>`, in the type in which they came. Tables that are put together keep one type for each
column: numbers widen to the type that holds both; of numbers, texts and vectors the most frequent wins. Numbers
among texts are written as text; what finds no place is kept, as text, in a column `t.<name>` of its own.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from homeostat.batches import TRACE_COLUMN
from homeostat.contract import FEATURE_PREFIX, SEGMENT_PREFIX, LabelBatch, PredictionBatch
from homeostat.tracing import trace_of
from streams.archive.layout import DAY_US, Kind, day_of
from streams.archive.seal import METADATA as SEALED
from streams.archive.seal import seal_file, sealed

TEXT_PREFIX = "t."
SCORES_COLUMN = "scores"

TIME_TYPE = pa.timestamp("us", tz="UTC")
_COMMON = (("id", pa.string()), ("key", pa.uint64()), ("time", TIME_TYPE))
_ORIGIN = (
    ("producer", pa.string()),
    ("sequence", pa.int64()),
    ("partition", pa.int32()),
    ("offset", pa.int64()),
    ("row", pa.int32()),
)
PREDICTION_SCHEMA = pa.schema(
    [
        *_COMMON,
        ("version", pa.string()),
        ("prediction", pa.float64()),
        ("prediction_text", pa.string()),
        ("score", pa.float64()),
        ("latency_ms", pa.float32()),
        ("status", pa.string()),
        ("trace", pa.string()),
        *_ORIGIN,
    ]
)
"""What every file of predictions has. A prediction is a number or a text, and null in the other column."""
LABEL_SCHEMA = pa.schema([*_COMMON, ("value", pa.float64()), ("value_text", pa.string()), *_ORIGIN])
"""What every file of labels has."""
SCHEMAS: dict[Kind, pa.Schema] = {"predictions": PREDICTION_SCHEMA, "labels": LABEL_SCHEMA}

ORDER = ("time", "partition", "offset", "row")
"""Rows are sorted by these; the last three name a row of the input."""

Shape: TypeAlias = Mapping[str, tuple[pa.DataType, int]]
"""The columns that only some events have: type, and in how many rows there is a value."""

_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
_METADATA = b"homeostat"
_MISSING = "missing"
ROW_GROUP_ROWS = 32_768


def table_of(
    kind: Kind, records: Sequence[tuple[PredictionBatch | LabelBatch, int]], partition: int
) -> pa.Table:
    """The rows of records (batch, offset) of one partition and model, in order of time."""
    groups: dict[pa.Schema, list[tuple[PredictionBatch | LabelBatch, int]]] = {}
    for record in records:
        groups.setdefault(record[0].columns.schema, []).append(record)
    return in_order(joined([_table(kind, group, partition) for group in groups.values()], kind))


def _table(
    kind: Kind, records: Sequence[tuple[PredictionBatch | LabelBatch, int]], partition: int
) -> pa.Table:
    """Records whose columns are the same."""
    came = pa.Table.from_batches([batch.columns for batch, _ in records])
    rows = np.array([batch.rows for batch, _ in records])
    of_row = pa.array(np.repeat(np.arange(len(records)), rows))
    outcome = "prediction" if kind == "predictions" else "value"
    named: dict[str, Any] = {
        "version": [batch.version if isinstance(batch, PredictionBatch) else "" for batch, _ in records],
        "producer": [batch.producer for batch, _ in records],
        "sequence": [batch.sequence for batch, _ in records],
        "offset": [offset for _, offset in records],
    }
    found: dict[str, Any] = {
        "partition": pa.repeat(pa.scalar(partition, pa.int32()), came.num_rows),
        "row": pa.array(np.concatenate([np.arange(count, dtype=np.int32) for count in rows])),
    }
    text = _is_text(came.column(outcome).type)
    found[outcome] = pa.nulls(came.num_rows, pa.float64()) if text else came.column(outcome)
    found[f"{outcome}_text"] = came.column(outcome) if text else pa.nulls(came.num_rows, pa.string())
    arrays: list[Any] = []
    for field in SCHEMAS[kind]:
        if field.name == TRACE_COLUMN:
            arrays.append(_traces(came, [batch.traceparent for batch, _ in records], of_row))
        elif field.name in named:
            arrays.append(pa.array(named[field.name], field.type).take(of_row))
        elif field.name in found:
            arrays.append(found[field.name].cast(field.type))
        elif field.name in came.schema.names:
            arrays.append(came.column(field.name).cast(field.type))
        else:
            arrays.append(pa.nulls(came.num_rows, field.type))
    table = pa.Table.from_arrays(arrays, schema=SCHEMAS[kind])
    for field in came.schema:
        if field.name == SCORES_COLUMN or field.name.startswith((FEATURE_PREFIX, SEGMENT_PREFIX)):
            table = table.append_column(field.name, _plain(came.column(field.name)))
    return table


def _traces(came: pa.Table, sent: Sequence[str | None], of_row: pa.Array) -> Any:
    """The trace of each event; of one that does not say it, that in which its record was sent."""
    if not any(sent):
        return (
            came.column(TRACE_COLUMN)
            if TRACE_COLUMN in came.schema.names
            else pa.nulls(came.num_rows, pa.string())
        )
    shared = pa.array([None if one is None else trace_of(one) for one in sent], pa.string()).take(of_row)
    if TRACE_COLUMN not in came.schema.names:
        return shared
    return pc.call_function("coalesce", [came.column(TRACE_COLUMN), shared])


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dictionaries as texts, and vectors as lists: their length may differ from file to file."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    if pa.types.is_fixed_size_list(column.type):
        return column.cast(pa.list_(column.type.value_type))
    return column


def memory_of(batch: PredictionBatch | LabelBatch) -> int:
    """About how many bytes a batch takes in memory once its dictionaries are written out."""
    size = int(batch.columns.nbytes)
    for column in batch.columns.columns:
        if pa.types.is_dictionary(column.type) and len(column.dictionary):
            size += batch.rows * (4 + column.dictionary.nbytes // len(column.dictionary))
    return size


def by_day(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each UTC day; the table is in order."""
    times_us = times_of(table)
    start = 0
    while start < table.num_rows:
        day = times_us[start] // DAY_US
        end = int(np.searchsorted(times_us, (day + 1) * DAY_US))
        yield day_of(int(times_us[start])), table.slice(start, end - start)
        start = end


def times_of(table: pa.Table) -> Any:
    """Microseconds since the epoch as an int64 array."""
    return table.column("time").cast(pa.int64()).to_numpy()


def in_order(table: pa.Table) -> pa.Table:
    """Sorted by `ORDER`."""
    return table.sort_by([(name, "ascending") for name in ORDER]).combine_chunks()


def shape_of(table: pa.Table, kind: Kind) -> Shape:
    """What a table holds beside the columns of its kind."""
    fixed = set(SCHEMAS[kind].names)
    return {
        field.name: (field.type, table.num_rows - table.column(field.name).null_count)
        for field in table.schema
        if field.name not in fixed
    }


def shape_of_footer(footer: pq.FileMetaData, kind: Kind) -> Shape:
    """The same of a Parquet file, read from its footer."""
    schema = footer.schema.to_arrow_schema()
    fixed = set(SCHEMAS[kind].names)
    values = dict.fromkeys((name for name in schema.names if name not in fixed), 0)
    for group in range(footer.num_row_groups):
        part = footer.row_group(group)
        for index in range(part.num_columns):
            column = part.column(index)
            name = column.path_in_schema.removesuffix(".list.element")
            if name in values:
                nulls = column.statistics.null_count if column.statistics else 0
                values[name] += column.num_values - (nulls or 0)
    shape = {name: (schema.field(name).type, count) for name, count in values.items()}
    told = json.loads((schema.metadata or {}).get(_METADATA, b"{}"))
    return shape | {name: (pa.null(), 0) for name in told.get(_MISSING, []) if name not in shape}


def joined_schema(shapes: Iterable[Shape], kind: Kind) -> pa.Schema:
    """The schema that holds tables of these shapes; a column without any value has the type null."""
    votes: dict[str, dict[pa.DataType, int]] = {}
    for shape in shapes:
        for name, (type, values) in shape.items():
            found = votes.setdefault(name, {})
            found[type] = found.get(type, 0) + values
    fields = list(SCHEMAS[kind])
    for name, found in votes.items():
        present = {type: values for type, values in found.items() if values}
        winner = _winner(present)
        fields.append(pa.field(name, winner))
        aside = TEXT_PREFIX + name.removeprefix(FEATURE_PREFIX)
        lost = any(_family(type) != _family(winner) for type in present)
        if lost and _family(winner) != "text" and name.startswith(FEATURE_PREFIX) and aside not in votes:
            fields.append(pa.field(aside, pa.string()))
    return pa.schema(fields)


def _family(type: pa.DataType) -> str:
    if _is_text(type):
        return "text"
    return "vector" if pa.types.is_list(type) else "none" if pa.types.is_null(type) else "number"


def _winner(present: Mapping[pa.DataType, int]) -> pa.DataType:
    families: dict[str, int] = {}
    for type, values in present.items():
        families[_family(type)] = families.get(_family(type), 0) + values
    if not families:
        return pa.null()
    # Of two that are equally frequent the number wins: it is what a model has learned from.
    family = max(("number", "text", "vector"), key=lambda name: families.get(name, 0))
    types = {type for type in present if _family(type) == family}
    if len(types) == 1:
        return next(iter(types))
    if family == "vector":
        return pa.list_(pa.float64())
    if types <= {pa.bool_(), pa.int64()}:
        return pa.int64()
    return pa.float32() if types <= {pa.bool_(), pa.float32()} else pa.float64()


def joined(tables: Sequence[pa.Table], kind: Kind) -> pa.Table:
    """One table of all rows, one after the other."""
    schema = joined_schema([shape_of(table, kind) for table in tables], kind)
    if not tables:
        return schema.empty_table()
    return pa.concat_tables([fitted(table, schema) for table in tables])


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with the columns of `schema`, which was joined from its shape and others."""
    names = set(table.schema.names)
    arrays: list[Any] = []
    for field in schema:
        if field.name in names and not field.name.startswith(TEXT_PREFIX):
            arrays.append(_as(table.column(field.name), field.type))
        elif field.name.startswith(TEXT_PREFIX):
            arrays.append(_aside(table, field.name, schema))
        else:
            arrays.append(pa.nulls(table.num_rows, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _aside(table: pa.Table, name: str, schema: pa.Schema) -> Any:
    feature = FEATURE_PREFIX + name.removeprefix(TEXT_PREFIX)
    known = table.column(name) if name in table.schema.names else pa.nulls(table.num_rows, pa.string())
    if feature not in table.schema.names or feature not in schema.names:
        return known
    column, wanted = table.column(feature), _family(schema.field(feature).type)
    if wanted == "text" or _family(column.type) in ("none", wanted):
        return known
    # A row has a value here or there, never both.
    return pc.call_function("coalesce", [known, _as(column, pa.string())])


def _as(column: pa.ChunkedArray, type: pa.DataType) -> Any:
    found, wanted = _family(column.type), _family(type)
    if column.type == type:
        return column
    if "none" in (found, wanted) or (wanted == "vector" and found != "vector"):
        return pa.nulls(len(column), type)
    if found == "vector" and wanted == "text":
        return pa.array([None if one is None else json.dumps(one) for one in column.to_pylist()], pa.string())
    if found == "vector" and wanted == "number":
        return pa.nulls(len(column), type)
    if found == "text" and wanted == "number":
        fits = pc.call_function("match_substring_regex", [column], pc.MatchSubstringOptions(_NUMBER))
        numbers = pc.call_function("if_else", [fits, column, pa.scalar(None, pa.string())])
        return numbers.cast(pa.float64()).cast(type, safe=False)
    return column.cast(type, safe=False)


def _is_text(type: pa.DataType) -> bool:
    return pa.types.is_string(type) or pa.types.is_dictionary(type)


def file_schema(schema: pa.Schema, empty: Sequence[str]) -> pa.Schema:
    """A file's schema without columns that have no value in any row: their type would mean nothing, and mislead a
    reader who takes the first file for the pattern of all. The file tells their names in its metadata."""
    kept = [field for field in schema if field.name not in empty]
    return pa.schema(kept, metadata={_METADATA: json.dumps({_MISSING: list(empty)}).encode()})


def to_parquet(table: pa.Table, kind: Kind) -> pa.Buffer:
    """A whole file; the table is in order."""
    empty = [name for name, (_, values) in shape_of(table, kind).items() if not values]
    sink = pa.BufferOutputStream()
    with _open_writer(sink, file_schema(table.schema, empty)) as writer:
        writer.write_table(table.drop_columns(empty), row_group_size=ROW_GROUP_ROWS)
    return sealed(sink.getvalue())


@contextmanager
def writing(path: Path, schema: pa.Schema) -> Generator[pq.ParquetWriter]:
    """A local file, whole and sealed at the end of the block."""
    with _open_writer(path, schema) as writer:
        yield writer
    seal_file(path)


def _open_writer(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """Pages have checksums, so that a file that changes while it is read over a network is noticed."""
    told = schema.with_metadata({**(schema.metadata or {}), SEALED: b"1"})
    return pq.ParquetWriter(sink, told, compression="zstd", write_page_checksum=True)


def readable(table: pa.Table) -> pa.Table:
    """Columns without any type, because no event had a value, as missing numbers."""
    for index, field in enumerate(table.schema):
        if pa.types.is_null(field.type):
            table = table.set_column(index, field.name, pa.nulls(table.num_rows, pa.float64()))
    return table
