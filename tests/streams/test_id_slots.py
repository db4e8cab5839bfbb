"""The index of the table of ids as it grows in place: every entry is found where a search looks, in its order."""

import numpy as np
import psutil
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.profile import id_kernels as kernels
from streams.profile.id_rows import ROW, Rows
from streams.profile.id_slots import Index

_HALF = 16


def _rows(keys: list[int]) -> Rows:
    rows = np.zeros(len(keys), dtype=ROW)
    rows["key"] = np.array(keys, dtype=np.uint64)
    return rows


def _filled(rows: Rows, size: int) -> Index:
    index = Index(size)
    kernels.insert(rows, index.slots, 0, len(rows))
    return index


def _found(rows: Rows, index: Index) -> list[tuple[int, int]]:
    """Each distinct key, by its number, with its rows in the order in which a search meets them."""
    position, row = kernels.find(rows, index.slots, np.unique(rows["key"]))
    return list(zip(position.tolist(), row.tolist(), strict=True))


# Homes of a table of 16, many of them at both ends, so that runs go around; the rest of the key tells entries apart.
_KEYS = st.lists(
    st.builds(
        lambda home, rest: home << 60 | rest << 32,
        st.one_of(st.integers(0, 15), st.sampled_from([0, 1, 14, 15])),
        st.integers(0, 3),
    ),
    max_size=_HALF - 1,
)


@settings(max_examples=300, deadline=None)
@given(_KEYS)
def test_a_table_that_doubles_in_place_finds_the_rows_of_every_key_in_their_order(keys: list[int]) -> None:
    rows = _rows(keys)
    index = _filled(rows, _HALF)
    before = _found(rows, index)
    for size in (2 * _HALF, 8 * _HALF):
        index.grow(size)
        assert len(index.slots) == size
        assert np.count_nonzero(index.slots) == len(keys)
        assert _found(rows, index) == before


def test_a_large_table_grows_beyond_what_was_reserved_and_can_be_made_anew() -> None:
    rng = np.random.default_rng(3)
    rows = _rows(rng.integers(0, 2**64, 90_000, dtype=np.uint64).tolist() * 2)
    index = _filled(rows, 256 * 1024)
    before = _found(rows, index)
    for size in (512 * 1024, 4 * 1024 * 1024):
        index.grow(size)
        assert _found(rows, index) == before
    index.clear(512 * 1024)
    assert not index.slots.any()
    kernels.insert(rows, index.slots, 0, len(rows))
    index.grow(1024 * 1024)
    assert _found(rows, index) == before


def test_what_the_index_may_grow_to_takes_no_memory() -> None:
    before = psutil.Process().memory_info().rss
    index = Index(1024)
    index.grow(1024 * 1024)
    assert psutil.Process().memory_info().rss - before < 24 * 1024 * 1024
    assert len(index.slots) == 1024 * 1024
