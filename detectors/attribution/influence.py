"""What each feature means to the model: learned once from the rows of the reference."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from detectors.attribution.values import Influence
from detectors.columns import Column, Floats, numbers
from detectors.errors import ReferenceInvalid
from detectors.estimation.groups import groups_of, row_groups, telling_columns, told
from detectors.estimation.marginals import additive_effects
from detectors.layout import layout_of
from detectors.reference import Reference
from detectors.values import Task

MOST_ROWS: Final = 200_000
_STRENGTH = 10.0
"""Rows that "no effect" counts for in each group."""


__all__ = ["Influence", "build_influence"]


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
