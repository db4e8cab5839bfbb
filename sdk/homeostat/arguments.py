"""What a host hands over, in its many shapes, as events that it cannot change any more.

One event stays a tuple, so that `log` costs next to nothing; many at once become a `Block` of columns.
Values are looked at later, by the packer in the background; only shapes and times are settled here.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from homeostat.errors import ContractError

Column: TypeAlias = Sequence[Any] | npt.NDArray[Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CHANGEABLE = {list, np.ndarray}
_END_S = 253_402_300_800
_TIME_EXPECTED = "a datetime with a time zone, a datetime64, or seconds since the epoch (1970 to 9999)"


class Prediction(NamedTuple):
    """One prediction; `time_us` is microseconds since the epoch, UTC.

    `segments`: a mapping of texts. `class_scores`: a probability for each class. `trace`: a W3C trace id.
    """

    model: Any
    version: Any
    id: Any
    features: Any
    prediction: Any
    score: Any
    time_us: Any
    latency_ms: Any
    status: Any
    segments: Any = None
    class_scores: Any = None
    trace: Any = None


class Label(NamedTuple):
    """One label; `time_us` is when it became known."""

    model: Any
    id: Any
    value: Any
    time_us: Any


@dataclass(frozen=True, kw_only=True)
class Block:
    """Many events of one model and version in columns of equal length. `version` is None for labels.

    `values` holds predictions or label values. An optional column that was not given is None. A column of
    vectors (`class_scores`, or a feature that is an embedding) is a 2-D array or a list of 1-D ones.
    """

    model: Any
    version: Any
    ids: Column
    values: Column
    times_us: Column
    scores: Column | None = None
    latencies_ms: Column | None = None
    statuses: Column | None = None
    traces: Column | None = None
    class_scores: Column | None = None
    segments: Mapping[Any, Column] | None = None
    features: Mapping[Any, Column] | None = None
    label: bool = False

    @property
    def rows(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """About how much memory the columns take."""
        plain = (self.ids, self.values, self.times_us, self.scores, self.latencies_ms, self.statuses)
        columns = [*plain, self.traces, self.class_scores]
        columns += (self.segments or {}).values()
        columns += (self.features or {}).values()
        return sum(_column_bytes(column) for column in columns if column is not None)

    def check_lengths(self) -> None:
        """Raise `ContractError` unless every column has as many rows as there are ids."""
        columns: list[tuple[str, Column | None]] = [
            ("value" if self.label else "prediction", self.values),
            ("time", self.times_us),
            ("score", self.scores),
            ("latency_ms", self.latencies_ms),
            ("status", self.statuses),
            ("trace_id", self.traces),
            ("scores", self.class_scores),
            *((f"segment {name}", column) for name, column in (self.segments or {}).items()),
            *((f"feature {name}", column) for name, column in (self.features or {}).items()),
        ]
        for field, column in columns:
            if column is not None and len(column) != self.rows:
                raise ContractError(field, f"{len(column)} values", f"{self.rows}, as many as there are ids")

    def part(self, start: int, stop: int) -> "Block":
        """The rows from `start` up to `stop`."""
        return self.mapped(lambda column: column[start:stop])

    def pick(self, indices: Sequence[int]) -> "Block":
        """The rows at the indices, in their order."""
        return self.mapped(lambda column: [column[i] for i in indices])

    def mapped(self, change: Callable[[Column], Column]) -> "Block":
        """The block with every column changed in the same way."""

        def optional(column: Column | None) -> Column | None:
            return None if column is None else change(column)

        def named(columns: Mapping[Any, Column] | None) -> Mapping[Any, Column] | None:
            return None if columns is None else {name: change(column) for name, column in columns.items()}

        return replace(
            self,
            ids=change(self.ids),
            values=change(self.values),
            times_us=change(self.times_us),
            scores=optional(self.scores),
            latencies_ms=optional(self.latencies_ms),
            statuses=optional(self.statuses),
            traces=optional(self.traces),
            class_scores=optional(self.class_scores),
            segments=named(self.segments),
            features=named(self.features),
        )


def one_prediction(given: Prediction, names: Sequence[str] | None, now_us: int) -> Prediction:
    """One event as the host gave it (its `time_us` is the host's time, or None) made the SDK's own."""
    model, version, id, features, prediction, score, at, latency_ms, status, segments, class_scores, trace = (
        given
    )
    if segments is not None and not isinstance(segments, Mapping):
        raise ContractError("segments", type(segments).__name__, "a dict of names and texts")
    row = features.copy() if type(features) is dict else one_row(features, names)
    if not _CHANGEABLE.isdisjoint(map(type, row.values())):
        for name, value in row.items():
            if type(value) in _CHANGEABLE:
                row[name] = _own(value)
    return Prediction(
        model,
        version,
        id,
        row,
        prediction,
        score,
        now_us if at is None else time_us(at),
        latency_ms,
        status,
        None if segments is None else dict(segments),
        _own(class_scores),
        trace,
    )


def many_predictions(given: Prediction, names: Sequence[str] | None, now_us: int) -> Block:
    """Many events as the host gave them, in columns, made the SDK's own."""
    ids = column_of(given.id, "id")
    rows = len(ids)

    def optional(values: Any, field: str) -> Column | None:
        if values is None:
            return None
        return [values] * rows if isinstance(values, str) else column_of(values, field)

    return Block(
        model=given.model,
        version=given.version,
        ids=ids,
        values=[None] * rows if given.prediction is None else column_of(given.prediction, "prediction"),
        times_us=times_us(given.time_us, rows, now_us),
        scores=optional(given.score, "score"),
        latencies_ms=optional(given.latency_ms, "latency_ms"),
        statuses=optional(given.status, "status"),
        traces=optional(given.trace, "trace_id"),
        class_scores=None if given.class_scores is None else vectors_of(given.class_scores, "scores"),
        segments=None if given.segments is None else _segments_of(given.segments, rows),
        features=columns_of(given.features, names),
    )


def many_labels(given: Label, now_us: int) -> Block:
    """Many labels as the host gave them, in columns, made the SDK's own."""
    ids = column_of(given.id, "id")
    return Block(
        model=given.model,
        version=None,
        ids=ids,
        values=column_of(given.value, "value"),
        times_us=times_us(given.time_us, len(ids), now_us),
        label=True,
    )


def is_many(ids: object) -> bool:
    """Whether `id=` names many events: anything but a text, a number or a UUID that has a length."""
    return not isinstance(ids, (str, bytes, int, uuid.UUID)) and hasattr(ids, "__len__")


def time_us(value: object) -> int:
    """A host's time as microseconds since the epoch; raises `ContractError`."""
    try:
        if isinstance(value, datetime) and value.tzinfo is not None:
            return (value - _EPOCH) // _MICROSECOND
        if isinstance(value, np.datetime64):
            found_us = int(value.astype("datetime64[us]").astype(np.int64))
            if 0 <= found_us < _END_S * 1_000_000:
                return found_us
        elif isinstance(value, (int, float, np.integer, np.floating)) and 0 <= value < _END_S:
            return round(float(value) * 1e6)
    except (ValueError, OverflowError, TypeError) as error:
        raise ContractError("time", value, _TIME_EXPECTED) from error
    raise ContractError("time", value, _TIME_EXPECTED)


def one_row(features: object, names: Sequence[str] | None) -> dict[Any, Any]:
    """The features of one event: a mapping, a Series, a one-row DataFrame, or an array with `names`."""
    if isinstance(features, Mapping):
        return dict(features)
    if hasattr(features, "columns") or _dimensions(features) == 2:
        columns = columns_of(features, names)
        rows = {len(column) for column in columns.values()}
        if rows - {1}:
            raise ContractError("features", f"{max(rows)} rows", "one row for one id")
        return {name: column[0] for name, column in columns.items()}
    labelled: Any = features
    if hasattr(labelled, "index") and hasattr(labelled, "to_dict"):
        return {str(name): value for name, value in labelled.to_dict().items()}
    values = np.asarray(features)
    if values.ndim != 1:
        raise ContractError("features", type(features).__name__, "a dict, a Series, a DataFrame or an array")
    return dict(zip(_names(names, len(values)), values.tolist(), strict=True))


def columns_of(features: object, names: Sequence[str] | None) -> dict[Any, Column]:
    """The features of many events: a mapping of columns, a DataFrame, an Arrow table or record batch, a list
    of mappings (a name that a row does not have is missing there), or a 2-D array with `names`.
    """
    frame: Any = features
    if isinstance(features, Mapping):
        return {name: vectors_of(values, f"feature {name}") for name, values in features.items()}
    if isinstance(features, (pa.Table, pa.RecordBatch)):
        return {name: _arrow_column(frame.column(name)) for name in frame.schema.names}
    if hasattr(frame, "columns"):
        return {str(name): column_of(frame[name], f"feature {name}") for name in frame.columns}
    if isinstance(features, list) and features and all(isinstance(row, Mapping) for row in features):
        rows: list[Mapping[Any, Any]] = features
        found = dict.fromkeys(name for row in rows for name in row)
        return {name: _owned([row.get(name) for row in rows]) for name in found}
    values = np.asarray(features)
    if values.ndim != 2:
        raise ContractError(
            "features",
            type(features).__name__,
            "a DataFrame, a 2-D array, columns by name or a list of dicts",
        )
    return {name: values[:, i].copy() for i, name in enumerate(_names(names, values.shape[1]))}


def column_of(values: object, field: str) -> Column:
    """A copy of a host's column: a NumPy array, a list, a Series, Arrow or anything with `to_numpy`."""
    series: Any = values
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return _arrow_column(values)
    if hasattr(series, "to_numpy"):
        values = series.to_numpy()
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return _owned(values.tolist()) if values.dtype == object else values.copy()
    if isinstance(values, (list, tuple)):
        return _owned(list(series))
    raise ContractError(field, type(values).__name__, "a one-dimensional array, a list or a Series")


def vectors_of(values: object, field: str) -> Column:
    """A copy of a host's column of vectors: a 2-D array, or one vector (or None) a row."""
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return values.copy()
    return column_of(values, field)


def _arrow_column(column: Any) -> Column:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return np.array(column.to_numpy(zero_copy_only=False))
    if pa.types.is_fixed_size_list(column.type) and not column.null_count:
        return np.array(column.flatten().to_numpy(zero_copy_only=False)).reshape(len(column), -1)
    return column.to_pylist()


def _segments_of(segments: object, rows: int) -> dict[Any, Column]:
    if isinstance(segments, Mapping):
        return {
            name: [values] * rows
            if values is None or isinstance(values, (str, int))
            else column_of(values, f"segment {name}")
            for name, values in segments.items()
        }
    frame: Any = segments
    if hasattr(frame, "columns"):
        return {
            name: column_of(values, f"segment {name}") for name, values in columns_of(frame, None).items()
        }
    raise ContractError("segments", type(segments).__name__, "a dict of texts or columns, or a DataFrame")


def _own(value: Any) -> Any:
    """The value, or a copy where the host could change it."""
    if isinstance(value, list):
        return tuple(value)
    return value.copy() if isinstance(value, np.ndarray) else value


def _owned(values: list[Any]) -> list[Any]:
    return values if _CHANGEABLE.isdisjoint(map(type, values)) else [_own(value) for value in values]


def _column_bytes(column: Column) -> int:
    if isinstance(column, np.ndarray) and column.dtype != object:
        return column.nbytes
    return 56 * len(column) + sum(len(value) for value in column if isinstance(value, str))


def times_us(values: object, rows: int, now_us: int) -> npt.NDArray[np.int64]:
    """The times of many events: none (now), one for all, or a column of them."""
    if values is None:
        return np.full(rows, now_us, dtype=np.int64)
    if not hasattr(values, "__len__"):
        return np.full(rows, time_us(values), dtype=np.int64)
    column = column_of(values, "time")
    if isinstance(column, np.ndarray) and column.dtype.kind == "M":
        found_us = column.astype("datetime64[us]").astype(np.int64)
        if found_us.size and not 0 <= found_us.min() <= found_us.max() < _END_S * 1_000_000:
            raise ContractError("time", f"{column.min()} to {column.max()}", _TIME_EXPECTED)
        return found_us
    return np.fromiter((time_us(value) for value in column), dtype=np.int64, count=len(column))


def _dimensions(values: object) -> int:
    return int(getattr(values, "ndim", 1))


def _names(names: Sequence[str] | None, width: int) -> Sequence[str]:
    if names is None:
        raise ContractError("features", f"an array of {width}", "feature_names beside an array")
    if len(names) != width or len(set(names)) != width:
        raise ContractError("feature_names", f"{len(names)} names", f"{width} different names, one a column")
    return names
