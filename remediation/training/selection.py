"""Which candidate is best: out-of-fold scores where no group stands on both sides of a split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from remediation.training.candidates import Candidate
from remediation.training.validation import Matrix, Rows, TrainingError

log = structlog.get_logger()

THRESHOLD = 0.5
"""A score at or above it is the prediction 1."""


@dataclass(frozen=True, slots=True)
class Result:
    """A candidate's out-of-fold scores [n] (probability of class 1) and the metrics over all folds
    together."""

    candidate: Candidate
    scores: NDArray[np.float64]
    metrics: dict[str, float]


def cross_validated(candidates: Sequence[Candidate], rows: Rows, seed: int) -> list[Result]:
    """One result per candidate, best F1 first; equal ones in the order given. All see the same folds.

    A candidate that cannot be fitted on these rows is left out, with a line in the log; `TrainingError` when
    none can.
    """
    splitter = StratifiedGroupKFold(n_splits=rows.folds, shuffle=True, random_state=seed)
    folds = list(splitter.split(rows.matrix, rows.labels, rows.groups))
    results: list[Result] = []
    for candidate in candidates:
        scores = np.empty(len(rows.labels))
        try:
            for train, test in folds:
                scores[test] = probabilities(fitted(candidate, rows, train, seed), rows.matrix[test])
        except ValueError as error:
            # Histogram boosting cannot fit a column that is missing in all rows of a fold.
            log.warning("This candidate cannot be fitted.", candidate=candidate.name, reason=str(error))
            continue
        results.append(Result(candidate, scores, measured(rows, scores)))
    if not results:
        raise TrainingError("no candidate can be fitted on these rows; the log tells why for each")
    return sorted(results, key=lambda result: -result.metrics["f1"])


def fitted(candidate: Candidate, rows: Rows, train: NDArray[np.int64] | slice, seed: int) -> Pipeline:
    """The candidate fitted on the rows `train`, weighted."""
    pipeline = candidate.build(seed)
    weights = rows.weights[train]
    # Weighted quantiles make histogram boosting several times slower; equal weights say nothing.
    weighting = {} if np.ptp(weights) == 0 else {"model__sample_weight": weights}
    pipeline.fit(rows.matrix[train], rows.labels[train], **weighting)
    return pipeline


def probabilities(pipeline: Pipeline, matrix: Matrix) -> NDArray[np.float64]:
    """Probability of class 1, [n]."""
    both = np.asarray(pipeline.predict_proba(matrix), dtype=np.float64)
    return both[:, 1]


def measured(rows: Rows, scores: NDArray[np.float64]) -> dict[str, float]:
    """Weighted metrics of `scores` against the labels; F1, precision and recall are those of class 1."""
    predictions = (scores >= THRESHOLD).astype(np.int64)
    labels, weights = rows.labels, rows.weights
    zero: Any = 0.0
    return {
        "f1": float(f1_score(labels, predictions, sample_weight=weights, zero_division=zero)),
        "accuracy": float(accuracy_score(labels, predictions, sample_weight=weights)),
        "balanced_accuracy": float(balanced_accuracy_score(labels, predictions, sample_weight=weights)),
        "precision": float(precision_score(labels, predictions, sample_weight=weights, zero_division=zero)),
        "recall": float(recall_score(labels, predictions, sample_weight=weights)),
        "auc": float(roc_auc_score(labels, scores, sample_weight=weights)),
        "brier": float(brier_score_loss(labels, scores, sample_weight=weights)),
    }
