"""Estimates without labels: close to what labels show, honest about their error, silent where they cannot hold."""

import msgspec
import numpy as np
import pytest
from sklearn import metrics

from detectors.errors import ProfileInvalid, ReferenceInvalid
from detectors.estimation.calibration import Map, choose
from detectors.estimation.cells import CELLS, cells_of_profile, cells_of_rows
from detectors.estimation.estimate import estimate
from detectors.estimation.expected import MEASURES
from detectors.estimation.fit import build_estimator
from detectors.estimation.groups import groups_of, telling_columns
from detectors.estimation.labelled import labelled_part, realized
from detectors.estimation.trust import Trust, reconcile, reconciled
from detectors.estimation.values import Estimate, Estimator
from detectors.layout import layout_of
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.values import FeatureSpec
from tests.detectors.estimation_parts import loans

SPECS = (FeatureSpec(name="x"), FeatureSpec(name="group", kind="categorical"))
CLASSES = ("cat", "dog", "eel", "fox")


def learned(rng, rows=20_000, **how):
    features, scores, said, labels = loans(rng, rows, **how)
    reference = build_reference("m", "1", features, SPECS, scores=scores, predictions=said, labels=labels)
    return reference, build_estimator(reference, features, said, scores, labels)


def window(reference, features, scores, said, labels=None):
    profile = Profile.empty(reference)
    cells = profile.fold(features, said, scores)
    if labels is not None:
        profile.fold_outcomes(said, scores, labels, cells)
    return profile


def by_name(estimates):
    return {one.measure: one for one in estimates}


@pytest.fixture(scope="module")
def known():
    return learned(np.random.default_rng(1))


def test_estimates_are_near_what_the_labels_show_and_intervals_hold_it(known):
    reference, estimator = known
    rng, inside, tried = np.random.default_rng(2), 0, 0
    for _ in range(25):
        log = loans(rng, 1_000)
        profile = window(reference, *log)
        truth, found = realized(profile), by_name(estimate(profile, estimator))
        assert list(found) == list(MEASURES)
        for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc"):
            one = found[name]
            assert abs(one.value - truth[name]) < 4 * one.sampling + 0.01
            inside, tried = inside + (one.low <= truth[name] <= one.high), tried + 1
    assert 0.9 <= inside / tried <= 1.0


def test_log_loss_and_brier_are_those_of_scikit_learn(known):
    reference, estimator = known
    features, scores, said, labels = loans(np.random.default_rng(3), 20_000)
    found = by_name(estimate(window(reference, features, scores, said), estimator))
    assert found["log_loss"].value == pytest.approx(metrics.log_loss(labels, scores), abs=0.02)
    assert found["brier"].value == pytest.approx(metrics.brier_score_loss(labels, scores), abs=0.01)
    assert found["auc"].value == pytest.approx(metrics.roc_auc_score(labels, scores), abs=0.01)


def test_features_correct_what_the_score_alone_cannot_know(known):
    """Where x is high the scores promise too much; that more rows are there shows in no score."""
    reference, estimator = known
    features, scores, said, labels = loans(np.random.default_rng(4), 20_000, mean=1.5)
    found = by_name(estimate(window(reference, features, scores, said), estimator))
    accuracy = float((said == labels).mean())
    plain = build_estimator(
        build_reference("m", "1", {"x": np.zeros(20_000)}, SPECS[:1], scores=scores, labels=labels),
        {"x": np.zeros(20_000)},
        None,
        scores,
        labels,
    )
    assert estimator.marginals.effects
    assert not plain.marginals.effects
    assert found["accuracy"].value == pytest.approx(accuracy, abs=0.03)
    assert found["accuracy"].reference - accuracy > 0.08
    assert found["accuracy"].low <= accuracy <= found["accuracy"].high


def test_crooked_scores_are_bent_and_calibrated_ones_stay():
    means = (np.arange(64) + 0.5) / 64
    counts = np.full(64, 2_000.0)
    logit = np.log(means / (1 - means))
    assert choose(counts * means, counts, means).family == "score"
    bent = counts / (1 + np.exp(-(0.5 * logit - 1)))
    found = choose(bent, counts, means)
    assert found.family == "beta"
    assert found.chances(bent, counts, means) == pytest.approx(bent / counts, abs=0.01)
    step = np.where(means > 0.5, 0.9, 0.4) * counts
    found = choose(step, counts, means)
    assert found.chances(step, counts, means) == pytest.approx(step / counts, abs=0.03)
    assert str(Map("score", 100.0)) == "the score itself, worth 100 rows a cell"


def test_a_threshold_inside_a_bin_is_split_exactly():
    rng = np.random.default_rng(5)
    features, scores, _, labels = loans(rng, 10_000)
    said = (scores >= 0.305).astype(float)
    reference = build_reference(
        "m", "1", features, SPECS, scores=scores, predictions=said, labels=labels, threshold=0.305
    )
    estimator = build_estimator(reference, features, said, scores, labels)
    features, scores, _, labels = loans(rng, 2_000, temper=0.6)
    said = (scores >= 0.305).astype(float)
    profile = window(reference, features, scores, said)
    cells = cells_of_profile(profile, profile.layout.outcomes, np.array(estimator.cells.said))
    assert cells == pytest.approx(np.bincount(cells_of_rows(scores, said), minlength=CELLS), abs=0.1)


def test_profiles_merge_before_they_are_estimated(known):
    reference, estimator = known
    features, scores, said, _ = loans(np.random.default_rng(6), 2_000)
    whole = window(reference, features, scores, said)
    halves = [
        window(reference, {name: column[rows] for name, column in features.items()}, scores[rows], said[rows])
        for rows in (slice(0, 700), slice(700, None))
    ]
    assert estimate(halves[1].merge(halves[0]), estimator) == estimate(whole, estimator)
    again = msgspec.json.decode(msgspec.json.encode(estimator), type=Estimator)
    assert estimate(whole, again) == estimate(whole, estimator)


def test_labels_that_contradict_it_correct_an_estimate_and_then_silence_it(known):
    reference, estimator = known
    rng, trust = np.random.default_rng(7), Trust()
    for _ in range(12):
        profile = window(reference, *loans(rng, 1_000))
        trust = reconcile(trust, estimate(profile, estimator), realized(profile))
    sound = estimate(window(reference, *loans(rng, 1_000)), estimator)
    assert by_name(reconciled(trust, sound))["accuracy"].value == pytest.approx(
        by_name(sound)["accuracy"].value, abs=0.01
    )
    for _ in range(12):
        profile = window(reference, *loans(rng, 1_000, flip=0.06))
        trust = reconcile(trust, estimate(profile, estimator), realized(profile))
    profile = window(reference, *loans(rng, 5_000, flip=0.06))
    before, after = (
        by_name(estimate(profile, estimator)),
        by_name(reconciled(trust, estimate(profile, estimator))),
    )
    truth = realized(profile)["accuracy"]
    assert after["accuracy"].correction < -0.01
    assert abs(after["accuracy"].value - truth) < abs(before["accuracy"].value - truth)
    for _ in range(20):
        profile = window(reference, *loans(rng, 1_000, flip=0.35))
        trust = reconcile(trust, estimate(profile, estimator), realized(profile))
    silent = by_name(reconciled(trust, estimate(profile, estimator)))["accuracy"]
    assert silent.value is None
    assert "concept drift" in silent.undefined
    for _ in range(40):
        profile = window(reference, *loans(rng, 1_000))
        trust = reconcile(trust, estimate(profile, estimator), realized(profile))
    assert by_name(reconciled(trust, estimate(profile, estimator)))["accuracy"].value is not None


def test_scores_that_the_reference_does_not_know_are_not_judged():
    rng = np.random.default_rng(8)
    features, scores, said, labels = loans(rng, 5_000)
    low = scores < 0.4
    features = {name: column[low] for name, column in features.items()}
    reference = build_reference("m", "1", features, SPECS, scores=scores[low], labels=labels[low])
    estimator = build_estimator(reference, features, None, scores[low], labels[low])
    profile = window(reference, {"x": rng.normal(size=500)}, np.full(500, 0.9), np.ones(500))
    found = estimate(profile, estimator)
    assert {one.value for one in found} == {None}
    assert "the reference has fewer than" in found[0].undefined
    assert said.any()


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ({"labels": None}, "no labels"),
        ({"scores": None}, "no scores"),
        ({"labels": np.full(500, np.nan)}, "only 0 rows"),
        ({"scores": np.full(500, np.nan)}, "only 0 rows"),
    ],
)
def test_what_is_missing_is_said(change, because):
    features, scores, said, labels = loans(np.random.default_rng(9), 500)
    arguments = {"predictions": said, "scores": scores, "labels": labels} | change
    reference = build_reference("m", "1", features, SPECS, **arguments)
    estimator = build_estimator(reference, features, **arguments)
    found = estimate(window(reference, features, arguments["scores"], said), estimator)
    assert all(one.value is None and because in one.undefined for one in found)


@pytest.mark.parametrize(
    "kind", ["one class", "constant scores", "ten rows", "NaN scores", "missing features"]
)
def test_bad_input_is_undefined_and_never_nan(kind, known):
    rng = np.random.default_rng(10)
    features, scores, said, labels = loans(rng, 600)
    reference, estimator = known
    if kind == "one class":
        labels = np.zeros(600)
    if kind in ("one class", "constant scores"):
        scores = np.full(600, 0.5) if kind == "constant scores" else scores
        reference = build_reference("m", "1", features, SPECS, scores=scores, predictions=said, labels=labels)
        estimator = build_estimator(reference, features, said, scores, labels)
    if kind == "NaN scores":
        scores = np.full(600, np.nan)
    if kind == "missing features":
        features = {"x": np.full(600, np.nan)}
    rows = slice(0, 10 if kind == "ten rows" else None)
    features = {name: column[rows] for name, column in features.items()}
    for one in estimate(window(reference, features, scores[rows], said[rows]), estimator):
        assert (one.value is None) == (one.undefined is not None)
        assert one.value is None or (np.isfinite(one.value) and one.low <= one.value <= one.high)


def test_a_multiclass_model_is_estimated_with_its_classes():
    rng = np.random.default_rng(11)

    def animals(rows, shift=0.0):
        x, labels = rng.normal(shift, 1, rows), rng.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1]).astype(float)
        wrong = rng.random(rows) < 1 / (1 + np.exp(1.5 - x))
        said = np.where(wrong, rng.integers(0, 4, rows), labels)
        return {"x": x}, said, np.where(wrong, rng.beta(5, 4, rows), rng.beta(8, 2, rows)), labels

    features, said, scores, labels = animals(10_000)
    options = {"scores": scores, "predictions": said, "labels": labels}
    reference = build_reference("m", "1", features, SPECS[:1], task="multiclass", classes=CLASSES, **options)
    estimator = build_estimator(reference, features, **options)
    for shift in (0.0, 1.0):
        features, said, scores, labels = animals(4_000, shift)
        profile = window(reference, features, scores, said, labels)
        truth = realized(profile)
        for one in estimate(profile, estimator):
            assert one.value == pytest.approx(truth[one.measure], abs=0.03)
            assert one.low <= truth[one.measure] <= one.high


def test_a_regression_is_estimated_by_prediction_and_features():
    rng = np.random.default_rng(12)

    def houses(rows, shift=0.0):
        x, said = rng.normal(shift, 1, rows), rng.lognormal(0, 0.5, rows)
        return {"x": x}, said, said + rng.normal(0, 0.1 + 0.1 * np.exp(x / 2), rows) * said

    features, said, labels = houses(10_000)
    reference = build_reference(
        "m", "1", features, SPECS[:1], predictions=said, labels=labels, task="regression"
    )
    estimator = build_estimator(reference, features, said, None, labels)
    for shift, reach in ((0.0, 0.02), (1.0, 0.03)):
        features, said, labels = houses(4_000, shift)
        profile = window(reference, features, None, said, labels)
        truth = realized(profile)
        for one in estimate(profile, estimator):
            assert one.value == pytest.approx(truth[one.measure], abs=reach)
            assert one.low <= truth[one.measure] <= one.high


def test_the_mix_error_is_that_of_drawn_rows(known):
    reference, estimator = known
    rng = np.random.default_rng(18)
    runs = [by_name(estimate(window(reference, *loans(rng, 1_000)[:3]), estimator)) for _ in range(60)]
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc", "log_loss", "brier"):
        seen = np.std([one[name].value for one in runs])
        assert np.mean([one[name].mix for one in runs]) == pytest.approx(seen, rel=0.4)


def test_calibrated_scores_give_the_estimate_of_cbpe_row_by_row():
    """The expected accuracy of a calibrated score is the mean of max(s, 1 - s), and so on."""
    rng = np.random.default_rng(19)
    scores = rng.beta(0.7, 0.7, 40_000)
    labels = (rng.random(40_000) < scores).astype(float)
    features = {"x": rng.normal(0, 1, 40_000)}
    first = {"x": features["x"][:30_000]}
    reference = build_reference("m", "1", first, SPECS[:1], scores=scores[:30_000], labels=labels[:30_000])
    later = scores[30_000:]
    said = (later >= 0.5).astype(float)
    tp, fp = (later * said).sum(), ((1 - later) * said).sum()
    fn = (later * (1 - said)).sum()
    estimator = build_estimator(reference, first, None, scores[:30_000], labels[:30_000])
    found = by_name(estimate(window(reference, {"x": features["x"][30_000:]}, later, said), estimator))
    assert estimator.cells.map.startswith("the score itself")
    assert found["accuracy"].value == pytest.approx(np.maximum(later, 1 - later).mean(), abs=0.005)
    assert found["precision"].value == pytest.approx(tp / (tp + fp), abs=0.005)
    assert found["recall"].value == pytest.approx(tp / (tp + fn), abs=0.005)
    assert found["f1"].value == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=0.005)
    assert found["auc"].value == pytest.approx(metrics.roc_auc_score(labels[30_000:], later), abs=0.01)


def test_repeats_of_a_subject_widen_the_interval():
    """1,000 draws from 100 patients teach what 100 patients teach."""
    rng = np.random.default_rng(22)
    features, scores, said, labels = loans(rng, 100)
    features = {"x": features["x"]} | {f"x{place}": rng.normal(0, 1, 100) for place in range(4)}
    specs = tuple(FeatureSpec(name=name) for name in features)
    found = {}
    for name, rows in (("once", np.arange(100)), ("drawn", rng.integers(0, 100, 1_000))):
        drawn = {key: column[rows] for key, column in features.items()}
        options = {"predictions": said[rows], "scores": scores[rows], "labels": labels[rows]}
        reference = build_reference("m", "1", drawn, specs, **options)
        estimator = build_estimator(reference, drawn, **options)
        assert name == "once" or (estimator.columns == () and reference.effective_rows < 110)
        profile = window(reference, drawn, scores[rows], said[rows])
        found[name] = by_name(estimate(profile, estimator))["accuracy"]
    assert found["drawn"].sampling == pytest.approx(found["once"].sampling, rel=0.35)
    assert found["drawn"].high - found["drawn"].low > 0.5 * (found["once"].high - found["once"].low)


def test_two_hundred_features_are_no_cliff():
    rng = np.random.default_rng(21)
    rows = 4_000
    features = {f"f{place}": rng.normal(0, 1, rows) for place in range(200)}
    logit = rng.normal(0, 2, rows)
    truth = logit * np.where(features["f150"] > 0, 0.2, 1.3)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-truth))).astype(float)
    scores = 1 / (1 + np.exp(-logit))
    specs = tuple(FeatureSpec(name=name) for name in features)
    reference = build_reference("m", "1", features, specs, scores=scores, labels=labels)
    estimator = build_estimator(reference, features, None, scores, labels)
    assert len(estimator.columns) in (0, 24)
    assert len(msgspec.json.encode(estimator)) < 200_000
    assert telling_columns(groups_of(layout_of(reference), reference), features, labels * logit, 5)
    found = estimate(window(reference, features, scores, (scores >= 0.5).astype(float)), estimator)
    assert all(one.undefined is None for one in found)


def test_the_labelled_part_of_a_profile_stands_for_itself(known):
    reference, _ = known
    features, scores, said, labels = loans(np.random.default_rng(16), 1_000)
    labels[600:] = np.nan
    part, features_known = labelled_part(window(reference, features, scores, said, labels))
    assert not features_known
    assert part.rows == 600
    assert part.counters[part.layout.scores].sum() == 600


def test_what_belongs_to_another_reference_is_refused(known):
    reference, estimator = known
    other, _ = learned(np.random.default_rng(17), rows=500)
    with pytest.raises(ProfileInvalid, match="learned from"):
        estimate(Profile.empty(other), estimator)
    with pytest.raises(ReferenceInvalid, match="lack the columns"):
        build_estimator(reference, {"x": np.zeros(9)}, np.zeros(500), np.zeros(500), np.zeros(500))
    assert reconciled(Trust(), [Estimate(measure="auc", rows=1, undefined="x")])[0].undefined == "x"


def test_nothing_is_said_while_concept_drift_is_told(known):
    reference, estimator = known
    profile = window(reference, *loans(np.random.default_rng(30), 500)[:3])
    found = reconciled(Trust(drifting=True), estimate(profile, estimator))
    assert all(one.value is None and "concept drift" in one.undefined for one in found)
