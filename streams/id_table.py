"""The table of recent event ids of one model: predictions, and labels that wait for their prediction.

One table answers all three questions of the label join: was this event seen, what was predicted for this
label, is there a label for this prediction. Everything is by batch: sorted runs of keys are searched with
NumPy, and runs are merged like those of a log-structured merge tree, so n rows cost about log2(n / batch)
searches.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Rows: TypeAlias = npt.NDArray[np.void]
Indices: TypeAlias = npt.NDArray[np.int64]
Keys: TypeAlias = npt.NDArray[np.uint64]

WAITING = 0xFFFF
"""The version of a row that is a label without its prediction."""
GONE = 0xFFFE
"""The version of a waiting label that has been joined or given up."""
MAX_VERSIONS = GONE

ROW = np.dtype(
    [
        ("key", "<u8"),
        ("time_us", "<i8"),
        ("label_time_us", "<i8"),
        ("hash", "<u8"),
        ("prediction", "<f8"),
        ("score", "<f8"),
        ("label", "<f8"),
        ("version", "<u2"),
    ]
)
"""`time_us`: of the prediction; of a waiting label its own. `label` is NaN until one came; `label_time_us`
then names its place on the label axis. `hash` is that of the features."""

_FIRST_CAPACITY = 1_024


class IdTable:
    """Rows of `ROW`, found by key. Indices are valid until the next `append` or `expire`."""

    def __init__(self) -> None:
        self._rows = np.zeros(_FIRST_CAPACITY, dtype=ROW)
        self._count = 0
        self._runs: list[tuple[Keys, Indices]] = []
        self._changed: list[Indices] = []
        self._dropped_before_us = np.iinfo(np.int64).min

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> Rows:
        """All rows, in order of arrival; write to them and call `touch`."""
        return self._rows[: self._count]

    def append(self, rows: Rows) -> None:
        """Add rows and mark them as changed."""
        self._add(rows)
        self._changed.append(np.arange(self._count - len(rows), self._count))

    def touch(self, indices: Indices) -> None:
        """Mark rows as changed."""
        if len(indices):
            self._changed.append(indices)

    def find(self, keys: Keys) -> tuple[Indices, Indices]:
        """All rows of each key: pairs (position in `keys`, row), ordered by both."""
        positions: list[Indices] = []
        found: list[Indices] = []
        # Sorted needles walk through a run; unsorted ones would miss the processor's cache at every step.
        sorting = np.argsort(keys)
        needles = keys[sorting]
        for run_keys, run_rows in self._runs:
            first = np.searchsorted(run_keys, needles, side="left")
            counts = np.searchsorted(run_keys, needles, side="right") - first
            hits = np.flatnonzero(counts)
            if len(hits):
                each = counts[hits]
                starts = np.repeat(first[hits] - (np.cumsum(each) - each), each)
                positions.append(np.repeat(sorting[hits], each))
                found.append(run_rows[starts + np.arange(len(starts))])
        if not found:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        where, rows = np.concatenate(positions), np.concatenate(found)
        order = np.lexsort((rows, where))
        return where[order], rows[order]

    def take_changed(self) -> Rows:
        """The rows that were added or changed since the last call, as they are now."""
        if not self._changed:
            return np.zeros(0, dtype=ROW)
        changed = np.unique(np.concatenate(self._changed))
        self._changed.clear()
        return self.rows[changed]

    def expire(self, before_us: int) -> None:
        """Forget rows older than `before_us`, now or later: call it when nothing has changed since
        `take_changed`."""
        if before_us <= self._dropped_before_us or not self._count:
            return
        keep = self.rows["time_us"] >= before_us
        if 2 * int(keep.sum()) > self._count and self._count > _FIRST_CAPACITY:
            return
        if not keep.all():
            self._dropped_before_us = before_us
            self._rebuild(self.rows[keep])

    def restore(self, logged: Iterable[bytes], before_us: int) -> None:
        """Become the table whose changed rows were logged, in this order; the last state of a row counts."""
        parts = [np.frombuffer(data, dtype=ROW) for data in logged]
        rows = np.concatenate(parts) if parts else np.zeros(0, dtype=ROW)
        rows = rows[rows["time_us"] >= before_us]
        waits = (rows["version"] == WAITING) | (rows["version"] == GONE)
        identity = np.where(waits, WAITING, rows["version"])
        order = np.lexsort((identity, rows["key"]))
        ordered, kinds = rows["key"][order], identity[order]
        last = np.append((ordered[1:] != ordered[:-1]) | (kinds[1:] != kinds[:-1]), True)[: len(order)]
        kept = rows[np.sort(order[last])]
        self._rebuild(kept[kept["version"] != GONE])

    def _rebuild(self, rows: Rows) -> None:
        rows = rows.copy()
        self._rows = np.zeros(max(_FIRST_CAPACITY, 2 * len(rows)), dtype=ROW)
        self._count = 0
        self._runs = []
        self._add(rows)

    def _add(self, rows: Rows) -> None:
        if not len(rows):
            return
        end = self._count + len(rows)
        if end > len(self._rows):
            grown: Any = np.zeros(max(end, 2 * len(self._rows)), dtype=ROW)
            grown[: self._count] = self.rows
            self._rows = grown
        self._rows[self._count : end] = rows
        order = np.argsort(rows["key"], kind="stable")
        self._runs.append((rows["key"][order], order + self._count))
        self._count = end
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            self._merge_last()

    def _merge_last(self) -> None:
        (left_keys, left_rows), (right_keys, right_rows) = self._runs[-2:]
        keys, rows = np.concatenate((left_keys, right_keys)), np.concatenate((left_rows, right_rows))
        order = np.argsort(keys, kind="stable")
        self._runs[-2:] = [(keys[order], rows[order])]
