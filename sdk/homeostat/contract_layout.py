"""Which column of a batch is what: read once per Arrow schema, not once per batch."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import pyarrow as pa

from homeostat.contract_frames import MAX_COLUMNS
from homeostat.errors import ContractError

FEATURE_PREFIX = "f."
SEGMENT_PREFIX = "s."
SCORES_COLUMN = "scores"
TRACE_COLUMN = "trace"

MAX_CLASSES = 1_024
MAX_EMBEDDING_SIZE = 4_096
_MAX_NAME_CHARS = 255

TIME_TYPE = pa.timestamp("us", tz="UTC")
TEXT_TYPE = pa.dictionary(pa.int32(), pa.string())
PREDICTION_FIELDS: tuple[pa.Field, ...] = (
    pa.field("id", pa.string(), nullable=False),
    pa.field("key", pa.uint64(), nullable=False),
    pa.field("time", TIME_TYPE, nullable=False),
    pa.field("prediction", pa.float64()),
    pa.field("score", pa.float64()),
    pa.field("latency_ms", pa.float32()),
    pa.field("status", pa.string()),
)
LABEL_FIELDS: tuple[pa.Field, ...] = (
    pa.field("id", pa.string(), nullable=False),
    pa.field("key", pa.uint64(), nullable=False),
    pa.field("time", TIME_TYPE, nullable=False),
    pa.field("value", pa.float64(), nullable=False),
)
OUTCOME = 3
"""Where both kinds have what was said or turned out: `prediction`, `value`."""


class ColumnKind(StrEnum):
    """What a column of a segment, a feature or an outcome holds."""

    NUMBER = "float64"
    SINGLE = "float32"
    INTEGER = "int64"
    FLAG = "bool"
    TEXT = "string"
    CODES = "dictionary of strings"
    VECTOR = "fixed-size list of floats"

    @property
    def is_text(self) -> bool:
        """Whether the values are texts."""
        return self is ColumnKind.TEXT or self is ColumnKind.CODES

    @property
    def is_numeric(self) -> bool:
        """Whether the values are single numbers."""
        return not self.is_text and self is not ColumnKind.VECTOR


class Column(NamedTuple):
    """One column: its name without the prefix, where it is, what it holds; `size`: of a fixed-size list."""

    name: str
    place: int
    kind: ColumnKind
    size: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The columns of one Arrow schema that keeps the contract. Compared by identity: it keys caches."""

    schema: pa.Schema
    outcome: Column
    features: tuple[Column, ...] = ()
    segments: tuple[Column, ...] = ()
    scores: Column | None = None
    trace: int | None = None
    codes: tuple[int, ...] = ()
    """The columns that are dictionaries."""
    beyond_1: str | None = None
    """The first column, if any, that version 1 of the contract does not have."""
    feature_names: tuple[str, ...] = ()


def layout_of(schema: pa.Schema, *, labels: bool) -> Layout:
    """The layout of a schema; raises `ContractError` where it breaks the contract."""
    try:
        names: list[str] = schema.names
    except UnicodeDecodeError as error:
        raise ContractError("columns", error.object, "names in UTF-8") from error
    if len(names) > MAX_COLUMNS:
        raise ContractError("columns", f"{len(names)} columns", f"at most {MAX_COLUMNS}")
    types: list[pa.DataType] = schema.types
    fields = LABEL_FIELDS if labels else PREDICTION_FIELDS
    outcome = _fixed(names, types, fields)
    rest = names[len(fields) :]
    if labels and rest:
        raise ContractError("columns", ", ".join(rest), "no other column")
    if len(set(rest)) < len(rest):
        raise ContractError("columns", ", ".join(rest), "each column once")
    found: dict[str, list[Column]] = {"feature": [], "segment": [], SCORES_COLUMN: []}
    trace: int | None = None
    beyond_1 = names[OUTCOME] if outcome.kind.is_text else None
    for index, (name, type) in enumerate(zip(names, types, strict=True)):
        if index < len(fields):
            continue
        if name == TRACE_COLUMN:
            _check_type(name, type, type == pa.string(), "string")
            trace = index
        else:
            role, column = _optional(name, index, type)
            found[role].append(column)
            if role == "feature" and column.kind not in (ColumnKind.VECTOR, ColumnKind.FLAG):
                continue
        beyond_1 = beyond_1 or name
    columns = [outcome, *found["feature"], *found["segment"]]
    return Layout(
        schema=schema,
        outcome=outcome,
        features=tuple(found["feature"]),
        segments=tuple(found["segment"]),
        scores=next(iter(found[SCORES_COLUMN]), None),
        trace=trace,
        codes=tuple(column.place for column in columns if column.kind is ColumnKind.CODES),
        beyond_1=beyond_1,
        feature_names=tuple(column.name for column in found["feature"]),
    )


def _fixed(names: list[str], types: list[pa.DataType], fields: tuple[pa.Field, ...]) -> Column:
    expected: list[str] = [field.name for field in fields]
    if names[: len(fields)] != expected:
        raise ContractError("columns", ", ".join(names), "first " + ", ".join(expected))
    for field, found in zip(fields, types, strict=False):
        if field.name != expected[OUTCOME]:
            _check_type(field.name, found, found == field.type, str(field.type))
    kind = _kind(types[OUTCOME])
    good = kind is ColumnKind.NUMBER or (kind is not None and kind.is_text)
    _check_type(expected[OUTCOME], types[OUTCOME], good, "float64, string or dictionary of strings")
    return Column(expected[OUTCOME], OUTCOME, kind or ColumnKind.NUMBER)


def _optional(name: str, index: int, type: pa.DataType) -> tuple[str, Column]:
    """The role of a column after the fixed ones, and the column."""
    kind = _kind(type)
    size = int(type.list_size) if kind is ColumnKind.VECTOR else 1
    if name == SCORES_COLUMN:
        good = kind is ColumnKind.VECTOR and 2 <= size <= MAX_CLASSES
        _check_type(name, type, good, f"a fixed-size list of 2 to {MAX_CLASSES} float32 or float64")
        return SCORES_COLUMN, Column(name, index, ColumnKind.VECTOR, size)
    prefix, bare = name[: len(FEATURE_PREFIX)], name[len(FEATURE_PREFIX) :]
    if prefix not in (FEATURE_PREFIX, SEGMENT_PREFIX) or not bare or len(bare) > _MAX_NAME_CHARS:
        expected = f"f.<feature> or s.<segment> (1 to {_MAX_NAME_CHARS} characters), scores or trace"
        raise ContractError(f"column {name}", "an unknown column", expected)
    if prefix == SEGMENT_PREFIX:
        _check_type(name, type, kind is not None and kind.is_text, "string or dictionary of strings")
        return "segment", Column(bare, index, kind or ColumnKind.TEXT)
    good = kind is not None and (kind is not ColumnKind.VECTOR or 1 <= size <= MAX_EMBEDDING_SIZE)
    _check_type(
        name,
        type,
        good,
        "float64, float32, int64, bool, string, dictionary of strings, or a fixed-size list of "
        f"1 to {MAX_EMBEDDING_SIZE} float32 or float64",
    )
    return "feature", Column(bare, index, kind or ColumnKind.NUMBER, size)


_PLAIN = {
    pa.float64(): ColumnKind.NUMBER,
    pa.float32(): ColumnKind.SINGLE,
    pa.int64(): ColumnKind.INTEGER,
    pa.bool_(): ColumnKind.FLAG,
    pa.string(): ColumnKind.TEXT,
}


def _kind(type: pa.DataType) -> ColumnKind | None:
    if pa.types.is_dictionary(type):
        return ColumnKind.CODES if type.value_type == pa.string() else None
    if pa.types.is_fixed_size_list(type):
        return ColumnKind.VECTOR if type.value_type in (pa.float32(), pa.float64()) else None
    return _PLAIN.get(type)


def _check_type(name: str, found: pa.DataType, good: bool, expected: str) -> None:
    if not good:
        raise ContractError(f"column {name}", str(found), expected)
