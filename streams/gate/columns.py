"""From rows of one model and version to the contract's record batches, with the checks that columns make cheap.

A row that fails a check is told with its field and left out; the others go on. Rows whose values cannot share a column
(a feature that is a number here and a text there, vectors of two sizes) go into batches of their own: one producer's
mistake must not turn all numbers into text.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import chain, groupby
from types import NoneType
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from homeostat.batches import (
    FEATURE_PREFIX,
    LABEL_FIELDS,
    PREDICTION_FIELDS,
    SCORES_COLUMN,
    SEGMENT_PREFIX,
    TIME_TYPE,
    TRACE_COLUMN,
)
from homeostat.contract import SCORE_TOLERANCE, keys_of
from streams.control.schemas import Schema
from streams.gate.clock import MAX_TIME_US, times_of
from streams.gate.conform import conform
from streams.gate.known import Known
from streams.gate.rows import MAX_NAME_CHARS, LabelRow, PredictionRow, is_text

MAX_LATENCY_MS = 1e9
MAX_FEATURES = 2_000
MAX_VECTOR = 4_096
MAX_CLASSES = 1_024

_STRETCH_US = 30_000_000
_NUMBERS: set[type] = {float, int, bool}
_NOTHING: set[type] = {NoneType}
_TEXTS: set[type] = {str}


class Refusal(NamedTuple):
    """Why a row is refused."""

    field: str
    reason: str


Refusals = dict[int, Refusal]


class Mixed(Exception):
    """Inside this file only: the rows do not fit into one batch."""


class _Column:
    """What all columns of some rows share: where these stand in the caller's list, and what was refused."""

    def __init__(self, places: Sequence[int], bad: Refusals) -> None:
        self._places = places
        self._bad = bad
        self.good: npt.NDArray[np.bool_] = np.ones(len(places), dtype=np.bool_)

    def refuse(self, row: int, field: str, reason: str) -> None:
        self.good[row] = False
        self._bad.setdefault(self._places[row], Refusal(field, reason))

    def refuse_where(self, where: npt.NDArray[np.bool_], field: str, reason: Callable[[int], str]) -> None:
        if where.any():
            for row in np.flatnonzero(where).tolist():
                self.refuse(row, field, reason(row))

    def texts(self, field: str, values: Sequence[str | None]) -> pa.Array:
        if values[0] is None and set(map(_type, values)) == _NOTHING:
            return pa.nulls(len(values), pa.string())
        try:
            return pa.array(values, pa.string())
        except UnicodeEncodeError:
            kept: list[str | None] = []
            for row, value in enumerate(values):
                good = value is None or is_text(value)
                if not good:
                    self.refuse(row, field, "holds half of a surrogate pair, which is no text")
                kept.append(value if good else "")
            return pa.array(kept, pa.string())

    def ids(self, values: Sequence[str | int]) -> tuple[pa.Array, pa.Array]:
        texts = set(map(_type, values)) == _TEXTS
        names = cast("Sequence[str]", values) if texts else [str(value) for value in values]
        ids = self.texts("id", names)
        return ids, pa.array(keys_of(names if self.good.all() else ids.to_pylist()), pa.uint64())

    def times(self, values: Sequence[datetime | float]) -> pa.Array:
        times_us = times_of(values)
        outside = ~((times_us >= 0) & (times_us < MAX_TIME_US))
        self.refuse_where(
            outside, "time", lambda row: f"{values[row]} is not a time in the years 1970 to 9999"
        )
        times_us[outside] = 0
        return pa.array(times_us.astype(np.int64)).view(TIME_TYPE)

    def finite(self, field: str, values: Sequence[Any]) -> pa.Array:
        """Numbers, or all texts; None stays nothing."""
        kinds = set(map(_type, values))
        if kinds - _NOTHING == _TEXTS:
            return self.texts(field, values).dictionary_encode()
        if not kinds - _NOTHING <= _NUMBERS:
            raise Mixed
        numbers = np.array(values, dtype=np.float64)
        nothing = np.array([value is None for value in values]) if NoneType in kinds else None
        wrong = ~np.isfinite(numbers) if nothing is None else ~(np.isfinite(numbers) | nothing)
        self.refuse_where(wrong, field, lambda row: f"{values[row]} is not a finite number")
        return pa.array(numbers, mask=nothing)

    def bounded(
        self, field: str, values: Sequence[float | None], low: float, high: float, type: pa.DataType
    ) -> pa.Array:
        if set(map(_type, values)) == _NOTHING:
            return pa.nulls(len(values), type)
        numbers = np.array(values, dtype=np.float64)
        outside = (numbers < low) | (numbers > high)
        self.refuse_where(
            outside, field, lambda row: f"{values[row]} is not from {round(low):g} to {round(high):g}"
        )
        return pa.array(numbers, mask=np.isnan(numbers)).cast(type)


def label_batches(
    rows: Sequence[LabelRow], places: Sequence[int], bad: Refusals, schema: Schema | None = None
) -> Iterator[pa.RecordBatch]:
    """The same for labels."""
    try:
        column = _Column(places, bad)
        ids, keys = column.ids([row.id for row in rows])
        times = column.times([row.time for row in rows])
        values = column.finite("value", [row.value for row in rows])
    except Mixed:
        # A later label of an event replaces an earlier one, so the order is kept.
        for _, run in groupby(range(len(rows)), lambda i: isinstance(rows[i].value, str)):
            part = list(run)
            yield from label_batches([rows[i] for i in part], [places[i] for i in part], bad, schema)
        return
    fields = [*LABEL_FIELDS[:3], LABEL_FIELDS[3].with_type(values.type)]
    batch = pa.RecordBatch.from_arrays([ids, keys, times, values], schema=pa.schema(fields))
    if schema is not None:
        batch = conform(batch, schema, labels=True, refuse=column.refuse)
    yield from _without_bad(batch, column.good)


def prediction_batches(
    rows: Sequence[PredictionRow],
    places: Sequence[int],
    bad: Refusals,
    known: Known | None = None,
    schema: Schema | None = None,
) -> Iterator[pa.RecordBatch]:
    """The good rows as record batches of the contract: one, or more where values cannot share a column.

    `places` says where each row stands in the caller's list; `bad` gets the refusals by place. `known` is given where
    the rows' features are its structs, `schema` where one is registered for their version.
    """
    column = _Column(places, bad)
    try:
        batch = _predictions(rows, column, known)
    except Mixed:
        for row in rows:
            row.features = _as_mapping(row.features)
        for stretch in _stretches(rows):
            for part in _alike(rows, places, bad, stretch):
                yield from prediction_batches(
                    [rows[i] for i in part], [places[i] for i in part], bad, schema=schema
                )
        return
    if schema is not None:
        batch = conform(batch, schema, labels=False, refuse=column.refuse)
    yield from _without_bad(batch, column.good)


def _predictions(rows: Sequence[PredictionRow], column: _Column, known: Known | None) -> pa.RecordBatch:
    ids, keys = column.ids([row.id for row in rows])
    times = column.times([row.time for row in rows])
    predictions = column.finite("prediction", [row.prediction for row in rows])
    low, high = -SCORE_TOLERANCE, 1 + SCORE_TOLERANCE
    scores = column.bounded("score", [row.score for row in rows], low, high, pa.float64())
    latencies = column.bounded(
        "latency_ms", [row.latency_ms for row in rows], 0, MAX_LATENCY_MS, pa.float32()
    )
    statuses = column.texts("status", [row.status for row in rows])
    more: dict[str, pa.Array] = {}
    # Rows that could not share a batch have been given mappings.
    as_structs = not isinstance(cast("object", rows[0].features), dict)
    named = _known_features(rows, column, known) if known and as_structs else _features(rows, column)
    for name, values in named:
        more[FEATURE_PREFIX + name] = values
    more |= _optional(rows, column)
    fields = [
        *PREDICTION_FIELDS[:3],
        PREDICTION_FIELDS[3].with_type(predictions.type),
        *PREDICTION_FIELDS[4:],
        *(pa.field(name, values.type) for name, values in more.items()),
    ]
    fixed = [ids, keys, times, predictions, scores, latencies, statuses]
    return pa.RecordBatch.from_arrays([*fixed, *more.values()], schema=pa.schema(fields))


def _known_features(
    rows: Sequence[PredictionRow], column: _Column, known: Known
) -> Iterator[tuple[str, pa.Array]]:
    features = [row.features for row in rows]
    count = len(known.numbers)
    if count:
        flat = chain.from_iterable(map(known.number_values, features))
        try:
            packed = struct.pack(f"{count * len(rows)}d", *flat)
            matrix = np.frombuffer(packed, np.float64).reshape(len(rows), count)
        except struct.error:
            matrix = np.array(list(map(known.number_values, features)), dtype=np.float64)
        for name, values in zip(known.numbers, np.ascontiguousarray(matrix.T), strict=True):
            yield name, _numbers(values)
    for name, pick in zip(known.texts, known.text_values, strict=True):
        yield name, column.texts(f"features.{name}", list(map(pick, features))).dictionary_encode()


def _features(rows: Sequence[PredictionRow], column: _Column) -> Iterator[tuple[str, pa.Array]]:
    features = [row.features for row in rows]
    names = dict.fromkeys(chain.from_iterable(features))
    wrong = {name for name in names if not name or len(name) > MAX_NAME_CHARS or not is_text(name)}
    if wrong or len(names) > MAX_FEATURES:
        reason = f"a feature's name has 1 to {MAX_NAME_CHARS} characters"
        for row, values in enumerate(features):
            if wrong & values.keys():
                column.refuse(row, "features", reason)
            elif len(values) > MAX_FEATURES:
                column.refuse(row, "features", f"{len(values)} features; {MAX_FEATURES} are allowed")
        names = dict.fromkeys(name for name in names if name not in wrong)
        if len(names) > MAX_FEATURES:
            names = {}
            if column.good.any():
                raise Mixed
    for name in names:
        yield name, _feature(name, [values.get(name) for values in features], column)


def _feature(name: str, values: Sequence[Any], column: _Column) -> pa.Array:
    kinds = set(map(_type, values)) - _NOTHING
    if kinds <= _NUMBERS:
        return _numbers(np.array(values, dtype=np.float64))
    if kinds == _TEXTS:
        return column.texts(f"features.{name}", values).dictionary_encode()
    if kinds == {list}:
        return _vectors(f"features.{name}", values, column, 1, MAX_VECTOR)
    raise Mixed


def _numbers(values: npt.NDArray[np.float64]) -> pa.Array:
    missing = np.isnan(values)
    return pa.array(values, mask=missing) if missing.any() else pa.array(values)


def _vectors(
    field: str, values: Sequence[list[float] | None], column: _Column, least: int, most: int
) -> pa.Array:
    sizes = {len(value) for value in values if value is not None}
    if len(sizes) > 1:
        raise Mixed
    size = sizes.pop()
    if not least <= size <= most:
        for row, value in enumerate(values):
            if value is not None:
                column.refuse(row, field, f"has {size} numbers; {least} to {most} are allowed")
        size, values = least, [None] * len(values)
    missing = np.array([value is None for value in values])
    blank = [0.0] * size
    flat = [value if value is not None else blank for value in values]
    numbers = np.array(flat, dtype=np.float64)
    wrong = np.array(~np.isfinite(numbers).all(axis=1), dtype=np.bool_)
    column.refuse_where(wrong, field, lambda _: "holds a number that is not finite")
    mask = pa.array(missing) if missing.any() else None
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), size, mask=mask)


def _optional(rows: Sequence[PredictionRow], column: _Column) -> dict[str, pa.Array]:
    """Columns that most events do not have."""
    found: dict[str, pa.Array] = {}
    segments = [row.segments for row in rows]
    if any(segments):
        for name in dict.fromkeys(chain.from_iterable(filter(None, segments))):
            given = [None if one is None else one.get(name) for one in segments]
            texts = [value if value is None else str(value) for value in given]
            if not name or len(name) > MAX_NAME_CHARS or not is_text(name):
                for row, value in enumerate(segments):
                    if value and name in value:
                        column.refuse(row, "segments", f"a name has 1 to {MAX_NAME_CHARS} characters")
            else:
                found[SEGMENT_PREFIX + name] = column.texts(f"segments.{name}", texts).dictionary_encode()
    scores = [row.scores for row in rows]
    if set(map(_type, scores)) != _NOTHING:
        found[SCORES_COLUMN] = _class_scores(scores, column)
    traces = [row.trace_id for row in rows]
    if set(map(_type, traces)) != _NOTHING:
        found[TRACE_COLUMN] = column.texts("trace_id", traces)
    return found


def _class_scores(scores: Sequence[list[float] | None], column: _Column) -> pa.Array:
    for row, values in enumerate(scores):
        outside = [one for one in values or () if not -SCORE_TOLERANCE <= one <= 1 + SCORE_TOLERANCE]
        if outside:
            column.refuse(row, "scores", f"{outside[0]} is not a probability from 0 to 1")
    return _vectors(SCORES_COLUMN, scores, column, 2, MAX_CLASSES)


def _stretches(rows: Sequence[PredictionRow]) -> Iterator[list[int]]:
    """Rows that follow each other while their time goes on by no more than `_STRETCH_US`: within one they may change
    places."""
    times_us = np.nan_to_num(times_of([row.time for row in rows]))
    seen_us = np.maximum.accumulate(np.clip(times_us, 0, MAX_TIME_US))
    for _, stretch in groupby(range(len(rows)), lambda i: seen_us[i] // _STRETCH_US):
        yield list(stretch)


def _alike(
    rows: Sequence[PredictionRow], places: Sequence[int], bad: Refusals, stretch: Sequence[int]
) -> Iterator[list[int]]:
    """Rows of a stretch that can share a batch, in their order; a row goes into the first group that it does not
    contradict."""
    groups: list[tuple[dict[str, object], list[int]]] = []
    for i in stretch:
        row = rows[i]
        if places[i] in bad:
            continue
        kinds = _kinds(row)
        for known, members in groups:
            if len(known | kinds) <= MAX_FEATURES and all(
                known.get(name, kind) == kind for name, kind in kinds.items()
            ):
                known.update(kinds)
                members.append(i)
                break
        else:
            groups.append((dict(kinds), [i]))
    return (members for _, members in groups)


def _kinds(row: PredictionRow) -> dict[str, object]:
    named = {f"f.{name}": value for name, value in row.features.items()}
    values: dict[str, object] = {"prediction": row.prediction, "scores": row.scores, **named}
    return {name: _kind(value) for name, value in values.items() if value is not None}


def _as_mapping(features: Any) -> dict[str, Any]:
    return features if isinstance(features, dict) else msgspec.to_builtins(features)


def _kind(value: object) -> object:
    if isinstance(value, list):
        return len(value)
    return "text" if isinstance(value, str) else "number"


def _without_bad(batch: pa.RecordBatch, good: npt.NDArray[np.bool_]) -> Iterator[pa.RecordBatch]:
    if good.all():
        yield batch
    elif good.any():
        yield batch.filter(pa.array(good))


_type: Callable[[object], type] = type
