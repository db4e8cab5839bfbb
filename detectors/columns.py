"""How a column of events is read: numbers at single precision, categories as text, rows as hashes.

Values are compared at single precision, in the reference as in the stream. A service that sends float32 and a
training set in float64 then agree on which bin 0.1 is in.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]
Column = npt.NDArray[Any]

SCORE_BINS = 64
SKETCH_CELLS = 1_024


def numbers(column: Column) -> Floats:
    """The column as float64; what is None, NaN or not a number at all becomes NaN."""
    if column.dtype.kind in "fiub":
        return column.astype(np.float64, copy=False)
    return np.fromiter((_number(value) for value in column.tolist()), dtype=np.float64, count=len(column))


def _number(value: object) -> float:
    if value is None:
        return np.nan
    try:
        return float(cast(Any, value))
    except (TypeError, ValueError):
        return np.nan


def singles(values: Floats) -> Singles:
    """Single precision, one zero (no -0.0); what does not fit is infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32) + np.float32(0)


def categories(column: Column) -> tuple[list[str], Integers]:
    """Distinct categories as text, and for every row the index of its own (-1: missing).

    Whole numbers read alike whether they come as 3, 3.0 or "3", so that a codec does not make a new category.
    """
    if column.dtype.kind in "fiub":
        values = column.astype(np.float64)
        found, inverse = np.unique(values, return_inverse=True, equal_nan=True)
        names = [category_name(value) for value in found.tolist()]
    else:
        texts = [category_name(value) for value in column.tolist()]
        index: dict[str, int] = {}
        inverse = np.fromiter((index.setdefault(text, len(index)) for text in texts), np.int64, len(texts))
        names = list(index)
    codes = inverse.astype(np.int64).reshape(-1)
    if "" in names:
        codes = np.where(codes == names.index(""), -1, codes)
    return names, codes


def category_name(value: object) -> str:
    """The text of a category; empty when the value is missing."""
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, float):
        if np.isnan(value):
            return ""
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def score_bins(scores: Floats) -> Integers:
    """The bin of each score: `SCORE_BINS` equal bins on [0, 1]; what lies outside goes to the nearest."""
    return np.clip(scores * SCORE_BINS, 0, SCORE_BINS - 1).astype(np.int64)


def row_hashes(features: Mapping[str, Column], names: Sequence[str]) -> Hashes:
    """One 64-bit hash per row over the named columns; equal rows have equal hashes, on every machine.

    A column that is not there counts as missing in every row.
    """
    rows = len(next(iter(features.values()))) if features else 0
    total = np.zeros(rows, dtype=np.uint64)
    for position, name in enumerate(names):
        column = features.get(name)
        cells = _cells(column) if column is not None else np.full(rows, _MISSING, dtype=np.uint64)
        total += _mix(cells + np.uint64(_STEP * (position + 1) % 2**64))
    return _mix(total)


_STEP = 0x9E3779B97F4A7C15
_MISSING = np.uint64(0x7FC00000)


def _cells(column: Column) -> Hashes:
    if column.dtype.kind in "fiub":
        values = singles(column.astype(np.float64, copy=False))
        return np.where(np.isnan(values), _MISSING, values.view(np.uint32).astype(np.uint64))
    found, codes = categories(column)
    digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in found]
    table = np.frombuffer(b"".join([*digests, _MISSING.tobytes()]), dtype="<u8").astype(np.uint64)
    return table[codes]


def _mix(cells: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    cells = (cells ^ (cells >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    cells = (cells ^ (cells >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return cells ^ (cells >> np.uint64(31))


def repeat_cells(hashes: Hashes) -> Integers:
    """Counts of the rows over `SKETCH_CELLS` cells of their hash: the sketch behind `effective_rows`."""
    cells = (hashes % np.uint64(SKETCH_CELLS)).astype(np.int64)
    return np.bincount(cells, minlength=SKETCH_CELLS).astype(np.int64)


def effective_rows(cells: Integers) -> float:
    """How many independent rows the counted rows are worth, when some of them are repeats of each other.

    Kish's effective sample size n^2 / sum of w^2, where w counts how often a distinct row was seen. The
    sum (the second frequency moment) is estimated from the hashed counts, less what chance collisions of
    distinct rows add (Alon, Matias and Szegedy 1996; Thorup and Zhang 2004); its relative error is about
    sqrt(2 / cells), 4 %. 500 draws from 170 patients are worth 127 rows; 500 different rows are worth
    500.
    """
    rows = float(cells.sum())
    if rows <= 0:
        return 0.0
    size = float(len(cells))
    squares = float(np.square(cells.astype(np.float64)).sum())
    repeats = (squares - rows * rows / size) * size / (size - 1.0)
    return rows * rows / min(max(repeats, rows), rows * rows)
