"""Quantiles, distinct counts, correlations and random features: as near to the exact ones as they promise."""

import math

import datasketches
import numpy as np
import pytest

from detectors.errors import ProfileInvalid
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.sketches import DISTINCT_ERROR, QUANTILE_ERROR
from detectors.values import FeatureSpec

X = (FeatureSpec(name="x"),)
SHARES = (0.0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0)


def folded(values, before=None, pieces=1):
    reference = build_reference("m", "1", {"x": values if before is None else before}, X)
    profile = Profile.empty(reference)
    for part in np.array_split(values, pieces):
        profile.fold({"x": part}, None, None)
    return profile


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.normal(0, 1, 9_973),
        lambda rng: rng.lognormal(3, 2, 5_000),
        lambda rng: -rng.exponential(1e-6, 5_000),
        lambda rng: rng.integers(-50, 50, 2_000).astype(float),
        lambda rng: rng.standard_cauchy(5_000),
        lambda rng: np.array([42.5]),
    ],
)
def test_quantiles_are_within_their_relative_error(draw):
    values = draw(np.random.default_rng(0))
    profile = folded(values, pieces=3)
    nearest = np.abs(values).max() / 2**26
    for share in SHARES:
        exact = float(np.quantile(values.astype(np.float32), share, method="lower"))
        assert profile.quantile("x", share) == pytest.approx(exact, rel=QUANTILE_ERROR, abs=nearest)


def test_quantiles_of_what_the_reference_never_saw():
    before = np.random.default_rng(1).normal(0, 1, 1_000)
    assert folded(np.array([np.nan]), before).quantile("x", 0.5) is None
    assert folded(np.array([1e12, np.inf]), before).quantile("x", 0.0) == math.inf
    assert folded(np.array([-np.inf, 0.0, 1e-20]), before).quantile("x", 0.0) == -math.inf
    assert folded(np.array([-np.inf, 0.0, 1e-20]), before).quantile("x", 1.0) == 0.0


@pytest.mark.parametrize("count", [0, 1, 2, 40, 300, 1_000, 5_000, 100_000, 1_000_000])
def test_distinct_counts_are_within_their_error(count):
    values = np.random.default_rng(count).permutation(2 * count)[:count].astype(np.float64)
    profile = folded(np.repeat(values, 2 if count < 10_000 else 1), np.arange(10.0))
    if count < 3:
        assert round(profile.distinct("x")) == count
        return
    theirs = datasketches.hll_sketch(9, datasketches.tgt_hll_type.HLL_8)
    for value in values[:5_000]:
        theirs.update(float(value))
    assert profile.distinct("x") == pytest.approx(count, rel=3.5 * DISTINCT_ERROR)
    assert theirs.get_estimate() == pytest.approx(min(count, 5_000), rel=3.5 * DISTINCT_ERROR)


def test_distinct_counts_are_unbiased_over_many_columns():
    rng = np.random.default_rng(7)
    ratio: list[float] = []
    for count in (100, 500, 1_500, 4_000):
        specs = [FeatureSpec(name=f"x{i}") for i in range(50)]
        features = {spec.name: np.arange(count) * 7.0 + rng.integers(0, 2**20) for spec in specs}
        profile = Profile.empty(build_reference("m", "1", {n: c[:50] for n, c in features.items()}, specs))
        profile.fold(features, None, None)
        found = np.array([profile.distinct(name) for name in features]) / count
        ratio.append(float(found.std()))
        assert found.mean() == pytest.approx(1, abs=3 * DISTINCT_ERROR / math.sqrt(50))
    assert max(ratio) < 1.3 * DISTINCT_ERROR


@pytest.mark.parametrize("rows", [100, 1_000, 20_000])
def test_correlations_are_those_of_numpy(rows):
    rng = np.random.default_rng(rows)
    mixed = rng.normal(0, 1, (rows, 6)) @ rng.normal(0, 1, (6, 6)) * np.array([1, 10, 1e-3, 1e6, 1, 50]) + 7
    names = [f"x{i}" for i in range(6)]
    features = {name: mixed[:, i] for i, name in enumerate(names)}
    profile = Profile.empty(build_reference("m", "1", features, [FeatureSpec(name=name) for name in names]))
    profile.fold(features, None, None)
    found = profile.correlation()
    assert found is not None
    assert np.abs(found - np.corrcoef(mixed.T)).max() < 5e-4 / math.sqrt(rows)
    assert (found == found.T).all()


def test_a_constant_column_correlates_with_nothing():
    rng = np.random.default_rng(2)
    features = {"x": rng.normal(0, 1, 200), "y": np.full(200, 3.0)}
    profile = Profile.empty(
        build_reference("m", "1", features, [FeatureSpec(name=name) for name in features])
    )
    profile.fold(features, None, None)
    found = profile.correlation()
    assert found is not None
    assert np.isnan(found).tolist() == [[False, True], [True, True]]


def test_moments_are_those_of_the_rows():
    values = np.random.default_rng(3).normal(1e6, 3, 4_000)
    found = folded(np.append(values, np.nan), values[:500], pieces=9).moments("x")
    assert found is not None
    assert found.rows == 4_000
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    assert found.variance == pytest.approx(values.var(), rel=1e-8)
    assert folded(np.full(3, np.nan), values).moments("x") is None


def test_random_features_see_what_no_single_column_shows():
    rng = np.random.default_rng(4)
    names = [f"x{i}" for i in range(8)]

    def draw(rows, shared):
        common = rng.normal(0, 1, (rows, 1))
        own = rng.normal(0, 1, (rows, 8))
        values = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
        return {name: values[:, i] for i, name in enumerate(names)}

    reference = build_reference("m", "1", draw(20_000, 0.0), [FeatureSpec(name=name) for name in names])

    def features_of(shared):
        profile = Profile.empty(reference)
        profile.fold(draw(5_000, shared), None, None)
        found = profile.random_features()
        assert np.abs(found).max() <= 1
        return found

    still = np.linalg.norm(features_of(0.0) - features_of(0.0))
    moved = np.linalg.norm(features_of(0.0) - features_of(0.8))
    assert moved > 3 * still


def test_columns_that_are_not_there_are_named():
    profile = folded(np.arange(10.0))
    with pytest.raises(ProfileInvalid, match="no numeric column 'y'"):
        profile.quantile("y", 0.5)
    with pytest.raises(ProfileInvalid, match="no column 'y'"):
        profile.distinct("y")
