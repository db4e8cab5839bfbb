"""Samples of rows: who draws them, and in what order, leaves no trace."""

import numpy as np
import pytest

from detectors.drawn import SLOTS, Drawn, keys_of_contents
from detectors.errors import MonitorInvalid, ProfileInvalid
from detectors.learning import with_learned
from detectors.library.judging import further_decisions
from detectors.library.measure import Found, Measure, absent
from detectors.library.of_reference import seen_reference
from detectors.library.registry import Register
from detectors.library.standard import compare, seen
from detectors.profile import Profile
from detectors.reference import Reference, build_reference
from detectors.sampling import with_sample
from detectors.sequential.blocks import Rows
from detectors.values import FeatureSpec
from streams.control.measures import check_measures, known_measures
from tests.detectors.sequential_parts import gaussian, specs_of


def _reference(rng, rows=2_000):
    table = gaussian(rng, rows)
    plain = with_learned(build_reference("m", "1", table, specs_of(table)), Rows(table))
    return with_sample(plain, table)


def test_the_split_of_the_work_and_its_order_leave_no_trace_in_the_sample():
    rng = np.random.default_rng(1)
    reference, table = _reference(rng), gaussian(rng, 900)
    table["x1"][::7] = np.nan
    keys = rng.integers(0, 2**63, 900).astype(np.uint64)
    whole = Profile.empty(reference)
    whole.fold(table, None, None, keys)
    pieces = []
    for part in np.array_split(rng.permutation(900), 5):
        piece = Profile.empty(reference)
        piece.fold({name: column[part] for name, column in table.items()}, None, None, keys[part])
        pieces.append(Profile.from_bytes(reference, piece.to_bytes()))
    merged = Profile.merged(reference, pieces[::-1])
    assert merged.to_bytes() == whole.to_bytes()
    assert 0.9 * SLOTS < len(merged.drawn.rows) <= SLOTS
    known = {tuple(row) for row in np.nan_to_num(np.array([*table.values()], dtype=np.float32).T)}
    assert {tuple(row) for row in np.nan_to_num(merged.drawn.rows.astype(np.float32))} <= known


def test_a_sample_is_of_the_rows_as_they_come_and_equal_rows_without_keys_count_once():
    rng = np.random.default_rng(2)
    values = np.repeat([0.0, 1.0], [200_000, 100_000])[rng.permutation(300_000)]
    drawn = Drawn.empty(SLOTS, 1)
    drawn.take(np.arange(300_000, dtype=np.uint64), values[None])
    assert abs(drawn.rows.mean() - 1 / 3) < 4 * (2 / 9 / SLOTS) ** 0.5
    alike = Drawn.empty(SLOTS, 1)
    alike.take(keys_of_contents(values[None]), values[None])
    assert sorted(alike.rows[:, 0]) == [0.0, 1.0]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:2] + b"\xff" * 2 + data[4:]]
)
def test_a_damaged_sample_is_refused(damage):
    drawn = Drawn.empty(SLOTS, 2)
    drawn.take(np.arange(50, dtype=np.uint64), np.ones((2, 50)))
    assert (Drawn.from_bytes(SLOTS, 2, drawn.to_bytes()).values == drawn.values).all()
    with pytest.raises(ProfileInvalid, match="sample"):
        Drawn.from_bytes(SLOTS, 2, damage(drawn.to_bytes()))


def test_a_measure_sees_the_samples_in_standard_deviations_of_the_reference():
    rng = np.random.default_rng(3)

    def apart(before, now):
        if before.drawn is None or now.drawn is None:
            return absent("there is no sample")
        return Found(float(now.drawn.mean() - before.drawn.mean()))

    register = Register({"apart": Measure(name="apart", rows=apart)})
    table = gaussian(rng, 2_000)
    shifted = {name: 5 * column + 10 for name, column in table.items()}
    plain = with_learned(build_reference("m", "1", shifted, specs_of(shifted)), Rows(shifted))
    for reference, expected in ((with_sample(plain, shifted), 1.0), (plain, None)):
        window = Profile.empty(reference)
        window.fold({name: 5 * column + 15 for name, column in gaussian(rng, 1_000).items()}, None, None)
        (found,) = compare(seen_reference(reference), seen(window), register)
        assert found.value == (None if expected is None else pytest.approx(expected, abs=0.15))
        assert found.undefined == (None if expected else "there is no sample")
    assert Reference.from_json(reference.to_json()) == reference


def test_no_sample_is_kept_of_categories_and_where_none_is_asked_for():
    words = {"c": np.array(["a", "b"] * 50, dtype=object)}
    reference = build_reference("m", "1", words, [FeatureSpec(name="c", kind="categorical")])
    assert with_sample(reference, words) == reference
    assert Profile.empty(reference).drawn is None


def test_what_is_not_installed_is_refused_by_the_name_of_its_extra():
    if "alibi_mmd" in known_measures().known:
        pytest.skip("alibi-detect is installed")
    with pytest.raises(MonitorInvalid, match="extra 'alibi'"):
        check_measures(["alibi_mmd"])
    reference = _reference(np.random.default_rng(4), 100)
    (said,) = further_decisions(["alibi_mmd"], Register(), Profile.empty(reference), reference)
    assert "extra 'alibi'" in (said.undefined or "")
