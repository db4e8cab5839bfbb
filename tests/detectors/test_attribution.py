"""What carries a change, and how much of a loss the shift of the data explains."""

import numpy as np
import pytest
from msgspec.structs import replace

from detectors.attribution.carriers import carriers
from detectors.attribution.explained import explain
from detectors.attribution.influence import build_influence
from detectors.attribution.judging import attributed
from detectors.attribution.mixture import Part, decompose, with_parts
from detectors.errors import ProfileInvalid, ReferenceInvalid
from detectors.estimation.fit import build_estimator
from detectors.judgement import Transition, Window
from detectors.learned import Learned
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.segments import Own
from detectors.slices.values import Loss, Tally
from detectors.values import FeatureSpec

NAMES = ("strong", "weak", "unused", "still")
SPECS = (*(FeatureSpec(name=name) for name in NAMES), FeatureSpec(name="kind", kind="categorical"))


def log(rng, rows, moves=(), flip=0.0):
    """The score rests on strong (2) and weak (0.3); labels are harder to tell where weak is high."""
    features = {name: rng.normal(0, 1, rows) + (1.0 if name in moves else 0.0) for name in NAMES}
    features["kind"] = rng.choice(["a", "b"], rows).astype(object)
    logit = 2 * features["strong"] + 0.3 * features["weak"]
    truth = logit * np.where(features["weak"] > 0.5, 0.3, 1.2)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-truth))).astype(float)
    labels = np.where(rng.random(rows) < flip, 1 - labels, labels)
    scores = 1 / (1 + np.exp(-logit))
    return features, scores, (scores >= 0.5).astype(float), labels


@pytest.fixture(scope="module")
def known():
    features, scores, said, labels = log(np.random.default_rng(1), 20_000)
    reference = build_reference("m", "1", features, SPECS, scores=scores, predictions=said, labels=labels)
    return (
        reference,
        build_influence(reference, features, said, scores, labels),
        build_estimator(reference, features, said, scores, labels),
    )


def window(reference, rows):
    features, scores, said, labels = rows
    profile = Profile.empty(reference)
    cells = profile.fold(features, said, scores)
    profile.fold_outcomes(said, scores, labels, cells)
    return profile


def explained(reference, estimator, rows):
    found = explain(window(reference, rows), estimator)
    return {one.measure: one for one in found}


def test_importance_times_effect_ranks_the_features(known):
    reference, influence, _ = known
    found = carriers(window(reference, log(np.random.default_rng(2), 2_000)), influence)
    assert not any(one.named for one in found)
    found = carriers(
        window(reference, log(np.random.default_rng(3), 2_000, ("strong", "weak", "unused"))), influence
    )
    assert [one.feature for one in found[:3]] == ["strong", "weak", "unused"]
    assert [one.named for one in found] == [True, True, True, False, False]
    strong, weak, unused = found[:3]
    assert strong.importance > 4 * weak.importance > 4 * unused.importance
    assert strong.output_change > 0.15
    assert weak.success_change < -0.02
    assert abs(unused.output_change) < 0.01


def test_contributions_to_the_output_sum_up_to_its_change(known):
    reference, influence, _ = known
    before, after = log(np.random.default_rng(4), 20_000), log(np.random.default_rng(5), 20_000, ("weak",))
    found = carriers(window(reference, after), influence)
    change = float(after[1].mean() - before[1].mean())
    assert sum(one.output_change for one in found) == pytest.approx(change, abs=0.01)


def test_two_features_that_say_the_same_share_the_blame():
    rng = np.random.default_rng(6)

    def twins(rows, move=0.0):
        x = rng.normal(move, 1, rows)
        features = {"x": x, "twin": x + rng.normal(0, 0.05, rows)}
        return features, 1 / (1 + np.exp(-x))

    features, scores = twins(10_000)
    specs = tuple(FeatureSpec(name=name) for name in features)
    reference = build_reference("m", "1", features, specs, scores=scores)
    influence = build_influence(reference, features, None, scores)
    features, after = twins(5_000, 0.5)
    profile = Profile.empty(reference)
    profile.fold(features, None, after)
    found = carriers(profile, influence)
    assert sum(one.output_change for one in found) == pytest.approx(after.mean() - scores.mean(), abs=0.02)
    assert {one.success_change for one in found} == {None}


def test_a_loss_by_shift_and_a_loss_by_concept_are_told_apart(known):
    reference, _, estimator = known
    shifted = explained(reference, estimator, log(np.random.default_rng(7), 10_000, ("weak",)))
    assert shifted["accuracy"].shift < -0.04
    assert abs(shifted["accuracy"].concept) < 0.02
    assert shifted["accuracy"].share > 0.7
    drifted = explained(reference, estimator, log(np.random.default_rng(8), 10_000, flip=0.15))
    assert abs(drifted["accuracy"].shift) < 0.01
    assert drifted["accuracy"].concept < -0.05
    assert drifted["accuracy"].share is None or drifted["accuracy"].share < 0.1
    assert "concept drift" in drifted["accuracy"].message
    sound = explained(reference, estimator, log(np.random.default_rng(9), 10_000))
    assert "within chance" in sound["accuracy"].message
    for one in (*shifted.values(), *drifted.values()):
        if one.undefined is None:
            assert one.shift + one.concept == pytest.approx(one.realized - one.reference)


def test_half_labelled_windows_are_explained_by_their_labelled_rows(known):
    reference, _, estimator = known
    features, scores, said, labels = log(np.random.default_rng(10), 4_000, flip=0.2)
    labels[1_000:] = np.nan
    found = explained(reference, estimator, (features, scores, said, labels))
    assert found["accuracy"].rows == 1_000
    assert found["accuracy"].concept < -0.08
    assert "it has no value" in found["log_loss"].undefined


def test_mix_and_within_sum_up_to_the_change():
    before = {"north": Part(800, 0.9), "south": Part(200, 0.7)}
    now = {"north": Part(300, 0.9), "south": Part(600, 0.6), "east": Part(100, 0.5)}
    found = decompose(before, now)
    means = [sum(p.rows * p.value for p in side.values()) / 1_000 for side in (before, now)]
    assert sum(one.mix + one.within for one in found) == pytest.approx(means[1] - means[0])
    by_name = {one.name: one for one in found}
    assert by_name["north"].within == 0
    assert by_name["south"].within == pytest.approx(-0.04)
    assert by_name["east"].value_before is None
    with pytest.raises(ProfileInvalid, match="both must have some"):
        decompose({}, now)


def test_an_alert_about_labels_carries_what_the_shift_explains(known):
    reference, influence, estimator = known
    learned = Learned(
        estimator=replace(estimator, reference_revision=""),
        influence=replace(influence, reference_revision=""),
    )
    reference = replace(reference, learned=learned)
    rows = log(np.random.default_rng(8), 10_000, flip=0.15)
    place = Window(model="m", version="1", axis="label", window="w", start_us=0, end_us=1, rows=10_000)
    firing = Transition(kind="performance", state="firing", change_us=0, reason="It fell.")
    found = attributed(firing, place, window(reference, rows), Own(reference))
    told = found.explained
    assert told.measure == "accuracy"
    assert told.concept < -0.05 < told.shift
    assert told.shift + told.concept == pytest.approx(told.realized - told.reference)
    assert told.message in found.reason


def losses(*recent):
    """A tally of windows (end, rows, mean loss)."""
    told = tuple((end, Loss(rows, rows * loss)) for end, rows, loss in recent)
    end, rows, loss = recent[-1]
    return Tally(
        since_us=0, end_us=end, rows=rows, size=rows, loss=loss, variance=0.1, scores={}, recent=told
    )


def test_an_alert_names_the_segment_or_the_version_that_carries_a_rise_in_errors():
    firing = Transition(kind="performance", state="firing", change_us=3, reason="It fell.")
    segments = {
        "a": losses((1, 500, 0.1), (2, 500, 0.1), (4, 500, 0.1)),
        "b": losses((2, 500, 0.1), (5, 500, 0.3)),
        "c": losses((2, 500, 0.1), (5, 500, 0.11)),
    }
    versions = {"1": losses((1, 800, 0.1), (2, 200, 0.1)), "2": losses((5, 900, 0.2))}
    found = with_parts(firing, {"city": segments, "version": versions, "alone": {"x": segments["a"]}})
    assert (
        "By city, b carries 91% of the rise in errors: the mean loss there went from 0.1 to 0.3."
        in found.reason
    )
    assert (
        "By version, 2 is new, has 100% of the rows and a mean loss of 0.2, which was 0.1 before."
        in found.reason
    )
    by_name = {one.name: one for one in found.parts}
    assert by_name.keys() == {"city=a", "city=b", "city=c", "version=1", "version=2"}
    for split, change in (("city", 0.07), ("version", 0.1)):
        mine = [one for name, one in by_name.items() if name.startswith(split)]
        assert sum(one.mix + one.within for one in mine) == pytest.approx(change, abs=0.005)
    ended = Transition(kind="performance", state="cleared", change_us=3, reason="It rose.")
    assert with_parts(ended, {"city": segments}) is ended
    few = with_parts(firing, {"city": {"a": losses((1, 10, 0.1), (4, 10, 0.9)), "b": losses((4, 5, 0.9))}})
    assert few == firing
    even = with_parts(firing, {"city": {n: losses((1, 500, 0.1), (5, 500, 0.2)) for n in "ab"}})
    assert even.reason == firing.reason


def test_what_a_person_says_of_importance_counts(known):
    reference, influence, _ = known
    profile = window(reference, log(np.random.default_rng(3), 2_000, ("strong", "weak", "unused")))
    found = carriers(profile, influence, {"unused": 5.0, "weak": 2.0})
    assert [one.feature for one in found[:3]] == ["unused", "weak", "strong"]
    assert found[2].importance == 0.0
    assert found[2].spread > 0.1


def test_an_influence_belongs_to_its_reference(known):
    reference, influence, _ = known
    other = build_reference("m", "2", {"x": np.arange(50.0)}, (FeatureSpec(name="x"),))
    with pytest.raises(ProfileInvalid, match="learned from"):
        carriers(Profile.empty(other), influence)
    with pytest.raises(ReferenceInvalid, match="lack the columns"):
        build_influence(reference, {})
    assert carriers(Profile.empty(reference), influence) == []
