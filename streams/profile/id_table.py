"""The table of recent event ids of one model: predictions, and labels that wait for their prediction.

One table answers all three questions of the label join: was this event seen, what was predicted for this
label, is there a label for this prediction. A row takes 32 bytes, and 11 to 21 more in the index; up to a fourth of the
rows are older than anybody asks for. Where there is a cold tier (`streams.profile.cold_tier`), older predictions leave
the table and come back when a label asks for them.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from detectors.columns import readable
from streams.profile import id_kernels as kernels
from streams.profile.id_kernels import GONE, WAITING
from streams.profile.id_rows import LATEST_US, ROW, Held, Indices, Rows, logged_rows, read_rows, room
from streams.profile.id_slots import Index

Keys: TypeAlias = npt.NDArray[np.uint64]
Floats: TypeAlias = npt.NDArray[np.float32]
PaneCodes: TypeAlias = npt.NDArray[np.uint32] | int

MAX_SERIES = GONE

_WORDS = ROW.itemsize // 8
_FIRST_CAPACITY = 1_024
_GROWTH, _MOST_GROWTH = 64, 32 * 1024 * 1024
"""Room for rows is addresses, not memory, until they are there; when it is used up they are copied to other room."""
_FULL = 0.75
_MOST_OUTCOMES = 1_000_000
"""Of a batch of labels for which room is taken uncounted, 20 bytes each: a model may have had thousands of versions."""
_SHARE_DROPPED, _SHARE_STORED = 4, 2
"""One in so many rows must be old before they are dropped, or stored elsewhere: less often costs memory, more often
time."""


class Predicted(NamedTuple):
    """A batch of predictions: arrays of one length; `series` and `panes` may be one code for all rows."""

    keys: Keys
    times_us: Indices
    said: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    series: npt.NDArray[np.uint16] | int
    panes: PaneCodes


class Admission(NamedTuple):
    """What became of a batch of predictions: the fate of each row, the first new row of the table, how many rows were
    accepted, seen before and late, the new rows that found a label, and how many labels no longer wait."""

    fates: npt.NDArray[np.uint8]
    first: int
    accepted: int
    duplicates: int
    late: int
    labelled: Indices
    used: int


class Aged(NamedTuple):
    """Rows that may leave the table: those of panes before `before_us`, but for labels that wait, and what is
    `GONE`."""

    before_us: int
    chosen: npt.NDArray[np.bool_]


class Outcomes(NamedTuple):
    """Outcomes that a batch of labels brings, in order of the input. `position`: of the label in the batch;
    `row`: of the prediction in the table; `old`: the label known until now, NaN if none."""

    position: Indices
    row: Indices
    old: Floats


class IdTable:
    """Rows of `ROW`, found by key. Row numbers are valid until the next `expire` or `cut`."""

    def __init__(self) -> None:
        self._rows = np.zeros(_FIRST_CAPACITY, dtype=ROW)
        self._index = Index(2 * _FIRST_CAPACITY)
        self._count = self._most = 0
        self._logged = 0
        self._touched: list[Indices] = []
        self._places: dict[int, int] = {}
        self._starts = np.zeros(0, dtype=np.int64)
        self._look_at = 0

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Memory of the rows and their index. What is reserved behind the rows takes none yet."""
        return self._count * ROW.itemsize + self._index.slots.nbytes

    def row(self, rows: Indices) -> Rows:
        """A copy of some rows."""
        return kernels.taken(self._rows[: self._count], rows)

    def pane_codes(self, times_us: Indices, span_us: tuple[int, int], length_us: int) -> PaneCodes:
        """The codes of the panes of this length in which events of these times lie. `span_us`: the first and the
        last of the times."""
        start_us = span_us[0] // length_us * length_us
        if span_us[1] < start_us + length_us:
            return self._code(start_us)
        return self.codes(times_us // length_us * length_us)

    def start_us(self, code: int) -> int:
        """The beginning that a code stands for."""
        return int(self._starts[code])

    def codes(self, starts_us: Indices) -> PaneCodes:
        """The codes of panes that begin at these times, one number where all are the same; new ones are
        remembered."""
        if not len(starts_us):
            return np.zeros(0, dtype=np.uint32)
        if starts_us[0] == starts_us[-1] and (starts_us == starts_us[0]).all():
            return self._code(int(starts_us[0]))
        distinct, inverse = np.unique(starts_us, return_inverse=True)
        return np.array([self._code(start) for start in distinct.tolist()], dtype=np.uint32)[inverse]

    def starts_us(self, codes: npt.NDArray[Any]) -> Indices:
        """The beginnings that the codes stand for."""
        return self._starts[codes]

    def admit(
        self, batch: Predicted, versions: npt.NDArray[np.uint16], marks_us: tuple[int, int],
        horizon_us: int, lateness_us: int, hot_us: int,
    ) -> Admission:  # fmt: skip
        """Take a batch of predictions (`kernels.admit`); `marks_us`: the watermarks of events and labels."""
        keys = readable(batch.keys)
        self._reserve(len(keys))
        kernels.touch_memory(self._rows, self._index.slots, keys)
        first = self._count
        fates, met, given, used = kernels.admit(
            self._rows, self._index.slots, first, self._starts, versions, keys, readable(batch.times_us),
            readable(batch.said), readable(batch.scores), spread(batch.series, np.uint16),
            spread(batch.panes, np.uint32), *marks_us, horizon_us, lateness_us, hot_us,
        )  # fmt: skip
        accepted, duplicates, late = met.tolist()
        self._count = first + accepted
        if len(used):
            self.touch(used)
        return Admission(fates, first, accepted, duplicates, late, given, len(used))

    def join(
        self, batch: Rows, times_us: Indices, versions: npt.NDArray[np.uint16], marks_us: tuple[int, int],
        horizon_us: int, behind_us: int = 0,
    ) -> tuple[Outcomes, Sequence[int]]:  # fmt: skip
        """Take a batch of labels (`kernels.join`); `marks_us`: the watermarks of labels and events. With the
        outcomes come the numbers of labels joined, repeated, revised, orphaned and waiting."""
        keys = readable(batch["key"])
        self._reserve(len(batch))
        kernels.touch_memory(self._rows, self._index.slots, keys)
        position, row, old, revised, fates = kernels.join(
            self._rows,
            self._index.slots,
            self._count,
            self._starts,
            versions,
            batch,
            readable(times_us),
            *marks_us,
            horizon_us,
            behind_us,
            self._most_outcomes(keys, versions),
        )
        self._count += int(fates[kernels.STORED])
        self.touch(row)
        self.touch(revised)
        return Outcomes(position, row, old), fates.tolist()

    def _most_outcomes(self, keys: Keys, versions: npt.NDArray[np.uint16]) -> int:
        """A label has one outcome of each version at most; where that is far more than there are, they are counted."""
        most = len(keys) * (int(versions.max(initial=0)) + 1)
        return most if most <= _MOST_OUTCOMES else len(self.find(keys)[0])

    def find(self, keys: Keys) -> tuple[Indices, Indices]:
        """All rows of each key: pairs (position in `keys`, row), ordered by both."""
        return kernels.find(self._rows, self._index.slots, readable(keys))

    def recall(self, held: Held, versions: npt.NDArray[np.uint16]) -> None:
        """Take predictions in that were in the table before, but for those of which it has a newer row: one of the
        same key and version. `versions`: the version number of each series."""
        position, row = self.find(held.rows["key"])
        series = self._rows["series"][row]
        known = series < GONE
        position, series = position[known], series[known]
        newer = np.zeros(len(held.rows), dtype=np.bool_)
        newer[position[versions[series] == versions[held.rows["series"][position]]]] = True
        rows = held.rows[~newer]
        for field in ("pane", "label_pane"):
            rows[field] = self.codes(held.starts_us[rows[field]])
        self._reserve(len(rows))
        first, self._count = self._count, self._count + len(rows)
        self._rows[first : self._count] = rows
        kernels.insert(self._rows, self._index.slots, first, self._count)

    def set_cells(self, first: int, cells: npt.NDArray[np.uint16]) -> None:
        """Name the cells of new rows."""
        self._rows["cell"][first : first + len(cells)] = cells

    def move_labels(self, rows: Indices, label_panes: PaneCodes) -> None:
        """Give labels of new rows another pane on the label axis."""
        self._rows["label_pane"][rows] = label_panes

    def waiting(self) -> tuple[Indices, Indices]:
        """The labels that wait: their rows, and when their panes begin."""
        rows = np.flatnonzero(self._rows["series"][: self._count] == WAITING)
        return rows, self._starts[self._rows["pane"][rows]]

    def orphan(self, rows: Indices) -> None:
        """These wait no longer."""
        self._rows["series"][rows] = GONE
        self.touch(rows)

    def touch(self, rows: Indices) -> None:
        """Mark rows as changed."""
        older = rows[rows < self._logged]
        if len(older):
            self._touched.append(older)

    def take_changed(self, piece_rows: int) -> list[tuple[bytes, int]]:
        """What was added or changed since the last call, in pieces for the state topic, each with the latest
        time in it."""
        touched = np.unique(np.concatenate(self._touched)) if self._touched else np.zeros(0, dtype=np.int64)
        new = range(self._logged, self._count, piece_rows)
        chosen = [touched[start : start + piece_rows] for start in range(0, len(touched), piece_rows)]
        added = [slice(start, min(start + piece_rows, self._count)) for start in new]
        self._touched.clear()
        self._logged = self._count
        return [self._piece(part) for part in (*chosen, *added)]

    def expire(self, before_us: int) -> None:
        """Forget rows older than `before_us`, now or later: call it when nothing has changed since
        `take_changed`."""
        found = self.aged(before_us, _FIRST_CAPACITY, share=_SHARE_DROPPED)
        if found is not None:
            self._drop(found.chosen, _SHARE_DROPPED)

    def aged(
        self, before_us: int, least_rows: int, most_rows: int | None = None, share: int = _SHARE_STORED
    ) -> Aged | None:
        """Rows older than `before_us`, once one in `share` of the table is and it has more than `least_rows`; no more
        than `most_rows`, the oldest, where one pane does not hold more."""
        if self._count <= max(self._look_at, least_rows):
            return None
        rows = self._rows[: self._count]
        chosen = np.empty(len(rows), dtype=np.bool_)
        found = kernels.mark_aged(rows, self._starts, before_us, chosen)
        if share * found < self._count:
            # So large will it be when enough is old, if as many rows are recent then as now.
            self._look_at = share * (self._count - found) // (share - 1)
            return None
        if most_rows is not None:
            series, panes = rows["series"], rows["pane"]
            before_us = min(before_us, self._end_of_oldest(panes[chosen & (series < GONE)], most_rows))
            chosen &= (self._starts[panes] < before_us) | (series == GONE)
        return Aged(before_us, chosen)

    def held(self, aged: Aged) -> Held:
        """A copy of the predictions among these rows, in order of arrival."""
        rows = self._rows[: self._count]
        return Held(rows[aged.chosen & (rows["series"] < GONE)], self._starts)

    def cut(self, aged: Aged, piece_rows: int) -> list[tuple[bytes, int]]:
        """Let rows go: call it when nothing has changed since `take_changed`. What the state topic must hold from now
        on instead of everything about panes before `aged.before_us`, in pieces as in `take_changed`."""
        self._drop(aged.chosen, _SHARE_STORED)
        rows = self._rows[: self._count]
        older = np.flatnonzero((rows["series"] == WAITING) & (self._starts[rows["pane"]] < aged.before_us))
        found: list[tuple[bytes, int]] = []
        for start in range(0, max(1, len(older)), piece_rows):
            piece, latest_us = self._piece(
                older[start : start + piece_rows], None if found else aged.before_us
            )
            found.append((piece, max(latest_us, aged.before_us)))
        return found

    def restore(self, logged: Iterable[bytes], before_us: int) -> None:
        """Become the table whose changed rows were logged, in this order; the last state of a row counts."""
        for data in logged:
            held, cut_us = read_rows(data)
            if cut_us is not None:
                self._keep_from(cut_us)
            rows, codes = held.rows, np.atleast_1d(self.codes(held.starts_us))
            for field in ("pane", "label_pane"):
                rows[field] = codes[rows[field]]
            self._reserve(len(rows))
            self._count = kernels.replay(self._rows, self._index.slots, self._count, rows)
        self._keep_from(before_us)
        self._logged = self._count

    def _keep_from(self, before_us: int) -> None:
        rows = self._rows[: self._count]
        self._count = kernels.keep(
            self._rows, (self._starts[rows["pane"]] < before_us) | (rows["series"] == GONE)
        )
        self._index_anew(self._capacity())

    def _drop(self, chosen: npt.NDArray[np.bool_], share: int) -> None:
        """Forget the chosen rows; the index has room until one in `share` is old again."""
        self._most = max(self._most, self._count)
        self._count = self._logged = kernels.keep(self._rows, chosen)
        self._look_at = 0
        self._forget_places()
        if self._most > max(_FIRST_CAPACITY, 4 * self._count):
            self._move(max(_FIRST_CAPACITY, 2 * self._count))
        self._index_anew(self._capacity(share * self._count // (share - 1)))

    def _end_of_oldest(self, panes: npt.NDArray[np.uint32], most_rows: int) -> int:
        """Before which time there are at most `most_rows` of the rows in these panes, or one pane's."""
        counts = np.bincount(panes, minlength=len(self._starts))
        order = np.argsort(self._starts)
        order = order[counts[order] > 0]
        taken = max(1, int(np.searchsorted(np.cumsum(counts[order]), most_rows, side="right")))
        return int(self._starts[order[taken]]) if taken < len(order) else LATEST_US

    def _piece(self, chosen: Indices | slice, cut_us: int | None = None) -> tuple[bytes, int]:
        rows = self._rows[: self._count]
        rows = rows[chosen] if isinstance(chosen, slice) else kernels.taken(rows, chosen)
        return logged_rows(rows, self._starts, cut_us)

    def _code(self, start_us: int) -> int:
        found = self._places.get(start_us)
        if found is None:
            found = self._places[start_us] = len(self._starts)
            self._starts = np.append(self._starts, start_us)
        return found

    def _forget_places(self) -> None:
        used = np.zeros(len(self._starts), dtype=np.bool_)
        kernels.recode(self._rows[: self._count], used, np.empty(len(used), dtype=np.uint32))
        self._starts = self._starts[used]
        self._places = {start: code for code, start in enumerate(self._starts.tolist())}

    def _reserve(self, extra: int) -> None:
        needed = self._count + extra
        if needed > len(self._rows):
            known = len(self._rows)
            self._move(max(needed, 2 * known, min(_GROWTH * known, known + _MOST_GROWTH)))
        if needed > _FULL * len(self._index.slots):
            self._index.grow(self._capacity(needed))

    def _move(self, capacity: int) -> None:
        """Take the rows to where there is room for so many."""
        rows, words = room(capacity), _WORDS * self._count
        rows.view(np.uint64)[:words] = self._rows.view(np.uint64)[:words]
        self._rows, self._most = rows, self._count

    def _capacity(self, needed: int | None = None) -> int:
        least = max(needed or self._count, _FIRST_CAPACITY) / _FULL
        return 1 << int(np.ceil(np.log2(least)))

    def _index_anew(self, capacity: int) -> None:
        self._index.clear(capacity)
        kernels.insert(self._rows, self._index.slots, 0, self._count)


def spread(codes: npt.NDArray[Any] | int, kind: type[np.uint16] | type[np.uint32]) -> npt.NDArray[Any]:
    """The code of each row; of all, where there is only one."""
    return np.array([codes], dtype=kind) if isinstance(codes, int) else np.ascontiguousarray(codes)
