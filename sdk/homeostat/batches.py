"""Batches of events in memory: an Arrow record batch, who produced it, and NumPy views of its columns."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from homeostat.contract_dense import ID, KEY, LATENCY, SCORE, STATUS, TIME
from homeostat.contract_layout import (
    FEATURE_PREFIX,
    LABEL_FIELDS,
    PREDICTION_FIELDS,
    SCORES_COLUMN,
    SEGMENT_PREFIX,
    TEXT_TYPE,
    TIME_TYPE,
    TRACE_COLUMN,
    ColumnKind,
    Layout,
    layout_of,
)
from homeostat.contract_views import (
    CodeArray,
    FeatureArray,
    FloatArray,
    codes_of,
    feature_array,
    feature_of,
    numbers_of,
    outcome_array,
    text_array,
    texts_of,
    vector_array,
    vectors_of,
)
from homeostat.keys import keys_of

__all__ = [
    "FEATURE_PREFIX",
    "LABEL_FIELDS",
    "PREDICTION_FIELDS",
    "SCORES_COLUMN",
    "SEGMENT_PREFIX",
    "TEXT_TYPE",
    "TIME_TYPE",
    "TRACE_COLUMN",
    "ColumnKind",
    "LabelBatch",
    "PredictionBatch",
    "feature_array",
    "outcome_array",
    "text_array",
    "vector_array",
]


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """What both kinds share: `columns` is the Arrow batch; the rest travels in the record's headers.

    `schema`: the revision of the model version's schema that the producer believes in. `known_layout`: what
    the decoder found out about the columns; left out, it is found out again.
    """

    columns: pa.RecordBatch
    model: str
    producer: str
    sequence: int
    traceparent: str | None = None
    schema: str | None = None
    known_layout: Layout | None = field(default=None, repr=False, compare=False)

    @classmethod
    def in_place(cls, read: Callable[[], pa.RecordBatch], known: Mapping[str, Any]) -> Self:
        """A batch whose `columns` are read when somebody asks for them. `known`: all other fields, and what can be told
        without the columns (see `know`)."""
        batch = object.__new__(cls)
        vars(batch).update(known, _read=read)
        return batch

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            read = vars(self).get("_read") if name == "columns" else None
            if read is None:
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
            columns = vars(self)["columns"] = read()
            return columns

    def know(self, seen: Mapping[str, Any]) -> None:
        """Take over what the decoder has seen in place, by the names of properties. A batch that is made of this one
        with other columns begins without it."""
        vars(self).update(seen)

    @cached_property
    def rows(self) -> int:
        """How many events."""
        return int(self.columns.num_rows)

    @cached_property
    def layout(self) -> Layout:
        """Which column is what."""
        return self.known_layout or layout_of(self.columns.schema, labels=isinstance(self, LabelBatch))

    @cached_property
    def ids(self) -> list[str]:
        """Event ids as Python strings: made on first use, and slow beside the other views."""
        return self.columns.column(0).to_pylist()

    @cached_property
    def keys(self) -> npt.NDArray[np.uint64]:
        """XXH3 of each id, shape (rows,)."""
        return self.columns.column(KEY).to_numpy()

    @cached_property
    def times_us(self) -> npt.NDArray[np.int64]:
        """Microseconds since the epoch, UTC, shape (rows,)."""
        return self.columns.column(TIME).view(pa.int64()).to_numpy()

    @cached_property
    def span_us(self) -> tuple[int, int]:
        """The first and the last of the times."""
        return int(np.minimum.reduce(self.times_us)), int(np.maximum.reduce(self.times_us))

    @property
    def is_text(self) -> bool:
        """Whether predictions (or label values) travel as names of classes instead of numbers."""
        return self.layout.outcome.kind.is_text

    @cached_property
    def id_ends(self) -> npt.NDArray[np.int32]:
        """Where in their text the ids begin, and where the last one ends, shape (rows + 1,)."""
        column = self.columns.column(ID)
        return np.frombuffer(column.buffers()[1], np.int32, self.rows + 1, 4 * column.offset)

    @cached_property
    def outcomes(self) -> FloatArray:
        """What was said or turned out, shape (rows,); see `predictions` and `values`."""
        outcome = self.layout.outcome
        if outcome.kind.is_text:
            return np.full(self.rows, np.nan)
        return numbers_of(self.columns.column(outcome.place), outcome.kind)

    def _outcome_classes(self) -> tuple[list[str], CodeArray]:
        outcome = self.layout.outcome
        if not outcome.kind.is_text:
            return [], np.full(self.rows, -1, dtype=np.int64)
        return codes_of(self.columns.column(outcome.place), outcome.kind)


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
        predictions: npt.ArrayLike | Sequence[str | None],
        scores: npt.ArrayLike | None = None,
        latencies_ms: npt.ArrayLike | None = None,
        statuses: Sequence[str | None] | None = None,
        features: Mapping[str, npt.ArrayLike] | None = None,
        class_scores: npt.ArrayLike | None = None,
        segments: Mapping[str, Sequence[str | None]] | None = None,
        traces: Sequence[str | None] | None = None,
        keys: npt.NDArray[np.uint64] | None = None,
        traceparent: str | None = None,
        schema: str | None = None,
    ) -> "PredictionBatch":
        """Build a batch from columns of equal length.

        `times_us`: microseconds since the epoch, UTC. `predictions`: numbers, or names of classes. NaN in
        `predictions`, `scores`, `latencies_ms` or a numeric feature, and None in a column of texts, mean
        missing; a prediction may be missing only where a status is given. A feature of shape (rows, d) is an
        embedding. `class_scores`: shape (rows, K), a probability for each class, a row of NaN where none were
        given. Keys are computed here, unless the caller knows those of the ids.
        """
        rows = len(ids)
        columns = [
            pa.array(ids, pa.string()),
            pa.array(keys_of(ids) if keys is None else keys, pa.uint64()),
            pa.array(np.asarray(times_us, dtype=np.int64)).cast(TIME_TYPE),
            outcome_array(predictions),
            _optional(scores, rows, pa.float64()),
            _optional(latencies_ms, rows, pa.float32()),
            pa.nulls(rows, pa.string()) if statuses is None else pa.array(statuses, pa.string()),
        ]
        more = {FEATURE_PREFIX + name: feature_array(values) for name, values in (features or {}).items()}
        if class_scores is not None:
            more[SCORES_COLUMN] = vector_array(np.asarray(class_scores, dtype=np.float64))
        more |= {SEGMENT_PREFIX + name: text_array(values) for name, values in (segments or {}).items()}
        if traces is not None:
            more[TRACE_COLUMN] = pa.array(traces, pa.string())
        fields = [
            *PREDICTION_FIELDS,
            *(pa.field(name, column.type) for name, column in more.items()),
        ]
        fields[3] = fields[3].with_type(columns[3].type)
        batch = pa.RecordBatch.from_arrays([*columns, *more.values()], schema=pa.schema(fields))
        return cls(
            columns=batch,
            model=model,
            version=version,
            producer=producer,
            sequence=sequence,
            traceparent=traceparent,
            schema=schema,
        )

    @property
    def predictions(self) -> FloatArray:
        """What the model said, shape (rows,): 0 or 1 where the task is binary, a value of a regression, the
        index of a class. NaN where nothing was said, and everywhere when `is_text`."""
        return self.outcomes

    def prediction_classes(self) -> tuple[list[str], CodeArray]:
        """Names of classes, and for each row the index of its own in them (-1: none); for numbers no names."""
        return self._outcome_classes()

    @cached_property
    def scores(self) -> FloatArray:
        """Probability of class 1 (binary) or of the predicted class, shape (rows,), NaN where none was given."""
        return self.columns.column(SCORE).to_numpy(zero_copy_only=False)

    @cached_property
    def class_scores(self) -> FeatureArray | None:
        """Probability of each class in the order of the schema, shape (rows, K), float32 or float64, a row of
        NaN where none were given; None when the batch has none."""
        scores = self.layout.scores
        return None if scores is None else vectors_of(self.columns.column(scores.place), scores.size)

    @cached_property
    def latencies_ms(self) -> npt.NDArray[np.float32]:
        """Shape (rows,), NaN where none was given."""
        return self.columns.column(LATENCY).to_numpy(zero_copy_only=False)

    @cached_property
    def statuses(self) -> FeatureArray:
        """Shape (rows,), strings, None where none was given."""
        return self.columns.column(STATUS).to_numpy(zero_copy_only=False)

    @cached_property
    def silent(self) -> bool:
        """Whether no row has a latency or a status."""
        return all(self.columns.column(place).null_count == self.rows for place in (LATENCY, STATUS))

    @cached_property
    def traces(self) -> FeatureArray | None:
        """W3C trace id of each event, shape (rows,), None where none was given; None when the batch has
        none."""
        trace = self.layout.trace
        return None if trace is None else self.columns.column(trace).to_numpy(zero_copy_only=False)

    @cached_property
    def feature_matrix(self) -> FeatureArray | None:
        """The features side by side, shape (features, rows or more: what is behind the rows is padding), float32 or
        float64, missing NaN, in the order of `feature_names`: as they lie in memory, where they are of one of these
        types without nulls. None unless all are columns of numbers of a decoded batch (flags left out)."""
        return None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """In the order of the columns, without the prefix."""
        return self.layout.feature_names

    @cached_property
    def features(self) -> dict[str, FeatureArray]:
        """Each feature: numbers as float64, shape (rows,), missing NaN; texts as objects, missing None;
        embeddings as float32, shape (rows, d), missing NaN."""
        return {
            column.name: feature_of(self.columns.column(column.place), column)
            for column in self.layout.features
        }

    @cached_property
    def compact_features(self) -> dict[str, FeatureArray]:
        """Like `features`, but a float32 column without a copy as float32."""
        return {
            column.name: feature_of(self.columns.column(column.place), column, single=True)
            for column in self.layout.features
        }

    @property
    def segment_names(self) -> tuple[str, ...]:
        """In the order of the columns, without the prefix."""
        return tuple(column.name for column in self.layout.segments)

    @cached_property
    def segments(self) -> dict[str, FeatureArray]:
        """Each segment as objects, shape (rows,), None where the row has none."""
        return {
            column.name: texts_of(self.columns.column(column.place), column.kind)
            for column in self.layout.segments
        }

    def segment_codes(self, name: str) -> tuple[list[str], CodeArray]:
        """Distinct values of a segment, and for each row the index of its own (-1: none), without making a
        Python string per row.

        Values that no row has may be among them. Raises `KeyError` when the batch has no such segment.
        """
        column = next((column for column in self.layout.segments if column.name == name), None)
        if column is None:
            raise KeyError(f"the batch has no segment {name!r}; it has {list(self.segment_names)}")
        return codes_of(self.columns.column(column.place), column.kind)


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
        values: npt.ArrayLike | Sequence[str],
        keys: npt.NDArray[np.uint64] | None = None,
        traceparent: str | None = None,
        schema: str | None = None,
    ) -> "LabelBatch":
        """Build a batch from columns of equal length (`values`: numbers, or names of classes); keys are
        computed here, unless the caller knows those of the ids."""
        columns = [
            pa.array(ids, pa.string()),
            pa.array(keys_of(ids) if keys is None else keys, pa.uint64()),
            pa.array(np.asarray(times_us, dtype=np.int64)).cast(TIME_TYPE),
            outcome_array(values),
        ]
        fields = [*LABEL_FIELDS[:3], LABEL_FIELDS[3].with_type(columns[3].type)]
        batch = pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
        return cls(
            columns=batch,
            model=model,
            producer=producer,
            sequence=sequence,
            traceparent=traceparent,
            schema=schema,
        )

    @property
    def values(self) -> FloatArray:
        """Shape (rows,); NaN everywhere when `is_text`."""
        return self.outcomes

    def value_classes(self) -> tuple[list[str], CodeArray]:
        """Names of classes, and for each row the index of its own in them; for numbers no names."""
        return self._outcome_classes()


def _optional(values: npt.ArrayLike | None, rows: int, type: pa.DataType) -> pa.Array:
    if values is None:
        return pa.nulls(rows, type)
    dtype = np.float32 if pa.types.is_float32(type) else np.float64
    return pa.array(np.asarray(values, dtype=dtype), from_pandas=True)
