"""The reference of a new version, from scores of rows that the scoring model was not fitted on."""

from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from detectors.learning import with_learned
from detectors.reference import Reference, build_reference
from detectors.segment_profiles import with_segments
from detectors.sequential.baseline import with_baseline
from detectors.sequential.blocks import Rows
from detectors.values import FeatureSpec
from remediation.training.selection import THRESHOLD, probabilities
from remediation.training.validation import TrainingError, feature_matrix
from remediation.training_values import TrainingSet

MAX_ROWS = 200_000
"""Rows that a reference is built from; beyond it repeats are thinned in proportion, no line is lost."""


def referenced(
    data: TrainingSet, scores: NDArray[np.float64], pipeline: Pipeline, names: tuple[str, ...]
) -> Reference:
    """The reference over the lines of `data` that describe the world now, and over its held-out lines.

    scores: out-of-fold probability of class 1, one per line of `data`. Held-out lines get those of the
    finished `pipeline`. A line with weight w counts as w rows, as it does in the stream. Of the lines' segments
    the reference keeps what is usual of each.
    """
    parts = [_part(data, names, scores)]
    if data.held_out is not None:
        matrix = feature_matrix(data.held_out.features, names)
        parts.append(_part(data.held_out, names, probabilities(pipeline, matrix)))
    rows = pd.concat(parts, ignore_index=True)
    if rows.empty:
        raise TrainingError(
            "reference_rows is False for every line; mark the lines that describe the world now"
        )
    repeated = rows.loc[np.repeat(rows.index.to_numpy(), _repeats(rows["weight"].to_numpy(dtype=np.float64)))]
    features = {name: repeated[f"f.{name}"].to_numpy() for name in names}
    reference = build_reference(
        data.model,
        "",
        features,
        [FeatureSpec(name=name) for name in names],
        scores=repeated["score"].to_numpy(),
        labels=repeated["label"].to_numpy(),
        threshold=THRESHOLD,
    )
    segments = {
        name.removeprefix("s."): _texts(cast(pd.Series, repeated[name]))
        for name in map(str, repeated.columns)
        if name.startswith("s.")
    }
    known = Rows(
        features, None, repeated["score"].to_numpy(), repeated["label"].to_numpy(), segments=segments
    )
    complete = with_baseline(with_learned(reference, known), Rows(features), ordered=False)
    return with_segments(complete, known)


def _texts(column: pd.Series) -> list[str | None]:
    return [None if one is None or one != one else str(one) for one in column.tolist()]


def _part(data: TrainingSet, names: tuple[str, ...], scores: NDArray[np.float64]) -> pd.DataFrame:
    matrix = feature_matrix(data.features, names)
    part = pd.DataFrame({f"f.{name}": matrix[:, position] for position, name in enumerate(names)})
    if data.segments is not None:
        for name in data.segments.columns:
            part[f"s.{name}"] = data.segments[name].to_numpy(dtype=object)
    part["score"] = np.clip(scores, 0.0, 1.0)
    part["label"] = data.labels.to_numpy(dtype=np.float64)
    part["weight"] = 1.0 if data.weights is None else data.weights.to_numpy(dtype=np.float64)
    if data.reference_rows is None:
        return part
    return part.loc[data.reference_rows.to_numpy(dtype=bool)]


def _repeats(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    scale = min(1.0, MAX_ROWS / float(weights.sum()))
    return np.maximum(np.rint(weights * scale), 1).astype(np.int64)
