"""Columns of numbers, seen where they lie in a record, without an Arrow object for each.

Only for records that Arrow has read and validated in full: lengths and counts of nulls are then what they say. Whatever
is out of the ordinary is left to Arrow, which reads everything.
"""

# pyarrow ships no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from homeostat.contract_frames import Frame
from homeostat.contract_layout import OUTCOME, ColumnKind, Layout
from homeostat.contract_views import FeatureArray

ID, KEY, TIME, SCORE, LATENCY, STATUS = 0, 1, 2, 4, 5, 6

_ALIGNED_BYTES = 8
_FEATURE_KINDS: Mapping[ColumnKind, Any] = {
    ColumnKind.NUMBER: np.dtype(np.float64),
    ColumnKind.SINGLE: np.dtype(np.float32),
    ColumnKind.INTEGER: np.dtype(np.int64),
}


class _Column(NamedTuple):
    """Where the metadata of a batch speaks of a column: its node, and the buffer of its values, of which there are
    `more` than rows."""

    name: str
    kind: Any
    node: int
    buffer: int
    more: int = 0


class _Plan(NamedTuple):
    """`features`: empty where one is no column of numbers; `together`: of one float type, one behind the other."""

    columns: tuple[_Column, ...]
    features: tuple[_Column, ...]
    together: bool


def seen_of(value: bytes, frame: Frame, layout: Layout) -> dict[str, Any]:
    """What of a valid record can be seen in place, by the names of a batch's properties: `rows`, `feature_matrix`, and
    where nothing is missing `id_ends`, `keys`, `times_us`, `outcomes` and `scores`."""
    meta, plan = frame.meta, _plan(layout)
    seen: dict[str, Any] = {"rows": meta.rows, "feature_matrix": _features(value, frame, plan)}
    for name, kind, node, buffer, more in plan.columns:
        start, size = frame.body + meta.spans[2 * buffer], meta.spans[2 * buffer + 1]
        rows = meta.rows + more
        if not meta.nulls[node] and start % _ALIGNED_BYTES == 0 and size >= rows * kind.itemsize:
            seen[name] = np.frombuffer(value, kind, rows, start)
    return seen


def _features(value: bytes, frame: Frame, plan: _Plan) -> FeatureArray | None:
    """All features side by side, shape (features, rows or more: what is behind the rows is padding): where they lie, or
    copied where something is missing or they are of several types. None where one is no column of numbers."""
    meta, columns = frame.meta, plan.features
    if not columns:
        return None
    first, count = columns[0], len(columns)
    if not plan.together or any(meta.nulls[first.node : first.node + count]):
        return _copied(value, frame, columns)
    item = first.kind.itemsize
    # A column has two buffers (which rows are there, the values), a buffer two numbers (where it begins, its length).
    starts = meta.spans[2 * first.buffer : 2 * (first.buffer + 2 * count) : 4]
    step = starts[1] - starts[0] if count > 1 else meta.rows * item
    start = frame.body + starts[0]
    if step < meta.rows * item or step % item or start % _ALIGNED_BYTES or start + count * step > len(value):
        return _copied(value, frame, columns)
    if starts != tuple(range(starts[0], starts[0] + count * step, step)):
        return _copied(value, frame, columns)
    return np.frombuffer(value, first.kind, count * step // item, start).reshape(count, step // item)


def _copied(value: bytes, frame: Frame, columns: tuple[_Column, ...]) -> FeatureArray | None:
    """The same as a matrix of its own: float32 where all columns are, or float64; NaN where a value is missing."""
    meta, single = frame.meta, all(column.kind == np.float32 for column in columns)
    matrix = np.empty((len(columns), meta.rows), dtype=np.float32 if single else np.float64)
    for row, (_, kind, node, buffer, _) in zip(matrix, columns, strict=True):
        start, size = meta.spans[2 * buffer], meta.spans[2 * buffer + 1]
        if meta.nulls[node] == meta.rows:
            row[:] = np.nan
        elif size < meta.rows * kind.itemsize:
            return None
        else:
            row[:] = np.frombuffer(value, kind, meta.rows, frame.body + start)
            if meta.nulls[node]:
                at, bits = meta.spans[2 * buffer - 2], meta.spans[2 * buffer - 1]
                if 8 * bits < meta.rows:
                    return None
                there = np.frombuffer(value, np.uint8, -(-meta.rows // 8), frame.body + at)
                row[np.unpackbits(there, count=meta.rows, bitorder="little") == 0] = np.nan
    return matrix


@lru_cache(maxsize=256)
def _plan(layout: Layout) -> _Plan:
    node, buffer = 0, 0
    places: dict[int, tuple[int, int]] = {}
    for place, type in enumerate(layout.schema.types):
        places[place] = node, buffer + 1
        node += 1
        buffer += 3 if type == pa.string() else 2
        if pa.types.is_fixed_size_list(type):
            node, buffer = node + 1, buffer + 1
    columns = [
        _Column("id_ends", np.dtype(np.int32), *places[ID], more=1),
        _Column("keys", np.dtype(np.uint64), *places[KEY]),
        _Column("times_us", np.dtype(np.int64), *places[TIME]),
    ]
    if layout.outcome.kind is ColumnKind.NUMBER:
        columns.append(_Column("outcomes", np.dtype(np.float64), *places[OUTCOME]))
    if layout.outcome.name == "prediction":
        columns.append(_Column("scores", np.dtype(np.float64), *places[SCORE]))
    features, together = _feature_columns(layout, places)
    return _Plan(tuple(columns), features, together)


def _feature_columns(
    layout: Layout, places: Mapping[int, tuple[int, int]]
) -> tuple[tuple[_Column, ...], bool]:
    features = layout.features
    if not all(column.kind in _FEATURE_KINDS for column in features):
        return (), False
    found = tuple(
        _Column(column.name, _FEATURE_KINDS[column.kind], *places[column.place]) for column in features
    )
    floats = {column.kind for column in features} in ({ColumnKind.NUMBER}, {ColumnKind.SINGLE})
    steps = {later.place - column.place for column, later in pairwise(features)}
    return found, floats and steps <= {1}
