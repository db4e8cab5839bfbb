"""Reading columns: whatever a codec makes of a value, it counts as the same value."""

import numpy as np
import pytest

from detectors.columns import categories, effective_rows, numbers, row_hashes, score_bins


def test_numbers_are_read_from_what_services_send():
    found = numbers(np.array([1, "2.5", None, "n/a", True, np.nan], dtype=object))
    assert found.tolist()[:2] == [1.0, 2.5]
    assert np.isnan(found).tolist() == [False, False, True, True, False, True]
    assert numbers(np.array(["3", "x"])).tolist()[0] == 3.0


@pytest.mark.parametrize(
    "column",
    [
        np.array([1.0, 3.0, np.nan]),
        np.array(["1", "3", ""]),
        np.array([1, 3.0, None], dtype=object),
        np.array([True, "3", np.nan], dtype=object),
    ],
)
def test_a_category_is_the_same_in_every_type(column):
    names, codes = categories(column)
    assert [names[code] if code >= 0 else None for code in codes] == ["1", "3", None]


def test_fractions_and_words_are_categories_too():
    names, codes = categories(np.array([0.5, "Bern", np.bool_(False)], dtype=object))
    assert [names[code] for code in codes] == ["0.5", "Bern", "0"]


def test_rows_hash_by_content():
    rows = {"x": np.array([0.0, -0.0, 1.0, np.nan]), "town": np.array(["a", "a", "a", None], dtype=object)}
    first, second, third, fourth = row_hashes(rows, ["x", "town"]).tolist()
    assert first == second
    assert len({first, third, fourth}) == 3
    swapped = {"x": np.array([1.0, 2.0]), "y": np.array([2.0, 1.0])}
    assert len(set(row_hashes(swapped, ["x", "y"]).tolist())) == 2
    assert row_hashes(swapped, ["x", "gone"]).shape == (2,)
    assert row_hashes({}, ["x"]).shape == (0,)


def test_hashes_are_the_same_on_every_machine():
    found = row_hashes({"x": np.array([1.5]), "town": np.array(["Zug"])}, ["x", "town"])
    assert found.tolist() == [3334692314810797168]


def test_scores_outside_of_the_unit_interval_go_to_the_nearest_bin():
    assert score_bins(np.array([-1.0, 0.0, 0.5, 1.0, np.inf])).tolist() == [0, 0, 32, 63, 63]


def test_the_worth_of_rows():
    rng = np.random.default_rng(0)
    assert effective_rows(np.zeros(1_024, dtype=np.int64)) == 0.0
    same = np.bincount(np.full(500, 77), minlength=1_024)
    assert effective_rows(same) == pytest.approx(1.0)
    many = np.bincount(rng.integers(0, 1_024, 100_000), minlength=1_024)
    assert effective_rows(many) == pytest.approx(100_000, rel=0.15)
