"""The reference: what it keeps of the rows, and what it refuses."""

import numpy as np
import pytest
from msgspec.structs import replace
from sklearn import metrics

from detectors.errors import ReferenceInvalid
from detectors.layout import layout_of
from detectors.reference import Reference, build_reference
from detectors.values import FeatureSpec

SPECS = (FeatureSpec(name="x"), FeatureSpec(name="town", kind="categorical"))


def columns(rows: int = 1_000, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = np.where(rng.random(rows) < 0.1, 7.0, rng.normal(10, 2, rows))
    x[:20] = np.nan
    return {"x": x, "town": np.array([f"t{i}" for i in np.minimum(rng.geometric(0.05, rows), 90)])}


def test_a_column_is_kept_as_quantile_bins_masses_and_moments():
    features = columns()
    x = features["x"][20:]
    reference = build_reference("m", "1", features, SPECS)
    part = reference.feature("x")
    assert part is not None
    assert len(part.edges) <= 63
    assert len(part.counts) == len(part.edges) + 1
    assert list(part.edges) == sorted(set(part.edges))
    assert (sum(part.counts), part.missing) == (980, 20)
    assert dict(part.top)[7.0] == int((x == 7.0).sum())
    assert dict(part.top)[-999.0] == 0
    assert (part.mean, part.variance) == (pytest.approx(x.mean()), pytest.approx(x.var()))
    assert part.minimum == pytest.approx(x.min(), rel=1e-6)


def test_rare_categories_are_capped_with_an_other():
    part = build_reference("m", "1", columns(), SPECS).feature("town")
    assert part is not None
    assert len(part.categories) == 64
    assert sum(count for _, count in part.categories) + part.other == 1_000
    assert [count for _, count in part.categories] == sorted((c for _, c in part.categories), reverse=True)


def test_few_distinct_values_get_a_bin_each():
    part = build_reference("m", "1", {"x": np.array([1.0, 2, 2, 5])}, SPECS[:1]).feature("x")
    assert part is not None
    assert (part.edges, part.counts) == ((1.0, 2.0), (1, 2, 1))


def test_repeated_patients_do_not_add_rows():
    rng = np.random.default_rng(1)
    patients = {name: np.repeat(rng.normal(0, 1, 150), 4) for name in "abc"}
    reference = build_reference("m", "1", patients, [FeatureSpec(name=name) for name in "abc"])
    assert (reference.rows, reference.effective_rows) == (600, 150)


def test_performance_is_that_of_scikit_learn():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 2_000)
    scores = np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0, 1)
    said = (scores >= 0.5).astype(int)
    found = build_reference(
        "m", "1", {"x": rng.normal(0, 1, 2_000)}, SPECS[:1], scores=scores, labels=labels
    ).performance
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, said))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, said))
    assert found["precision"] == pytest.approx(metrics.precision_score(labels, said))
    assert found["recall"] == pytest.approx(metrics.recall_score(labels, said))
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, said))
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, scores), abs=0.01)


def test_json_round_trip_and_a_revision_that_names_the_content():
    reference = build_reference("m", "1", columns(), SPECS)
    assert Reference.from_json(reference.to_json()) == reference
    assert build_reference("m", "1", columns(), SPECS).revision == reference.revision
    assert build_reference("m", "1", columns(seed=1), SPECS).revision != reference.revision
    with pytest.raises(ReferenceInvalid, match="changed after it was built"):
        Reference.from_json(replace(reference, rows=5).to_json())
    with pytest.raises(ReferenceInvalid, match="not the JSON of a reference"):
        Reference.from_json(b'{"model": 3}')
    with pytest.raises(ReferenceInvalid, match="has no revision"):
        layout_of(replace(reference, revision=""))


@pytest.mark.parametrize("values", [np.full(50, np.nan), np.full(50, 3.0), np.full(50, np.inf)])
def test_columns_without_information_are_kept_as_they_are(values):
    reference = build_reference("m", "1", {"x": values}, SPECS[:1])
    assert Reference.from_json(reference.to_json()) == reference


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"specs": ()}, "specs is empty"),
        ({"specs": (SPECS[0], SPECS[0])}, "name a feature twice"),
        ({"specs": (FeatureSpec(name="y"),)}, "lack the columns"),
        ({"features": {"x": np.zeros(0)}}, "no rows"),
        ({"labels": np.zeros(3)}, "others differ"),
        ({"scores": np.array([0.1, 1.2])}, r"scores\[1\]"),
        ({"predictions": np.array([0, 2])}, r"predictions\[1\]"),
        ({"predictions": np.array([0, 1]), "labels": np.array([-1, 1])}, r"labels\[0\]"),
    ],
)
def test_what_cannot_be_a_reference_is_refused(change, message):
    arguments = {"features": {"x": np.array([1.0, 2.0])}, "specs": SPECS[:1]} | change
    with pytest.raises(ReferenceInvalid, match=message):
        build_reference("m", "1", **arguments)


def test_predictions_without_scores_are_enough_for_a_confusion():
    reference = build_reference(
        "m",
        "1",
        {"x": np.arange(4.0)},
        SPECS[:1],
        predictions=np.array([0, 1, 1, 0]),
        labels=np.array([0, 1, 0, np.nan]),
    )
    assert (reference.tp, reference.fp, reference.fn, reference.tn) == (1, 1, 0, 1)
    assert "auc" not in reference.performance
