"""Blocks of events as a host gave them: checked row by row, made into the contract's record batches."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from homeostat.arguments import Block, Column
from homeostat.batches import (
    FEATURE_PREFIX,
    LABEL_FIELDS,
    PREDICTION_FIELDS,
    SCORES_COLUMN,
    SEGMENT_PREFIX,
    TIME_TYPE,
    TRACE_COLUMN,
    vector_array,
)
from homeostat.errors import ContractError
from homeostat.keys import keys_of
from homeostat.rows import MAX_TEXT_CHARS, UNFIT, Refuse, Rows, has_texts, is_missing, is_utf8

MAX_NAME_CHARS = 255
_OUTCOME = 3


def record_batches(
    block: Block, refuse: Refuse, breathe: Callable[[], None] = lambda: None
) -> Iterator[pa.RecordBatch]:
    """The good rows of a block: one record batch, or more where a feature or the prediction is a number in some
    rows and a text in others. Bad rows are told to `refuse`, once each, with the first thing that is wrong.
    `breathe` is called between columns.

    Raises `ContractError` when the block as a whole is bad: a model, a version, a feature's name, the lengths.
    """
    _check_names(block)
    block.check_lengths()
    features: dict[str, pa.Array] = {}
    columns = [block.values] if has_texts(block.values) else []
    for name, column in (block.features or {}).items():
        try:
            features[name] = fast_feature(column)
        except UNFIT:
            columns.append(column)
        breathe()
    for column in columns:
        texts = [i for i, value in enumerate(column) if isinstance(value, str)]
        if 0 < len(texts) < sum(not is_missing(value) for value in column):
            in_texts = set(texts)
            others = [i for i in range(block.rows) if i not in in_texts]
            yield from record_batches(block.pick(texts), refuse, breathe)
            yield from record_batches(block.pick(others), refuse, breathe)
            return
    rows = Rows(block.rows, refuse)
    named = _fixed_columns(block, rows)
    breathe()
    for name, column in (block.features or {}).items():
        array = features.get(name)
        named[FEATURE_PREFIX + name] = rows.feature(f"feature {name}", column) if array is None else array
    fixed = LABEL_FIELDS if block.label else PREDICTION_FIELDS
    schema = [field.with_type(named[field.name].type) for field in fixed]
    schema += [pa.field(name, array.type) for name, array in named.items()][len(fixed) :]
    batch = pa.RecordBatch.from_arrays(list(named.values()), schema=pa.schema(schema))
    good = rows.good
    if good.all():
        yield batch
    elif good.any():
        yield batch.filter(pa.array(good))


def name_text(field: str, value: object) -> str:
    """A model's or version's name as text (a whole number is as good); raises `ContractError`."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not is_feature_name(text):
        raise ContractError(field, value, f"a name of 1 to {MAX_NAME_CHARS} characters")
    return text


def is_feature_name(name: object) -> bool:
    """Whether a feature or a segment can have that name."""
    return isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS and is_utf8(name)


def fast_feature(column: Column) -> pa.Array:
    """A feature's column as Arrow takes it at once; raises one of `UNFIT` where it has to be read row by row."""
    if isinstance(column, np.ndarray) and column.ndim == 2:
        vectors = column.astype(np.float32)
        if not 0 < column.shape[1] <= 4_096 or np.isinf(vectors).any() or _has_holes(vectors):
            raise ValueError(f"vectors of shape {column.shape}")
        return vector_array(vectors)
    if _is_numeric(column):
        numbers: Any = column
        kept = numbers.dtype in (np.float32, np.float64)
        return pa.array(numbers if kept else numbers.astype(np.float64), from_pandas=True)
    try:
        return pa.array(column, pa.float64(), from_pandas=True)
    except UNFIT:
        return fast_texts(column).dictionary_encode()


def fast_texts(column: Column) -> pa.Array:
    """Texts as Arrow takes them at once; raises one of `UNFIT` where there is anything else."""
    texts = pa.array(column, pa.string(), from_pandas=True)
    ends = np.frombuffer(texts.buffers()[1], dtype=np.int32, count=len(texts) + 1)
    if len(texts) and np.diff(ends).max() > MAX_TEXT_CHARS:
        raise ValueError("a long text")
    return texts


def _check_names(block: Block) -> None:
    name_text("model", block.model)
    if not block.label:
        name_text("version", block.version)
    for what, names in (("feature", block.features), ("segment", block.segments)):
        for name in names or {}:
            if not is_feature_name(name):
                raise ContractError(f"{what} name", name, f"a text of 1 to {MAX_NAME_CHARS} characters")


def _fixed_columns(block: Block, rows: Rows) -> dict[str, pa.Array]:
    texts, ids = rows.ids(block.ids)
    fields = LABEL_FIELDS if block.label else PREDICTION_FIELDS
    named = {
        "id": ids,
        "key": pa.array(keys_of(texts), pa.uint64()),
        "time": pa.array(np.asarray(block.times_us, dtype=np.int64)).view(TIME_TYPE),
        fields[_OUTCOME].name: rows.outcome(fields[_OUTCOME].name, block.values, block.statuses),
    }
    if block.label:
        return named
    scores, latencies_ms, statuses = block.scores, block.latencies_ms, block.statuses
    none = pa.nulls
    named["score"] = none(block.rows, pa.float64()) if scores is None else rows.scores(scores)
    named["latency_ms"] = (
        none(block.rows, pa.float32()) if latencies_ms is None else rows.latencies(latencies_ms)
    )
    named["status"] = none(block.rows, pa.string()) if statuses is None else _texts(rows, "status", statuses)
    if block.class_scores is not None:
        vectors = rows.class_scores(block.class_scores)
        if vectors is not None:
            named[SCORES_COLUMN] = vector_array(vectors)
    if block.traces is not None:
        named[TRACE_COLUMN] = _texts(rows, "trace_id", block.traces)
    for name, column in (block.segments or {}).items():
        named[SEGMENT_PREFIX + name] = _texts(rows, f"segment {name}", column).dictionary_encode()
    return named


def _texts(rows: Rows, field: str, column: Column) -> pa.Array:
    try:
        return fast_texts(column)
    except UNFIT:
        return rows.texts(field, column)


def _is_numeric(column: Column) -> bool:
    return isinstance(column, np.ndarray) and column.dtype.kind in "fiub"


def _has_holes(vectors: np.ndarray[Any, Any]) -> bool:
    missing = np.isnan(vectors)
    return bool((missing.any(axis=1) & ~missing.all(axis=1)).any())
