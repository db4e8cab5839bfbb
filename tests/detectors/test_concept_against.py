"""Concept drift judged from profiles, against the reference and within the budget of a monitor."""

import msgspec
import numpy as np
import pytest

from detectors.concept.against import begin, concept_detector, judge_pane, reference_pane, warm
from detectors.concept.values import ConceptState, Pane
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.values import Budget, FeatureSpec, Monitor

X = (FeatureSpec(name="x"),)
MONITOR = Monitor(model="m", budget=Budget(incidents=1, windows=1_000), label_window_rows=200)


def binary(rng, rows, turned=0.0, shift=1.0):
    logit = rng.normal(0, 2 * shift, rows)
    labels = rng.random(rows) < 1 / (1 + np.exp(-logit))
    labels ^= rng.random(rows) < turned
    scores = 1 / (1 + np.exp(-logit))
    return (scores >= 0.4) * 1.0, scores, labels * 1.0


def multiclass(rng, rows, turned=0.0):
    labels, sure = rng.integers(0, 3, rows), rng.uniform(0.4, 1, rows)
    wrong = rng.random(rows) > sure * (1 - turned)
    return np.where(wrong, (labels + 1) % 3, labels) * 1.0, sure, labels * 1.0


def regression(rng, rows, turned=0.0):
    said = rng.normal(0, 1, rows)
    return said, None, said + rng.standard_t(3, rows) * (1 + 2 * turned)


TASKS = {"binary": binary, "multiclass": multiclass, "regression": regression}


def reference_of(task, rng, rows=5_000):
    said, scores, labels = TASKS[task](rng, rows)
    options = {"classes": ("a", "b", "c")} if task == "multiclass" else {}
    features = {"x": rng.normal(0, 1, rows)}
    return build_reference("m", "1", features, X, scores, said, labels, task=task, **options)


def run(task, turned, panes=60, size=200, from_pane=30):
    rng = np.random.default_rng(1)
    reference = reference_of(task, rng)
    detector = concept_detector(MONITOR, reference)
    state, found = begin(detector, reference), []
    for pane in range(panes):
        profile = Profile.empty(reference)
        said, scores, labels = TASKS[task](rng, size, turned if pane >= from_pane else 0.0)
        profile.fold_outcomes(said, scores, labels)
        state, told = judge_pane(detector, state, profile)
        state = msgspec.json.decode(msgspec.json.encode(state), type=ConceptState)
        found.append(told)
    return found


@pytest.mark.parametrize("task", TASKS)
def test_turned_answers_are_found_within_panes_and_calm_is_silent(task):
    assert not any(told.drift for told in run(task, 0.0))
    first = next(i for i, told in enumerate(run(task, 0.3)) if told.drift)
    assert 30 <= first <= 34


@pytest.mark.parametrize("task", TASKS)
def test_a_stream_that_is_worse_from_its_first_row_is_found_by_the_reference(task):
    assert any(told.drift for told in run(task, 0.3, panes=8, from_pane=0))


@pytest.mark.parametrize("task", TASKS)
def test_the_reference_is_its_first_pane(task):
    rng = np.random.default_rng(2)
    pane = reference_pane(reference_of(task, rng))
    assert isinstance(pane, Pane)
    assert pane.count == pytest.approx(5_000, rel=0.01)
    assert 0.05 < pane.total / pane.count < 0.45
    assert sum(pane.totals) == pytest.approx(0.0 if task == "regression" else pane.total)


def test_what_is_missing_is_undefined_with_a_reason():
    reference = build_reference("m", "1", {"x": np.arange(50.0)}, X)
    detector = concept_detector(MONITOR, reference)
    assert reference_pane(reference) == "no label arrived"
    state = begin(detector, reference)
    assert state == detector.start()
    after, told = judge_pane(detector, state, Profile.empty(reference))
    assert (after, told.undefined) == (state, "no label arrived")


def test_all_is_compiled_once():
    warm()
    warm()
