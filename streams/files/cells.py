"""Cells of a column of numbers that hold something else: found, told, and no reason to refuse a file."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import math
import re
from collections.abc import Collection
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

MOST: Final = 10_000
"""Rows of a file with such a cell, beyond which the column is another one than was thought."""
MOSTLY: Final = 0.99
"""Share of the values of a column that must be numbers for the others to be mistakes."""
VARIED: Final = 50
"""Distinct numbers that such a column has at least: with fewer, texts and numbers may both be codes."""
_COMMA: Final = r"^\s*[+-]?\d+,\d+\s*$"
_MAYBE_COMMA: Final = r"^\s*[+-]?\d+(,\d+)?\s*$"
_compute: Any = pc
"""Its functions are made at import, where no type checker sees them."""


class Cell(NamedTuple):
    """A value that is no number, where one belongs. Rows count from 0."""

    row: int
    column: str
    value: str

    @property
    def told(self) -> str:
        """In words; a decimal comma is named."""
        comma = " (a comma stands where a point belongs)" if re.match(_COMMA, self.value) else ""
        return f"{self.column} is {self.value!r} in row {self.row:,}{comma}"


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    return pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)


def number(text: str | None) -> float:
    """The number that a text says; NaN where there is none. Raises `ValueError` for what is no number."""
    if text is None:
        return math.nan
    if "_" in text:
        raise ValueError(text)
    return float(text)


def as_numbers(column: pa.Array, name: str, first_row: int) -> tuple[pa.Array, list[Cell]]:
    """A column of texts as numbers; the cells that are none are null, and told."""
    column = column.cast(pa.string())
    try:
        return column.cast(pa.float64()), []
    except pa.ArrowInvalid:
        pass
    values = np.full(len(column), np.nan)
    found: list[Cell] = []
    for place, text in enumerate(column.to_pylist()):
        try:
            values[place] = number(text)
        except ValueError:
            found.append(Cell(first_row + place, name, text))
    return pa.array(values, from_pandas=True), found


def as_moments(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column of texts as times; null where there is none, which is told as a row without a usable time."""
    column = column.cast(pa.string())
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        return pa.concat_arrays([_moment(column.slice(place, 1), kind) for place in range(len(column))])


def _moment(cell: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return cell.cast(kind)
    except pa.ArrowInvalid:
        return pa.nulls(1, kind)


def are_mostly_numbers(column: pa.Array) -> bool:
    """Whether a column of texts is one of numbers in which a few cells are wrong."""
    numbers, wrong = as_numbers(column, "", 0)
    known: npt.NDArray[Any] = numbers.drop_null().to_numpy(zero_copy_only=False)
    return len(np.unique(known)) >= VARIED and len(known) >= MOSTLY * (len(known) + len(wrong))


def with_comma(column: pa.Array) -> str | None:
    """A value of a column of texts that is one of numbers with a comma in them; None where it is another column."""
    texts = column.cast(pa.string()).drop_null()
    found = texts.filter(_compute.match_substring_regex(texts, _COMMA))
    fitting = _compute.sum(_compute.match_substring_regex(texts, _MAYBE_COMMA)).as_py() or 0
    if not len(found) or fitting < MOSTLY * len(texts) or len(found.unique()) < VARIED:
        return None
    return str(found[0].as_py())


def without(table: pa.Table, rows: Collection[int]) -> pa.Table:
    """A table without some of its rows."""
    if not rows:
        return table
    kept = np.ones(table.num_rows, dtype=np.bool_)
    kept[[row for row in rows if row < len(kept)]] = False
    return table.filter(pa.array(kept))
