"""Multiclass and regression: the measures of scikit-learn from counts, and verdicts that know their samples."""

import numpy as np
import pytest
from sklearn import metrics

from detectors.decide import decide
from detectors.errors import ProfileInvalid, ReferenceInvalid
from detectors.judgement import SeriesState, Window
from detectors.measures import measure
from detectors.performance import performance
from detectors.profile import Profile
from detectors.reference import Reference, build_reference
from detectors.values import FeatureSpec, Monitor

X = (FeatureSpec(name="x"),)
CLASSES = ("cat", "dog", "eel", "fox")


def animals(rng, rows, wrong=0.2):
    labels = rng.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1]).astype(float)
    said = np.where(rng.random(rows) < wrong, rng.integers(0, 4, rows), labels)
    return said, labels, np.where(said == labels, rng.beta(8, 2, rows), rng.beta(4, 4, rows))


def animal_reference(rows=4_000, **changes):
    rng = np.random.default_rng(0)
    said, labels, scores = animals(rng, rows)
    arguments = {"scores": scores, "predictions": said, "labels": labels, "classes": CLASSES} | changes
    return build_reference("m", "1", {"x": rng.normal(0, 1, rows)}, X, task="multiclass", **arguments)


def houses(rng, rows, bias=0.0, noise=1.0):
    labels = rng.lognormal(12, 0.5, rows)
    return labels * np.exp(rng.normal(0, 0.1 * noise, rows)) + bias, labels


def house_reference(rows=4_000):
    rng = np.random.default_rng(1)
    said, labels = houses(rng, rows)
    features = {"x": rng.normal(0, 1, rows)}
    return build_reference("m", "1", features, X, predictions=said, labels=labels, task="regression")


def profile_of(reference, said, labels, scores=None):
    profile = Profile.empty(reference)
    profile.fold({"x": np.random.default_rng(9).normal(0, 1, len(said))}, said, scores)
    profile.fold_outcomes(said, scores, labels)
    return profile


def verdicts(reference, profile):
    monitor = Monitor(model="m", task=reference.task)
    found = [*measure(profile, reference, monitor), *performance(profile, reference)]
    name = Window(model="m", version="1", axis="event", window="w", start_us=0, end_us=1, rows=profile.rows)
    decisions = decide(name, found, monitor, reference, SeriesState()).decisions
    return {decision.measure: decision for decision in decisions}


def test_multiclass_measures_are_those_of_scikit_learn():
    reference = animal_reference()
    said, labels, scores = animals(np.random.default_rng(2), 3_000, wrong=0.3)
    found = verdicts(reference, profile_of(reference, said, labels, scores))
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(labels, said))
    assert found["balanced_accuracy"].value == pytest.approx(metrics.balanced_accuracy_score(labels, said))
    assert found["macro_f1"].value == pytest.approx(metrics.f1_score(labels, said, average="macro"))
    assert found["macro_f1"].threshold is None
    assert set(reference.performance) == {"accuracy", "balanced_accuracy", "macro_f1"}
    assert {"class_psi", "score_psi", "score_ks"} <= found.keys()


def test_the_recall_of_each_class_is_that_of_scikit_learn_and_is_only_shown():
    reference = animal_reference()
    said, labels, scores = animals(np.random.default_rng(2), 3_000, wrong=0.3)
    profile = profile_of(reference, said, labels, scores)
    found = {one.feature: one for one in performance(profile, reference) if one.measure == "class_recall"}
    known = [float(i) for i, name in enumerate(reference.classes) if name in found]
    assert len(known) == len(found) == len(set(labels.tolist()))
    for i, recall in zip(known, metrics.recall_score(labels, said, labels=known, average=None), strict=True):
        one = found[reference.classes[int(i)]]
        assert one.value == pytest.approx(recall)
        assert one.rows == int((labels == i).sum())
    monitor = Monitor(model="m", task=reference.task)
    name = Window(model="m", version="1", axis="label", window="w", start_us=0, end_us=1, rows=profile.rows)
    decisions = decide(name, performance(profile, reference), monitor, reference, SeriesState()).decisions
    assert {one.verdict for one in decisions if one.measure == "class_recall"} == {"ok"}


def test_a_multiclass_model_that_gets_worse_breaches_and_a_sound_one_does_not():
    reference, rng = animal_reference(), np.random.default_rng(3)
    for _ in range(20):
        said, labels, scores = animals(rng, 1_000)
        found = verdicts(reference, profile_of(reference, said, labels, scores))
        assert {one.verdict for one in found.values()} == {"ok"}
    said, labels, scores = animals(rng, 1_000, wrong=0.5)
    found = verdicts(reference, profile_of(reference, said, labels, scores))
    assert found["accuracy"].verdict == found["balanced_accuracy"].verdict == "breach"
    said = np.where(rng.random(1_000) < 0.6, 3.0, said)
    assert verdicts(reference, profile_of(reference, said, labels, scores))["class_psi"].verdict == "breach"


def test_classes_that_nobody_knows_are_one_and_never_right():
    reference = animal_reference()
    said = np.array([0.0, 1.0, -1.0, 7.0, 0.5, np.nan, 2.0])
    labels = np.array([0.0, -1.0, -1.0, 7.0, 0.0, 1.0, np.nan])
    profile = profile_of(reference, said, labels)
    assert profile.labelled == 5
    pairs = profile.counters[profile.layout.outcomes.confusion].reshape(5, 5)
    assert pairs[0, 0] == pairs[1, 4] == pairs[4, 0] == 1
    assert pairs[4, 4] == 2
    profile.fold_outcomes(np.zeros(40), None, np.zeros(40))
    found = {one.measure: one.value for one in performance(profile, reference)}
    assert found["accuracy"] == pytest.approx(41 / 45)
    with pytest.raises(ProfileInvalid, match="not binary"):
        _ = profile.confusion


def test_many_classes_share_the_last_one():
    names = tuple(f"c{i}" for i in range(40))
    labels = np.arange(400.0) % 40
    reference = build_reference(
        "m", "1", {"x": labels}, X, predictions=labels, labels=labels, task="multiclass", classes=names
    )
    assert len(reference.said) == 33
    assert reference.performance["accuracy"] == pytest.approx(32 / 40)


def test_regression_measures_are_those_of_scikit_learn():
    reference = house_reference()
    said, labels = houses(np.random.default_rng(4), 2_000, bias=3_000, noise=2)
    said = said.astype(np.float32)
    found = verdicts(reference, profile_of(reference, said, labels))
    assert found["mae"].value == pytest.approx(metrics.mean_absolute_error(labels, said), rel=1e-6)
    assert found["rmse"].value == pytest.approx(metrics.root_mean_squared_error(labels, said), rel=1e-6)
    assert found["r2"].value == pytest.approx(metrics.r2_score(labels, said), rel=1e-6)
    assert found["bias"].value == pytest.approx(float((said - labels).mean()), rel=1e-6)
    assert found["rmse"].threshold is found["r2"].threshold is None
    assert {"prediction_psi", "prediction_ks"} <= found.keys()


def test_a_regression_that_gets_worse_breaches_and_a_sound_one_does_not():
    reference, rng = house_reference(), np.random.default_rng(5)
    for _ in range(20):
        found = verdicts(reference, profile_of(reference, *houses(rng, 1_000)))
        assert {one.verdict for one in found.values()} == {"ok"}
    assert verdicts(reference, profile_of(reference, *houses(rng, 1_000, noise=3)))["mae"].verdict == "breach"
    for bias in (-20_000, 20_000):
        shifted = verdicts(reference, profile_of(reference, *houses(rng, 1_000, bias=bias)))
        assert shifted["bias"].verdict == "breach"
        assert "mean error" in shifted["bias"].reason
    dear = houses(rng, 1_000, bias=200_000)
    assert verdicts(reference, profile_of(reference, *dear))["prediction_ks"].verdict == "breach"


@pytest.mark.parametrize(
    "reference", [animal_reference(), house_reference()], ids=["multiclass", "regression"]
)
def test_what_has_no_labels_or_predictions_is_undefined_because(reference):
    found = verdicts(reference, Profile.empty(reference))
    assert {one.verdict for one in found.values()} == {"undefined"}
    assert (
        found["mae" if reference.task == "regression" else "accuracy"].undefined == "no labels have arrived"
    )
    bare = build_reference(
        "m", "1", {"x": np.arange(99.0)}, X, task=reference.task, classes=reference.classes
    )
    profile = profile_of(bare, np.zeros(50), np.zeros(50))
    found = verdicts(bare, profile)
    assert profile.labelled == 50
    assert {found[name].undefined for name in ("accuracy", "mae") if name in found} == {
        "the reference has no labels"
    }
    assert Reference.from_json(reference.to_json()) == reference


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ()}, "at least two"),
        ({"classes": ("a", "a")}, "at least two different"),
        ({"predictions": np.full(4_000, 4.0)}, r"predictions\[0\]"),
        ({"labels": np.full(4_000, 0.5)}, r"labels\[0\]"),
    ],
)
def test_what_cannot_be_a_multiclass_reference_is_refused(change, message):
    with pytest.raises(ReferenceInvalid, match=message):
        animal_reference(**change)


def faces(rng, rows, shift=0.0):
    common = rng.normal(0, 1, (rows, 1))
    return (rng.normal(0, 1, (rows, 24)) + common + shift).astype(np.float32)


def test_embeddings_are_watched_by_norm_missing_and_random_features():
    rng, spec = np.random.default_rng(6), (FeatureSpec(name="face", kind="embedding", size=24),)
    reference = build_reference("m", "1", {"face": faces(rng, 3_000)}, spec)

    def profile_with(vectors):
        profile = Profile.empty(reference)
        profile.fold({"face": vectors}, None, None)
        return profile

    vectors = faces(rng, 1_000)
    vectors[:100, 3] = np.nan
    profile = profile_with(vectors)
    found = verdicts(reference, profile)
    assert found["missing_rate"].value == pytest.approx(0.1)
    lengths = np.linalg.norm(vectors[100:], axis=1)
    moments = profile.moments("face")
    assert moments is not None
    assert moments.mean == pytest.approx(lengths.mean())
    assert found["ks"].verdict == "ok"
    waves = [profile_with(faces(rng, 2_000, shift)).random_features("face") for shift in (0.0, 0.0, 1.0)]
    assert np.linalg.norm(waves[2] - waves[0]) > 3 * np.linalg.norm(waves[1] - waves[0])
    with pytest.raises(ProfileInvalid, match="no embedding 'nose'"):
        profile.random_features("nose")
    rows = np.empty(1_000, dtype=object)
    rows[:] = [None if i < 100 else vector for i, vector in enumerate(vectors)]
    assert profile_with(rows).to_bytes() == profile.to_bytes()


def test_an_embedding_says_how_long_it_is():
    with pytest.raises(ReferenceInvalid, match="size 0"):
        build_reference("m", "1", {"face": np.zeros((3, 2))}, [FeatureSpec(name="face", kind="embedding")])
    reference = build_reference("m", "1", {"x": np.arange(9.0)}, X)
    with pytest.raises(ProfileInvalid, match="a number per row"):
        Profile.empty(reference).fold({"x": np.zeros((3, 2))}, None, None)
