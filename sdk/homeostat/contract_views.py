"""Columns of Arrow as NumPy arrays, and arrays as the columns that travel."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from homeostat.contract_layout import Column, ColumnKind

FloatArray: TypeAlias = npt.NDArray[np.float64]
FeatureArray: TypeAlias = npt.NDArray[Any]
CodeArray: TypeAlias = npt.NDArray[np.int64]


def numbers_of(column: pa.Array, kind: ColumnKind) -> FloatArray:
    """A numeric column as float64, shape (rows,), null = NaN; a view where it is float64 without nulls."""
    if kind is ColumnKind.FLAG:
        column = column.cast(pa.float64())
    values = column.to_numpy(zero_copy_only=False)
    return values if kind is ColumnKind.NUMBER else values.astype(np.float64, copy=False)


def texts_of(column: pa.Array, kind: ColumnKind) -> FeatureArray:
    """A text column as objects, shape (rows,), null = None. Rows of a dictionary share their texts."""
    if kind is ColumnKind.TEXT:
        return column.to_numpy(zero_copy_only=False)
    values, codes = codes_of(column, kind)
    return np.array([*values, None], dtype=object)[codes]


def codes_of(column: pa.Array, kind: ColumnKind) -> tuple[list[str], CodeArray]:
    """Distinct texts of a text column, and for every row the index of its own (-1: null).

    Texts that no row has may be among them.
    """
    coded = column.dictionary_encode() if kind is ColumnKind.TEXT else column
    indices = coded.indices
    if indices.null_count:
        codes = indices.cast(pa.int64()).fill_null(-1).to_numpy()
    else:
        codes = indices.to_numpy().astype(np.int64, copy=False)
    values: list[str | None] = coded.dictionary.to_pylist()
    index: dict[str, int] = {}
    places = [-1 if text is None else index.setdefault(text, len(index)) for text in values]
    if len(index) < len(values):
        codes = np.array([*places, -1], dtype=np.int64)[codes]
    return list(index), codes


def vectors_of(column: pa.Array, size: int) -> FeatureArray:
    """A fixed-size list column as it travels (float32 or float64), shape (rows, size), null = NaN."""
    rows = len(column)
    flat = column.values.slice(column.offset * size, rows * size).to_numpy(zero_copy_only=False)
    vectors = flat.reshape(rows, size)
    if column.null_count:
        vectors = vectors.copy()
        vectors[column.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return vectors


def feature_of(column: pa.Array, layout: Column, *, single: bool = False) -> FeatureArray:
    """A feature as an array: numbers (float64, or as they travel where float32 is good enough), texts as
    objects, an embedding as float32 of shape (rows, size)."""
    if layout.kind is ColumnKind.NUMBER:
        return column.to_numpy(zero_copy_only=False)
    if layout.kind.is_text:
        return texts_of(column, layout.kind)
    if layout.kind is ColumnKind.VECTOR:
        with np.errstate(over="ignore"):
            return vectors_of(column, layout.size).astype(np.float32, copy=False)
    if single and layout.kind is ColumnKind.SINGLE:
        return column.to_numpy(zero_copy_only=False)
    return numbers_of(column, layout.kind)


def feature_array(values: npt.ArrayLike) -> pa.Array:
    """A feature as the Arrow column that travels: texts as a dictionary, vectors (shape (rows, size)) as
    fixed-size lists of float32, all else as float64; NaN and None are null."""
    array = np.asarray(values)
    if array.ndim == 2:
        return vector_array(array.astype(np.float32))
    if array.dtype.kind in "OUT" and any(isinstance(value, str) for value in array):
        return text_array(array)
    return pa.array(array.astype(np.float64, copy=False), from_pandas=True)


def outcome_array(values: npt.ArrayLike | Sequence[str | None]) -> pa.Array:
    """Predictions or labels as the column that travels: class names as a dictionary, else float64."""
    array = np.asarray(values)
    if array.dtype.kind in "OUT" and any(isinstance(value, str) for value in array):
        return text_array(array)
    return pa.array(array.astype(np.float64, copy=False), from_pandas=True)


def text_array(values: npt.ArrayLike | Sequence[str | None]) -> pa.Array:
    """Texts as a dictionary; None and NaN are null."""
    texts = np.asarray(values, dtype=object)
    return pa.array(texts, pa.string(), from_pandas=True).dictionary_encode()


def vector_array(vectors: FeatureArray) -> pa.Array:
    """Vectors, shape (rows, size), as fixed-size lists of their own float type; a row of NaN is null."""
    missing = np.isnan(vectors).all(axis=1)
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    mask = pa.array(missing) if missing.any() else None
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1], mask=mask)
