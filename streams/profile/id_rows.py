"""A row of the table of ids, and how the state topic keeps rows: column by column, 14 to 18 bytes each where they are
new."""

import mmap
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from streams.profile import id_kernels as kernels

Rows: TypeAlias = npt.NDArray[np.void]
Indices: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

LATEST_US = 2**62
UNCOUNTED = np.inf
"""A label that says nothing that can be counted, such as a class that a binary model does not have; NaN: no label."""

ROW = np.dtype(
    [
        ("key", "<u8"),
        ("pane", "<u4"),
        ("label_pane", "<u4"),
        ("prediction", "<f4"),
        ("score", "<f4"),
        ("label", "<f4"),
        ("cell", "<u2"),
        ("series", "<u2"),
    ]
)
"""`pane`, `label_pane`: codes of the pane of the prediction (of a waiting label: of its own time) and of the
pane on the label axis, the same where there is no label (see `IdTable.codes`). `label` is NaN until one came.
`cell`: where the features' hash fell. `series`: code of version and segments; `WAITING`: a label without its
prediction; `GONE`: one that was joined or given up."""

_NAMES = ROW.names or ()
_PANE, _LABEL_PANE = _NAMES.index("pane"), _NAMES.index("label_pane")


_LEAST_BITS = 16
"""Rows from which on two values and bits cannot be taken for as many values."""
_MAPPED_BYTES, _HUGE_BYTES = 1024 * 1024, 4 * 1024 * 1024


def room(rows: int) -> Rows:
    """Room for rows, whatever is in it now. Where there is much, it takes memory only as it is filled: allocated memory
    can be some that was in use before, and that the system holds for the process already."""
    size = rows * ROW.itemsize
    return np.empty(rows, dtype=ROW) if size < _MAPPED_BYTES else mapped(size, ROW)


def mapped(size_bytes: int, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Zeros fresh from the system, which takes memory for them as they are touched."""
    memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # As NumPy does: a large table is not cleared page by page. A small one may not take megabytes, whatever the
        # system is set to.
        memory.madvise(mmap.MADV_HUGEPAGE if size_bytes >= _HUGE_BYTES else mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, dtype=kind)


class Held(NamedTuple):
    """Rows outside of a table; their pane codes are indices of `starts_us`."""

    rows: Rows
    starts_us: Indices


class _Logged(msgspec.Struct, array_like=True):
    """Rows as the state topic keeps them: pane code `first + i` stands for `starts[i]` (int64, microseconds). `rows`
    are the fields of `ROW`, column by column; but for the keys, one value where all rows have the same, and where they
    have two, these and a bit for each row. Whole rows are read, too. With `cut_us` rows of earlier panes that were
    logged before have left the table."""

    first: int
    starts: bytes
    rows: list[bytes] | bytes
    cut_us: int | None = None


def logged_rows(rows: Rows, starts_us: Indices, cut_us: int | None = None) -> tuple[bytes, int]:
    """Rows for the state topic, and the latest time in them. starts_us: what their pane codes stand for."""
    if not len(rows):
        return msgspec.msgpack.encode(_Logged(0, b"", [], cut_us)), -LATEST_US
    columns = kernels.columns_of(rows)
    key, *others = columns
    panes = columns[_PANE], columns[_LABEL_PANE]
    first, end = min(int(one.min()) for one in panes), max(int(one.max()) for one in panes) + 1
    starts = starts_us[first:end]
    logged = _Logged(first, starts.tobytes(), [key.tobytes(), *map(_column_bytes, others)], cut_us)
    return msgspec.msgpack.encode(logged), int(starts.max())


def read_rows(data: bytes) -> tuple[Held, int | None]:
    """What `logged_rows` has written, with `cut_us`."""
    piece = msgspec.msgpack.decode(data, type=_Logged)
    rows = _rows_of(piece.rows)
    for field in ("pane", "label_pane"):
        rows[field] -= piece.first
    return Held(rows, np.frombuffer(piece.starts, dtype=np.int64)), piece.cut_us


def _column_bytes(column: npt.NDArray[Any]) -> bytes:
    """The values, the one that all rows have, or the two that they have with a bit for each row: which is told by the
    number of bytes."""
    first = column == column[0]
    if first.all():
        return column[:1].tobytes()
    second = column[np.argmin(first)]
    if len(column) >= _LEAST_BITS and (first | (column == second)).all():
        return column[0].tobytes() + second.tobytes() + np.packbits(first).tobytes()
    return column.tobytes()


def _column_of(data: bytes, kind: np.dtype[Any], rows: int) -> npt.NDArray[Any]:
    """What `_column_bytes` has written, or one value for all rows."""
    pair_bytes = 2 * kind.itemsize
    if rows < _LEAST_BITS or len(data) != pair_bytes + -(-rows // 8):
        return np.frombuffer(data, dtype=kind)
    first, second = np.frombuffer(data, dtype=kind, count=2)
    bits = np.unpackbits(np.frombuffer(data, np.uint8, offset=pair_bytes), count=rows)
    return np.where(bits, first, second)


def _rows_of(columns: list[bytes] | bytes) -> Rows:
    """The rows of a log record, their panes not yet translated."""
    if isinstance(columns, bytes):
        return np.frombuffer(columns, dtype=ROW).copy()
    rows = np.empty(len(columns[0]) // ROW["key"].itemsize if columns else 0, dtype=ROW)
    for name, data in zip(_NAMES, columns, strict=False):
        rows[name] = _column_of(data, ROW[name], len(rows))
    return rows
