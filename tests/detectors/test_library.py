"""Measures between two profiles: equal to SciPy's within their binning, lawful, undefined with a reason."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from detectors.learning import with_learned
from detectors.library.judging import further_decisions
from detectors.library.measure import Found, Measure, MeasureInvalid
from detectors.library.of_reference import seen_reference
from detectors.library.registry import Register
from detectors.library.samples import column_samples
from detectors.library.standard import STANDARD, compare, seen, standard
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.sequential.blocks import Rows
from detectors.values import FeatureSpec

NUMBERS = ("x", "y", "z")
SPECS = (*(FeatureSpec(name=name) for name in NUMBERS), FeatureSpec(name="town", kind="categorical"))
TOWNS = np.array(["a", "b", "c", "d"])


def rows(seed, count, shift=0.0, scale=1.0, turned=1.0, towns=(0.5, 0.3, 0.2, 0.0)):
    rng = np.random.default_rng(seed)
    x, noise = rng.normal(shift, scale, count), rng.normal(0, 0.6, count)
    return {
        "x": x,
        "y": turned * 0.8 * x + noise,
        "z": rng.lognormal(0, 0.5, count),
        "town": rng.choice(TOWNS, count, p=towns),
    }


def profiled(reference, columns):
    profile = Profile.empty(reference)
    profile.fold(columns, None, None)
    return profile


def compared(before, now, specs=SPECS):
    reference = build_reference("m", "1", before, specs)
    first, second = profiled(reference, before), profiled(reference, now)
    found = compare(seen(first), seen(second), standard())
    return {(one.measure, one.feature): one for one in found}, first, second


@pytest.mark.parametrize("measure", STANDARD, ids=lambda one: one.name)
def test_every_measure_keeps_the_laws(measure):
    register = Register()
    register.take(measure)
    with pytest.raises(MeasureInvalid, match="already there"):
        register.take(measure)


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.5])
def test_distances_of_shares_are_scipys_on_the_same_groups(shift):
    found, first, second = compared(rows(1, 5_000), rows(2, 2_000, shift, towns=(0.3, 0.3, 0.3, 0.1)))
    for before, now in zip(column_samples(first), column_samples(second), strict=True):
        one, other = before.groups, now.groups
        p, q = one / one.sum(), other / other.sum()
        name = before.name
        assert found["jensen_shannon", name].value == pytest.approx(distance.jensenshannon(p, q, 2))
        assert found["total_variation", name].value == pytest.approx(distance.cityblock(p, q) / 2)
        assert found["hellinger", name].value == pytest.approx(
            distance.euclidean(np.sqrt(p), np.sqrt(q)) / math.sqrt(2)
        )
        table = np.array([one, other])[:, one + other > 0]
        expected = stats.chi2_contingency(table, correction=False)
        assert found["chi_squared", name].value == pytest.approx(expected.statistic)
        assert found["chi_squared", name].detail == f"{expected.dof} degrees of freedom"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.2, 1.0), (1.0, 1.0), (0.0, 2.0), (5.0, 1.0)])
def test_wasserstein_is_scipys_within_the_error_that_it_tells(seed, shift, scale):
    before, now = rows(seed, 4_000), rows(seed + 50, 1_500, shift, scale)
    found = compared(before, now)[0]
    for name in NUMBERS:
        exact = stats.wasserstein_distance(before[name], now[name]) / before[name].std()
        told = found["wasserstein", name]
        assert abs(told.value - exact) <= told.error + 1e-6
        assert told.value == pytest.approx(exact, abs=0.02, rel=0.05)


def test_mean_and_variance_are_those_of_the_rows():
    before, now = rows(3, 3_000), rows(4, 1_000, 0.4, 1.3)
    found = compared(before, now)[0]
    x, z = before["x"], now["x"]
    assert found["mean_shift", "x"].value == pytest.approx((z.mean() - x.mean()) / x.std(), abs=1e-6)
    assert found["variance_ratio", "x"].value == pytest.approx(math.log(z.var() / x.var()), abs=1e-6)
    assert ("mean_shift", "town") not in found


def test_l_infinity_finds_the_new_category():
    found = compared(rows(5, 2_000), rows(6, 1_000, towns=(0.4, 0.3, 0.2, 0.1)))[0]
    assert found["l_infinity", "town"].value == pytest.approx(0.1, abs=0.03)


def test_joint_measures_are_numpys():
    before, now = rows(7, 4_000), rows(8, 2_000, turned=-1.0)
    found = compared(before, now)[0]
    one, other = (np.column_stack([part[name] for name in NUMBERS]) for part in (before, now))
    exact = np.abs(np.corrcoef(other.T) - np.corrcoef(one.T))
    told = found["correlation_change", None]
    assert told.value == pytest.approx(exact.max(), abs=1e-3)
    assert told.detail == "x with y"
    center, spread = one.mean(axis=0), one.std(axis=0)
    one, other = (one - center) / spread, (other - center) / spread
    whole, window = np.cov(one.T, bias=True), np.cov(other.T, bias=True)
    assert found["covariance_change", None].value == pytest.approx(
        np.linalg.norm(window - whole) / np.linalg.norm(whole), abs=2e-3
    )
    apart = other.mean(axis=0)
    assert found["mahalanobis", None].value == pytest.approx(
        math.sqrt(apart @ np.linalg.solve(whole, apart)), abs=2e-3
    )
    vectors = np.linalg.eigh(whole)[1][:, :1]
    left = [np.square(part @ vectors).sum(axis=1).mean() for part in (one, other)]
    assert found["reconstruction", None].value == pytest.approx(math.log(left[1] / left[0]), abs=5e-3)


def test_the_mean_embedding_sees_a_flip_that_no_column_shows():
    same = compared(rows(9, 4_000), rows(10, 2_000))[0]
    flip = compared(rows(9, 4_000), rows(10, 2_000, turned=-1.0))[0]
    assert flip["ks", "y"].value < 0.05
    assert same["mean_embedding", None].value < 0.03 < 0.08 < flip["mean_embedding", None].value


BAD = {
    "constant": lambda n: np.full(n, 3.0),
    "all missing": lambda n: np.full(n, np.nan),
    "infinite": lambda n: np.full(n, np.inf),
    "enormous": lambda n: np.where(np.arange(n) % 2, 3e38, -3e38),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", ["reference", "window", "both"])
@pytest.mark.parametrize("count", [10, 200])
def test_bad_columns_are_undefined_with_a_reason_and_never_nan(bad, where, count):
    before, now = rows(11, 500), rows(12, count)
    if where != "window":
        before["x"] = BAD[bad](500)
    if where != "reference":
        now["x"] = BAD[bad](count)
        now["town"] = np.array([None] * count, dtype=object)
    for one in compared(before, now)[0].values():
        assert (one.value is None) == (one.undefined is not None)
        assert one.value is None or math.isfinite(one.value)
        assert count == 200 or one.undefined is not None


LAWLESS = {
    "is 0.5 between equal samples": Measure(name="a", column=lambda before, now: Found(0.5)),
    "undefined is told by a reason": Measure(name="a", column=lambda before, now: Found(math.nan)),
    "neither a value nor a reason": Measure(name="a", column=lambda before, now: Found(None)),
    "outside 0": Measure(name="a", column=lambda b, n: Found(float(b.present - n.present))),
    "says it is symmetric": Measure(
        name="a", symmetric=True, column=lambda b, n: Found(max(b.present - n.present, 0.0))
    ),
    "depends on shares alone": Measure(
        name="a", column=lambda b, n: Found(abs(float(b.present - n.present)))
    ),
    "one of column and rows": Measure(name="a"),
}


@pytest.mark.parametrize("message", LAWLESS)
def test_a_measure_that_breaks_a_law_is_refused(message):
    with pytest.raises(MeasureInvalid, match=message):
        Register().take(LAWLESS[message])


def test_every_measure_has_a_page():
    folder = Path(__file__).parents[2] / "docs" / "measures"
    pages = {page.stem for page in folder.glob("*.md")} - {"README", "alibi"}
    assert pages == {one.name for one in STANDARD}
    for one in STANDARD:
        text = (folder / f"{one.name}.md").read_text()
        assert all(f"| {part} |" in text for part in ("sees", "is blind to", "formula", "source", "cost"))
        assert f"[{one.name}]({one.name}.md)" in (folder / "README.md").read_text()


def test_the_example_of_the_docs_is_a_measure():
    text = (Path(__file__).parents[2] / "docs" / "measures" / "README.md").read_text()
    known: dict[str, object] = {}
    exec(text.split("```python\n")[1].split("```")[0], known)
    register = standard()
    register.take(known["ENERGY"])
    assert "energy" in register.known


def test_a_reference_is_seen_as_its_rows_are():
    rng = np.random.default_rng(21)
    columns = {"x": rng.normal(3, 2, 4_000), "y": rng.exponential(1, 4_000)}
    columns["y"][::7] = np.nan
    columns["z"] = columns["x"] * 0.8 + rng.normal(0, 1, 4_000)
    columns["c"] = rng.choice(["a", "b", "c"], 4_000).astype(object)
    specs = [*(FeatureSpec(name=name) for name in "xyz"), FeatureSpec(name="c", kind="categorical")]
    reference = build_reference("m", "1", columns, specs)
    reference = with_learned(reference, Rows(columns))
    rows = Profile.empty(reference)
    rows.fold(columns, None, None)
    window = Profile.empty(reference)
    moved = {name: column[:900] for name, column in columns.items()} | {"x": columns["x"][:900] + 1}
    window.fold(moved, None, None)
    exact = compare(seen(rows), seen(window), standard())
    told = compare(seen_reference(reference), seen(window), standard())
    assert [(one.measure, one.feature) for one in told] == [(one.measure, one.feature) for one in exact]
    for one, other in zip(told, exact, strict=True):
        close = pytest.approx(other.value, rel=0.02, abs=0.012 + one.error)
        assert one.value == close, (one.measure, one.feature)


def test_what_a_reference_does_not_keep_is_undefined():
    rng = np.random.default_rng(22)
    columns = {name: rng.normal(0, 1, 500) for name in "xy"}
    reference = build_reference("m", "1", columns, [FeatureSpec(name=name) for name in columns])
    window = Profile.empty(reference)
    window.fold(columns, None, None)
    found = further_decisions(["mahalanobis", "hellinger", "energy", "psi"], standard(), window, reference)
    told = {(one.measure, one.feature): one for one in found}
    assert set(told) == {("mahalanobis", None), ("hellinger", "x"), ("hellinger", "y"), ("energy", None)}
    assert told["mahalanobis", None].undefined == "the reference keeps no correlations of its columns"
    assert told["hellinger", "x"].value == pytest.approx(0.0, abs=1e-9)
    assert told["energy", None].undefined == "no measure 'energy' is installed where the judge runs"
