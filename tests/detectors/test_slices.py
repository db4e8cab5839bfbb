"""Worst slices are found where they are and not where they are not; gaps are those of the counts."""

import numpy as np
import pytest

from detectors.slices.fairness import gaps
from detectors.slices.search import worst_slices


def rows(seed: int, count: int = 5_000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "age": rng.normal(40, 10, count),
        "income": rng.normal(0, 1, count),
        "city": np.array(rng.choice(["Rome", "Oslo", "Bern", None], count), dtype=object),
        "sex": np.array(rng.choice(["f", "m"], count), dtype=object),
    }


def test_a_slice_of_two_conditions_is_found() -> None:
    features = rows(1)
    rng = np.random.default_rng(2)
    bad = (features["city"] == "Rome") & (features["age"] > np.quantile(features["age"], 0.75))
    found = worst_slices(features, (rng.random(5_000) < np.where(bad, 0.4, 0.1)).astype(float))
    first = found.slices[0]
    assert (
        set(first.conditions) == {"city is Rome", first.conditions[1]} or "city is Rome" in first.conditions
    )
    assert any(one.startswith("age above") for one in first.conditions)
    assert first.loss == pytest.approx(0.4, abs=0.06)
    assert first.low < 0.3 < first.high
    assert first.chance < 1e-6
    assert found.candidates > 60


def test_nothing_is_found_where_errors_are_alike_everywhere() -> None:
    """At 5 % over the whole search; 100 searches."""
    told = 0
    for seed in range(100):
        rng = np.random.default_rng(1_000 + seed)
        told += bool(worst_slices(rows(seed, 1_500), (rng.random(1_500) < 0.1).astype(float)).slices)
    assert told <= 9


def test_losses_that_are_numbers_missing_or_none() -> None:
    features = rows(3)
    rng = np.random.default_rng(4)
    losses = rng.exponential(1.0, 5_000) + 2.0 * (features["sex"] == "f")
    losses[::7] = np.nan
    found = worst_slices(features, losses)
    assert found.slices[0].conditions == ("sex is f",)
    assert worst_slices(features, np.full(5_000, np.nan)).slices == ()
    assert worst_slices(features, np.zeros(5_000)).slices == ()


def test_gaps_are_those_of_the_counts() -> None:
    rng = np.random.default_rng(5)
    group = rng.choice(["a", "b"], 4_000)
    labels = (rng.random(4_000) < 0.5).astype(float)
    said = (rng.random(4_000) < np.where(group == "a", 0.6, 0.3)).astype(float)
    found = {one.measure: one for one in gaps(group.tolist(), said, labels)}
    rates = {name: said[group == name].mean() for name in ("a", "b")}
    selection = found["selection_rate"]
    assert selection.value == pytest.approx(rates["a"] - rates["b"])
    assert (selection.highest, selection.lowest) == ("a", "b")
    assert selection.low is not None
    assert selection.high is not None
    assert selection.low < 0.3 < selection.high
    positive = {name: said[(group == name) & (labels == 1)].mean() for name in ("a", "b")}
    assert found["true_positive_rate"].value == pytest.approx(positive["a"] - positive["b"])


def test_gaps_that_cannot_be_told() -> None:
    told = gaps(["a"] * 50 + ["b"] * 10 + [None] * 5, np.ones(65), np.full(65, np.nan))
    assert [one.value for one in told] == [None] * 4
    assert told[0].undefined == "1 of the groups have 30 rows that count; it takes two"
