"""The slow, careful reading of columns: value by value, telling which rows are bad and why."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import uuid
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from homeostat.arguments import Column
from homeostat.batches import vector_array
from homeostat.contract import SCORE_TOLERANCE
from homeostat.contract_layout import MAX_CLASSES, MAX_EMBEDDING_SIZE

MAX_TEXT_CHARS = 4_096
UNFIT = (pa.ArrowException, ValueError, TypeError, OverflowError)
"""What Arrow and NumPy raise for values that do not go into a column."""

Refuse: TypeAlias = Callable[[int, str, object, str], None]
"""Called with rows, field, value, and what would be right."""

_TEXT = f"a text of 1 to {MAX_TEXT_CHARS} characters"
_OPTIONAL_TEXT = f"a text of at most {MAX_TEXT_CHARS} characters, or nothing"
_FEATURE = f"a number, a text of at most {MAX_TEXT_CHARS} characters, a vector, or nothing"
_OUTCOME = "a finite number, the name of a class, or (of a failed request with a status) nothing"
_PROBABILITY = "a probability from 0 to 1, or nothing"


class Rows:
    """Which rows of a block are still good. A bad value leaves a harmless one in its place."""

    def __init__(self, rows: int, refuse: Refuse) -> None:
        self.good: npt.NDArray[np.bool_] = np.ones(rows, dtype=np.bool_)
        self._refuse = refuse

    def ids(self, column: Column) -> tuple[list[str], pa.Array]:
        """Event ids, as they are and as Arrow has them; numbers and UUIDs become texts."""
        values: list[Any] = column.tolist() if isinstance(column, np.ndarray) else list(column)
        try:
            array = pa.array(values, pa.string())
            lengths = np.diff(np.frombuffer(array.buffers()[1], dtype=np.int32, count=len(array) + 1))
            if not array.null_count and lengths.min() > 0 and lengths.max() <= MAX_TEXT_CHARS:
                return values, array
        except UNFIT:
            pass
        texts: list[str] = []
        for row, value in enumerate(values):
            text = value if isinstance(value, str) else _id_text(value)
            if text is None or not 0 < len(text) <= MAX_TEXT_CHARS or not is_utf8(text):
                self._bad(row, "id", value, _TEXT)
                text = ""
            texts.append(text)
        return texts, pa.array(texts, pa.string())

    def outcome(self, field: str, column: Column, statuses: Column | None) -> pa.Array:
        """Predictions or label values: all numbers, or all names of classes; nothing where a status tells why."""
        if has_texts(column):
            texts = self._each_text(field, column, _OUTCOME)
            missing = np.array([not text for text in texts], dtype=np.bool_)
            array = pa.array([text or None for text in texts], pa.string()).dictionary_encode()
        else:
            values = self._numbers(field, column, _OUTCOME)
            if np.isfinite(values).all():
                return pa.array(values)
            missing = np.isnan(values)
            array = pa.array(values, from_pandas=True)
            for row in np.flatnonzero(np.isinf(values)).tolist():
                self._bad(row, field, column[row], _OUTCOME)
        for row in np.flatnonzero(missing).tolist():
            if statuses is None or is_missing(statuses[row]):
                self._bad(row, field, column[row], _OUTCOME)
        return array

    def scores(self, column: Column) -> pa.Array:
        """Probabilities; what a rounding error put outside [0, 1] is clipped."""
        values = self._numbers("score", column, _PROBABILITY)
        outside = (values < -SCORE_TOLERANCE) | (values > 1 + SCORE_TOLERANCE)
        for row in np.flatnonzero(outside).tolist():
            self._bad(row, "score", column[row], _PROBABILITY)
        return pa.array(np.clip(values, 0.0, 1.0), from_pandas=True)

    def class_scores(self, column: Column) -> npt.NDArray[Any] | None:
        """A probability for each class, shape (rows, classes), NaN where missing; None without any."""
        expected = f"2 to {MAX_CLASSES} probabilities from 0 to 1, as many in each row, or nothing"
        vectors = self._vectors("scores", column, 2, MAX_CLASSES, expected)
        if vectors is None:
            return None
        outside = ((vectors < -SCORE_TOLERANCE) | (vectors > 1 + SCORE_TOLERANCE)).any(axis=1)
        for row in np.flatnonzero(outside).tolist():
            self._bad(row, "scores", column[row], expected)
        return np.clip(vectors, 0.0, 1.0)

    def latencies(self, column: Column) -> pa.Array:
        """Milliseconds as float32."""
        values = self._numbers("latency_ms", column, "a number of milliseconds, or nothing")
        with np.errstate(over="ignore"):
            return pa.array(values.astype(np.float32), from_pandas=True)

    def texts(self, field: str, column: Column) -> pa.Array:
        """Texts; whole numbers become texts."""
        return pa.array(self._each_text(field, column, _OPTIONAL_TEXT), pa.string())

    def feature(self, field: str, column: Column) -> pa.Array:
        """A column that Arrow did not take as it is: all its rows are texts, or vectors, or numbers."""
        if has_texts(column):
            return self.texts(field, column).dictionary_encode()
        vectors = sum(isinstance(value, (tuple, list, np.ndarray)) for value in column)
        if vectors > sum(isinstance(value, (int, float, np.number)) for value in column):
            expected = (
                f"a vector of 1 to {MAX_EMBEDDING_SIZE} finite numbers, as many in each row, or nothing"
            )
            found = self._vectors(field, column, 1, MAX_EMBEDDING_SIZE, expected)
            if found is not None:
                return vector_array(found.astype(np.float32))
        return pa.array(self._numbers(field, column, _FEATURE), from_pandas=True)

    def _each_text(self, field: str, column: Column, expected: str) -> list[str | None]:
        texts: list[str | None] = []
        for row, value in enumerate(column):
            text = None if is_missing(value) else str(value) if isinstance(value, int) else value
            if text is not None and not (isinstance(text, str) and _fits(text)):
                self._bad(row, field, value, expected)
                text = None
            texts.append(text)
        return texts

    def _vectors(
        self, field: str, column: Column, fewest: int, most: int, expected: str
    ) -> npt.NDArray[np.float64] | None:
        """Vectors of one size (that of the first good one), shape (rows, size); None when there is none."""
        found: npt.NDArray[np.float64] | None = None
        for row, value in enumerate(column):
            if is_missing(value) or (isinstance(value, np.ndarray) and _is_all_nan(value)):
                continue
            vector = _vector(value)
            if vector is None or not fewest <= len(vector) <= most:
                self._bad(row, field, value, expected)
                continue
            if found is None:
                found = np.full((len(column), len(vector)), np.nan)
            if len(vector) == found.shape[1]:
                found[row] = vector
            else:
                self._bad(row, field, value, expected)
        return found

    def _numbers(self, field: str, column: Column, expected: str) -> npt.NDArray[np.float64]:
        try:
            return _fast_numbers(column)
        except UNFIT:
            values = np.full(len(column), np.nan)
            for row, value in enumerate(column):
                if is_missing(value):
                    continue
                number = _number(value)
                if number is None:
                    self._bad(row, field, value, expected)
                    number = 0.0
                values[row] = number
            return values

    def _bad(self, row: int, field: str, value: object, expected: str) -> None:
        if self.good[row]:
            self.good[row] = False
            self._refuse(1, field, value, expected)


def has_texts(column: Column) -> bool:
    """Whether any value is a text."""
    if isinstance(column, np.ndarray) and column.dtype != object:
        return column.dtype.kind in "UT"
    return any(issubclass(kind, str) for kind in set(map(type, column)))


def is_missing(value: object) -> bool:
    """None, NaN, and pandas' own markers (told by name: the SDK does not depend on pandas)."""
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def is_utf8(text: str) -> bool:
    """Whether the text can be written down: lone surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fast_numbers(column: Column) -> npt.NDArray[np.float64]:
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return column.astype(np.float64, copy=False)
    return pa.array(column, pa.float64(), from_pandas=True).to_numpy(zero_copy_only=False)


def _number(value: object) -> float | None:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        return None
    number: Any = value
    try:
        return float(number)
    except (TypeError, ValueError, OverflowError):
        return None


def _vector(value: object) -> npt.NDArray[np.float64] | None:
    try:
        vector = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return vector if vector.ndim == 1 and np.isfinite(vector).all() else None


def _is_all_nan(vector: npt.NDArray[Any]) -> bool:
    return vector.dtype.kind == "f" and bool(np.isnan(vector).all())


def _id_text(value: object) -> str | None:
    if isinstance(value, (int, np.integer, uuid.UUID)) and not isinstance(value, bool):
        return str(value)
    return None


def _fits(text: str) -> bool:
    return len(text) <= MAX_TEXT_CHARS and is_utf8(text)
