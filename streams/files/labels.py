"""Labels in a file of their own, found by the id of the prediction: 24 bytes a label, whatever the ids."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from pathlib import Path

import numpy as np
import numpy.typing as npt

from streams.files.columns import Roles, Times, as_times, id_column
from streams.files.id_keys import Keys, keys_of_column
from streams.files.monitor import MonitorFile
from streams.files.tables import FileInvalid, TableFile

Places = npt.NDArray[np.int64]


class LabelFile:
    """The labels of a file with the monitor's id column, its label column, and its label_time column if it has
    one. An id may have several: where there are times all count, one after the other; else the last."""

    def __init__(self, path: Path, file: MonitorFile) -> None:
        columns = file.columns
        if columns.id is None or columns.label is None:
            raise FileInvalid(f"{path}: to join labels, the monitor must name columns.id and columns.label")
        table = TableFile(path, {columns.id})
        absent = [name for name in (columns.id, columns.label) if name not in table.columns]
        if absent:
            raise FileInvalid(f"{path}: there are no columns {absent}; it has {table.columns}")
        self.timed = columns.label_time is not None and columns.label_time in table.columns
        roles = Roles(columns, (), tuple(file.classes), by_role={"label": columns.label})
        keys: list[Keys] = []
        values: list[npt.NDArray[np.float64]] = []
        times: list[Times] = []
        wanted = {columns.id, columns.label} | ({columns.label_time} if self.timed else set[str]())
        for batch in table.batches({name for name in wanted if name}):
            keys.append(keys_of_column(id_column(batch.column(columns.id))))
            values.append(roles.outcomes(batch.column(columns.label), "label"))
            if self.timed and columns.label_time:
                times.append(as_times(batch.column(columns.label_time), columns.label_time, "label_time"))
        if not keys:
            raise FileInvalid(f"{path}: it has no rows")
        found = np.concatenate(keys)
        order = np.argsort(found, kind="stable")
        self._keys = found[order]
        self._values = np.concatenate(values)[order]
        self._times_us = np.concatenate(times)[order] if self.timed else np.zeros(0, dtype=np.int64)
        self._used = np.zeros(len(found), dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def unused(self) -> int:
        """Labels that belong to no prediction asked for, or (without times) that a later one has replaced."""
        return int(len(self._used) - self._used.sum())

    def of(self, keys: Keys, *, once: bool = False) -> tuple[Places, npt.NDArray[np.float64], Times]:
        """Which ids of these keys have labels (by place, again for each label), the labels, and their times (-1 where
        there are none). `once`: a label with a time is given with the first row of its id only."""
        low = np.searchsorted(self._keys, keys, side="left")
        high = np.searchsorted(self._keys, keys, side="right")
        if not self.timed:
            low = np.maximum(low, high - 1)
        counts = high - low
        starts = np.cumsum(counts) - counts
        found = np.repeat(low - starts, counts) + np.arange(int(counts.sum()))
        places = np.repeat(np.arange(len(keys)), counts)
        if once and self.timed:
            new = self._first(found)
            found, places = found[new], places[new]
        self._used[found] = True
        times = self._times_us[found] if self.timed else np.full(len(found), -1, dtype=np.int64)
        return places, self._values[found], times

    def _first(self, found: Places) -> Places:
        """Where among these labels are those that were not given before."""
        new = np.flatnonzero(~self._used[found])
        ordered = np.sort(found[new])
        if (ordered[1:] != ordered[:-1]).all():
            return new
        return new[np.sort(np.unique(found[new], return_index=True)[1])]
