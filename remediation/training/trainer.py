"""From labelled rows to a model that can be registered."""

import time
from collections.abc import Sequence

import structlog
from threadpoolctl import threadpool_limits

from remediation.training.candidates import CANDIDATES, Candidate
from remediation.training.export import exported, parity
from remediation.training.profile import referenced
from remediation.training.selection import THRESHOLD, Result, cross_validated, fitted
from remediation.training.validation import Rows, TrainingError, validated
from remediation.training_values import TrainedModel, TrainingSet

log = structlog.get_logger()


class SklearnTrainer:
    """Fits every candidate in grouped, stratified cross-validation and returns the best by F1 that ONNX
    Runtime reproduces. The same data and seed give the same model.

    candidates: what is tried, simplest first (it wins at equal F1).
    """

    def __init__(self, candidates: Sequence[Candidate] = CANDIDATES) -> None:
        self._candidates = tuple(candidates)

    def train(self, data: TrainingSet, *, seed: int) -> TrainedModel:
        """The best candidate, fitted on all lines of `data` (never on `data.held_out`), with its reference.

        Its `metrics` are out-of-fold (f1, accuracy, balanced_accuracy, precision, recall, auc, brier), plus
        `parity_max_difference` between ONNX and the fitted model; `candidates` holds the F1 of each. The
        reference
        names no version yet: the registry gives it one. Raises `TrainingError`.
        """
        # Threads that spin while they wait for each other cost more than they bring beside a busy stack.
        with threadpool_limits(limits=1):
            return self._train(data, seed)

    def _train(self, data: TrainingSet, seed: int) -> TrainedModel:
        started = time.monotonic()
        rows = validated(data)
        results = cross_validated(self._candidates, rows, seed)
        for result in results:
            try:
                trained = self._finished(data, rows, result, results, seed)
            except TrainingError as error:
                log.warning(
                    "This candidate cannot serve; the next best is taken.",
                    model=data.model,
                    candidate=result.candidate.name,
                    reason=str(error),
                )
                continue
            log.info(
                "A model is trained.",
                model=data.model,
                algorithm=trained.algorithm,
                f1=round(trained.metrics["f1"], 4),
                candidates={name: round(f1, 4) for name, f1 in trained.candidates.items()},
                rows=trained.rows,
                onnx_max_difference=trained.metrics["parity_max_difference"],
                duration_s=round(time.monotonic() - started, 2),
            )
            return trained
        raise TrainingError(
            f"none of the candidates {[result.candidate.name for result in results]} can be served as ONNX; "
            "the log tells why for each"
        )

    def _finished(
        self, data: TrainingSet, rows: Rows, result: Result, results: Sequence[Result], seed: int
    ) -> TrainedModel:
        pipeline = fitted(result.candidate, rows, slice(None), seed)
        onnx = exported(pipeline, rows.names)
        largest = parity(onnx, pipeline, rows.matrix)
        return TrainedModel(
            model=data.model,
            algorithm=result.candidate.name,
            onnx=onnx,
            features=rows.names,
            metrics={**result.metrics, "parity_max_difference": largest},
            candidates={each.candidate.name: each.metrics["f1"] for each in results},
            reference=referenced(data, result.scores, pipeline, rows.names),
            rows=len(rows.labels),
            parameters={
                "seed": str(seed),
                "folds": str(rows.folds),
                "groups": str(int(rows.groups.max()) + 1),
                "threshold": str(THRESHOLD),
            },
        )
