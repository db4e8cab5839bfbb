"""Which rows are one series."""

import numpy as np

from homeostat.contract import PredictionBatch
from streams.profile.series import OTHER, SeriesCodes

COLUMNS, VALUES = 6, 2_047


def test_segments_of_very_many_values_are_not_mixed_up() -> None:
    """Six columns of 2,048 values each, one of them missing, have more combinations than 64 bits tell apart: a row that
    differs from another one in the first column only may not be taken for the same."""
    texts = [f"v{number}" for number in range(VALUES)]
    batch = PredictionBatch.of(
        model="loan",
        version="1",
        producer="p",
        sequence=0,
        ids=[f"e{row}" for row in range(VALUES + 1)],
        times_us=np.arange(VALUES + 1),
        predictions=np.zeros(VALUES + 1),
        segments={f"s{column}": [*texts, texts[0] if column else texts[512]] for column in range(COLUMNS)},
    )
    series = SeriesCodes()
    codes = series.of(batch, [f"s{column}" for column in range(COLUMNS)])
    assert not isinstance(codes, int)
    first, last = (series.segments(int(codes[row]))[1:] for row in (0, -1))
    assert first == tuple(f"s{column}=v0" for column in range(COLUMNS))
    assert last == (f"s0={OTHER}", *first[1:])
