"""Rows for tests of the cold tier."""

from collections.abc import Sequence

import numpy as np

from streams.profile.id_table import ROW, Held

ONE_VERSION = np.zeros(4, dtype=np.uint16)


def held(keys: Sequence[int], time_us: int, **fields: object) -> Held:
    rows = np.zeros(len(keys), dtype=ROW)
    rows["key"] = keys
    for field, value in fields.items():
        rows[field] = value
    return Held(rows, np.array([time_us], dtype=np.int64))
