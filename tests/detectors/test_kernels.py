"""The compiled kernels count exactly what plain NumPy counts, whatever the values, the types and the batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.plain_profile import plain_fold
from detectors.columns import Coded
from detectors.layout import CROSS_COLUMNS
from detectors.profile import Profile, warm
from detectors.reference import build_reference
from detectors.tables import WAVES, wave_weights
from detectors.values import FeatureSpec

QUICK = settings(max_examples=60, deadline=None)
NASTY = [
    np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 1e-45, 1.2e-38, 1e300, -1e300, 3.4028235e38, 3.5e38,
    2.0**53 + 2, 1.0, -1.0, -999.0, 9999.0, 0.1, 0.30000001, 50.0, 7.0,
]  # fmt: skip


def columns_of(rng, rows):
    """Columns as they come: smooth, skewed, crowded, discrete, constant, mostly zero, empty, huge."""
    return {
        "normal": rng.normal(50, 10, rows),
        "skewed": rng.lognormal(0, 3, rows),
        "crowded": np.where(rng.random(rows) < 0.9, 1e6 + rng.random(rows), rng.normal(0, 1e9, rows)),
        "dice": rng.integers(1, 7, rows).astype(float),
        "constant": np.full(rows, 7.0),
        "rare": np.where(rng.random(rows) < 0.99, 0.0, rng.exponential(1, rows)),
        "gone": np.full(rows, np.nan),
        "huge": rng.normal(0, 1e37, rows),
        "tiny": rng.normal(0, 1e-42, rows),
        "years": rng.integers(1900, 2030, rows).astype(float),
        "both": np.append(rng.normal(-1e4, 1, rows // 2), rng.normal(1e4, 1, rows - rows // 2)),
        "single": rng.random(rows),
        "masses": rng.choice([0.0, 0.5, 0.5000001, 2.5, -3.25], rows),
    }


NAMES = tuple(columns_of(np.random.default_rng(0), 1))
SPECS = tuple(FeatureSpec(name=name) for name in NAMES)
REFERENCE = build_reference("m", "1", columns_of(np.random.default_rng(1), 3_000), SPECS)


def assert_as_plain(features, reference=REFERENCE):
    profile, plain = Profile.empty(reference), Profile.empty(reference)
    profile.fold(features, None, None)
    plain_fold(plain.layout, features, plain.counters, plain.registers)
    plain.counters[plain.layout.rows] = profile.rows
    plain.counters[plain.layout.repeats] = profile.counters[profile.layout.repeats]
    assert (plain.registers == profile.registers).all()
    assert (plain.counters == profile.counters).all()


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("rows", [0, 1, 511, 512, 513, 1_700])
def test_kernels_count_as_plain_numpy(rows, kind):
    rng = np.random.default_rng(rows)
    found = columns_of(rng, rows)
    for column in found.values():
        column[rng.random(rows) < 0.05] = np.nan
    with np.errstate(over="ignore"):
        assert_as_plain({name: column.astype(kind) for name, column in found.items()})


@QUICK
@given(st.data(), st.integers(1, 30))
def test_nasty_values_too(data, rows):
    edges = sorted({edge for part in REFERENCE.features for edge in part.edges[::7]})
    value = st.one_of(
        st.sampled_from(NASTY), st.sampled_from(edges), st.floats(), st.floats(width=32), st.floats(-100, 100)
    )
    column = st.lists(value, min_size=rows, max_size=rows)
    assert_as_plain({name: np.array(data.draw(column), dtype=np.float64) for name in NAMES})


def test_each_edge_and_its_neighbours_fall_on_their_own_side():
    for part in REFERENCE.features:
        tracked = np.array([*part.edges, *(value for value, _ in part.top)], dtype=np.float32)
        near = np.concatenate([np.nextafter(tracked, np.float32(side)) for side in (-np.inf, np.inf)])
        values = np.append(tracked, near)
        assert_as_plain(dict.fromkeys(NAMES, values))


def test_whole_numbers_and_other_types_are_read_as_numbers():
    reference = build_reference("m", "1", {"x": np.arange(100)}, [FeatureSpec(name="x")])
    expected = None
    for column in (
        np.arange(90),
        np.arange(90, dtype=np.uint8),
        np.arange(90, dtype=np.float16),
        np.array([str(n) for n in range(90)], dtype=object),
        np.arange(180, dtype=np.int32)[::2] // 2,
    ):
        profile = Profile.empty(reference)
        profile.fold({"x": column}, None, None)
        expected = expected or profile.to_bytes()
        assert profile.to_bytes() == expected


def test_more_columns_than_pairs_are_counted_for():
    rng = np.random.default_rng(3)
    names = [f"x{i}" for i in range(CROSS_COLUMNS + 1)]
    features = {name: rng.normal(0, 1, 200) for name in names}
    specs = [FeatureSpec(name=name) for name in names]
    wide, full = (build_reference("m", "1", features, some) for some in (specs, specs[:-1]))
    assert Profile.empty(wide).correlation() is None
    profile = Profile.empty(full)
    profile.fold(features, None, None)
    found = profile.correlation()
    assert found is not None
    assert found == pytest.approx(np.corrcoef([features[name] for name in names[:-1]]), abs=1e-4)


def test_weights_belong_to_the_name_of_a_column_and_fit_their_sums():
    assert (wave_weights(["a", "b"])[:, 1] == wave_weights(["c", "b"])[:, 1]).all()
    for count in (1, 13, 400):
        weights = wave_weights([f"x{i}" for i in range(count)])
        assert weights.shape[0] == WAVES
        assert (np.abs(weights).sum(axis=1) * 511 < 2**24).all()
        spread = np.sqrt(np.square(weights).sum(axis=1).mean()) * 64 / 2**16 * 2 * np.pi
        assert spread == pytest.approx(0.7, rel=0.2)


def test_weights_are_the_same_on_every_machine():
    assert wave_weights(["age"])[:6, 0].tolist() == [68.0, -111.0, 83.0, 69.0, 164.0, 3.0]


def test_categories_as_codes_count_as_their_text():
    spec = [FeatureSpec(name="town", kind="categorical")]
    texts = np.array(["Bern", "Genf", None, "Zug", "", "Bern", "🏔"], dtype=object)
    reference = build_reference("m", "1", {"town": texts[:4]}, spec)
    coded = Coded(np.array([2, 0, -1, 3, 1, 2, 5]), ("Genf", "", "Bern", "Zug", "Bern", "🏔"))
    first, second = Profile.empty(reference), Profile.empty(reference)
    cells = first.fold({"town": texts}, None, None)
    assert (second.fold({"town": coded}, None, None) == cells).all()
    assert first.to_bytes() == second.to_bytes()
    assert (first.cells({"town": coded[2:5]}) == cells[2:5]).all()
    assert first.distinct("town") == pytest.approx(4, abs=0.1)


def test_warming_compiles_everything_and_counts_nothing():
    warm()
    assert Profile.empty(REFERENCE).rows == 0
