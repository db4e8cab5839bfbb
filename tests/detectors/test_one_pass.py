"""What is worked out in one compiled pass is what NumPy says step by step."""

import numpy as np
import pytest

from detectors.before import columns_of
from detectors.column_pairs import column_pairs, moved_pairs
from detectors.columns import sums
from detectors.concept.outcomes import outcome_pane
from detectors.distances import deviance, psi
from detectors.estimation.groups import groups_of, window_shares
from detectors.estimation.marginals import additive_effects
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.values import FeatureSpec


def profiled(seed=0, rows=400):
    rng = np.random.default_rng(seed)
    before = {"x": rng.normal(size=2_000), "y": rng.integers(0, 4, 2_000).astype(float)}
    before["x"][:100] = 7.0
    score = rng.random(2_000)
    specs = [FeatureSpec(name=name) for name in before]
    reference = build_reference("m", "1", before, specs, scores=score, labels=np.round(score))
    now = {"x": rng.normal(0.3, 1.0, rows), "y": np.where(rng.random(rows) < 0.2, np.nan, 2.0)}
    now["x"][:40] = 50.0
    profile = Profile.empty(reference)
    said = rng.random(rows)
    cells = profile.fold(now, (said > 0.55).astype(float), said)
    labels = (rng.random(rows) < said).astype(float)
    profile.fold_outcomes((said > 0.55).astype(float), said, labels, cells)
    return reference, profile, (said, labels)


@pytest.mark.parametrize("seed", range(3))
def test_columns_beside_those_of_the_reference(seed):
    reference, profile, _ = profiled(seed)
    for pair in column_pairs(profile, reference, 0.8):
        window, before = profile.counters[pair.slots.bins], columns_of(reference)[pair.slots.name]
        assert pair.before is before
        assert (pair.present, pair.greatest) == (window.sum(), window.max())
        assert pair.missing == profile.counters[pair.slots.missing]
        assert pair.outside == profile.counters[[pair.slots.below, pair.slots.above]].sum()
        far = np.cumsum(window) / window.sum() - np.cumsum(before.counts) / before.counts.sum()
        assert pair.ks == pytest.approx(np.abs(far).max(), abs=1e-12)
        grouped = np.bincount(before.grouped.group, weights=window * 0.8)
        assert pair.psi == pytest.approx(psi(grouped, before.grouped.counts), rel=1e-12)
        counts = profile.counters[pair.slots.exact][before.masses]
        if len(counts):
            most = deviance(counts / pair.present, pair.present * 0.8, before.shares, float(before.present))
            assert (pair.mass, pair.mass_rows) == (np.argmax(most), counts[np.argmax(most)])
        else:
            assert pair.mass == -1


def test_of_columns_that_are_still_the_first_wanted_one_is_told():
    rng = np.random.default_rng(5)
    names = ("a", "b", "c", "d")
    before = {name: rng.normal(size=5_000) for name in names}
    reference = build_reference("m", "1", before, [FeatureSpec(name=name) for name in names])
    profile = Profile.empty(reference)
    now = {name: rng.normal(size=1_000) for name in names}
    now["d"][:100] = np.nan
    profile.fold(now, None, None)
    everything = {one.slots.name: one for one in column_pairs(profile, reference)}
    for wanted, told in ((names, ["a", "d"]), (("b", "c"), ["b"]), (("d",), ["d"])):
        found = moved_pairs(profile, reference, 1.0, wanted)
        assert [one.slots.name for one in found] == told
        assert found == [everything[name] for name in told]
    few = Profile.empty(reference)
    few.fold({name: values[:20] for name, values in now.items()}, None, None)
    assert [one.slots.name for one in moved_pairs(few, reference, 1.0, names)] == list(names)


def test_errors_by_confidence_are_those_of_the_rows():
    _, profile, (said, labels) = profiled()
    pane = outcome_pane(profile)
    wrong = (said > 0.55) != (labels > 0.5)
    assert pane.total == pytest.approx(wrong.sum() * pane.count / len(said))
    assert sum(pane.totals) == pytest.approx(pane.total)
    assert sum(pane.counts) == pytest.approx(pane.count)


def test_shares_of_groups_are_those_of_each_column():
    reference, profile, _ = profiled()
    groups = groups_of(profile.layout, reference)
    parts = [one.of_window(profile.counters) for one in groups]
    np.testing.assert_array_equal(window_shares(groups, profile), np.concatenate(parts) / profile.rows)


def test_additive_effects_are_those_of_indicators():
    rng = np.random.default_rng(3)
    codes = np.stack([rng.integers(0, 3, 900), 3 + rng.integers(0, 4, 900)], axis=1)
    target = rng.normal(size=900) + (codes[:, 0] == 1)
    found = additive_effects(codes, target, 7, 10.0)
    design = np.zeros((900, 7))
    np.put_along_axis(design, codes, 1.0, axis=1)
    centred = design - design.mean(axis=0)
    effects = np.linalg.solve(centred.T @ centred + 10.0 * np.eye(7), centred.T @ (target - target.mean()))
    for place in (slice(0, 3), slice(3, 7)):
        effects[place] -= effects[place] @ design.mean(axis=0)[place]
    np.testing.assert_allclose(found, effects, atol=1e-9)


def test_sums_of_counts_and_squares():
    counts = np.arange(1_000)
    assert sums(counts) == (counts.sum(), counts @ counts)
