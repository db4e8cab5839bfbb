"""Laws of the profile: it does not matter who counted the rows, in which order, or in how many pieces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.codec import pack, unpack
from detectors.errors import ProfileInvalid
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.values import FeatureSpec

SPECS = (FeatureSpec(name="age"), FeatureSpec(name="chol"), FeatureSpec(name="town", kind="categorical"))
TOWNS = np.array(["Bern", "Genf", "Zug", None], dtype=object)
QUICK = settings(max_examples=60, deadline=None)


def reference_of(seed: int = 0):
    rng = np.random.default_rng(seed)
    features = {
        "age": rng.normal(50, 9, 300).round(1),
        "chol": rng.normal(240, 40, 300),
        "town": TOWNS[rng.integers(0, 3, 300)],
    }
    return build_reference(
        "heart", "1", features, SPECS, scores=rng.random(300), labels=rng.integers(0, 2, 300)
    )


REFERENCE = reference_of()
ODD = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1e300, -1e300, 50.0, 240.0])
NUMBER = st.one_of(ODD, st.floats(-500, 500))
ROW = st.tuples(
    NUMBER, NUMBER, st.integers(0, 3), st.integers(0, 1), st.floats(0, 1), st.sampled_from([0.0, 1.0, np.nan])
)
ROWS = st.lists(ROW, max_size=40)


def columns(rows):
    matrix = np.array(rows, dtype=np.float64).reshape(-1, 6)
    features = {"age": matrix[:, 0], "chol": matrix[:, 1], "town": TOWNS[matrix[:, 2].astype(int)]}
    return features, matrix[:, 3], matrix[:, 4], matrix[:, 5]


def profile_of(rows):
    profile = Profile.empty(REFERENCE)
    features, predictions, scores, labels = columns(rows)
    hashes = profile.fold(features, predictions, scores)
    profile.fold_outcomes(predictions, scores, labels, hashes)
    return profile


@QUICK
@given(ROWS, ROWS, ROWS)
def test_merging_is_commutative_and_associative_with_an_identity(a, b, c):
    a, b, c = profile_of(a), profile_of(b), profile_of(c)
    assert a.merge(b).to_bytes() == b.merge(a).to_bytes()
    assert a.merge(b).merge(c).to_bytes() == a.merge(b.merge(c)).to_bytes()
    assert a.merge(Profile.empty(REFERENCE)).to_bytes() == a.to_bytes()
    assert Profile.merged(REFERENCE, [a, b, c]).to_bytes() == c.merge(a).merge(b).to_bytes()


@QUICK
@given(ROWS, st.integers(0, 40), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_split_into_batches_do_not_show(rows, cut, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    parts = profile_of(shuffled[:cut]).merge(profile_of(shuffled[cut:]))
    whole = profile_of(rows)
    assert parts.to_bytes() == whole.to_bytes()
    assert parts.rows == len(rows)


@QUICK
@given(ROWS, ROWS)
def test_unfolding_outcomes_undoes_folding_them(kept, revised):
    profile = profile_of(kept)
    before = profile.to_bytes()
    features, predictions, scores, labels = columns(revised)
    hashes = profile.hashes(features)
    profile.fold_outcomes(predictions, scores, labels, hashes)
    profile.unfold_outcomes(predictions, scores, labels, hashes)
    assert profile.to_bytes() == before


@QUICK
@given(ROWS)
def test_bytes_carry_the_whole_profile(rows):
    profile = profile_of(rows)
    again = Profile.from_bytes(REFERENCE, profile.to_bytes())
    assert again.to_bytes() == profile.to_bytes()
    assert (again.counters == profile.counters).all()


@QUICK
@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_packed_numbers_are_read_back(numbers):
    values = np.array(numbers, dtype=np.int64)
    assert (unpack(pack(values)) == values).all()


def test_moments_are_those_of_the_rows():
    rng = np.random.default_rng(1)
    profile = Profile.empty(REFERENCE)
    ages = rng.normal(47, 11, 5_000)
    for part in np.array_split(ages, 7):
        profile.fold({"age": part}, None, None)
    slots = profile.layout.numeric[0]
    whole, fraction, squares, rest = (float(n) for n in profile.counters[slots.moments])
    mean = (whole + fraction * 2.0**-30) / 5_000
    square = (squares + rest * 2.0**-30) / 5_000
    assert slots.center + slots.scale * mean == pytest.approx(ages.mean(), rel=1e-9)
    assert slots.scale**2 * (square - mean**2) == pytest.approx(ages.var(), rel=1e-8)


def test_what_is_missing_infinite_and_unknown_is_counted():
    profile = Profile.empty(REFERENCE)
    profile.fold(
        {
            "age": np.array([np.nan, np.inf, -np.inf, 50.0, 0.0]),
            "colour": np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
            "town": np.array(["Bern", "Ulm", None, "", "Zug"], dtype=object),
        },
        np.array([1, 0, 1, np.nan, 0]),
        np.array([0.9, 0.1, 0.8, np.nan, 0.2]),
    )
    age, chol = profile.layout.numeric
    town = profile.layout.categorical[0]
    count = profile.counters
    assert profile.rows == 5
    assert profile.unknown_values == 5
    assert (count[age.missing], count[age.above], count[age.below]) == (1, 1, 2)
    assert count[age.bins].sum() == 4
    assert count[age.exact][list(age.values).index(0)] == 1
    assert count[chol.missing] == 5
    assert (count[town.missing], count[town.other], count[town.categories].sum()) == (2, 1, 2)
    assert (count[profile.layout.predicted], count[profile.layout.predicted_positive]) == (4, 2)
    assert count[profile.layout.scores].sum() == 4


def test_float32_events_fall_where_the_float64_reference_put_them():
    values = np.array([0.1, 0.2, 0.3, 0.7] * 50)
    reference = build_reference("m", "1", {"x": values}, [FeatureSpec(name="x")])
    single, double = Profile.empty(reference), Profile.empty(reference)
    single.fold({"x": values.astype(np.float32)}, None, None)
    double.fold({"x": values}, None, None)
    slots = single.layout.numeric[0]
    assert (single.counters[slots.bins] == double.counters[slots.bins]).all()
    assert single.counters[slots.above] == single.counters[slots.below] == 0


def test_repeats_of_a_subject_bring_nothing_new():
    rng = np.random.default_rng(2)
    pool = rng.normal(0, 1, (170, 3))
    reference = build_reference(
        "m", "1", {n: pool[:, i] for i, n in enumerate("abc")}, [FeatureSpec(name=n) for n in "abc"]
    )
    worth: list[float] = []
    for rows in (pool[rng.integers(0, 170, 500)], rng.normal(0, 1, (500, 3))):
        profile = Profile.empty(reference)
        hashes = profile.fold({n: rows[:, i] for i, n in enumerate("abc")}, None, None)
        profile.fold_outcomes(np.zeros(500), None, np.zeros(500), hashes)
        worth.append(profile.effective_rows)
        assert profile.effective_labelled == pytest.approx(profile.effective_rows)
    assert reference.effective_rows == 170
    assert worth[0] == pytest.approx(1 / (1 / 170 + 1 / 500), rel=0.12)
    assert worth[1] == pytest.approx(500, rel=0.12)


def test_coarse_features_do_not_identify_subjects():
    rng = np.random.default_rng(3)
    features = {"smoker": rng.integers(0, 2, 400), "sex": rng.integers(0, 2, 400)}
    reference = build_reference("m", "1", features, [FeatureSpec(name=n) for n in features])
    profile = Profile.empty(reference)
    profile.fold(features, None, None)
    assert not reference.rows_identify
    assert reference.effective_rows == 400
    assert profile.effective_rows == 400


def test_without_a_reference_rows_and_outcomes_are_counted():
    profile = Profile.empty(None)
    profile.fold({"x": np.arange(10.0)}, np.ones(10), None)
    profile.fold_outcomes(np.ones(10), None, np.zeros(10))
    assert (profile.rows, profile.labelled, profile.confusion.fp) == (10, 10, 10)
    assert Profile.from_bytes(None, profile.to_bytes()).rows == 10


def test_wrong_material_is_refused_with_a_reason():
    other, profile = reference_of(9), profile_of([])
    with pytest.raises(ProfileInvalid, match="cannot be merged"):
        profile.merge(Profile.empty(other))
    with pytest.raises(ProfileInvalid, match="was counted against reference"):
        Profile.from_bytes(other, profile.to_bytes())
    with pytest.raises(ProfileInvalid, match="does not begin a profile"):
        Profile.from_bytes(REFERENCE, b"nonsense")
    with pytest.raises(ProfileInvalid, match="asks for"):
        Profile.from_bytes(REFERENCE, profile.to_bytes()[:-1])
    with pytest.raises(ProfileInvalid, match="cut off"):
        unpack(b"\x80")
    with pytest.raises(ProfileInvalid, match="bytes; 10 is the most"):
        unpack(b"\x80" * 10 + b"\x01")
    with pytest.raises(ProfileInvalid, match="must have one length"):
        profile.fold({"age": np.zeros(3), "chol": np.zeros(4)}, None, None)
