"""Columns of a record that lack nothing, seen where they lie, without an Arrow object for each.

Only for records that Arrow has read and validated in full: lengths and counts of nulls are then what they say. Whatever
is out of the ordinary (nulls, gaps, odd places in memory) is left to Arrow, which reads everything.
"""

# pyarrow ships no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from homeostat.contract_frames import Frame
from homeostat.contract_layout import OUTCOME, ColumnKind, Layout
from homeostat.contract_views import FeatureArray

ID, KEY, TIME, SCORE = 0, 1, 2, 4

_ALIGNED_BYTES = 8
_FEATURE_KINDS: Mapping[ColumnKind, Any] = {
    ColumnKind.NUMBER: np.dtype(np.float64),
    ColumnKind.SINGLE: np.dtype(np.float32),
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
    columns: tuple[_Column, ...]
    first: _Column | None
    features: int


def seen_of(value: bytes, frame: Frame, layout: Layout) -> dict[str, Any]:
    """What of a valid record can be seen in place, by the names of a batch's properties: `rows`, and where nothing is
    missing `id_ends`, `keys`, `times_us`, the outcomes, `scores` and `feature_matrix`."""
    meta, plan = frame.meta, _plan(layout)
    seen: dict[str, Any] = {"rows": meta.rows, "feature_matrix": _features(value, frame, plan)}
    for name, kind, node, buffer, more in plan.columns:
        start, size = frame.body + meta.spans[2 * buffer], meta.spans[2 * buffer + 1]
        rows = meta.rows + more
        if not meta.nulls[node] and start % _ALIGNED_BYTES == 0 and size >= rows * kind.itemsize:
            seen[name] = np.frombuffer(value, kind, rows, start)
    return seen


def _features(value: bytes, frame: Frame, plan: _Plan) -> FeatureArray | None:
    """All features side by side, shape (features, rows or more: what is behind the rows is padding), where they are
    without nulls and evenly spaced."""
    meta, first, count = frame.meta, plan.first, plan.features
    if first is None or any(meta.nulls[first.node : first.node + count]):
        return None
    item = first.kind.itemsize
    # A column has two buffers (which rows are there, the values), a buffer two numbers (where it begins, its length).
    starts = meta.spans[2 * first.buffer : 2 * (first.buffer + 2 * count) : 4]
    step = starts[1] - starts[0] if count > 1 else meta.rows * item
    start = frame.body + starts[0]
    if step < meta.rows * item or step % item or start % _ALIGNED_BYTES or start + count * step > len(value):
        return None
    if starts != tuple(range(starts[0], starts[0] + count * step, step)):
        return None
    return np.frombuffer(value, first.kind, count * step // item, start).reshape(count, step // item)


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
    return _Plan(tuple(columns), _first_feature(layout, places), len(layout.features))


def _first_feature(layout: Layout, places: Mapping[int, tuple[int, int]]) -> _Column | None:
    """The first of the features, where they are of one float type and stand together."""
    features = layout.features
    kind = _FEATURE_KINDS.get(features[0].kind) if features else None
    if kind is None or any(column.kind is not features[0].kind for column in features):
        return None
    first = features[0].place
    together = [column.place for column in features] == list(range(first, first + len(features)))
    return _Column("feature_matrix", kind, *places[first]) if together else None
