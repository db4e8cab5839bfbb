"""Segment files: what is in them is found, whatever the keys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.profile.cold_segment import Segment, build, current, together
from streams.profile.cold_store import FolderSegments
from tests.streams.cold_parts import ONE_VERSION, held

MODEL = "loan"
KEYS = st.lists(
    st.one_of(st.integers(0, 40), st.integers(2**64 - 5, 2**64 - 1), st.integers(0, 2**64 - 1)), min_size=1
)


@settings(max_examples=150, deadline=None)
@given(keys=KEYS, asked=KEYS, series=st.lists(st.integers(0, 3), min_size=1))
def test_a_segment_finds_what_is_in_it(
    tmp_path_factory: pytest.TempPathFactory, keys: list[int], asked: list[int], series: list[int]
) -> None:
    versions = np.array([0, 1, 0, 2], dtype=np.uint16)
    store = FolderSegments(tmp_path_factory.getbasetemp() / "found")
    chosen = [series[number % len(series)] for number in range(len(keys))]
    labels = np.arange(len(keys))
    rows = current(held(keys, 5, series=chosen, label=labels), versions, 0)
    built = build(MODEL, "test", rows)
    segment = Segment(info := built.info(store.put(built.parts)), store.open(info.name))
    first: dict[tuple[int, int], int] = {}
    for number, (key, code) in enumerate(zip(keys, chosen, strict=True)):
        first.setdefault((key, int(versions[code])), number)
    assert info.rows == len(first)
    assert info.size_bytes == store.path(info.name).stat().st_size
    found = segment.find(np.array(asked + keys, dtype=np.uint64)).rows
    expected = sorted((key, n) for key in asked + keys for (k, _), n in first.items() if k == key)
    assert sorted(zip(found["key"].tolist(), found["label"].astype(int).tolist(), strict=True)) == expected


def test_the_panes_of_rows_survive_merging_and_the_newest_row_counts() -> None:
    old, new = held([1, 2, 3], 10, label=1.0), held([2], 70, label=0.0)
    both = together([new, old])
    merged = current(both, ONE_VERSION, 0)
    assert merged.rows["key"].tolist() == [1, 2, 3]
    assert merged.rows["label"].tolist() == [1.0, 0.0, 1.0]
    assert merged.starts_us[merged.rows["pane"]].tolist() == [10, 70, 10]
    assert current(both, ONE_VERSION, 50).rows["key"].tolist() == [2]
