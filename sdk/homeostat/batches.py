"""Batches of events in memory: an Arrow record batch, who produced it, and NumPy views of its columns."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from homeostat.keys import keys_of

FEATURE_PREFIX = "f."

TIME_TYPE = pa.timestamp("us", tz="UTC")
PREDICTION_FIELDS: tuple[pa.Field, ...] = (
    pa.field("id", pa.string(), nullable=False),
    pa.field("key", pa.uint64(), nullable=False),
    pa.field("time", TIME_TYPE, nullable=False),
    pa.field("prediction", pa.float64(), nullable=False),
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

FloatArray: TypeAlias = npt.NDArray[np.float64]
FeatureArray: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """What both kinds share: `columns` is the Arrow batch; the rest travels in the record's headers."""

    columns: pa.RecordBatch
    model: str
    producer: str
    sequence: int
    traceparent: str | None = None

    @property
    def rows(self) -> int:
        return int(self.columns.num_rows)

    @cached_property
    def ids(self) -> list[str]:
        """Event ids as Python strings: made on first use, and slow beside the other views."""
        return self.columns.column("id").to_pylist()

    @cached_property
    def keys(self) -> npt.NDArray[np.uint64]:
        """XXH3 of each id, shape (rows,)."""
        return self.columns.column("key").to_numpy()

    @cached_property
    def times_us(self) -> npt.NDArray[np.int64]:
        """Microseconds since the epoch, UTC, shape (rows,)."""
        return self.columns.column("time").view(pa.int64()).to_numpy()


@dataclass(frozen=True, kw_only=True)
class PredictionBatch(_Batch):
    """What one version of one model saw and said, in columns (see `contract` for their names and types)."""

    version: str

    @classmethod
    def of(
        cls,
        *,
        model: str,
        version: str,
        producer: str,
        sequence: int,
        ids: Sequence[str],
        times_us: npt.ArrayLike,
        predictions: npt.ArrayLike,
        scores: npt.ArrayLike | None = None,
        latencies_ms: npt.ArrayLike | None = None,
        statuses: Sequence[str | None] | None = None,
        features: Mapping[str, npt.ArrayLike] | None = None,
        traceparent: str | None = None,
    ) -> "PredictionBatch":
        """Build a batch from columns of equal length.

        `times_us`: microseconds since the epoch, UTC. NaN in `scores`, `latencies_ms` or a numeric feature,
        and None in `statuses` or a feature of strings, mean missing. Keys are computed here.
        """
        rows = len(ids)
        columns = [
            pa.array(ids, pa.string()),
            pa.array(keys_of(ids), pa.uint64()),
            pa.array(np.asarray(times_us, dtype=np.int64)).cast(TIME_TYPE),
            pa.array(np.asarray(predictions, dtype=np.float64)),
            _optional(scores, rows, pa.float64()),
            _optional(latencies_ms, rows, pa.float32()),
            pa.nulls(rows, pa.string()) if statuses is None else pa.array(statuses, pa.string()),
        ]
        named = features or {}
        feature_columns = [feature_array(values) for values in named.values()]
        fields = [
            pa.field(FEATURE_PREFIX + name, column.type)
            for name, column in zip(named, feature_columns, strict=True)
        ]
        schema = pa.schema([*PREDICTION_FIELDS, *fields])
        batch = pa.RecordBatch.from_arrays(columns + feature_columns, schema=schema)
        return cls(
            columns=batch,
            model=model,
            version=version,
            producer=producer,
            sequence=sequence,
            traceparent=traceparent,
        )

    @cached_property
    def predictions(self) -> FloatArray:
        """What the model said, shape (rows,): 0 or 1 where the task is binary."""
        return self.columns.column("prediction").to_numpy()

    @cached_property
    def scores(self) -> FloatArray:
        """Probability of class 1, shape (rows,), NaN where none was given."""
        return self.columns.column("score").to_numpy(zero_copy_only=False)

    @cached_property
    def latencies_ms(self) -> npt.NDArray[np.float32]:
        """Shape (rows,), NaN where none was given."""
        return self.columns.column("latency_ms").to_numpy(zero_copy_only=False)

    @cached_property
    def statuses(self) -> FeatureArray:
        """Shape (rows,), strings, None where none was given."""
        return self.columns.column("status").to_numpy(zero_copy_only=False)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """In the order of the columns, without the prefix."""
        names: list[str] = self.columns.schema.names
        return tuple(name.removeprefix(FEATURE_PREFIX) for name in names[len(PREDICTION_FIELDS) :])

    @cached_property
    def features(self) -> dict[str, FeatureArray]:
        """Each feature, shape (rows,): numbers as float64, missing NaN; strings as objects, missing None."""
        first = len(PREDICTION_FIELDS)
        return {
            name: _feature_values(self.columns.column(first + i)) for i, name in enumerate(self.feature_names)
        }


@dataclass(frozen=True, kw_only=True)
class LabelBatch(_Batch):
    """What turned out to be true, whichever version predicted; `times_us`: when it became known."""

    @classmethod
    def of(
        cls,
        *,
        model: str,
        producer: str,
        sequence: int,
        ids: Sequence[str],
        times_us: npt.ArrayLike,
        values: npt.ArrayLike,
        traceparent: str | None = None,
    ) -> "LabelBatch":
        """Build a batch from columns of equal length; keys are computed here."""
        columns = [
            pa.array(ids, pa.string()),
            pa.array(keys_of(ids), pa.uint64()),
            pa.array(np.asarray(times_us, dtype=np.int64)).cast(TIME_TYPE),
            pa.array(np.asarray(values, dtype=np.float64)),
        ]
        batch = pa.RecordBatch.from_arrays(columns, schema=pa.schema(LABEL_FIELDS))
        return cls(columns=batch, model=model, producer=producer, sequence=sequence, traceparent=traceparent)

    @cached_property
    def values(self) -> FloatArray:
        """Shape (rows,)."""
        return self.columns.column("value").to_numpy()


def _optional(values: npt.ArrayLike | None, rows: int, type: pa.DataType) -> pa.Array:
    if values is None:
        return pa.nulls(rows, type)
    return pa.array(np.asarray(values, dtype=type.to_pandas_dtype()), from_pandas=True)


def feature_array(values: npt.ArrayLike) -> pa.Array:
    """A feature as the Arrow column that travels: strings as a dictionary, else float64; NaN is null."""
    array = np.asarray(values)
    if array.dtype.kind in "OUT" and any(isinstance(value, str) for value in array):
        return pa.array(array, pa.string(), from_pandas=True).dictionary_encode()
    return pa.array(array.astype(np.float64), from_pandas=True)


def _feature_values(column: pa.Array) -> FeatureArray:
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type).to_numpy(zero_copy_only=False)
    values = column.to_numpy(zero_copy_only=False)
    return values if pa.types.is_string(column.type) else values.astype(np.float64, copy=False)
