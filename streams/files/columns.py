"""Which column of a file is what, and the columns as the stages want them."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detectors.ranks import add_up
from detectors.values import FeatureKind, FeatureSpec
from homeostat.contract import SCORE_TOLERANCE
from streams.files.cells import is_text
from streams.files.monitor import Columns, FeatureColumn, MonitorFile
from streams.files.tables import FileInvalid, TableFile

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

_MOST_US = 253_402_300_800_000_000
"""The year 10000, where the contract ends."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a file, columns of equal length. `ids`: texts, empty where there is none; `predictions`, `labels`: NaN
    where there is none. `unlike`: rows whose class scores do not add up to 1, and are taken for missing."""

    ids: pa.Array
    times_us: Times
    predictions: Floats
    scores: Floats
    class_scores: Floats | None
    labels: Floats
    label_times_us: Times
    versions: npt.NDArray[np.object_] | None
    features: dict[str, npt.NDArray[Any]]
    segments: dict[str, list[str | None]]
    unlike: int = 0


@dataclass(frozen=True)
class Roles:
    """The roles of the columns of one file."""

    columns: Columns
    features: tuple[FeatureSpec, ...]
    classes: tuple[str, ...] = ()
    has_labels: bool = False
    by_role: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, file: MonitorFile, table: TableFile) -> "Roles":
        """What the monitor says about the columns of this table. A role whose column is not there is an error,
        but for labels and versions, which may be elsewhere. Raises `FileInvalid`."""
        columns, names = file.columns, set(table.columns)
        roles = columns.roles()
        absent = {role: name for role, name in roles.items() if name not in names}
        absent |= {f"class_scores: {name}": name for name in columns.class_scores if name not in names}
        wrong = {
            role: name for role, name in absent.items() if role not in ("label", "label_time", "version")
        }
        if wrong:
            told = ", ".join(f"columns.{role}: {name!r}" for role, name in wrong.items())
            raise FileInvalid(f"{table.path}: there is no column for {told}; it has {table.columns}")
        by_role = {role: name for role, name in roles.items() if name in names}
        return cls(
            columns,
            features=_features(file, table),
            classes=tuple(file.classes),
            has_labels="label" in by_role,
            by_role=by_role,
        )

    @property
    def has_outputs(self) -> bool:
        """Whether the file says what the model said: without that no label can be held against anything."""
        return bool(self.by_role.keys() & {"prediction", "score"} or self.columns.class_scores)

    @property
    def needed(self) -> set[str]:
        """The columns that have to be read."""
        named = (*self.by_role.values(), *self.columns.segments, *self.columns.class_scores)
        return {spec.name for spec in self.features} | set(named)

    def rows(self, batch: pa.RecordBatch, first_row: int, row_us: int) -> Rows:
        """A batch of the file. Without a time column, row n is at n times `row_us`. Raises `FileInvalid` for a
        column that cannot be what it shall be."""
        count = batch.num_rows
        places = np.arange(first_row, first_row + count, dtype=np.int64)
        nothing = np.full(count, np.nan)
        scores = self._numbers(batch, "score", nothing)
        predictions = self._outcomes(batch, "prediction", nothing)
        class_scores = self._class_scores(batch)
        if "prediction" not in self.by_role:
            predictions = np.zeros(count)
            if class_scores is not None:
                known = ~np.isnan(class_scores).any(axis=1)
                predictions = np.where(known, np.argmax(class_scores, axis=1), np.nan)
            elif "score" in self.by_role:
                predictions = np.where(np.isnan(scores), np.nan, scores >= 0.5)
        unlike = np.zeros(count, dtype=np.bool_)
        if class_scores is not None:
            unlike = _are_shares(class_scores) & ~add_up(class_scores)
            class_scores = np.where(unlike[:, np.newaxis], np.nan, class_scores)
            if "score" not in self.by_role:
                scores = _of_class(class_scores, predictions)
        times_us = self._times(batch, "time", places * row_us)
        return Rows(
            ids=id_column(batch.column(self.by_role["id"]))
            if "id" in self.by_role
            else pa.array(places).cast(pa.string()),
            times_us=times_us,
            predictions=predictions.astype(np.float64),
            scores=scores,
            class_scores=class_scores,
            labels=self._outcomes(batch, "label", nothing),
            label_times_us=self._times(batch, "label_time", times_us),
            versions=np.array(self._texts(batch, "version"), dtype=object)
            if "version" in self.by_role
            else None,
            features={spec.name: feature_column(batch, spec) for spec in self.features},
            segments={name: _as_texts(batch.column(name)) for name in self.columns.segments},
            unlike=int(unlike.sum()),
        )

    def _numbers(self, batch: pa.RecordBatch, role: str, otherwise: Floats) -> Floats:
        name = self.by_role.get(role)
        return otherwise if name is None else _as_numbers(batch.column(name), name, role)

    def _class_scores(self, batch: pa.RecordBatch) -> Floats | None:
        """Shape (rows, classes); a row of NaN where one is missing."""
        names = self.columns.class_scores
        if not names:
            return None
        found = np.stack([_as_numbers(batch.column(name), name, "class_scores") for name in names], axis=1)
        return np.where(np.isfinite(found).all(axis=1, keepdims=True), found, np.nan)

    def _outcomes(self, batch: pa.RecordBatch, role: str, otherwise: Floats) -> Floats:
        name = self.by_role.get(role)
        return otherwise if name is None else self.outcomes(batch.column(name), role)

    def outcomes(self, column: pa.Array, role: str) -> Floats:
        """Predictions or labels as numbers: 1 where the text is `positive`, or the number of the class."""
        name = self.by_role.get(role, role)
        if not is_text(column.type):
            return _as_numbers(column, name, role)
        texts = _as_texts(column)
        if self.columns.positive is not None:
            return np.array(
                [np.nan if text is None else float(text == self.columns.positive) for text in texts]
            )
        if self.classes:
            place = {text: float(number) for number, text in enumerate(self.classes)}
            return np.array([np.nan if text is None else place.get(text, -1.0) for text in texts])
        return _as_numbers(column, name, role)

    def _times(self, batch: pa.RecordBatch, role: str, otherwise: Times) -> Times:
        name = self.by_role.get(role)
        return otherwise if name is None else as_times(batch.column(name), name, role)

    def _texts(self, batch: pa.RecordBatch, role: str) -> list[str]:
        name = self.by_role.get(role)
        if name is None:
            return []
        texts: list[str] = batch.column(name).cast(pa.string()).fill_null("").to_pylist()
        return texts


def id_column(column: pa.Array) -> pa.Array:
    """Ids as texts, empty where there is none."""
    return pc.fill_null(column.cast(pa.string()), "")


def _are_shares(class_scores: Floats) -> npt.NDArray[np.bool_]:
    """Whether the scores of a row are there, and each could be a probability."""
    least, greatest = class_scores.min(axis=1), class_scores.max(axis=1)
    return (least >= -SCORE_TOLERANCE) & (greatest <= 1 + SCORE_TOLERANCE)


def _of_class(class_scores: Floats, predictions: Floats) -> Floats:
    """The probability of the class that was said; NaN where none was."""
    inside = (predictions >= 0) & (predictions < class_scores.shape[1])
    places = np.where(inside, predictions, 0).astype(np.int64)
    return np.where(inside, class_scores[np.arange(len(places)), places], np.nan)


def text_columns(file: MonitorFile) -> set[str]:
    """Columns that are text whatever they look like."""
    named = {one.name for one in _named(file.columns) if one.kind in ("categorical", "text")}
    return named | {name for role, name in file.columns.roles().items() if role in ("id", "version")}


def feature_column(batch: pa.RecordBatch, spec: FeatureSpec) -> npt.NDArray[Any]:
    """A feature: float64 with NaN, or text with None."""
    column = batch.column(spec.name)
    if spec.kind == "numeric":
        return _as_numbers(column, spec.name, "feature")
    if pa.types.is_boolean(column.type) or not is_text(column.type):
        return _as_numbers(column, spec.name, "feature")
    return np.array(_as_texts(column), dtype=object)


def as_times(column: pa.Array, name: str, role: str) -> Times:
    """Microseconds since the epoch; times without a zone are UTC, numbers are seconds; a missing one is -1."""
    kind = column.type
    try:
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            found = column.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        elif is_text(kind):
            found = _parsed(column.cast(pa.string())).cast(pa.int64())
        else:
            micros = column.cast(pa.float64()).to_numpy(zero_copy_only=False) * 1e6
            found = pa.array(micros, from_pandas=True).cast(pa.int64(), safe=False)
    except (pa.ArrowException, ValueError) as error:
        raise FileInvalid(f"column {name!r} cannot be the {role}: {error}") from error
    times: Times = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
    return np.where((times < 0) | (times >= _MOST_US), -1, times)


def _parsed(column: pa.Array) -> pa.Array:
    """ISO 8601, with a zone or without."""
    try:
        return column.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return column.cast(pa.timestamp("us", tz="UTC"))


def _features(file: MonitorFile, table: TableFile) -> tuple[FeatureSpec, ...]:
    named = _named(file.columns)
    names = set(table.columns)
    absent = [one.name for one in named if one.name not in names]
    absent += [name for name in file.columns.segments if name not in names]
    if absent:
        raise FileInvalid(f"{table.path}: there are no columns {absent}; it has {table.columns}")
    taken = {*file.columns.roles().values(), *file.columns.class_scores}
    chosen = [one.name for one in named] or [name for name in table.columns if name not in taken]
    texts = {one.name for one in named if one.kind == "text"}
    kinds: dict[str, FeatureKind] = {
        one.name: "categorical" if one.kind == "text" else one.kind
        for one in named
        if isinstance(one, FeatureColumn) and one.kind
    }
    found: list[FeatureSpec] = []
    for name in chosen:
        kind = table.schema.field(name).type
        if pa.types.is_temporal(kind) and not named:
            continue
        guess: FeatureKind = "categorical" if is_text(kind) or pa.types.is_boolean(kind) else "numeric"
        found.append(FeatureSpec(name=name, kind=kinds.get(name, guess), text=name in texts))
    if not found:
        raise FileInvalid(f"{table.path}: it has no feature beside {sorted(taken)}")
    return tuple(found)


def _named(columns: Columns) -> Sequence["FeatureColumn | _Guessed"]:
    return [one if isinstance(one, FeatureColumn) else _Guessed(one) for one in columns.features or ()]


@dataclass(frozen=True, slots=True)
class _Guessed:
    name: str
    kind: str = ""


def _as_texts(column: pa.Array) -> list[str | None]:
    return column.cast(pa.string()).to_pylist()


def _as_numbers(column: pa.Array, name: str, role: str) -> Floats:
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.uint8())
        numbers: Floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowException, ValueError) as error:
        right = (
            "numbers" if role == "feature" else "numbers, or name the text that means 1 in columns.positive"
        )
        raise FileInvalid(f"column {name!r} cannot be the {role}: {error}; it must hold {right}") from error
    return numbers
