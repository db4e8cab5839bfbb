"""A first draft of a schema, from the columns of a file; a person reads it before it is registered."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from detectors.values import Task
from homeostat.contract import FEATURE_PREFIX, SEGMENT_PREFIX
from homeostat.contract_layout import MAX_EMBEDDING_SIZE
from streams.control.schemas import FeatureSchema, Schema, build_schema
from streams.files.tables import FileInvalid, TableFile

ROLES = frozenset(
    {"id", "key", "time", "prediction", "score", "scores", "latency_ms", "status", "trace", "value"}
)
"""Columns of the event contract, which are no features by these names."""


class Inferred(NamedTuple):
    """A draft, and what was decided about columns that it does not have as features."""

    schema: Schema
    notes: tuple[str, ...]


def infer_schema(
    table: TableFile,
    model: str,
    version: str,
    *,
    task: Task = "binary",
    classes: Sequence[str] = (),
    segments: Sequence[str] = (),
    leave_out: Collection[str] = (),
) -> Inferred:
    """The schema that this file's columns suggest: numbers, categories (text and true/false; they may come as
    text or as numbers), embeddings (lists of one length). Columns `f.NAME` and `s.NAME`, as the archive writes
    them, are features and segments, and then nothing else is one.

    segments, leave_out: columns that the person names. Raises `FileInvalid` where there is no feature or no such
    column, `SchemaInvalid` where task and classes contradict each other.
    """
    absent = sorted({*segments, *leave_out} - set(table.columns))
    if absent:
        raise FileInvalid(f"{table.path}: there are no columns {absent}; it has {table.columns}")
    prefixed = any(name.startswith(FEATURE_PREFIX) for name in table.columns)
    chosen = list(_prefixed(table)) if prefixed else list(table.schema)
    table.refuse_commas({field.name for field in chosen} - set(leave_out))
    notes: list[str] = []
    features: list[FeatureSchema] = []
    for field in chosen:
        if field.name in leave_out:
            continue
        why = "a column of the contract by its name" if field.name in ROLES and not prefixed else None
        found = why or _feature(table, field, prefixed)
        if isinstance(found, FeatureSchema):
            features.append(found)
        else:
            notes.append(f"no feature: {field.name!r} ({found})")
    if not features:
        raise FileInvalid(
            f"{table.path}: none of its columns can be a feature: {'; '.join(notes) or 'no columns'}"
        )
    watched = [*segments]
    if prefixed:
        watched += [
            name.removeprefix(SEGMENT_PREFIX) for name in table.columns if name.startswith(SEGMENT_PREFIX)
        ]
    schema = build_schema(model, version, features, task=task, classes=classes, segments=watched)
    return Inferred(schema, tuple(notes))


def _prefixed(table: TableFile) -> Iterator[pa.Field]:
    for field in table.schema:
        if field.name.startswith(FEATURE_PREFIX):
            yield field


def _feature(table: TableFile, field: pa.Field, prefixed: bool) -> FeatureSchema | str:
    """The feature, or why the column is none."""
    name = field.name.removeprefix(FEATURE_PREFIX) if prefixed else field.name
    held = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_floating(held) and held.bit_width <= 32:
        return FeatureSchema(name=name, type="float32")
    if pa.types.is_integer(held):
        return FeatureSchema(name=name, type="int64")
    if pa.types.is_floating(held) or pa.types.is_decimal(held):
        return FeatureSchema(name=name)
    if pa.types.is_string(held) or pa.types.is_large_string(held) or pa.types.is_boolean(held):
        return FeatureSchema(name=name, kind="categorical", type="any")
    if not any(is_list(held) for is_list in _LISTS) or not pa.types.is_primitive(held.value_type):
        return f"its type is {held}"
    sizes = _sizes(table, field)
    if len(sizes) != 1 or not 1 <= min(sizes) <= MAX_EMBEDDING_SIZE:
        told = ", ".join(map(str, sorted(sizes)[:5])) or "no list"
        return f"lists of {told} numbers; an embedding has one size, 1 to {MAX_EMBEDDING_SIZE}"
    return FeatureSchema(name=name, kind="embedding", type="vector", size=min(sizes))


_LISTS = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)


def _sizes(table: TableFile, field: pa.Field) -> set[int]:
    if pa.types.is_fixed_size_list(field.type):
        return {int(field.type.list_size)}
    sizes: set[int] = set()
    for batch in table.batches([field.name]):
        lengths = pc.call_function("list_value_length", [batch.column(0)]).unique().to_pylist()
        sizes.update(length for length in lengths if length is not None)
    return sizes
