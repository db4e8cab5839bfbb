"""Measures: equal to what others compute, within the binning; undefined with a reason, never NaN."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from detectors.distances import coarse_groups, deviance, psi
from detectors.measures import measure
from detectors.performance import performance
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.scores import auc_error
from detectors.values import FeatureSpec, Monitor

X = (FeatureSpec(name="x"),)
MONITOR = Monitor(model="m")


def by_name(found):
    return {(one.measure, one.feature): one for one in found}


def measured(reference, features, predictions=None, scores=None, monitor=MONITOR):
    profile = Profile.empty(reference)
    profile.fold(features, predictions, scores)
    return by_name(measure(profile, reference, monitor))


def outcomes(reference, predictions, scores, labels):
    profile = Profile.empty(reference)
    profile.fold_outcomes(predictions, scores, labels)
    return {one.measure: one for one in performance(profile, reference)}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0])
def test_ks_is_scipys_within_a_bin(seed, shift):
    rng = np.random.default_rng(seed)
    before, now = rng.normal(0, 1, 2_000), rng.normal(shift, 1, 900)
    found = measured(build_reference("m", "1", {"x": before}, X), {"x": now})[("ks", "x")].value
    exact = stats.ks_2samp(before, now).statistic
    assert exact - 2 / 64 <= found <= exact + 1e-6


def test_ks_of_a_discrete_column_is_exact():
    rng = np.random.default_rng(0)
    before, now = rng.integers(0, 20, 500), rng.integers(3, 20, 300)
    found = measured(build_reference("m", "1", {"x": before}, X), {"x": now})[("ks", "x")].value
    assert found == pytest.approx(stats.ks_2samp(before, now).statistic)


def test_psi_is_the_textbook_sum_over_ten_groups():
    rng = np.random.default_rng(1)
    before, now = rng.normal(0, 1, 64_000), rng.normal(0.5, 1.2, 20_000)
    found = measured(build_reference("m", "1", {"x": before}, X), {"x": now})[("psi", "x")]
    edges = [-np.inf, *np.quantile(before, np.arange(1, 10) / 10), np.inf]
    p, q = np.histogram(now, edges)[0] / len(now), np.histogram(before, edges)[0] / len(before)
    assert found.groups == 10
    assert found.value == pytest.approx(float(((p - q) * np.log(p / q)).sum()), rel=0.05)


def test_psi_without_a_change_is_a_scaled_chi_squared():
    rng = np.random.default_rng(2)
    counts = [rng.multinomial(n, np.full(10, 0.1), 4_000).astype(float) for n in (400, 900)]
    values = np.array([psi(a, b) for a, b in zip(*counts, strict=True)]) / (1 / 400 + 1 / 900)
    assert values.mean() == pytest.approx(9, rel=0.05)
    assert np.quantile(values, 0.99) == pytest.approx(stats.chi2(9).ppf(0.99), rel=0.1)


def test_deviance_is_the_g_test():
    table = np.array([[30, 70], [10, 190]])
    exact = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
    assert deviance(np.array([0.3]), 100, np.array([0.05]), 200)[0] == pytest.approx(exact)


def test_coarse_groups_hold_equal_shares_and_categories_keep_their_own():
    assert coarse_groups(np.full(64, 5)).max() == 9
    assert np.bincount(coarse_groups(np.full(64, 5))).min() >= 6
    assert len(set(coarse_groups(np.array([90, 1, 1, 1, 7])).tolist())) >= 2
    assert coarse_groups(np.ones(12), ordered=False).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9]


def test_shares_are_those_of_the_rows():
    rng = np.random.default_rng(3)
    features = {"x": rng.uniform(1, 2, 400), "town": np.array(["a", "b"])[rng.integers(0, 2, 400)]}
    specs = (*X, FeatureSpec(name="town", kind="categorical"))
    reference = build_reference("m", "1", features, specs, predictions=rng.integers(0, 2, 400))
    x = rng.uniform(1.01, 1.99, 100)
    x[:20], x[20:30], x[30:35] = np.nan, 0.0, np.inf
    town = np.array(["a"] * 70 + ["c"] * 10 + [None] * 20, dtype=object)
    found = measured(reference, {"x": x, "town": town}, np.array([1] * 25 + [0] * 75))
    assert found[("missing_rate", "x")].value == 0.2
    assert found[("out_of_range_rate", "x")].value == pytest.approx(15 / 80)
    assert found[("out_of_range_rate", "x")].reference == pytest.approx(2 / 401)
    assert found[("point_mass", "x")].value == pytest.approx(10 / 80)
    assert found[("point_mass", "x")].detail == "the value 0"
    assert found[("missing_rate", "town")].value == 0.2
    assert found[("new_category_rate", "town")].value == pytest.approx(10 / 80)
    assert found[("positive_rate", None)].value == 0.25
    assert found[("psi", "town")].value > 0.1


def test_a_mass_that_grows_in_a_discrete_column_is_not_damage():
    features = {"x": np.tile([0.0, 1.0, 2.0, 3.0], 100)}
    reference = build_reference("m", "1", features, X)
    found = measured(reference, {"x": np.concatenate([np.ones(90), np.full(10, -9999.0)])})
    assert found[("point_mass", "x")].detail == "the value -9999"
    assert found[("psi", "x")].value > 1


def test_the_monitor_says_which_features_are_measured():
    features = {"x": np.arange(100.0), "y": np.arange(100.0)}
    reference = build_reference("m", "1", features, [FeatureSpec(name=n) for n in "xy"])
    found = measured(reference, features, monitor=Monitor(model="m", features=X))
    assert {feature for _, feature in found} == {"x", None}


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        (np.full(100, 3.0), np.full(100, 3.0), "the reference is constant"),
        (np.arange(100.0), np.full(100, np.nan), "all values are missing"),
        (np.full(100, np.nan), np.arange(100.0), "the reference has no value of it"),
        (np.arange(100.0), np.arange(10.0), "there are only 10 rows with a value; it takes 30"),
        (np.arange(100.0), np.arange(0.0), "there are only 0 rows with a value; it takes 30"),
    ],
)
def test_what_has_no_meaning_is_undefined_because(before, now, reason):
    found = measured(
        build_reference("m", "1", {"x": before}, X), {"x": now}, np.zeros(len(now)), np.zeros(len(now))
    )
    for name in ("psi", "ks"):
        assert (found[(name, "x")].value, found[(name, "x")].undefined) == (None, reason)
    assert found[("score_psi", None)].undefined
    for one in found.values():
        assert (one.value is None) == (one.undefined is not None)
        assert one.value is None or math.isfinite(one.value)


def scored(seed, rows, quality=0.3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    scores = np.clip(rng.normal(0.5 + quality * (labels - 0.5), 0.2), 0, 1)
    return scores, (scores >= 0.5).astype(int), labels


def labelled_reference(rows=1_000):
    scores, _, labels = scored(0, rows)
    return build_reference("m", "1", {"x": np.arange(float(rows))}, X, scores=scores, labels=labels)


@pytest.mark.parametrize("seed", range(5))
def test_performance_is_that_of_scikit_learn(seed):
    scores, said, labels = scored(seed, 800)
    found = outcomes(labelled_reference(), said, scores, labels)
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(labels, said))
    assert found["balanced_accuracy"].value == pytest.approx(metrics.balanced_accuracy_score(labels, said))
    assert found["precision"].value == pytest.approx(metrics.precision_score(labels, said))
    assert found["recall"].value == pytest.approx(metrics.recall_score(labels, said))
    assert found["f1"].value == pytest.approx(metrics.f1_score(labels, said))
    stated = float(found["auc"].detail.split("at most ")[1].split(" ")[0])
    assert abs(found["auc"].value - metrics.roc_auc_score(labels, scores)) <= stated + 1e-4


def test_the_standard_error_of_the_auc_is_its_spread():
    areas = []
    for seed in range(300):
        scores, _, labels = scored(seed, 200, 0.2)
        areas.append(metrics.roc_auc_score(labels, scores))
    assert auc_error(float(np.mean(areas)), 100, 100) == pytest.approx(np.std(areas), rel=0.15)


def test_performance_is_undefined_with_a_reason():
    reference = labelled_reference()
    none = outcomes(reference, np.zeros(0), np.zeros(0), np.zeros(0))
    assert {one.undefined for one in none.values()} == {"no labels have arrived"}
    few = outcomes(reference, np.zeros(10), np.zeros(10), np.zeros(10))
    assert few["accuracy"].undefined == "there are only 10 labelled rows; it takes 30"
    one_class = outcomes(reference, np.zeros(50), np.zeros(50), np.zeros(50))
    assert one_class["accuracy"].value == 1.0
    assert one_class["recall"].undefined == "no label is positive in the window"
    assert one_class["precision"].undefined == "nothing was predicted positive in the window"
    assert one_class["f1"].undefined == "no prediction and no label is positive in the window"
    assert one_class["auc"].undefined == "the window has only 0 positive labels; it takes 5"
    no_scores = outcomes(reference, np.ones(50), None, np.arange(50) % 2)
    assert no_scores["auc"].undefined == "the window has no scores of both classes"
    blank = build_reference("m", "1", {"x": np.arange(50.0)}, X)
    assert (
        outcomes(blank, np.ones(50), np.ones(50), np.ones(50))["f1"].undefined
        == "the reference has no labels"
    )


def test_a_nan_score_or_label_spoils_nothing():
    scores, said, labels = scored(1, 100)
    scores = replace_at(scores, np.nan)
    found = outcomes(labelled_reference(), said, scores, replace_at(labels.astype(float), np.nan, 5))
    assert found["accuracy"].rows == 95
    assert all(one.value is not None and math.isfinite(one.value) for one in found.values())


def replace_at(values, what, count=10):
    changed = values.copy()
    changed[:count] = what
    return changed
