"""Learning, from the rows of a reference, how to tell performance before labels come."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from msgspec.structs import replace

from detectors.columns import Column, Floats, Integers, numbers
from detectors.errors import ReferenceInvalid
from detectors.estimation.binary import Rows, fit_binary
from detectors.estimation.groups import BLOCKS, groups_of, row_groups, telling_columns
from detectors.estimation.multiclass import ClassRows, fit_multiclass
from detectors.estimation.regression import ErrorRows, fit_regression
from detectors.estimation.values import Estimator
from detectors.layout import layout_of
from detectors.reference import Reference
from detectors.values import Task

LEAST_ROWS: Final = 100
"""Fewer labelled rows than this teach nothing that could be relied on."""
MOST_ROWS: Final = 200_000
"""Rows beyond this are thinned evenly: what is left tells a chance in each of 64 bins to better than .01."""

UNREPEATED: Final = 0.8
"""Share of the reference's rows that must be worth a row of their own for features to correct anything."""


def build_estimator(
    reference: Reference,
    features: Mapping[str, Column],
    predictions: Column | None = None,
    scores: Column | None = None,
    labels: Column | None = None,
) -> Estimator:
    """An estimator from the rows that the reference was built from, in their order of time.

    The arguments are those of `build_reference`. Contiguous eighths of the rows are left out in turn to see how much
    the estimator can be relied on, so that what changes slowly is seen too. Where it cannot be built the estimator
    is undefined, and says why. Raises `ReferenceInvalid` when a feature of the reference is not there.
    """
    because = _nothing_to_learn(reference, predictions, scores, labels)
    known = _known(reference, predictions, scores, labels)
    if because is None and len(known) < LEAST_ROWS:
        because = f"the reference has only {len(known)} rows with label and output; it takes {LEAST_ROWS}"
    if because is not None or labels is None:
        return Estimator(
            reference_revision=reference.revision, task=reference.task, rows=len(known), undefined=because
        )
    known = known[:: -(-len(known) // MOST_ROWS)]
    layout = layout_of(reference)
    absent = [name for name in layout.names if name not in features]
    if absent:
        raise ReferenceInvalid(f"features lack the columns {absent}; they have {sorted(features)}")
    truth, found, said = _outputs(reference, known, predictions, scores, labels)
    chosen = {name: np.asarray(features[name])[known] for name in layout.names}
    groups = groups_of(layout, reference) if _no_repeats(reference) else []
    columns = telling_columns(groups, chosen, _missed(reference.task, truth, found, said))
    codes = row_groups(groups_of(layout, reference, columns), chosen, len(known))
    blocks = np.arange(len(known)) * BLOCKS // len(known)
    if reference.task == "regression":
        learned = fit_regression(reference, codes, ErrorRows(said, truth, blocks))
    elif reference.task == "multiclass":
        learned = fit_multiclass(reference, codes, ClassRows(found, said, truth, blocks))
    else:
        learned = fit_binary(reference, codes, Rows(found, said, truth, blocks))
    return replace(learned, columns=tuple(columns) if learned.marginals.effects else ())


def _no_repeats(reference: Reference) -> bool:
    """Whether the blocks are strangers to each other: a subject that is in two of them is known before it is seen."""
    return reference.effective_rows >= UNREPEATED * reference.rows


def _outputs(
    reference: Reference, known: Integers, predictions: Column | None, scores: Column | None, labels: Column
) -> tuple[Floats, Floats, Floats]:
    """Labels, scores (labels where a task has none) and predictions of the known rows."""
    truth = numbers(np.asarray(labels))[known]
    found = numbers(np.asarray(scores))[known] if scores is not None else truth
    said = (
        numbers(np.asarray(predictions))[known] if predictions is not None else found >= reference.threshold
    )
    return truth, found, np.asarray(said, dtype=np.float64)


def _missed(task: Task, truth: Floats, found: Floats, said: Floats) -> Floats:
    """How far off the model was, row by row: what columns are chosen by."""
    if task == "multiclass":
        return (said != truth).astype(np.float64)
    return np.abs(said - truth) if task == "regression" else truth - found


def _nothing_to_learn(
    reference: Reference, predictions: Column | None, scores: Column | None, labels: Column | None
) -> str | None:
    if labels is None:
        return "the reference has no labels"
    if reference.task != "regression" and scores is None:
        return "the reference has no scores"
    if reference.task != "binary" and predictions is None:
        return "the reference has no predictions"
    return None


def _known(
    reference: Reference, predictions: Column | None, scores: Column | None, labels: Column | None
) -> Integers:
    """Rows with everything that the task needs."""
    wanted = [predictions, labels] if reference.task == "regression" else [predictions, scores, labels]
    found: list[Floats] = [numbers(np.asarray(one)) for one in wanted if one is not None]
    if not found:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.logical_and.reduce([np.isfinite(one) for one in found]))
