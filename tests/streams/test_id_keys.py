"""Keys of a column are those of its ids."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.keys import key_of
from streams.files.id_keys import keys_of_column

pytestmark = pytest.mark.filterwarnings("error")


def test_ids_of_every_length_have_the_keys_of_the_library() -> None:
    rng = np.random.default_rng(3)
    ids = ["".join(chr(one) for one in rng.integers(33, 127, size)) for size in range(300)]
    assert keys_of_column(pa.array(ids)).tolist() == [key_of(one) for one in ids]


@given(ids=st.lists(st.text(max_size=200), max_size=20), skipped=st.integers(0, 3))
def test_texts_in_a_part_of_a_column_have_their_keys(ids: list[str], skipped: int) -> None:
    column = pa.array(ids, pa.string()).slice(min(skipped, len(ids)))
    assert keys_of_column(column).tolist() == [key_of(one) for one in ids[skipped:]]
