"""What a candidate has to do better, and what it must not do worse."""

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from detectors.values import Evidence
from remediation.demands import JUDGED, Demand, demanded
from remediation.gating import Gate, gate
from remediation.playbooks.files import parse_playbooks
from remediation.playbooks.lint import lint
from remediation.policy import Policy
from remediation.training_run import RetrainParameters
from remediation.training_values import TrainingSet


class Scored:
    """The chances stand in a column named by the model's bytes."""

    def score(self, onnx: bytes, features: pd.DataFrame) -> Any:
        return features[onnx.decode()].to_numpy()


def compared(truth: list[int], new: list[float], old: list[float], demand: Demand, **more: Any) -> Gate:
    held = TrainingSet(
        model="m",
        features=pd.DataFrame({"new": new, "old": old}),
        labels=pd.Series(truth),
        groups=pd.Series(more.get("groups", range(len(truth)))),
        weights=pd.Series(more.get("weights", np.ones(len(truth)))),
    )
    return gate(b"new", b"old", held, Scored(), demand)


def shown(measure: str, effect: float = 2.0) -> Evidence:
    return Evidence(measure=measure, value=0.5, threshold=0.6, rows=500, effect=effect)


TRUTH = [1] * 100 + [0] * 300
OLD = [0.9] * 70 + [0.1] * 30 + [0.9] * 30 + [0.1] * 270
"""Recall 0.70, specificity 0.90, F1 0.70."""
FEWER_ALARMS = [0.9] * 68 + [0.1] * 32 + [0.9] * 13 + [0.1] * 287
"""Recall 0.68, specificity 0.96, F1 0.75."""
RARER = [0.9] * 64 + [0.1] * 36 + [0.9] * 6 + [0.1] * 294
"""Recall 0.64, specificity 0.98, F1 0.753, precision 0.91."""


def test_every_measure_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 2, 500)
    chance = np.round(np.clip(truth * 0.3 + rng.uniform(0, 0.8, 500), 0, 1), 2)
    said = (chance >= 0.5).astype(int)
    found = compared(truth.tolist(), chance.tolist(), [0.0] * 500, Demand()).candidate
    expected = {
        "accuracy": accuracy_score(truth, said),
        "balanced_accuracy": balanced_accuracy_score(truth, said),
        "f1": f1_score(truth, said),
        "recall": recall_score(truth, said),
        "precision": precision_score(truth, said),
        "auc": roc_auc_score(truth, chance),
        "brier": brier_score_loss(truth, chance),
    }
    assert set(found) == set(JUDGED)
    for name, value in found.items():
        assert value == pytest.approx(expected[name]), name


def test_a_better_f1_passes_although_balanced_accuracy_is_a_little_worse() -> None:
    """0.80 and 0.81 are within the margin; what loses more of it does not pass."""
    slightly = [0.9] * 65 + [0.1] * 35 + [0.9] * 17 + [0.1] * 283
    found = compared(TRUTH, slightly, OLD, Demand())
    assert found.candidate["balanced_accuracy"] < found.champion["balanced_accuracy"]
    assert found.candidate["f1"] > found.champion["f1"]
    assert found.passed
    far = [0.9] * 54 + [0.1] * 46 + [0.1] * 300
    worse = compared(TRUTH, far, OLD, Demand())
    assert worse.candidate["f1"] > worse.champion["f1"]
    assert worse.missed == ("balanced_accuracy",)
    assert "did not beat champion" in worse.told
    assert "(by balanced accuracy)" in worse.told


def test_what_alarmed_the_most_has_to_be_better_and_what_alarmed_besides_must_not_be_worse() -> None:
    demand = demanded([shown("recall", 4.0), shown("precision"), shown("error_rate"), shown("psi", 9.0)])
    assert demand.better == "recall"
    assert set(demand.not_worse) == {"precision", "accuracy", "balanced_accuracy", "f1"}
    assert compared(TRUTH, FEWER_ALARMS, OLD, demand).missed == ("recall",)
    assert compared(TRUTH, FEWER_ALARMS, OLD, demanded([shown("precision")])).passed
    assert demanded([shown("psi")]) == Demand()


def test_a_playbook_says_otherwise_and_counts() -> None:
    said = demanded([shown("recall")], better="precision", by=0.05, not_worse={"recall": 0.1, "f1": 0.0})
    assert (said.better, said.by) == ("precision", 0.05)
    assert said.not_worse == {"recall": 0.1, "balanced_accuracy": 0.02, "f1": 0.0}
    assert compared(TRUTH, RARER, OLD, said).passed
    strict = demanded([], better="precision", not_worse={"recall": 0.01})
    assert compared(TRUTH, RARER, OLD, strict).missed == ("recall",)
    assert compared(TRUTH, RARER, OLD, demanded([], better="precision", by=0.5)).missed == ("precision",)


def test_less_of_a_brier_score_is_better() -> None:
    surer = [0.99 if each > 0.5 else 0.01 for each in OLD]
    vague = [0.6 if each > 0.5 else 0.4 for each in OLD]
    assert compared(TRUTH, OLD, vague, demanded([shown("brier")])).passed
    assert compared(TRUTH, vague, OLD, demanded([shown("brier")])).missed == ("brier",)
    assert compared(TRUTH, surer, OLD, demanded([shown("brier")])).candidate["f1"] == pytest.approx(0.7)


def test_the_same_is_not_better_and_each_group_counts_once() -> None:
    same = compared([1, 0, 1], [0.9, 0.1, 0.9], [0.9, 0.1, 0.9], Demand())
    assert same.missed == ("f1",)
    more = {"groups": [7, 7, 8, 9], "weights": [3.0, 1.0, 50.0, 1.0]}
    found = compared([1, 0, 0, 1], [1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0], Demand(), **more)
    assert found.passed
    assert found.groups == 3
    assert (found.candidate["balanced_accuracy"], found.candidate["f1"]) == (1.0, 1.0)
    assert (found.champion["balanced_accuracy"], round(found.champion["f1"], 3)) == (0.5, 0.8)


def test_a_plan_from_before_measures_could_be_chosen_is_held_to_what_its_approver_was_told() -> None:
    """Balanced accuracy and F1 above the champion's: no margin was named."""
    said = {"since_us": 0, "until_us": 1, "with_past": True, "seed": 1, "gate": "balanced accuracy and F1"}
    demand = msgspec.convert(said, RetrainParameters).demand
    slightly = [0.9] * 65 + [0.1] * 35 + [0.9] * 17 + [0.1] * 283
    assert compared(TRUTH, slightly, OLD, demand).missed == ("balanced_accuracy",)
    assert compared(TRUTH, slightly, OLD, Demand()).passed


def test_lint_tells_a_margin_that_has_no_effect() -> None:
    gate = "{better: recall, not_worse: {recall: 0.1, f1: 0}}"
    text = (
        f"playbooks: [{{name: p, match: {{causes: [unknown]}}, steps: [{{action: retrain, gate: {gate}}}]}}]"
    )
    (found,) = lint(parse_playbooks(text.encode(), "p.yaml"), policy=Policy())
    assert (found.level, found.place) == ("warning", "playbook 'p', step 1 (retrain)")
    assert "`not_worse` of recall says nothing" in found.text
    fine = text.replace("recall: 0.1, ", "")
    assert not lint(parse_playbooks(fine.encode(), "p.yaml"), policy=Policy())
