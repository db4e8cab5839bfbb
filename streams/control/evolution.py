"""A batch held against the schema of its version, by rules that lose no event silently.

What the schema does not know is accepted, not measured, and told; what is missing counts as missing; numbers
are read as numbers of any width; what cannot be read as the schema says is refused as a whole, with field,
found and expected. docs/events.md has the rules as a table.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.values import Value
from homeostat.contract import ContractError, LabelBatch, PredictionBatch
from homeostat.contract_layout import Column, ColumnKind, Layout
from streams.control.schemas import TYPES, FeatureSchema, Schema

UNKNOWN_CLASS = -1.0
"""The index of a class that the schema does not have: the row counts as "other"."""

MAX_TOLD = 32
"""So many unknown names of classes are told of one batch."""


class Evolution(NamedTuple):
    """What became of a batch held against a schema: `refused` says why, or it is accepted; the rest is told.

    `unknown_classes`: names that the schema lacks, of rows of this batch. `believed`: the revision that the
    producer works by, where it is another one.
    """

    new: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    new_segments: tuple[str, ...] = ()
    dropped_segments: tuple[str, ...] = ()
    unknown_classes: tuple[str, ...] = ()
    believed: str | None = None
    refused: ContractError | None = None

    @property
    def accepted(self) -> bool:
        """Whether the batch can be measured by the schema."""
        return self.refused is None

    @property
    def notable(self) -> bool:
        """Whether there is anything to tell."""
        return self != Evolution()


class Change(Value, frozen=True, kw_only=True):
    """One difference between two schemas of a model. `breaks`: a batch that follows the old one would be
    refused by the new one, or its numbers would mean something else."""

    field: str
    rule: str
    old: str
    new: str
    breaks: bool


def check(schema: Schema, batch: PredictionBatch | LabelBatch) -> Evolution:
    """Hold a batch against the schema of its version. What the columns' types say is found out once for
    each Arrow schema; only doubtful columns and names of classes are looked at in every batch."""
    believed = batch.schema if batch.schema not in (None, schema.revision) else None
    if isinstance(batch, LabelBatch):
        shape = _Shape(refused=_outcome_clash(schema, batch.layout.outcome))
    else:
        shape = _shape_of(schema, batch.layout)
    refused = shape.refused
    for column, expected in shape.doubtful:
        if refused is None and not _is_missing(batch, column):
            found = f"{column.kind.value}" + (f" of size {column.size}" if column.size > 1 else "")
            refused = ContractError(f"column f.{column.name}", found, expected)
    unknown: tuple[str, ...] = ()
    if refused is None and batch.is_text:
        unknown = _unknown_classes(schema, batch)
    return Evolution(
        new=shape.new,
        dropped=shape.dropped,
        new_segments=shape.new_segments,
        dropped_segments=shape.dropped_segments,
        unknown_classes=unknown,
        believed=believed,
        refused=refused,
    )


def class_indices(
    schema: Schema, names: Sequence[str], codes: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """The schema's index of each row's class, -1 for one that it does not have, NaN where there is none.

    names, codes: as `prediction_classes()` and `value_classes()` give them (code -1: none).
    """
    known = {name: float(index) for index, name in enumerate(schema.classes)}
    table = np.array([*(known.get(name, UNKNOWN_CLASS) for name in names), np.nan])
    return table[codes]


def outcomes(schema: Schema, batch: PredictionBatch | LabelBatch) -> npt.NDArray[np.float64]:
    """What was said or turned out, as numbers, shape (rows,): names of classes as their indices, a class that
    the schema does not have as -1 (NaN where the task is binary: neither 0 nor 1), everything else as it
    came. NaN: nothing was said."""
    predictions = isinstance(batch, PredictionBatch)
    if batch.is_text:
        names, codes = batch.prediction_classes() if predictions else batch.value_classes()
        found = class_indices(schema, names, codes)
        return np.where(found < 0, np.nan, found) if schema.task == "binary" else found
    values = batch.predictions if predictions else batch.values
    if schema.task != "multiclass":
        return values
    known = (values >= 0) & (values < len(schema.classes)) & (values == np.floor(values))
    return np.where(known | np.isnan(values), values, UNKNOWN_CLASS)


def compare(old: Schema, new: Schema) -> list[Change]:
    """What is different between two schemas, for the moment at which the new one is registered."""
    return [*_outcome_changes(old, new), *_feature_changes(old, new), *_segment_changes(old, new)]


class _Shape(NamedTuple):
    """What the types alone say of every batch with these columns."""

    new: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    new_segments: tuple[str, ...] = ()
    dropped_segments: tuple[str, ...] = ()
    doubtful: tuple[tuple[Column, str], ...] = ()
    refused: ContractError | None = None


@lru_cache(maxsize=1_024)
def _shape_of(schema: Schema, layout: Layout) -> _Shape:
    known = {feature.name: feature for feature in schema.features}
    came = {column.name for column in layout.features}
    segments = [column.name for column in layout.segments]
    pairs = [(column, known[column.name]) for column in layout.features if column.name in known]
    return _Shape(
        new=tuple(column.name for column in layout.features if column.name not in known),
        dropped=tuple(f.name for f in schema.features if f.name not in came and not f.optional),
        new_segments=tuple(name for name in segments if name not in schema.segments),
        dropped_segments=tuple(name for name in schema.segments if name not in segments),
        doubtful=tuple(
            (column, _expected(feature)) for column, feature in pairs if not _fits(column, feature)
        ),
        refused=_outcome_clash(schema, layout.outcome) or _scores_clash(schema, layout.scores),
    )


def _fits(column: Column, feature: FeatureSchema) -> bool:
    if feature.type == "vector":
        return column.kind is ColumnKind.VECTOR and column.size == feature.size
    if feature.type == "any":
        return column.kind is not ColumnKind.VECTOR
    return column.kind.is_text if feature.type == "text" else column.kind.is_numeric


def _expected(feature: FeatureSchema) -> str:
    held = {"vector": f"an embedding of size {feature.size}", "text": "text", "any": "text or a number"}
    return held.get(feature.type, f"a number ({feature.type})") + ", or null in every row"


def _outcome_clash(schema: Schema, outcome: Column) -> ContractError | None:
    if not outcome.kind.is_text or schema.classes:
        return None
    expected = "a number" if schema.task == "regression" else "0 or 1: the schema names no classes"
    return ContractError(f"column {outcome.name}", "text", f"{expected} (task {schema.task})")


def _scores_clash(schema: Schema, scores: Column | None) -> ContractError | None:
    if scores is None:
        return None
    if schema.task == "regression":
        return ContractError("column scores", f"{scores.size} scores", "none (task regression)")
    classes = len(schema.classes) or 2
    if scores.size == classes:
        return None
    return ContractError("column scores", f"{scores.size} scores", f"{classes}, one for each class")


def _is_missing(batch: PredictionBatch | LabelBatch, column: Column) -> bool:
    values = batch.columns.column(column.place)
    if values.null_count == batch.rows:
        return True
    if column.kind not in (ColumnKind.NUMBER, ColumnKind.SINGLE):
        return False
    return bool(np.isnan(values.to_numpy(zero_copy_only=False)).all())


def _unknown_classes(schema: Schema, batch: PredictionBatch | LabelBatch) -> tuple[str, ...]:
    names, codes = batch.prediction_classes() if isinstance(batch, PredictionBatch) else batch.value_classes()
    rows = np.bincount(codes[codes >= 0], minlength=len(names))
    known = set(schema.classes)
    unknown = (name for name, count in zip(names, rows, strict=True) if count and name not in known)
    return tuple(islice(unknown, MAX_TOLD))


def _outcome_changes(old: Schema, new: Schema) -> Iterator[Change]:
    if old.task != new.task:
        yield Change(field="task", rule="task changed", old=old.task, new=new.task, breaks=True)
    if old.classes != new.classes:
        kept = new.classes[: len(old.classes)] == old.classes and bool(old.classes)
        rule = "classes added at the end" if kept else "classes renamed, moved or removed"
        yield Change(
            field="classes", rule=rule, old=", ".join(old.classes), new=", ".join(new.classes), breaks=True
        )


def _feature_changes(old: Schema, new: Schema) -> Iterator[Change]:
    before = {feature.name: feature for feature in old.features}
    after = {feature.name: feature for feature in new.features}
    for name, feature in after.items():
        if name not in before:
            yield Change(field=f"f.{name}", rule="new feature", old="", new=feature.type, breaks=False)
    for name, feature in before.items():
        if name not in after:
            yield Change(field=f"f.{name}", rule="dropped feature", old=feature.type, new="", breaks=False)
        else:
            yield from _changes_of(feature, after[name])


def _changes_of(old: FeatureSchema, new: FeatureSchema) -> Iterator[Change]:
    field = f"f.{old.name}"
    if old.type != new.type:
        numbers = TYPES["numeric"]
        widened = (old.type in numbers and new.type in numbers) or (
            new.type == "any" and old.type != "vector"
        )
        rule = "type of a number" if old.type in numbers and new.type in numbers else "type changed"
        yield Change(field=field, rule=rule, old=old.type, new=new.type, breaks=not widened)
    elif old.size != new.size:
        yield Change(
            field=field, rule="embedding size changed", old=str(old.size), new=str(new.size), breaks=True
        )
    if old.kind != new.kind:
        yield Change(field=field, rule="measured otherwise", old=old.kind, new=new.kind, breaks=False)
    if old.optional != new.optional:
        yield Change(
            field=field,
            rule="optional changed",
            old=str(old.optional).lower(),
            new=str(new.optional).lower(),
            breaks=False,
        )


def _segment_changes(old: Schema, new: Schema) -> Iterator[Change]:
    for name in new.segments:
        if name not in old.segments:
            yield Change(field=f"s.{name}", rule="new segment", old="", new=name, breaks=False)
    for name in old.segments:
        if name not in new.segments:
            yield Change(field=f"s.{name}", rule="dropped segment", old=name, new="", breaks=False)
