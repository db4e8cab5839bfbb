"""Candidates, their choice, ONNX parity and the reference, on scikit-learn's breast cancer set."""

import dataclasses

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_info, threadpool_limits

from detectors.segments import own_of
from remediation.training import SklearnTrainer, TrainingError, selection, trainer
from remediation.training.candidates import CANDIDATES, Candidate
from remediation.training.export import PARITY_TOLERANCE, exported, parity
from remediation.training.selection import cross_validated, fitted
from remediation.training.validation import Matrix, validated
from remediation.training_values import TrainingSet


def patients(count: int = 300, missing: float = 0.0) -> TrainingSet:
    shipped = load_breast_cancer(as_frame=True)
    features: pd.DataFrame = shipped.data.iloc[:count].reset_index(drop=True)
    if missing:
        features = features.mask(np.random.default_rng(1).random(features.shape) < missing)
    labels = 1 - shipped.target.iloc[:count].reset_index(drop=True)
    return TrainingSet(model="m", features=features, labels=labels, groups=pd.Series(np.arange(count)))


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.name)
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_onnx_says_what_the_fitted_candidate_says(candidate: Candidate, missing: float) -> None:
    rows = validated(patients(missing=missing))
    pipeline = fitted(candidate, rows, slice(0, 200), 5)
    onnx = exported(pipeline, rows.names)
    assert parity(onnx, pipeline, rows.matrix) < PARITY_TOLERANCE
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["features"]
    assert [each.name for each in session.get_outputs()] == ["label", "probabilities"]


def test_the_best_by_f1_is_taken_and_the_same_seed_gives_the_same_model() -> None:
    first = SklearnTrainer().train(patients(), seed=4)
    again = SklearnTrainer().train(patients(), seed=4)
    assert first.digest == again.digest
    assert set(first.candidates) == {each.name for each in CANDIDATES}
    assert first.candidates[first.algorithm] == max(first.candidates.values()) == first.metrics["f1"] > 0.9
    assert first.metrics["parity_max_difference"] < 1e-5
    assert first.features == tuple(patients().features.columns)
    assert first.rows == 300


def test_repeated_rows_of_one_person_never_stand_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[set[int], set[int]]] = []
    once = patients(60)
    data = TrainingSet(
        model="m",
        features=pd.concat([once.features] * 3, ignore_index=True),
        labels=pd.concat([once.labels] * 3, ignore_index=True),
        groups=pd.concat([once.groups] * 3, ignore_index=True),
    )

    class Watched(StratifiedGroupKFold):
        def split(self, *args: object) -> object:
            for train, test in super().split(*args):
                seen.append((set(data.groups[train]), set(data.groups[test])))
                yield train, test

    monkeypatch.setattr(selection, "StratifiedGroupKFold", Watched)
    cross_validated(CANDIDATES[:1], validated(data), 0)
    assert len(seen) == 5
    assert all(train.isdisjoint(test) for train, test in seen)


def test_the_reference_is_out_of_fold_and_counts_weights() -> None:
    data = patients(200)
    weights = pd.Series(np.arange(200) % 3 + 1.0)
    trained = SklearnTrainer().train(
        TrainingSet(
            model="m", features=data.features, labels=data.labels, groups=data.groups, weights=weights
        ),
        seed=0,
    )
    reference = trained.reference
    assert reference.rows == weights.sum()
    assert reference.labelled == weights.sum()
    assert reference.performance["accuracy"] == pytest.approx(trained.metrics["accuracy"])
    assert reference.performance["f1"] == pytest.approx(trained.metrics["f1"])


def test_the_reference_knows_the_segments_of_the_lines() -> None:
    data = patients(400)
    wards = pd.Series(["a" if radius > 13 else "b" for radius in data.features.iloc[:, 0]])
    named = dataclasses.replace(
        data,
        weights=pd.Series(np.full(400, 2.0)),
        segments=pd.DataFrame({"ward": wards.where(wards.index % 7 != 0, None)}),
    )
    with_wards = SklearnTrainer(CANDIDATES[:1]).train(named, seed=0)
    without = SklearnTrainer(CANDIDATES[:1]).train(data, seed=0)
    own = own_of(with_wards.reference, "ward=a")
    assert own.because == ""
    assert own.reference.rows == 2 * int(((wards == "a") & (wards.index % 7 != 0)).sum())
    assert own.reference.labelled == own.reference.rows
    assert own_of(without.reference, "ward=a").alone
    assert with_wards.digest == without.digest


def test_the_reference_is_that_of_the_world_now_with_what_was_held_out() -> None:
    data, held = patients(200), patients(260)
    held_out = TrainingSet(
        model="m",
        features=held.features.iloc[200:].reset_index(drop=True),
        labels=held.labels.iloc[200:].reset_index(drop=True),
        groups=held.groups.iloc[200:].reset_index(drop=True),
    )
    now = pd.Series(np.arange(200) >= 150)
    trained = SklearnTrainer(CANDIDATES[:1]).train(
        TrainingSet(
            model="m",
            features=data.features,
            labels=data.labels,
            groups=data.groups,
            reference_rows=now,
            held_out=held_out,
        ),
        seed=0,
    )
    without = SklearnTrainer(CANDIDATES[:1]).train(data, seed=0)
    assert trained.reference.rows == 110
    assert without.reference.rows == trained.rows == 200
    assert trained.digest == without.digest


def test_a_candidate_that_onnx_changes_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def refuses_the_first(onnx: bytes, pipeline: Pipeline, matrix: Matrix) -> float:
        asked.append(onnx)
        if len(asked) == 1:
            raise TrainingError("the ONNX model differs")
        return parity(onnx, pipeline, matrix)

    monkeypatch.setattr(trainer, "parity", refuses_the_first)
    trained = SklearnTrainer().train(patients(), seed=4)
    assert trained.algorithm == sorted(trained.candidates, key=lambda name: -trained.candidates[name])[1]
    asked.clear()
    with pytest.raises(TrainingError, match=r"none of the candidates \['LogisticRegression'\]"):
        SklearnTrainer(CANDIDATES[:1]).train(patients(), seed=4)


def test_a_column_that_a_fold_lacks_costs_one_candidate_at_most() -> None:
    data = patients(200)
    features = data.features.copy()
    features["rare"] = np.where(np.arange(200) == 0, 1.0, np.nan)
    trained = SklearnTrainer().train(
        TrainingSet(model="m", features=features, labels=data.labels, groups=data.groups), seed=0
    )
    assert {"LogisticRegression", "RandomForest", "LightGBM"} <= set(trained.candidates)


def test_no_thread_pool_spins_beside_the_stack_while_weighted_rows_are_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[int] = []
    parity = trainer.parity

    def counts_threads(onnx: bytes, pipeline: Pipeline, matrix: Matrix) -> float:
        threads.extend(pool["num_threads"] for pool in threadpool_info())
        return parity(onnx, pipeline, matrix)

    monkeypatch.setattr(trainer, "parity", counts_threads)
    data = patients(400)
    weights = pd.Series(np.random.default_rng(0).poisson(10, 400) + 1.0)
    weighted = TrainingSet(
        model="m", features=data.features, labels=data.labels, groups=data.groups, weights=weights
    )
    with threadpool_limits(limits=2):
        trained = SklearnTrainer().train(weighted, seed=0)
    assert trained.rows == 400
    assert threads
    assert set(threads) == {1}
