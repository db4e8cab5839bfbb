"""Labels meet predictions: in either order, revised, repeated, or never."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.values import Monitor
from homeostat.contract import LabelBatch
from streams.id_table import GONE, ROW, WAITING, Indices
from streams.model_state import ModelState
from streams.panes import MICROSECONDS

Floats = npt.NDArray[np.float64]


class _Outcomes(NamedTuple):
    """Outcomes that a batch of labels brings. `position`: of the label in the batch; `row`: of the prediction
    in the table; `old`: the label known until now, NaN if none; `place_us`: time on the label axis."""

    position: Indices
    row: Indices
    old: Floats
    new: Floats
    place_us: Indices

    @classmethod
    def in_order(cls, parts: list["_Outcomes"]) -> "_Outcomes":
        """All parts together, in order of the input."""
        order = np.argsort(np.concatenate([part.position for part in parts]), kind="stable")
        return cls(
            np.concatenate([part.position for part in parts])[order],
            np.concatenate([part.row for part in parts])[order],
            np.concatenate([part.old for part in parts])[order],
            np.concatenate([part.new for part in parts])[order],
            np.concatenate([part.place_us for part in parts])[order],
        )


class _Label(NamedTuple):
    """One round of labels with distinct keys."""

    position: Indices
    keys: npt.NDArray[np.uint64]
    values: Floats
    times_us: Indices
    places_us: Indices
    oldest_us: Indices

    def only(self, chosen: npt.NDArray[np.bool_]) -> "_Label":
        """Some of the rows."""
        return _Label(
            self.position[chosen],
            self.keys[chosen],
            self.values[chosen],
            self.times_us[chosen],
            self.places_us[chosen],
            self.oldest_us[chosen],
        )


def take_labels(state: ModelState, batch: LabelBatch) -> None:
    """Join a batch of labels, in its order.

    A label belongs to the predictions of all versions with its key. The first one is `joined` or `waiting`
    (later `joined` or `orphaned`), another value is `revised`, the same value a duplicate. An outcome counts
    in the prediction's pane and in that of the label's time; a revision corrects both where they stand.
    """
    monitor = state.monitor_at(int(batch.times_us[0]))
    times = batch.times_us
    marks = np.maximum.accumulate(np.maximum(times, state.label.state.watermark_us))
    labels = _Label(
        position=np.arange(batch.rows),
        keys=batch.keys,
        values=batch.values,
        times_us=times,
        places_us=np.maximum(times, marks - _us(monitor.lateness_s)),
        oldest_us=np.maximum(marks, state.event.state.watermark_us) - _us(monitor.label_horizon_s),
    )
    state.counts.label_received += batch.rows
    ranks = _ranks(batch.keys)
    found = [_join_round(state, labels.only(ranks == rank), monitor) for rank in range(int(ranks.max()) + 1)]
    _apply(state, batch, _Outcomes.in_order(found), monitor)
    state.expire_waiting(monitor)


def _ranks(keys: npt.NDArray[np.uint64]) -> Indices:
    """How many earlier rows have the same key, for every row."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    ranks = np.zeros(len(keys), dtype=np.int64)
    ranks[order] = np.arange(len(keys)) - np.repeat(starts, np.diff(np.append(starts, len(keys))))
    return ranks


def _join_round(state: ModelState, labels: _Label, monitor: Monitor) -> _Outcomes:
    """Labels with distinct keys against the table: count each once, note new ones, return the outcomes."""
    table, counts = state.table, state.counts
    where, found = table.find(labels.keys)
    rows = table.rows[found]
    horizon = state.event.state.watermark_us - _us(monitor.label_horizon_s)
    waits = (rows["version"] == WAITING) & (rows["time_us"] >= labels.oldest_us[where])
    predicted = (rows["version"] < GONE) & (rows["time_us"] >= horizon)
    has_prediction, has_waiting = _any(where[predicted], labels), _any(where[waits], labels)
    old = np.full(len(labels.keys), np.nan)
    labelled = (predicted & ~np.isnan(rows["label"])) | (waits & ~has_prediction[where])
    old[where[labelled]] = rows["label"][labelled]
    fresh, same = np.isnan(old), old == labels.values
    revised = ~fresh & ~same
    absent = ~has_prediction & ~has_waiting
    too_old = absent & (labels.times_us < labels.oldest_us)
    counts.joined += int((has_prediction & fresh).sum())
    counts.label_duplicates += int(same.sum())
    counts.revised += int(revised.sum())
    counts.orphaned += int(too_old.sum())
    counts.waiting += int((absent & ~too_old).sum())

    kept = waits & revised[where] & ~has_prediction[where]
    table.rows["label"][found[kept]] = labels.values[where[kept]]
    table.rows["time_us"][found[kept]] = labels.times_us[where[kept]]
    table.rows["label_time_us"][found[kept]] = labels.places_us[where[kept]]
    table.touch(found[kept])
    state.note_waiting(labels.times_us[where[kept]])

    hit = predicted & ~same[where]
    row, position = found[hit], where[hit]
    before = rows["label"][hit]
    place = np.where(np.isnan(before), labels.places_us[position], rows["label_time_us"][hit])
    table.rows["label"][row] = labels.values[position]
    table.rows["label_time_us"][row] = place
    table.touch(row)
    _wait(state, labels, np.flatnonzero(absent & ~too_old))
    return _Outcomes(labels.position[position], row, before, labels.values[position], place)


def _any(where: Indices, labels: _Label) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(labels.keys), dtype=np.bool_)
    found[where] = True
    return found


def _wait(state: ModelState, labels: _Label, which: Indices) -> None:
    rows = np.zeros(len(which), dtype=ROW)
    rows["key"], rows["version"] = labels.keys[which], WAITING
    rows["time_us"], rows["label_time_us"] = labels.times_us[which], labels.places_us[which]
    rows["label"] = labels.values[which]
    state.table.append(rows)
    state.note_waiting(rows["time_us"])


def _apply(state: ModelState, batch: LabelBatch, outcomes: _Outcomes, monitor: Monitor) -> None:
    """Count the outcomes in order of the input, sealing panes of the label axis on the way."""
    rows = state.table.rows[outcomes.row]
    length_us = _us(monitor.pane_s)
    fresh = np.isnan(outcomes.old)
    starts = outcomes.place_us // length_us * length_us
    pairs = np.unique(np.stack((rows["version"][fresh].astype(np.int64), starts[fresh])), axis=1)
    touched = {(state.versions[code], start) for code, start in pairs.T.tolist()}
    for first, end in state.label.segments(batch.times_us, touched, monitor):
        low, high = np.searchsorted(outcomes.position, (first, end))
        part = slice(int(low), int(high))
        new = np.flatnonzero(fresh[part]) + part.start
        state.add_outcomes(rows[new], outcomes.new[new], outcomes.place_us[new], 1, monitor)
        again = np.flatnonzero(~fresh[part]) + part.start
        state.correct_outcomes(
            rows[again], outcomes.old[again], outcomes.new[again], outcomes.place_us[again], monitor
        )


def _us(seconds: float) -> int:
    return int(seconds * MICROSECONDS)
