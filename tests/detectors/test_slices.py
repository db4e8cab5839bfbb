"""Worst slices are found where they are and not where they are not; gaps are those of the counts."""

import msgspec
import numpy as np
import pytest

from detectors.measurement import Measurement
from detectors.performance import performance
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.slices.beside import WORST, between_segments
from detectors.slices.fairness import gaps
from detectors.slices.search import worst_slices
from detectors.slices.tally import RECENT, tallied
from detectors.slices.values import Tally
from detectors.values import FeatureSpec, Task


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


def tally(wrong: float, rows: int = 500, **more: object) -> Tally:
    values = {"since_us": 0, "end_us": 1, "rows": rows, "size": float(rows), "scores": {}, "recent": ()}
    return Tally(**(values | {"loss": wrong, "variance": wrong * (1 - wrong)} | more))  # pyright: ignore[reportArgumentType]


def by_name(found: list[Measurement]) -> dict[tuple[str, str | None], Measurement]:
    return {(one.measure, one.feature): one for one in found}


def test_segments_are_held_against_each_other() -> None:
    confusions = {"f": (100, 20, 30, 350), "m": (200, 80, 40, 180), "x": (1, 0, 0, 9)}
    tallies = {
        f"sex={name}": tally((fp + fn) / (tp + fp + fn + tn), tp + fp + fn + tn, confusion=(tp, fp, fn, tn))
        for name, (tp, fp, fn, tn) in confusions.items()
    }
    tallies |= {f"city={name}": tally(0.1, confusion=(50, 25, 25, 400)) for name in "abc"}
    found = by_name(between_segments(tallies, ("sex", "city"), "binary"))
    parity = found["selection_rate_gap", "sex"]
    assert parity.value == pytest.approx(280 / 500 - 120 / 500)
    assert parity.low is not None
    assert 0 < parity.low < 0.32
    assert parity.detail == "highest where sex is m, lowest where it is f"
    assert found["true_positive_rate_gap", "sex"].value == pytest.approx(200 / 240 - 100 / 130)
    assert found["false_positive_rate_gap", "sex"].value == pytest.approx(80 / 260 - 20 / 370)
    assert found["error_gap", "city"].low == 0.0
    worst = found["excess_error", "sex=m"]
    assert worst.value == pytest.approx(120 / 500 - 50 / 510)
    assert worst.low is not None
    assert worst.low > 0.05
    assert len([name for name, _ in found if name == "excess_error"]) == WORST
    alone = by_name(between_segments({"sex=f": tallies["sex=f"]}, ("sex",), "binary"))
    assert alone["error_gap", "sex"].undefined == "1 of the groups have 30 rows that count; it takes two"
    assert between_segments({}, ("sex",), "binary") == []


def test_gaps_of_a_regression_are_of_its_absolute_error() -> None:
    tallies = {"city=a": tally(2.0, 400, variance=1.0), "city=b": tally(2.5, 400, variance=1.0)}
    found = by_name(between_segments(tallies, ("city",), "regression"))
    gap = found["absolute_error_gap", "city"]
    assert gap.value == pytest.approx(0.5)
    assert gap.high is not None
    assert gap.high - 0.5 == pytest.approx(1.96 * np.sqrt(2 / 400), rel=1e-2)
    assert found["excess_absolute_error", "city=b"].value == pytest.approx(0.5)


def test_intervals_hold_however_many_segments_are_looked_at() -> None:
    """Twenty segments alike: a gap or a slice that seems sure of itself comes in 5 % of the windows at most."""
    rng, gap, worst = np.random.default_rng(7), 0, 0
    for _ in range(400):
        counts = rng.binomial(200, 0.1, 20)
        tallies = {
            f"city={n}": tally(count / 200, 200, confusion=(0, count, 0, 200 - count))
            for n, count in enumerate(counts.tolist())
        }
        found = by_name(between_segments(tallies, ("city",), "binary"))
        gap += (found["error_gap", "city"].low or 0.0) > 0
        worst += any((one.low or 0.0) > 0 for (name, _), one in found.items() if name == "excess_error")
    assert gap <= 32
    assert worst <= 32


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_tally_remembers_its_windows(task: Task) -> None:
    rng = np.random.default_rng(8)
    names = ("a", "b", "c") if task == "multiclass" else ()
    truth = rng.normal(0, 1, 900) if task == "regression" else rng.integers(0, 2, 900).astype(float)
    said = np.where(rng.random(900) < 0.3, 1 - truth, truth)
    x = {"x": truth}
    specs = (FeatureSpec(name="x"),)
    reference = build_reference("m", "1", x, specs, predictions=said, labels=truth, task=task, classes=names)
    found = None
    for n in range(12):
        profile = Profile.empty(reference)
        profile.fold_outcomes(said[n::12], None, truth[n::12])
        found = tallied(found, n, n + 1, profile, performance(profile, reference))
    assert found is not None
    assert tallied(found, 12, 13, Profile.empty(reference), []) is found
    assert (found.since_us, found.end_us, found.rows, len(found.recent)) == (0, 12, 75, RECENT)
    whole = found.before(12)
    assert whole.rows == 900
    assert whole.total == pytest.approx(np.abs(said - truth).sum(), rel=1e-5)
    assert found.before(6).rows == found.after(6).rows == 450
    assert found.loss == pytest.approx(np.abs(said - truth)[11::12].mean(), rel=1e-5)
    assert found.scores["mae" if task == "regression" else "accuracy"]
    assert msgspec.json.decode(msgspec.json.encode(found), type=Tally) == found
