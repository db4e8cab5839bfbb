"""The score card: equal to scikit-learn's scores, with intervals that hold as often as they say."""

import math

import numpy as np
import pytest
from sklearn import linear_model, metrics

from detectors.columns import SCORE_BINS
from detectors.performance import performance
from detectors.profile import Profile
from detectors.ranks import answers, plain
from detectors.reference import build_reference
from detectors.scorecard.card import changes, score_card
from detectors.scorecard.intervals import area_error, on_the_logit, wilson
from detectors.scorecard.numbers import CUT_OFF
from detectors.scorecard.probabilities import GROUPS, probability_scores
from detectors.thresholds import threshold
from detectors.values import FeatureSpec

X = (FeatureSpec(name="x"),)


def scored(seed, rows, sharp=1.0, shift=0.0):
    """True chances, the scores that a model gives (`sharp` above 1: too sure), labels."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(shift, 1.5, rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(float)
    return 1 / (1 + np.exp(-sharp * logit)), labels


def profiled(scores, labels, said=None, **options):
    reference = build_reference("m", "1", {"x": np.arange(float(len(labels)))}, X, **options)
    profile = Profile.empty(reference)
    profile.fold_outcomes((scores > 0.5) * 1.0 if said is None else said, scores, labels)
    return profile


def card(profile):
    return {score.measure: score for score in score_card(profile)}


@pytest.mark.parametrize("sharp", [0.6, 1.0, 2.0])
def test_a_binary_card_is_scikit_learns(sharp):
    scores, labels = scored(1, 4_000, sharp)
    found, said = card(profiled(scores, labels)), scores > 0.5
    exact = {
        "accuracy": metrics.accuracy_score(labels, said),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, said),
        "precision": metrics.precision_score(labels, said),
        "recall": metrics.recall_score(labels, said),
        "f1": metrics.f1_score(labels, said),
    }
    for name, value in exact.items():
        assert found[name].value == pytest.approx(value)
    binned = {
        "auc": metrics.roc_auc_score(labels, scores),
        "brier": metrics.brier_score_loss(labels, scores),
        "log_loss": metrics.log_loss(labels, scores),
    }
    for name, value in binned.items():
        assert abs(found[name].value - value) <= found[name].binning_error
        assert found[name].value == pytest.approx(value, abs=5e-3)
    groups = np.minimum((scores * GROUPS).astype(int), GROUPS - 1)
    gaps = [
        abs(labels[groups == g].mean() - scores[groups == g].mean()) * (groups == g).mean()
        for g in set(groups)
    ]
    assert found["calibration_error"].value == pytest.approx(sum(gaps), abs=0.5 / SCORE_BINS)
    model = linear_model.LogisticRegression(C=1e9, tol=1e-9)
    model.fit(np.log(scores / (1 - scores))[:, None], labels)
    assert found["calibration_slope"].value == pytest.approx(model.coef_[0, 0], rel=0.03)
    assert found["calibration_intercept"].value == pytest.approx(model.intercept_[0], abs=0.03)
    assert found["calibration_slope"].value == pytest.approx(1 / sharp, rel=0.15)


def test_intervals_hold_as_often_as_they_say():
    truth = card(profiled(*scored(0, 400_000)))
    held = dict.fromkeys(truth, 0)
    for seed in range(1, 151):
        found = card(profiled(*scored(seed, 600)))
        for name, score in found.items():
            held[name] += score.low <= truth[name].value <= score.high
    for name, times in held.items():
        assert times >= 134 or name == "calibration_error", (name, times)


def test_a_calibrated_model_is_told_what_chance_shows():
    found = [card(profiled(*scored(seed, 1_000)))["calibration_error"] for seed in range(20)]
    assert np.mean([s.value for s in found]) == pytest.approx(np.mean([s.naive for s in found]), rel=0.15)


def test_delong_is_that_of_the_raw_placements():
    scores, labels = scored(3, 1_500)
    good, bad = scores[labels == 1], scores[labels == 0]
    placed = np.array([(bad < s).mean() for s in good]), np.array([(good > s).mean() for s in bad])
    exact = math.sqrt(sum(p.var() / len(p) for p in placed))
    counts = [np.histogram(part, np.arange(SCORE_BINS + 1) / SCORE_BINS)[0] for part in (good, bad)]
    assert area_error(*counts, 1.0) == pytest.approx(exact, rel=0.03)


def test_intervals_of_shares_stay_in_bounds():
    assert wilson(0.0, 50)[0] == 0.0
    assert wilson(1.0, 50) == (pytest.approx(0.9286, abs=1e-3), 1.0)
    assert on_the_logit(1.0, 0.01) == (pytest.approx(0.9804, abs=1e-3), 1.0)


def test_a_multiclass_card_is_scikit_learns():
    rng, names = np.random.default_rng(4), ("a", "b", "c", "d")
    labels = rng.choice(4, 3_000, p=(0.5, 0.3, 0.15, 0.05)).astype(float)
    said = np.where(rng.random(3_000) < 0.7, labels, rng.integers(0, 4, 3_000))
    profile = profiled(rng.random(3_000), labels, said, task="multiclass", classes=names)
    found = card(profile)
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(labels, said))
    assert found["macro_f1"].value == pytest.approx(metrics.f1_score(labels, said, average="macro"))
    drawn = []
    for _ in range(200):
        rows = rng.integers(0, 3_000, 3_000)
        drawn.append(metrics.f1_score(labels[rows], said[rows], average="macro"))
    assert found["macro_f1"].error == pytest.approx(np.std(drawn), rel=0.2)


@pytest.mark.parametrize("classes", [2, 5, 40])
def test_top_k_accuracy_is_scikit_learns_and_can_be_taken_back(classes):
    rng, known = np.random.default_rng(classes), min(classes, 32)
    names = tuple(f"c{i}" for i in range(classes))
    labels = rng.integers(0, known, 2_000).astype(float)
    scores = rng.dirichlet(np.ones(classes), 2_000) + 1.5 / classes * np.eye(classes)[labels.astype(int)]
    scores /= scores.sum(axis=1, keepdims=True)
    said = np.float32(answers(scores.argmax(axis=1), scores))
    assert (plain(said) == np.where(scores.argmax(axis=1) < 32, scores.argmax(axis=1), -1)).all()
    reference = build_reference(
        "m", "1", {"x": labels}, X, predictions=said, labels=labels, task="multiclass", classes=names
    )
    profile = Profile.empty(reference)
    profile.fold({"x": labels}, said, None)
    profile.fold_outcomes(said, None, labels)
    found = {one.measure: one for one in performance(profile, reference)}
    for k in (2, 3) if classes > 3 else ():
        exact = metrics.top_k_accuracy_score(labels, scores, k=k, labels=range(classes))
        one = found[f"top_{k}_accuracy"]
        assert one.value == one.reference == pytest.approx(exact)
        assert one.low < one.value < one.high
        assert 0 < one.naive < 0.7
    assert found["top_3_accuracy"].value <= 1.0
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(labels, scores.argmax(axis=1)))
    profile.unfold_outcomes(said, None, labels)
    assert not profile.counters[profile.layout.outcomes.ranks].any()


def test_rows_without_probabilities_of_all_classes_count_for_the_accuracy_alone():
    scores = np.array([[0.5, 0.3, 0.2], [np.nan] * 3, [0.1, 0.2, 0.7]] * 20)
    said = answers(np.array([0.0, 1.0, np.nan] * 20), scores)
    labels, options = np.array([1.0, 1.0, 2.0] * 20), {"task": "multiclass", "classes": ("a", "b", "c")}
    known = {"x": np.arange(60.0)}, X
    profile = Profile.empty(build_reference("m", "1", *known, predictions=said, labels=labels, **options))
    profile.fold_outcomes(said, None, labels)
    found = card(profile)
    assert (found["accuracy"].rows, found["accuracy"].value) == (40, 0.5)
    assert (found["top_2_accuracy"].rows, found["top_2_accuracy"].value) == (20, 1.0)
    none = build_reference("m", "1", *known, predictions=plain(said), labels=labels, **options)
    profile = Profile.empty(none)
    profile.fold_outcomes(said, None, labels)
    assert "top_2_accuracy" not in card(profile)


def regressed(said, labels):
    reference = build_reference(
        "m", "1", {"x": labels}, X, predictions=said, labels=labels, task="regression"
    )
    profile = Profile.empty(reference)
    profile.fold_outcomes(said, None, labels)
    return profile


def exact_losses(said, labels):
    """What scikit-learn says of a regression."""
    return {
        "mae": metrics.mean_absolute_error(labels, said),
        "rmse": metrics.root_mean_squared_error(labels, said),
        "bias": np.mean(said - labels),
        "r2": metrics.r2_score(labels, said),
        "mape": metrics.mean_absolute_percentage_error(labels, said),
    } | {
        f"quantile_loss_{share:g}": metrics.mean_pinball_loss(labels, said, alpha=share)
        for share in (0.1, 0.5, 0.9)
    }


@pytest.mark.parametrize("middle", [10.0, -3.0e3])
def test_a_regression_card_is_scikit_learns(middle):
    rng = np.random.default_rng(5)
    labels = middle + rng.gamma(3.0, 2.0, 2_000)
    said = np.float32(labels + rng.normal(0.4, 1, 2_000) * (1 + (labels - middle) / 5)).astype(np.float64)
    found, exact = card(regressed(said, labels)), exact_losses(said, labels)
    assert found.keys() == exact.keys()
    for name, value in exact.items():
        assert found[name].value == pytest.approx(value, rel=1e-6, abs=1e-9), name
        assert found[name].low < value < found[name].high, name
    assert found["rmse"].naive == pytest.approx(labels.std(), rel=1e-6)
    drawn = []
    for _ in range(300):
        rows = rng.integers(0, 2_000, 2_000)
        drawn.append(list(exact_losses(said[rows], labels[rows]).values()))
    for name, spread in zip(exact, np.std(drawn, axis=0), strict=True):
        assert found[name].error == pytest.approx(spread, rel=0.2), name


def test_percentages_leave_out_labels_that_are_zero_and_say_so():
    labels = np.array([0.0, 0.0, 2.0, 4.0, -4.0] * 20)
    found = card(regressed(labels + 1.0, labels))["mape"]
    assert found.value == pytest.approx((0.5 + 0.25 + 0.25) / 3)
    assert (found.rows, found.detail) == (60, "40 rows whose label is 0 are left out")
    none = card(regressed(np.ones(50), np.zeros(50)))["mape"]
    assert (none.value, none.undefined) == (None, "every label is 0")


def test_an_error_that_is_cut_off_leaves_no_interval_for_what_takes_its_fourth_power():
    reference = build_reference(
        "m",
        "1",
        {"x": np.arange(100.0)},
        X,
        predictions=np.arange(100.0),
        labels=np.arange(100.0),
        task="regression",
    )
    profile = Profile.empty(reference)
    profile.fold_outcomes(np.arange(100.0) + 1e6, None, np.arange(100.0))
    found = card(profile)
    assert found["rmse"].value == pytest.approx(1e6, rel=1e-6)
    for name in ("rmse", "r2"):
        assert (found[name].low, found[name].detail) == (None, CUT_OFF)


def test_two_versions_are_told_apart():
    before, now = profiled(*scored(6, 3_000)), profiled(*scored(7, 3_000, sharp=2.0))
    found = {score.measure: score for score in changes(before, now)}
    assert found["log_loss"].low > 0
    assert found["accuracy"].low < 0 < found["accuracy"].high
    assert found["accuracy"].naive == card(before)["accuracy"].value


@pytest.mark.parametrize("labels", [np.zeros(50), np.ones(50), np.full(50, np.nan), np.zeros(0)])
@pytest.mark.parametrize("score", [0.0, 0.5, 1.0, math.nan])
def test_bad_outcomes_are_undefined_with_a_reason_and_never_nan(labels, score):
    for one in score_card(profiled(np.full(len(labels), score), labels)) if len(labels) else []:
        assert (one.value is None) == (one.undefined is not None)
        assert all(
            n is None or math.isfinite(n) for n in (one.value, one.low, one.high, one.error, one.naive)
        )
    empty = probability_scores(np.zeros(SCORE_BINS), np.zeros(SCORE_BINS), 1.0)
    assert {one.undefined for one in empty} == {"no labelled row has a score"}


def test_measures_of_a_window_carry_intervals_and_what_no_model_would_score():
    rng = np.random.default_rng(11)
    scores = rng.uniform(0, 1, 3_000)
    labels = (rng.random(3_000) < scores) * 1.0
    reference = build_reference("m", "1", {"x": scores}, X, scores, labels=labels)
    profile = Profile.empty(reference)
    profile.fold_outcomes((scores[:500] >= 0.5) * 1.0, scores[:500], labels[:500])
    found = {one.measure: one for one in performance(profile, reference)}
    for name in ("accuracy", "f1", "auc", "balanced_accuracy", "brier", "log_loss", "calibration_slope"):
        one = found[name]
        assert one.low < one.value < one.high, name
        assert one.reference == pytest.approx(one.value, rel=0.25)
    assert found["accuracy"].naive == pytest.approx(max(labels[:500].mean(), 1 - labels[:500].mean()))
    assert found["log_loss"].naive > found["log_loss"].value
    assert all(threshold(found[name], 1e-4) is None for name in ("brier", "log_loss", "calibration_error"))


def test_a_reference_without_scores_asks_for_no_scores_of_probabilities():
    labels = np.arange(100) % 2
    reference = build_reference("m", "1", {"x": np.arange(100.0)}, X, predictions=labels, labels=labels)
    profile = Profile.empty(reference)
    profile.fold_outcomes(labels * 1.0, None, labels * 1.0)
    found = {one.measure for one in performance(profile, reference)}
    assert "accuracy" in found
    assert "brier" not in found


def test_a_regression_tells_its_losses_beside_those_of_the_reference():
    rng = np.random.default_rng(12)
    truth = rng.normal(5, 2, 2_000)
    said = truth + rng.normal(0, 1, 2_000)
    reference = build_reference("m", "1", {"x": truth}, X, None, said, truth, task="regression")
    profile = Profile.empty(reference)
    profile.fold_outcomes(said[:500], None, truth[:500])
    found = {one.measure: one for one in performance(profile, reference)}
    loss = found["quantile_loss_0.1"]
    assert loss.low < loss.value < loss.high
    assert loss.reference == pytest.approx(loss.value, rel=0.2)
    assert found["rmse"].naive == pytest.approx(2, rel=0.15)
