"""Laws of the profile: it does not matter who counted the rows, in which order, or in how many pieces."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.codec import pack, unpack
from detectors.columns import Block, singles
from detectors.errors import ProfileInvalid
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.values import FeatureSpec

SPECS = (
    FeatureSpec(name="age"),
    FeatureSpec(name="chol"),
    FeatureSpec(name="town", kind="categorical"),
    FeatureSpec(name="face", kind="embedding", size=3),
)
TASKS = ("binary", "multiclass", "regression")
TOWNS = np.array(["Bern", "Genf", "Zug", None], dtype=object)
QUICK = settings(max_examples=60, deadline=None)


def reference_of(seed: int = 0, task: str = "binary"):
    rng = np.random.default_rng(seed)
    features = {
        "age": rng.normal(50, 9, 300).round(1),
        "chol": rng.normal(240, 40, 300),
        "town": TOWNS[rng.integers(0, 3, 300)],
        "face": rng.normal(0, 1, (300, 3)),
    }
    said = rng.integers(0, 2, 300) if task != "regression" else rng.normal(1, 1, 300)
    return build_reference(
        "heart",
        "1",
        features,
        SPECS,
        scores=rng.random(300),
        predictions=said,
        labels=rng.integers(0, 2, 300),
        task=task,
        classes=("no", "yes", "maybe") if task == "multiclass" else (),
    )


REFERENCES = {task: reference_of(task=task) for task in TASKS}
REFERENCE = REFERENCES["binary"]
ODD = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1e300, -1e300, 50.0, 240.0])
NUMBER = st.one_of(ODD, st.floats(-500, 500))
SAID = st.sampled_from([0.0, 1.0, 2.0, -1.0, 0.5, 3.5e38, np.nan])
ROW = st.tuples(NUMBER, NUMBER, st.integers(0, 3), SAID, st.floats(0, 1), SAID)
ROWS = st.lists(ROW, max_size=40)
TASK = st.sampled_from(TASKS)


def columns(rows):
    matrix = np.array(rows, dtype=np.float64).reshape(-1, 6)
    features = {"age": matrix[:, 0], "chol": matrix[:, 1], "town": TOWNS[matrix[:, 2].astype(int)]}
    features["face"] = matrix[:, [0, 4, 3]]
    return features, matrix[:, 3], matrix[:, 4], matrix[:, 5]


def profile_of(rows, task="binary"):
    profile = Profile.empty(REFERENCES[task])
    features, predictions, scores, labels = columns(rows)
    cells = profile.fold(features, predictions, scores)
    profile.fold_outcomes(predictions, scores, labels, cells)
    return profile


@QUICK
@given(ROWS, ROWS, ROWS, TASK)
def test_merging_is_commutative_and_associative_with_an_identity(a, b, c, task):
    a, b, c = profile_of(a, task), profile_of(b, task), profile_of(c, task)
    assert a.merge(b).to_bytes() == b.merge(a).to_bytes()
    assert a.merge(b).merge(c).to_bytes() == a.merge(b.merge(c)).to_bytes()
    assert a.merge(Profile.empty(a.reference)).to_bytes() == a.to_bytes()
    assert Profile.merged(a.reference, [a, b, c]).to_bytes() == c.merge(a).merge(b).to_bytes()


@QUICK
@given(ROWS, st.integers(0, 40), st.randoms(use_true_random=False), TASK)
def test_the_order_of_rows_and_the_split_into_batches_do_not_show(rows, cut, random, task):
    shuffled = list(rows)
    random.shuffle(shuffled)
    parts = profile_of(shuffled[:cut], task).merge(profile_of(shuffled[cut:], task))
    whole = profile_of(rows, task)
    assert parts.to_bytes() == whole.to_bytes()
    assert parts.rows == len(rows)


@QUICK
@given(ROWS, ROWS, TASK)
def test_unfolding_outcomes_undoes_folding_them(kept, revised, task):
    profile = profile_of(kept, task)
    before = profile.to_bytes()
    features, predictions, scores, labels = columns(revised)
    cells = profile.cells(features)
    profile.fold_outcomes(predictions, scores, labels, cells)
    profile.unfold_outcomes(predictions, scores, labels, cells)
    assert profile.to_bytes() == before


@QUICK
@given(ROWS, TASK)
def test_bytes_carry_the_whole_profile(rows, task):
    profile = profile_of(rows, task)
    again = Profile.from_bytes(profile.reference, profile.to_bytes())
    assert again.to_bytes() == profile.to_bytes()
    assert (again.counters == profile.counters).all()
    assert (again.registers == profile.registers).all()


def test_large_batches_are_the_sum_of_small_ones_whatever_their_sizes():
    rng = np.random.default_rng(4)
    rows = 3_000
    features = {
        "age": rng.normal(50, 9, rows),
        "chol": np.where(rng.random(rows) < 0.1, np.nan, rng.lognormal(5, 1, rows)),
        "town": TOWNS[rng.integers(0, 4, rows)],
        "face": rng.normal(0, 1, (rows, 3)).astype(np.float32),
    }
    whole = Profile.empty(REFERENCE)
    cells = whole.fold(features, features["age"] > 50, None)
    assert (whole.cells(features) == cells).all()
    for size in (1, 7, 512, 1_000):
        parts = Profile.empty(REFERENCE)
        for begin in range(0, 600 if size == 1 else rows, size):
            part = {name: column[begin : begin + size] for name, column in features.items()}
            parts.fold(part, part["age"] > 50, None)
        if size == 1:
            whole_part = Profile.empty(REFERENCE)
            whole_part.fold(
                {name: column[:600] for name, column in features.items()}, features["age"][:600] > 50, None
            )
            assert parts.to_bytes() == whole_part.to_bytes()
        else:
            assert parts.to_bytes() == whole.to_bytes()


@QUICK
@given(st.binary(max_size=400), st.integers(0, 3_000))
def test_any_bytes_are_numbers_or_refused(data, count):
    try:
        values, taken = unpack(data, count)
    except ProfileInvalid:
        return
    assert len(values) == count
    assert 0 <= taken <= len(data)
    again, _ = unpack(pack(values), count)
    assert (again == values).all()


@QUICK
@given(st.data(), ROWS, TASK)
def test_a_damaged_profile_is_refused(data, rows, task):
    profile = profile_of(rows, task)
    whole = profile.to_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[place] ^ data.draw(st.integers(1, 255))
    for damaged in (
        whole[:place],
        whole[:place] + bytes([flipped]) + whole[place + 1 :],
        whole + data.draw(st.binary(min_size=1, max_size=9)),
        data.draw(st.binary(max_size=60)),
    ):
        with pytest.raises(ProfileInvalid):
            Profile.from_bytes(profile.reference, damaged)


@QUICK
@given(st.binary(max_size=300))
def test_bytes_with_the_right_checksum_are_read_or_refused(packed):
    empty = Profile.empty(REFERENCE).to_bytes()
    try:
        found = Profile.from_bytes(REFERENCE, empty[:11] + zlib.crc32(packed).to_bytes(4, "little") + packed)
    except ProfileInvalid:
        return
    assert found.counters.shape == Profile.empty(REFERENCE).counters.shape


@QUICK
@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_packed_numbers_are_read_back(numbers):
    values = np.array(numbers, dtype=np.int64)
    packed = pack(values)
    found, taken = unpack(packed + b"more", len(values))
    assert (found == values).all()
    assert taken == len(packed)


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
    age, chol, face = profile.layout.numeric
    town = profile.layout.categorical[0]
    count = profile.counters
    assert profile.rows == 5
    assert profile.unknown_values == 5
    assert (count[age.missing], count[age.above], count[age.below]) == (1, 1, 2)
    assert count[age.bins].sum() == 4
    assert count[age.exact][list(age.values).index(0)] == 1
    assert count[chol.missing] == count[face.missing] == 5
    assert (count[town.missing], count[town.other], count[town.categories].sum()) == (2, 1, 2)
    assert (count[profile.layout.predicted], count[profile.layout.outcomes.positive]) == (4, 2)
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
        cells = profile.fold({n: rows[:, i] for i, n in enumerate("abc")}, None, None)
        profile.fold_outcomes(np.zeros(500), None, np.zeros(500), cells)
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
    with pytest.raises(ProfileInvalid, match="checksum"):
        Profile.from_bytes(REFERENCE, profile.to_bytes()[:-1])
    with pytest.raises(ProfileInvalid, match="cut off"):
        unpack(b"\x80", 1)
    with pytest.raises(ProfileInvalid, match="more than 64 bits"):
        unpack(b"\x80" * 10 + b"\x01", 1)
    with pytest.raises(ProfileInvalid, match="fewer numbers than the 2"):
        unpack(b"\x02", 2)
    with pytest.raises(ProfileInvalid, match="beyond the 2 numbers"):
        unpack(b"\x00\x02", 2)
    with pytest.raises(ProfileInvalid, match="must have one length"):
        profile.fold({"age": np.zeros(3), "chol": np.zeros(4)}, None, None)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("names", [("age", "chol"), ("chol", "new", "age"), ("age", "other"), ("x", "y")])
def test_columns_side_by_side_count_as_single_ones(kind, names):
    rng = np.random.default_rng(4)
    columns = {"age": rng.normal(50, 9, 300).round(1), "chol": rng.normal(240, 40, 300)}
    reference = build_reference("heart", "1", columns, SPECS[:2], scores=rng.random(300))
    matrix = rng.normal(100, 90, (len(names), 1_300)).astype(kind)
    matrix[:, ::50], matrix[:, 7::50] = np.nan, np.inf
    said, scores = rng.choice([0.0, 1.0, np.nan, 3.5e38], 1_200), rng.choice([np.nan, 0.2, 1.0, -0.0], 1_200)
    together, apart = Profile.empty(reference), Profile.empty(reference)
    block = Block(names, matrix, 0, 1_300).part(10, 1_210)
    cells = together.fold(block, said, scores)
    same = apart.fold(dict(block), singles(said), singles(scores))
    assert cells.tolist() == same.tolist()
    assert together.to_bytes() == apart.to_bytes()


@pytest.mark.parametrize("sign", [1, -1])
def test_outcomes_at_single_precision_count_as_others(sign):
    rng = np.random.default_rng(5)
    said, truth = rng.choice([0.0, 1.0, np.nan], 500), rng.choice([0.0, 1.0, np.nan], 500)
    scores, cells = rng.choice([np.nan, 0.2, 1.0, 0.7], 500), rng.integers(0, 1_024, 500).astype(np.uint16)
    found = [Profile.empty(REFERENCE), Profile.empty(REFERENCE)]
    for profile, kind in zip(found, (np.float32, np.float64), strict=True):
        fold = profile.fold_outcomes if sign > 0 else profile.unfold_outcomes
        fold(said.astype(kind), scores.astype(kind), truth.astype(kind), cells)
    assert (found[0].counters == found[1].counters).all()
    assert found[0].labelled != 0
