"""Blocks of events as a host gave them: checked row by row, made into the contract's record batches."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from homeostat.arguments import Block, Column
from homeostat.batches import FEATURE_PREFIX, LABEL_FIELDS, PREDICTION_FIELDS, TIME_TYPE
from homeostat.contract import SCORE_TOLERANCE
from homeostat.errors import ContractError
from homeostat.keys import keys_of

MAX_TEXT_CHARS = 4_096

Refuse: TypeAlias = Callable[[int, str, object, str], None]
"""Called with rows, field, value, and what would be right."""

_UNFIT = (pa.ArrowException, ValueError, TypeError, OverflowError)
_NUMBER = "a finite number"
_TEXT = f"a text of 1 to {MAX_TEXT_CHARS} characters"
_FEATURE = f"a number, a text of at most {MAX_TEXT_CHARS} characters, or nothing"


def record_batches(block: Block, refuse: Refuse) -> Iterator[pa.RecordBatch]:
    """The good rows of a block: one record batch, or more where a feature holds numbers in some rows and
    texts in others. Bad rows are told to `refuse`, once each, with the first thing that is wrong with them.

    Raises `ContractError` when the block as a whole is bad: a model, a version, a feature's name, the
    lengths.
    """
    _check_whole(block)
    features: dict[str, pa.Array] = {}
    for name, column in (block.features or {}).items():
        try:
            features[name] = _fast_feature(column)
        except _UNFIT:
            texts = [i for i, value in enumerate(column) if isinstance(value, str)]
            if 0 < len(texts) < _present(column):
                in_texts = set(texts)
                others = [i for i in range(block.rows) if i not in in_texts]
                yield from record_batches(block.pick(texts), refuse)
                yield from record_batches(block.pick(others), refuse)
                return
    checks = _Rows(block.rows, refuse)
    columns = _fixed_columns(block, checks)
    for name, column in (block.features or {}).items():
        if name not in features:
            features[name] = checks.feature(f"feature {name}", column)
    fields = [pa.field(FEATURE_PREFIX + name, column.type) for name, column in features.items()]
    schema = pa.schema([*(LABEL_FIELDS if block.label else PREDICTION_FIELDS), *fields])
    batch = pa.RecordBatch.from_arrays([*columns, *features.values()], schema=schema)
    good = checks.good
    if good.all():
        yield batch
    elif good.any():
        yield batch.filter(pa.array(good))


def name_text(field: str, value: object) -> str:
    """A model's or version's name as text (a whole number is as good); raises `ContractError`."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not 0 < len(text) <= 255 or not _is_utf8(text):
        raise ContractError(field, value, "a name of 1 to 255 characters")
    return text


def _check_whole(block: Block) -> None:
    name_text("model", block.model)
    if not block.label:
        name_text("version", block.version)
    optional = {"score": block.scores, "latency_ms": block.latencies_ms, "status": block.statuses}
    value_field = "value" if block.label else "prediction"
    columns: Mapping[str, Column | None] = {value_field: block.values, "time": block.times_us, **optional}
    for field, column in (*columns.items(), *(block.features or {}).items()):
        if column is not None and len(column) != block.rows:
            raise ContractError(
                str(field), f"{len(column)} values", f"{block.rows}, as many as there are ids"
            )
    for name in block.features or {}:
        if not isinstance(name, str) or not name or len(name) > 255 or not _is_utf8(name):
            raise ContractError("feature name", name, "a text of 1 to 255 characters")


def _fixed_columns(block: Block, checks: "_Rows") -> list[pa.Array]:
    ids = checks.ids(block.ids)
    values = checks.finite("value" if block.label else "prediction", block.values)
    columns = [
        pa.array(ids, pa.string()),
        pa.array(keys_of(ids), pa.uint64()),
        pa.array(np.asarray(block.times_us, dtype=np.int64)).view(TIME_TYPE),
        pa.array(values),
    ]
    if block.label:
        return columns
    rows = block.rows
    scores, latencies_ms, statuses = block.scores, block.latencies_ms, block.statuses
    return [
        *columns,
        pa.nulls(rows, pa.float64()) if scores is None else checks.scores(scores),
        pa.nulls(rows, pa.float32()) if latencies_ms is None else checks.latencies(latencies_ms),
        pa.nulls(rows, pa.string()) if statuses is None else checks.texts("status", statuses),
    ]


class _Rows:
    """Which rows of a block are still good. A bad value leaves a harmless one in its place."""

    def __init__(self, rows: int, refuse: Refuse) -> None:
        self.good: npt.NDArray[np.bool_] = np.ones(rows, dtype=np.bool_)
        self._refuse = refuse

    def ids(self, column: Column) -> list[str]:
        texts: list[str] = []
        for row, value in enumerate(column):
            text = value if isinstance(value, str) else _id_text(value)
            if text is None or not 0 < len(text) <= MAX_TEXT_CHARS or not (text.isascii() or _is_utf8(text)):
                self._bad(row, "id", value, _TEXT)
                text = ""
            texts.append(text)
        return texts

    def finite(self, field: str, column: Column) -> npt.NDArray[np.float64]:
        values = self._numbers(field, column, _NUMBER)
        for row in np.flatnonzero(~np.isfinite(values)).tolist():
            self._bad(row, field, column[row], _NUMBER)
        return values

    def scores(self, column: Column) -> pa.Array:
        expected = "a probability from 0 to 1, or nothing"
        values = self._numbers("score", column, expected)
        outside = (values < -SCORE_TOLERANCE) | (values > 1 + SCORE_TOLERANCE)
        for row in np.flatnonzero(outside).tolist():
            self._bad(row, "score", column[row], expected)
        return pa.array(np.clip(values, 0.0, 1.0), from_pandas=True)

    def latencies(self, column: Column) -> pa.Array:
        values = self._numbers("latency_ms", column, "a number of milliseconds, or nothing")
        with np.errstate(over="ignore"):
            return pa.array(values.astype(np.float32), from_pandas=True)

    def texts(self, field: str, column: Column) -> pa.Array:
        texts: list[str | None] = []
        for row, value in enumerate(column):
            text = None if _is_missing(value) else str(value) if isinstance(value, int) else value
            if text is not None and not (isinstance(text, str) and _fits(text)):
                self._bad(row, field, value, f"a text of at most {MAX_TEXT_CHARS} characters, or nothing")
                text = None
            texts.append(text)
        return pa.array(texts, pa.string())

    def feature(self, field: str, column: Column) -> pa.Array:
        """A column that Arrow did not take as it is: all its rows are texts, or none is."""
        if any(isinstance(value, str) for value in column):
            return self.texts(field, column).dictionary_encode()
        return pa.array(self._numbers(field, column, _FEATURE), from_pandas=True)

    def _numbers(self, field: str, column: Column, expected: str) -> npt.NDArray[np.float64]:
        try:
            return _fast_numbers(column)
        except _UNFIT:
            values = np.full(len(column), np.nan)
            for row, value in enumerate(column):
                if _is_missing(value):
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


def _fast_numbers(column: Column) -> npt.NDArray[np.float64]:
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return column.astype(np.float64)
    return pa.array(column, pa.float64(), from_pandas=True).to_numpy(zero_copy_only=False)


def _fast_feature(column: Column) -> pa.Array:
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return pa.array(column.astype(np.float64), from_pandas=True)
    try:
        return pa.array(column, pa.float64(), from_pandas=True)
    except _UNFIT:
        texts = pa.array(column, pa.string(), from_pandas=True).dictionary_encode()
        if any(len(text.as_py()) > MAX_TEXT_CHARS for text in texts.dictionary):
            raise
        return texts


def _number(value: object) -> float | None:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        return None
    number: Any = value
    try:
        return float(number)
    except (TypeError, ValueError, OverflowError):
        return None


def _is_missing(value: object) -> bool:
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    # pandas' own markers, told by name: the SDK does not depend on pandas.
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _present(column: Column) -> int:
    return sum(not _is_missing(value) for value in column)


def _id_text(value: object) -> str | None:
    if isinstance(value, (int, np.integer, uuid.UUID)) and not isinstance(value, bool):
        return str(value)
    return None


def _fits(text: str) -> bool:
    return len(text) <= MAX_TEXT_CHARS and _is_utf8(text)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
