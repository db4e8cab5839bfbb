"""How a column of events is read: numbers at single precision, categories as text, rows as hashes.

Values are compared at single precision, in the reference as in the stream. A service that sends float32 and a
training set in float64 then agree on which bin 0.1 is in.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from detectors.compiled import compiled
from detectors.errors import ProfileInvalid

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]
Cells = npt.NDArray[np.uint16]
Column = npt.NDArray[Any]

SCORE_BINS = 64
SKETCH_BITS = 10
SKETCH_CELLS = 2**SKETCH_BITS


@dataclass(frozen=True, eq=False, slots=True)
class Block(Mapping[str, Column]):
    """Numeric columns side by side, as they lie in memory: `matrix`, shape (columns, end or more), is float32 or
    float64; the rows from `first` to `end` count."""

    names: tuple[str, ...]
    matrix: Column
    first: int
    end: int

    def part(self, first: int, end: int) -> "Block":
        """Some of the rows, without copying them."""
        return Block(self.names, self.matrix, self.first + first, self.first + end)

    def __getitem__(self, name: str) -> Column:
        try:
            place = self.names.index(name)
        except ValueError:
            raise KeyError(name) from None
        return self.matrix[place, self.first : self.end]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def readable(values: Column) -> Column:
    """The same values as compiled code expects them: in one piece, and not to be changed. It is compiled for each kind
    of memory anew, which takes seconds."""
    flags = values.flags
    if flags.c_contiguous and flags.aligned and not flags.writeable:
        return values
    found = np.require(values, requirements=("C", "A")).view()
    found.flags.writeable = False
    return found


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


def singles(values: Column) -> Singles:
    """Single precision, one zero (no -0.0); what does not fit is infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32) + np.float32(0)


def vectors_of(column: Column, size: int) -> Singles:
    """A column of vectors as float32 of shape (n, size); a row that lacks a number, or has another size, is NaN
    throughout."""
    if column.ndim == 2 and column.shape[1] == size and column.dtype.kind in "fiub":
        found = singles(column)
    else:
        found = np.full((len(column), size), np.nan, dtype=np.float32)
        for row, value in enumerate(column):
            if value is not None and np.shape(value) == (size,):
                found[row] = single_column(np.asarray(value))
    found[np.isnan(found).any(axis=1)] = np.nan
    return found


def single_column(column: Column) -> Singles:
    """The column at single precision, as `numbers` reads it; always a copy, whose memory is contiguous."""
    if column.dtype == np.float32:
        return np.array(column, dtype=np.float32)
    return singles(column if column.dtype.kind in "fiub" else numbers(column))


@dataclass(frozen=True)
class Coded:
    """A categorical column as codes into names, as Arrow's dictionaries have it: codes (n,), negative: missing."""

    codes: Integers
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Integers | slice) -> "Coded":
        return Coded(self.codes[rows], self.names)


def categories(column: Column | Coded) -> tuple[list[str], Integers]:
    """Distinct categories as text, and for every row the index of its own (-1: missing).

    Whole numbers read alike whether they come as 3, 3.0 or "3", so that a codec does not make a new category.
    """
    if isinstance(column, Coded):
        found: list[object] = list(column.names)
        inverse = np.where((column.codes >= 0) & (column.codes < len(found)), column.codes, len(found))
        found.append(None)
    elif column.dtype.kind in "fiub":
        values, inverse = np.unique(column.astype(np.float64), return_inverse=True, equal_nan=True)
        found = values.tolist()
    else:
        found, inverse = _distinct(column.tolist())
    index: dict[str, int] = {}
    texts = [category_name(value) for value in found]
    place = [index.setdefault(text, len(index)) if text else -1 for text in texts]
    return list(index), np.array(place, dtype=np.int64)[inverse.reshape(-1)]


_PLAIN = frozenset({str, int, float, bool, type(None)})
"""Types of which equal values have the same text, so that only distinct values need one."""


def _distinct(values: list[object]) -> tuple[list[object], Integers]:
    if not set(map(type, values)) <= _PLAIN:
        values = [category_name(value) for value in values]
    index = dict.fromkeys(values)
    for code, value in enumerate(index):
        index[value] = code
    codes = np.fromiter(map(index.__getitem__, values), dtype=np.int64, count=len(values))
    return list(index), codes


def category_name(value: object) -> str:
    """The text of a category; empty when the value is missing."""
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, float):
        if np.isnan(value):
            return ""
        return str(int(value)) if value.is_integer() else repr(float(value))
    return str(value)


def encoded(name: str) -> bytes:
    """UTF-8, of halves of a surrogate pair too."""
    return name.encode("utf-8", "surrogatepass")


def score_bins(scores: Floats) -> Integers:
    """The bin of each score, read at single precision: `SCORE_BINS` equal bins on [0, 1]; what lies outside
    goes to the nearest."""
    return np.clip(singles(scores) * np.float32(SCORE_BINS), 0, SCORE_BINS - 1).astype(np.int64)


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
        values = singles(column)
        cells = np.where(np.isnan(values), _MISSING, values.view(np.uint32).astype(np.uint64))
        if cells.ndim == 1:
            return cells
        steps = np.uint64(_STEP) * np.arange(1, cells.shape[1] + 1, dtype=np.uint64)
        return _mix(cells + steps).sum(axis=1, dtype=np.uint64)
    found, codes = categories(column)
    digests = [hashlib.blake2b(encoded(name), digest_size=8).digest() for name in found]
    table = np.frombuffer(b"".join([*digests, _MISSING.tobytes()]), dtype="<u8").astype(np.uint64)
    return table[codes]


def _mix(cells: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    cells = (cells ^ (cells >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    cells = (cells ^ (cells >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return cells ^ (cells >> np.uint64(31))


def effective_rows(cells: Integers) -> float:
    """How many independent rows the counted rows are worth, when some of them are repeats of each other.

    Kish's effective sample size n^2 / sum of w^2, where w counts how often a distinct row was seen. The
    sum (the second frequency moment) is estimated from the hashed counts, less what chance collisions of
    distinct rows add (Alon, Matias and Szegedy 1996; Thorup and Zhang 2004); its relative error is about
    sqrt(2 / cells), 4 %. 500 draws from 170 patients are worth 127 rows; 500 different rows are worth
    500.
    """
    rows, squares = sums(cells)
    if rows <= 0:
        return 0.0
    size = float(len(cells))
    repeats = (squares - rows * rows / size) * size / (size - 1.0)
    return rows * rows / min(max(repeats, rows), rows * rows)


@compiled
def sums(counts: Integers) -> tuple[float, float]:
    """Of counts and of their squares."""
    total, squares = 0, 0
    for place in range(len(counts)):
        total += counts[place]
        squares += counts[place] * counts[place]
    return float(total), float(squares)


def numeric_matrix(
    features: Mapping[str, "Column | Coded"], names: Sequence[str], rows: int
) -> npt.NDArray[Any]:
    """The named columns as a matrix of shape (names, rows): float32 where that holds all of them, or float64.

    What is not there is missing in every row.
    """
    columns: list[Column | None] = []
    kind: type[np.float32] | type[np.float64] = np.float32
    for name in names:
        column = features.get(name)
        if isinstance(column, Coded):
            column = np.array([*column.names, None], dtype=object)[np.maximum(column.codes, -1)]
        if column is not None and column.ndim != 1:
            raise ProfileInvalid(f"column {name!r} has the shape {column.shape}; a number per row is wanted")
        if column is not None and column.dtype.kind not in "fiub":
            column = numbers(column)
        if column is not None and column.dtype not in _SINGLE_HOLDS:
            kind = np.float64
        columns.append(column)
    matrix = np.empty((len(names), rows), dtype=kind)
    for place, column in enumerate(columns):
        matrix[place] = np.nan if column is None else column
    return matrix


_SINGLE_HOLDS = frozenset(np.dtype(kind) for kind in ("f4", "f2", "i1", "u1", "i2", "u2", "?"))
