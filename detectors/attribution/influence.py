"""What each feature means to the model: learned once from the rows of the reference."""

from collections.abc import Mapping
from typing import Final, Self

import msgspec
import numpy as np

from detectors.columns import Column, Floats, numbers
from detectors.errors import ReferenceInvalid
from detectors.estimation.groups import groups_of, row_groups, telling_columns, told
from detectors.estimation.marginals import additive_effects
from detectors.estimation.values import Numbers
from detectors.layout import layout_of
from detectors.reference import Reference
from detectors.values import Task, Value

MOST_ROWS: Final = 200_000
_STRENGTH = 10.0
"""Rows that "no effect" counts for in each group."""


class Influence(Value, frozen=True, kw_only=True):
    """Additive effects of groups of each feature's bins, on the output of the model (score, or prediction of a
    regression; empty for what has neither) and on its success (1 for right, 0 for wrong; of a regression less
    the absolute error). Additive in all features at once, so that what two correlated features share is not
    counted twice. `columns`: those that the effects are of, in the layout's order; at most 24, the others have
    none."""

    reference_revision: str
    task: Task
    columns: tuple[str, ...] = ()
    output: Numbers = ()
    success: Numbers = ()

    def to_json(self) -> bytes:
        """The influence as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Read what `to_json` wrote; raises `ReferenceInvalid` when it is no influence."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ReferenceInvalid(f"this is not the JSON of an influence: {error}") from error


def build_influence(
    reference: Reference,
    features: Mapping[str, Column],
    predictions: Column | None = None,
    scores: Column | None = None,
    labels: Column | None = None,
) -> Influence:
    """The arguments are those of `build_reference`, row by row. Raises `ReferenceInvalid` when a feature is missing."""
    layout = layout_of(reference)
    absent = [name for name in layout.names if name not in features]
    if absent:
        raise ReferenceInvalid(f"features lack the columns {absent}; they have {sorted(features)}")
    step = -(-reference.rows // MOST_ROWS)
    chosen = {name: np.asarray(features[name])[::step] for name in layout.names}
    output, success = (
        None if one is None else one[::step]
        for one in (
            _output(reference.task, predictions, scores),
            _success(reference, predictions, scores, labels),
        )
    )
    target = output if output is not None else success
    if target is None:
        return Influence(reference_revision=reference.revision, task=reference.task)
    columns = telling_columns(groups_of(layout, reference), chosen, target)
    groups = groups_of(layout, reference, columns)
    codes = row_groups(groups, chosen, len(target))
    width = groups[-1].first + groups[-1].width if groups else 0
    return Influence(
        reference_revision=reference.revision,
        task=reference.task,
        columns=tuple(columns),
        output=() if output is None else told(additive_effects(codes, output, width, _STRENGTH)),
        success=() if success is None else told(additive_effects(codes, success, width, _STRENGTH)),
    )


def _output(task: Task, predictions: Column | None, scores: Column | None) -> Floats | None:
    column = predictions if task == "regression" or scores is None else scores
    return None if column is None or task == "multiclass" else numbers(np.asarray(column))


def _success(
    reference: Reference, predictions: Column | None, scores: Column | None, labels: Column | None
) -> Floats | None:
    if labels is None or (predictions is None and (scores is None or reference.task != "binary")):
        return None
    truth = numbers(np.asarray(labels))
    if predictions is not None:
        said = numbers(np.asarray(predictions))
    else:
        found = numbers(np.asarray(scores))
        said = np.where(np.isnan(found), np.nan, found >= reference.threshold)
    if reference.task == "regression":
        return -np.abs(said - truth)
    return np.where(np.isnan(said) | np.isnan(truth), np.nan, said == truth)
