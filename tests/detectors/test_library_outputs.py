"""Measures of what a model said: scores, classes, predictions."""

import numpy as np
import pytest
from scipy import stats

from detectors.columns import Column
from detectors.judgement import Decision
from detectors.library.judging import further_decisions
from detectors.library.standard import STANDARD, standard
from detectors.profile import Profile
from detectors.reference import Reference, build_reference
from detectors.values import FeatureSpec

SPECS = [FeatureSpec(name="x")]
ASKED = [measure.name for measure in STANDARD]


def told(reference: Reference, window: Profile) -> dict[str, Decision]:
    found = further_decisions(ASKED, standard(), window, reference)
    return {one.measure: one for one in found if one.kind == "prediction_drift"}


def window_of(reference: Reference, rows: int, predictions: Column | None, scores: Column | None) -> Profile:
    window = Profile.empty(reference)
    window.fold({"x": np.zeros(rows)}, predictions, scores)
    return window


def test_scores_are_a_column_of_numbers():
    rng = np.random.default_rng(1)
    before, now = rng.beta(2, 3, 8_000), rng.beta(3, 3, 3_000)
    x = {"x": rng.normal(0, 1, 8_000)}
    reference = build_reference("m", "1", x, SPECS, scores=before, predictions=(before > 0.5) * 1.0)
    found = told(reference, window_of(reference, 3_000, (now > 0.5) * 1.0, now))
    shift = (now.mean() - before.mean()) / before.std()
    assert found["score_mean_shift"].value == pytest.approx(shift, abs=0.02)
    assert found["score_variance_ratio"].value == pytest.approx(np.log(now.var() / before.var()), abs=0.02)
    exact = stats.wasserstein_distance(before, now) / before.std()
    assert found["score_wasserstein"].value == pytest.approx(exact, abs=0.02)
    of_columns = {measure.name for measure in STANDARD if measure.column is not None} - {"psi", "ks"}
    assert set(found) == {f"score_{name}" for name in of_columns}
    assert all(one.feature is None and one.verdict == "ok" for one in found.values())
    same = told(reference, window_of(reference, 8_000, (before > 0.5) * 1.0, before))
    assert [one.value for one in same.values()] == pytest.approx([0.0] * 8, abs=1e-9)


def test_classes_and_predictions_are_shares():
    rng = np.random.default_rng(2)
    said = rng.choice(3, 5_000, p=(0.5, 0.3, 0.2)).astype(float)
    x = {"x": rng.normal(0, 1, 5_000)}
    reference = build_reference(
        "m", "1", x, SPECS, predictions=said, labels=said, task="multiclass", classes=("a", "b", "c")
    )
    later = rng.choice(3, 2_000, p=(0.2, 0.3, 0.5)).astype(float)
    found = told(reference, window_of(reference, 2_000, later, None))
    shares = [np.bincount(one.astype(int), minlength=3) / len(one) for one in (said, later)]
    apart = np.abs(shares[0] - shares[1])
    assert found["class_total_variation"].value == pytest.approx(apart.sum() / 2)
    assert found["class_l_infinity"].value == pytest.approx(apart.max())
    assert "class_wasserstein" not in found
    numbers = rng.normal(10, 2, 5_000)
    reference = build_reference("m", "1", x, SPECS, predictions=numbers, labels=numbers, task="regression")
    found = told(reference, window_of(reference, 2_000, rng.normal(12, 2, 2_000), None))
    exact = 2 * stats.norm.cdf(0.5) - 1
    assert found["prediction_total_variation"].value == pytest.approx(exact, abs=0.04)
    assert "prediction_mean_shift" not in found


def test_few_rows_are_undefined_and_a_reference_without_outputs_has_none():
    rng = np.random.default_rng(3)
    x = {"x": rng.normal(0, 1, 500)}
    reference = build_reference("m", "1", x, SPECS, scores=rng.random(500))
    found = told(reference, window_of(reference, 10, None, np.full(10, 0.5)))
    assert {one.verdict for one in found.values()} == {"undefined"}
    assert "has only 10 rows" in (found["score_hellinger"].undefined or "")
    assert told(reference, window_of(reference, 600, None, None))["score_hellinger"].value is None
    plain = build_reference("m", "1", x, SPECS)
    assert told(plain, window_of(plain, 600, None, rng.random(600))) == {}
