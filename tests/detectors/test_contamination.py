"""A reference whose halves differ is told, and one that is of one piece is not."""

import numpy as np

from detectors.contamination import contamination, in_words
from detectors.reference import Reference, build_reference
from detectors.sequential.blocks import Rows
from detectors.values import FeatureSpec

SPECS = (FeatureSpec(name="age"), FeatureSpec(name="city", kind="categorical"))


def rows(seed: int, count: int = 4_000, shift: float = 0.0, wrong: float = 0.0) -> Rows:
    """Rows whose second half has higher ages, or more errors."""
    rng = np.random.default_rng(seed)
    later = np.arange(count) >= count // 2
    age = rng.normal(50, 10, count) + shift * 10 * later
    city = np.array(rng.choice(["Rome", "Oslo"], count), dtype=object)
    score = 1 / (1 + np.exp(-(age - 50) / 5))
    labels = (rng.random(count) < score).astype(float)
    flipped = later & (rng.random(count) < wrong)
    labels[flipped] = 1 - labels[flipped]
    return Rows({"age": age, "city": city}, (score >= 0.5).astype(float), score, labels)


def reference_of(found: Rows) -> Reference:
    outputs = {"scores": found.scores, "predictions": found.predictions, "labels": found.labels}
    return build_reference("m", "1", found.features, SPECS, **outputs)


def test_halves_that_differ_are_told() -> None:
    moved = rows(1, shift=0.8)
    found = contamination(reference_of(moved), moved)
    assert {"age"} == {one.feature for one in found if one.kind == "data_drift"}
    told = in_words(found)
    assert told is not None
    assert told.startswith("the second half of the reference differs from the first: ")
    assert "age" in told
    worse = rows(1, wrong=0.4)
    assert {one.kind for one in contamination(reference_of(worse), worse)} == {"performance"}


def test_halves_that_are_alike_are_not() -> None:
    told = [contamination(reference_of(found), found) for found in map(rows, range(20))]
    assert [one for one in told if one] == []
    few = rows(1, count=300, shift=3.0)
    assert contamination(reference_of(few), few) == ()
    assert in_words(()) is None
