"""Data quality from counters: units, misaligned and constant columns, vanished categories, traffic."""

import numpy as np
import pytest

from detectors.learning import with_learned
from detectors.profile import Profile
from detectors.quality.alignment import column_costs, misalignment
from detectors.quality.dependence import column_worth
from detectors.quality.findings import findings
from detectors.quality.shapes import Shape, bucket_ends, bucket_shares
from detectors.reference import build_reference
from detectors.sequential.baseline import with_baseline
from detectors.sequential.blocks import Rows
from detectors.values import FeatureSpec

NUMBERS = ("age", "height", "income", "rooms", "share")
SPECS = (*(FeatureSpec(name=name) for name in NUMBERS), FeatureSpec(name="city", kind="categorical"))


def people(rng, rows, older=0.0):
    age = rng.normal(45 + older, 12, rows)
    return {
        "age": age,
        "height": rng.normal(170, 9, rows),
        "income": rng.lognormal(7.5, 0.5, rows) + 10 * age,
        "rooms": rng.poisson(4, rows).astype(float),
        "share": rng.beta(2, 5, rows),
        "city": rng.choice(["ulm", "bonn", "trier"], rows, p=[0.6, 0.3, 0.1]).astype(object),
    }


@pytest.fixture(scope="module")
def reference():
    return build_reference("m", "1", people(np.random.default_rng(1), 5_000), SPECS)


def window(reference, columns):
    profile = Profile.empty(reference)
    profile.fold(columns, None, None)
    return profile


def test_sound_and_drifting_windows_have_no_findings(reference):
    rng = np.random.default_rng(2)
    for rows in (50, 300, 2_000):
        for older in (0.0, 6.0, 20.0):
            assert findings(window(reference, people(rng, rows, older)), reference) == []


@pytest.mark.parametrize("rows", [100, 1_000])
@pytest.mark.parametrize(
    ("column", "factor", "offset", "name"),
    [
        ("income", 100.0, 0.0, "hundreds"),
        ("income", 0.001, 0.0, "thousands"),
        ("height", 1 / 2.54, 0.0, "inches"),
        ("share", 100.0, 0.0, "hundreds"),
        ("age", 1.8, 32.0, "Fahrenheit"),
        ("height", 1_000.0, 0.0, "thousands"),
        ("age", 42.0, 0.0, "no conversion"),
        ("height", -1.0, 0.0, "sign"),
    ],
)
def test_a_changed_unit_is_named_with_its_factor(reference, rows, column, factor, offset, name):
    columns = people(np.random.default_rng(3), rows)
    columns[column] = columns[column] * factor + offset
    found = findings(window(reference, columns), reference)
    if name == "no conversion":
        assert found == [] or "no conversion" in found[0].message
        return
    (one,) = found
    assert (one.kind, one.columns) == ("unit_change", (column,))
    assert name in one.message
    assert one.value == pytest.approx(factor, rel=0.01)


def test_swapped_and_shifted_columns_are_named_with_their_sources(reference):
    columns = people(np.random.default_rng(4), 300)
    swapped = columns | {"age": columns["share"], "share": columns["age"]}
    (one,) = findings(window(reference, swapped), reference)
    assert dict(zip(one.columns, one.sources, strict=True)) == {"age": "share", "share": "age"}
    turned = {name: columns[NUMBERS[(place + 1) % 5]] for place, name in enumerate(NUMBERS)}
    (one,) = findings(window(reference, columns | turned), reference)
    assert one.kind == "misaligned_columns"
    assert dict(zip(one.columns, one.sources, strict=True)) == {
        name: NUMBERS[(place + 1) % 5] for place, name in enumerate(NUMBERS)
    }


def test_correlations_tell_columns_apart_that_are_distributed_alike():
    """a and b move together, so do c and d; alone each looks like any other, except for e."""
    rng = np.random.default_rng(5)

    def rows_of(rows):
        first, second = rng.normal(0, 1, rows), rng.normal(0, 1, rows)
        pair = {
            "a": first,
            "b": first + rng.normal(0, 0.3, rows),
            "c": second,
            "d": second + rng.normal(0, 0.3, rows),
        }
        return pair | {"e": rng.exponential(5, rows) + 20, "f": rng.exponential(1, rows) - 40}

    specs = tuple(FeatureSpec(name=name) for name in "abcdef")
    columns = rows_of(4_000)
    reference = with_learned(build_reference("m", "1", columns, specs), Rows(columns))
    sound = rows_of(400)
    assert misalignment(window(reference, sound), reference) is None
    wrong = sound | {"b": sound["e"], "e": sound["f"], "f": sound["c"], "c": sound["b"]}
    found = misalignment(window(reference, wrong), reference)
    moved = dict(zip(found.columns, found.sources, strict=True))
    assert moved["b"] == "e"
    assert moved["e"] == "f"
    assert column_costs(window(reference, columns), reference).bonds.shape == (6, 6)


def test_a_shape_gives_back_the_shares_of_its_column(reference):
    values = people(np.random.default_rng(1), 5_000)
    for name in ("income", "rooms"):
        shape = Shape.of(reference.feature(name))
        points = np.quantile(values[name], [0.1, 0.5, 0.9])
        assert shape.at(points) == pytest.approx(
            [(values[name] <= point).mean() for point in points], abs=0.02
        )
        slots = next(one for one in window(reference, values).layout.numeric if one.name == name)
        counted = window(reference, values).counters[slots.buckets] / 5_000
        expected = bucket_shares(shape, bucket_ends(slots))
        assert np.abs(np.cumsum(counted) - np.cumsum(expected)).max() < 0.03
    empty = build_reference("m", "1", {"x": np.full(9, np.nan)}, (FeatureSpec(name="x"),))
    assert Shape.of(empty.feature("x")) is None


@pytest.mark.parametrize(
    ("value", "told"), [(999_999_999.0, "a value above 7.9e+05"), (-np.inf, "a value below -7.9e+05")]
)
def test_a_constant_farther_out_than_moments_tell_is_not_told_as_where_they_end(reference, value, told):
    columns = people(np.random.default_rng(6), 400) | {"age": np.full(400, value)}
    found = {one.kind: one for one in findings(window(reference, columns), reference)}
    assert told in found["constant_column"].message


def test_constant_columns_and_vanished_categories(reference):
    columns = people(np.random.default_rng(6), 400)
    columns |= {
        "age": np.full(400, 44.0),
        "city": np.where(columns["city"] == "trier", "ulm", columns["city"]),
    }
    found = {one.kind: one for one in findings(window(reference, columns), reference)}
    assert found["constant_column"].columns == ("age",)
    assert "the value 44" in found["constant_column"].message
    assert "'trier'" in found["vanished_category"].message
    columns["city"] = np.full(400, "ulm", dtype=object)
    kinds = [(one.kind, one.columns) for one in findings(window(reference, columns), reference)]
    assert ("constant_column", ("city",)) in kinds
    few = {name: column[:20] for name, column in columns.items()}
    assert findings(window(reference, few), reference) == []


def test_a_rare_category_may_be_absent(reference):
    columns = people(np.random.default_rng(7), 60)
    columns["city"] = np.where(columns["city"] == "trier", "ulm", columns["city"])
    assert findings(window(reference, columns), reference) == []


def test_rows_that_are_alike_are_worth_less():
    rng = np.random.default_rng(10)
    rows = 6_000
    month = (np.arange(rows) // 500).astype(float)
    columns = {
        "month": month,
        "noise": rng.normal(0, 1, rows),
        "name": np.array([f"m{one:g}" for one in month], dtype=object),
    }
    specs = (
        FeatureSpec(name="month"),
        FeatureSpec(name="noise"),
        FeatureSpec(name="name", kind="categorical"),
    )
    reference = build_reference("m", "1", columns, specs)
    worth = column_worth(reference, columns)
    assert worth["noise"] > 0.7
    assert worth["month"] < 0.02
    later = {name: column[5_500:] for name, column in columns.items()}
    told = {column for one in findings(window(reference, later), reference) for column in one.columns}
    assert told == {"month", "name"}
    taught = with_learned(reference, Rows(columns))
    assert findings(window(taught, later), taught) == []


def test_nothing_is_said_of_columns_without_values(reference):
    missing = {name: np.full(200, np.nan) for name in NUMBERS}
    assert findings(window(reference, missing), reference) == []
    constant = build_reference("m", "1", {"x": np.ones(50)}, (FeatureSpec(name="x"),))
    assert findings(window(constant, {"x": np.full(50, 7.0)}), constant) == []


@pytest.mark.parametrize(("reference_rows", "window_rows"), [(3_000, 100), (3_000, 500), (400, 100)])
def test_a_count_that_grows_with_a_daily_cycle_has_no_other_unit(reference_rows, window_rows):
    """Five times as much in the end, as fast as hires of bicycles grow; cents for euros are told all the same."""
    rng = np.random.default_rng(7)
    hours = np.arange(12_000)
    level = np.exp(hours / 12_000 * np.log(5)) * (1.2 + np.sin(hours / 24 * 2 * np.pi)) * 40
    columns = {"count": rng.poisson(level).astype(float), "noise": rng.normal(size=12_000)}
    first = {name: column[:reference_rows] for name, column in columns.items()}
    specs = tuple(FeatureSpec(name=name) for name in columns)
    plain = build_reference("m", "1", first, specs)
    reference = with_baseline(with_learned(plain, Rows(first)), Rows(first))
    for start in range(reference_rows, 12_000 - window_rows, 10 * window_rows):
        part = {name: column[start : start + window_rows] for name, column in columns.items()}
        told = [one for one in findings(window(reference, part), reference) if one.kind == "unit_change"]
        assert told == []
    next_day = {name: column[reference_rows : reference_rows + 240] for name, column in columns.items()}
    (one,) = findings(window(reference, next_day | {"count": next_day["count"] * 100}), reference)
    assert "hundreds" in one.message
