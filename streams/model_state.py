"""The profile stage's state of one model: what was seen, what was predicted, which labels are known or
wait."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from detectors.values import Monitor, PaneSnapshot
from homeostat.contract import PredictionBatch
from streams.control import Configuration
from streams.counts import Counts
from streams.id_table import GONE, MAX_VERSIONS, ROW, WAITING, IdTable, Indices, Rows
from streams.panes import MICROSECONDS, AxisPanes, Pane

Flags = npt.NDArray[np.bool_]

NEVER_EXPIRES_US = 2**62


class ModelState:
    """Tables, panes and counters of one model in one input partition."""

    def __init__(
        self, model: str, source: int, configuration: Configuration, send: Callable[[PaneSnapshot], None]
    ) -> None:
        self.model = model
        self.configuration = configuration
        self.table = IdTable()
        self.versions: list[str] = []
        self.counts = Counts()
        self.told = Counts()
        self.waiting_since_us = NEVER_EXPIRES_US
        self.event = AxisPanes(model, "event", source, configuration, send)
        self.label = AxisPanes(model, "label", source, configuration, send)

    @property
    def clock_us(self) -> int:
        """The latest time seen on either axis."""
        return max(self.event.state.watermark_us, self.label.state.watermark_us)

    def monitor_at(self, time_us: int) -> Monitor:
        """The monitor in force."""
        return self.configuration.monitor(self.model, time_us)

    def code(self, version: str) -> int:
        """The number of a version in the table."""
        if version not in self.versions:
            if len(self.versions) >= MAX_VERSIONS:
                raise ValueError(
                    f"model {self.model!r} has more than {MAX_VERSIONS} versions in one partition"
                )
            self.versions.append(version)
        return self.versions.index(version)

    def take_predictions(self, batch: PredictionBatch) -> None:
        """Tell duplicates and late events, profile the rest, and give them the labels that were already
        here."""
        monitor = self.monitor_at(int(batch.times_us[0]))
        times, keys, code = batch.times_us, batch.keys, self.code(batch.version)
        marks = np.maximum.accumulate(np.maximum(times, self.event.state.watermark_us))
        oldest = np.maximum(marks, self.label.state.watermark_us) - _us(monitor.label_horizon_s)
        where, found = self.table.find(keys)
        recent = self.table.rows["time_us"][found] >= oldest[where]
        where, found = where[recent], found[recent]
        duplicate = np.zeros(batch.rows, dtype=np.bool_)
        duplicate[where[self.table.rows["version"][found] == code]] = True
        late = ~duplicate & (times < marks - _us(monitor.lateness_s))
        duplicate |= _repeated(keys, ~(duplicate | late))
        accepted = np.flatnonzero(~(duplicate | late))
        self.counts.received += batch.rows
        self.counts.duplicates += int(duplicate.sum())
        self.counts.late += int(late.sum())
        self.counts.profiled += len(accepted)
        hashes = self._fold(batch, accepted, monitor)
        rows = np.zeros(len(accepted), dtype=ROW)
        rows["key"], rows["time_us"], rows["version"] = keys[accepted], times[accepted], code
        rows["prediction"], rows["score"] = batch.predictions[accepted], batch.scores[accepted]
        rows["hash"], rows["label"] = hashes[accepted], np.nan
        self._give_labels(rows, accepted, where, found, monitor)
        self.table.append(rows)
        self.expire_waiting(monitor)

    def add_outcomes(
        self, rows: Rows, labels: npt.NDArray[np.float64], places: Indices, sign: int, monitor: Monitor
    ) -> None:
        """Count (sign 1) or take back (sign -1) the outcomes of predictions: in the prediction's own pane,
        where it is still open to corrections, and on the label axis in the pane of `places` (times in
        microseconds)."""
        length_us = _us(monitor.pane_s)
        self._each_pane(rows, labels, rows["time_us"] // length_us * length_us, self._event_pane, sign)

        def label_pane(version: str, pane_us: int) -> Pane | None:
            if sign < 0:
                return self.label.panes.get((version, pane_us))
            return self.label.pane(version, pane_us, monitor)

        for pane, count in self._each_pane(rows, labels, places // length_us * length_us, label_pane, sign):
            pane.rows += sign * count

    def correct_outcomes(
        self,
        rows: Rows,
        old: npt.NDArray[np.float64],
        new: npt.NDArray[np.float64],
        places: Indices,
        monitor: Monitor,
    ) -> None:
        """Replace outcomes by those of revised labels, in the panes that hold the old ones and can still be
        corrected."""
        length_us = _us(monitor.pane_s)

        def label_pane(version: str, pane_us: int) -> Pane | None:
            return self.label.panes.get((version, pane_us))

        for sign, labels in ((-1, old), (1, new)):
            self._each_pane(rows, labels, rows["time_us"] // length_us * length_us, self._event_pane, sign)
            self._each_pane(rows, labels, places // length_us * length_us, label_pane, sign)

    def expire_waiting(self, monitor: Monitor) -> None:
        """Give up labels whose prediction has not come within the horizon."""
        before = self.clock_us - _us(monitor.label_horizon_s)
        if before <= self.waiting_since_us:
            return
        rows = self.table.rows
        waiting = rows["version"] == WAITING
        expired = np.flatnonzero(waiting & (rows["time_us"] < before))
        self.waiting_since_us = int(
            rows["time_us"][waiting & (rows["time_us"] >= before)].min(initial=NEVER_EXPIRES_US)
        )
        rows["version"][expired] = GONE
        self.table.touch(expired)
        self.counts.waiting -= len(expired)
        self.counts.orphaned += len(expired)

    def note_waiting(self, times_us: Indices) -> None:
        """Labels of these times wait from now on."""
        self.waiting_since_us = int(times_us.min(initial=self.waiting_since_us))

    def _fold(self, batch: PredictionBatch, accepted: Indices, monitor: Monitor) -> npt.NDArray[np.uint64]:
        """Fold the accepted rows into their panes, sealing on the way; returns the hash of each row's
        features."""
        length_us = _us(monitor.pane_s)
        starts = batch.times_us // length_us * length_us
        hashes = np.zeros(batch.rows, dtype=np.uint64)
        touched = {(batch.version, int(start)) for start in np.unique(starts[accepted])}
        for first, end in self.event.segments(batch.times_us, touched, monitor):
            low, high = np.searchsorted(accepted, (first, end))
            inside = accepted[low:high]
            for start in np.unique(starts[inside]):
                rows = inside[starts[inside] == start]
                pane = self.event.pane(batch.version, int(start), monitor)
                columns = {name: column[rows] for name, column in batch.features.items()}
                hashes[rows] = pane.profile.fold(columns, batch.predictions[rows], batch.scores[rows])
                pane.rows += len(rows)
                pane.mark()
        return hashes

    def _give_labels(
        self, rows: Rows, accepted: Indices, where: Indices, found: Indices, monitor: Monitor
    ) -> None:
        """Labels that came before these predictions, or that belong to the same event under another
        version."""
        place = np.full(int(accepted[-1]) + 1 if len(accepted) else 0, -1, dtype=np.int64)
        place[accepted] = np.arange(len(accepted))
        known = np.isin(where, accepted) & ~np.isnan(self.table.rows["label"][found])
        known &= self.table.rows["version"][found] != GONE
        where, found = where[known], found[known]
        if not len(where):
            return
        old = self.table.rows[found]
        target = place[where]
        rows["label"][target] = old["label"]
        horizon = self.label.state.watermark_us - _us(monitor.lateness_s)
        rows["label_time_us"][target] = np.maximum(old["label_time_us"], horizon)
        waits = found[old["version"] == WAITING]
        self.table.rows["version"][waits] = GONE
        self.table.touch(waits)
        self.counts.waiting -= len(waits)
        self.counts.joined += len(waits)
        given = rows[np.unique(target)]
        self.add_outcomes(given, given["label"], given["label_time_us"], 1, monitor)

    def _event_pane(self, version: str, pane_us: int) -> Pane | None:
        return self.event.panes.get((version, pane_us))

    def _each_pane(
        self,
        rows: Rows,
        labels: npt.NDArray[np.float64],
        starts: Indices,
        pane_of: Callable[[str, int], Pane | None],
        sign: int,
    ) -> list[tuple[Pane, int]]:
        """Fold outcomes pane by pane; which panes were found, and with how many rows."""
        folded: list[tuple[Pane, int]] = []
        for start in np.unique(starts):
            for code in np.unique(rows["version"][starts == start]):
                pane = pane_of(self.versions[int(code)], int(start))
                if pane is None:
                    continue
                mine = (starts == start) & (rows["version"] == code)
                fold = pane.profile.fold_outcomes if sign > 0 else pane.profile.unfold_outcomes
                part = rows[mine]
                fold(part["prediction"], part["score"], labels[mine], part["hash"])
                pane.mark()
                folded.append((pane, int(mine.sum())))
        return folded


def _repeated(keys: npt.NDArray[np.uint64], candidates: Flags) -> Flags:
    """Which candidates repeat the key of an earlier candidate."""
    rows = np.flatnonzero(candidates)
    _, first = np.unique(keys[rows], return_index=True)
    repeated = np.zeros(len(keys), dtype=np.bool_)
    repeated[np.delete(rows, first)] = True
    return repeated


def _us(seconds: float) -> int:
    return int(seconds * MICROSECONDS)
