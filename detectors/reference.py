"""The reference: what a version of a model looked like when it was well. Profiles of columns, not rows."""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from detectors.columns import Column, row_hashes, vectors_of
from detectors.errors import ReferenceInvalid
from detectors.reference_columns import MASS_SHARE, feature_reference
from detectors.reference_outputs import with_outputs
from detectors.reference_values import FeatureReference, Reference, revision_of
from detectors.text import with_parts
from detectors.values import FeatureSpec, Task

__all__ = ["MASS_SHARE", "FeatureReference", "Reference", "build_reference"]


def build_reference(
    model: str,
    version: str,
    features: Mapping[str, Column],
    specs: Sequence[FeatureSpec],
    scores: Column | None = None,
    predictions: Column | None = None,
    labels: Column | None = None,
    threshold: float = 0.5,
    task: Task = "binary",
    classes: Sequence[str] = (),
) -> Reference:
    """A reference from columns of equal length.

    features: name -> array of n values (numbers, or text for categories; NaN and None are missing); of an
    embedding of shape (n, size).
    scores: probability of the positive class (binary) or of the predicted one (multiclass), n values in
    [0, 1], not from rows the model was fitted on.
    predictions, labels: n values. Binary: 0 and 1; predictions default to scores >= threshold. Multiclass:
    indices into `classes`, -1 for none of them; predictions may be `detectors.ranks.answers`. Regression: numbers.
    NaN: not known.
    Raises `ReferenceInvalid` when a column is missing, lengths differ, or values lie outside their range.
    """
    specs, features = with_parts(specs, features)
    rows = _common_length(features, specs, {"scores": scores, "predictions": predictions, "labels": labels})
    columns = {spec.name: _column(spec, np.asarray(features[spec.name])) for spec in specs}
    parts = tuple(feature_reference(spec, columns[spec.name]) for spec in specs)
    identify = rows * _coincidence(columns, specs) < 0.05
    repeats = np.unique(row_hashes(columns, [spec.name for spec in specs]), return_counts=True)[1]
    effective = rows * rows / float(np.square(repeats.astype(np.float64)).sum()) if identify else float(rows)
    draft = Reference(
        model=model,
        version=version,
        task=task,
        classes=tuple(classes),
        rows=rows,
        effective_rows=max(1, round(effective)),
        rows_identify=identify,
        features=parts,
        threshold=threshold,
    )
    draft = with_outputs(draft, scores, predictions, labels)
    return replace(draft, revision=revision_of(draft))


def _column(spec: FeatureSpec, column: Column) -> Column:
    if spec.kind != "embedding":
        return column
    if spec.size <= 0:
        raise ReferenceInvalid(
            f"feature {spec.name!r} is an embedding of size {spec.size}; say how long it is"
        )
    return vectors_of(column, spec.size)


def _common_length(
    features: Mapping[str, Column], specs: Sequence[FeatureSpec], others: Mapping[str, Column | None]
) -> int:
    names = [spec.name for spec in specs]
    if not names:
        raise ReferenceInvalid("specs is empty: name at least one feature")
    if len(set(names)) != len(names):
        raise ReferenceInvalid(
            f"specs name a feature twice: {sorted(n for n in names if names.count(n) > 1)}"
        )
    absent = [name for name in names if name not in features]
    if absent:
        raise ReferenceInvalid(f"features lack the columns {absent}; they have {sorted(features)}")
    lengths = {name: len(features[name]) for name in names}
    lengths |= {name: len(column) for name, column in others.items() if column is not None}
    rows = lengths[names[0]]
    if rows == 0:
        raise ReferenceInvalid("the reference has no rows; it needs at least one")
    wrong = {name: length for name, length in lengths.items() if length != rows}
    if wrong:
        raise ReferenceInvalid(f"column {names[0]!r} has {rows} rows, but others differ: {wrong}")
    return rows


def _coincidence(columns: Mapping[str, Column], specs: Sequence[FeatureSpec]) -> float:
    """The probability that two different subjects share a whole row, were the columns independent."""
    chance = 1.0
    for spec in specs:
        cells = row_hashes({spec.name: columns[spec.name]}, [spec.name])
        shares = np.unique(cells, return_counts=True)[1] / len(cells)
        chance *= float(np.square(shares).sum())
    return chance
