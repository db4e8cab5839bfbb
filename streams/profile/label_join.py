"""Labels meet predictions: in either order, revised, repeated, or never."""

import numpy as np

from detectors.values import Monitor
from homeostat.contract import LabelBatch
from streams.control.evolution import outcomes as outcomes_of
from streams.control.lateness import lateness_us
from streams.control.schemas import Schema
from streams.profile.id_rows import UNCOUNTED, Flags, Rows
from streams.profile.id_table import ROW, WAITING, Floats, Indices, Outcomes
from streams.profile.model_state import ModelState
from streams.times import MICROSECONDS


def take_labels(state: ModelState, batch: LabelBatch, schema: Schema | None = None) -> None:
    """Join a batch of labels, in its order.

    A label belongs to the predictions of all versions with its key. The first one is `joined` or `waiting`
    (later `joined` or `orphaned`), another value is `revised`, the same value a duplicate. An outcome counts
    in the prediction's pane and in that of the label's time; a revision corrects both where they stand. Names of
    classes are read by the schema.
    """
    times_us = batch.times_us
    monitor = state.monitor_at(int(times_us[0]))
    length_us = _us(monitor.pane_s)
    mark_us, event_mark_us = state.label.state.watermark_us, state.event.state.watermark_us
    values = batch.values if schema is None else outcomes_of(schema, batch)
    rows = np.zeros(batch.rows, dtype=ROW)
    rows["key"], rows["series"] = batch.keys, WAITING
    rows["label"] = np.where(np.isnan(values), UNCOUNTED, values)
    rows["pane"] = rows["label_pane"] = state.table.pane_codes(times_us, batch.span_us, length_us)
    kept_us = lateness_us(monitor)
    if batch.span_us[0] < max(batch.span_us[1], mark_us) - kept_us:
        marks = np.maximum.accumulate(np.maximum(times_us, mark_us))
        rows["label_pane"] = state.table.codes(np.maximum(times_us, marks - kept_us) // length_us * length_us)
    state.recall(batch.keys, monitor)
    outcomes, fates = state.table.join(
        rows,
        times_us,
        state.series.versions,
        (mark_us, event_mark_us),
        _us(monitor.label_horizon_s),
        _us(monitor.behind_s),
    )
    state.counts.label_received += batch.rows
    state.count_labels(*fates)
    if fates[-1]:
        state.note_waiting(times_us // length_us * length_us)
        state.crowd_out(monitor.max_waiting_labels)
    _apply(state, times_us, batch.span_us, rows["label"], outcomes, monitor)
    state.expire_waiting(monitor)


def _apply(
    state: ModelState,
    times_us: Indices,
    span_us: tuple[int, int],
    values: Floats,
    outcomes: Outcomes,
    monitor: Monitor,
) -> None:
    """Count the outcomes in order of the input, sealing panes of the label axis on the way."""
    rows = state.table.row(outcomes.row)
    new = values[outcomes.position]
    fresh = np.isnan(outcomes.old)
    known_us = times_us[outcomes.position]
    again, kept = len(fresh) - int(np.count_nonzero(fresh)), fresh
    if again:
        marks_us = np.maximum.accumulate(np.maximum(times_us, state.label.state.watermark_us))
        marks_us = marks_us[outcomes.position]
        known_us, kept = np.where(fresh, known_us, marks_us), _kept(state, rows, marks_us, monitor)
    timely = _timely(state, rows, known_us, monitor)
    known = rows if not again else rows[fresh]
    touched = state.pane_keys(known["series"], known["label_pane"])
    for first, end in state.label.stretches(times_us, span_us, touched, monitor):
        low, high = np.searchsorted(outcomes.position, (first, end))
        part = slice(int(low), int(high))
        if not again:
            state.add_outcomes(rows[part], new[part], monitor, timely[part])
            continue
        added = np.flatnonzero(fresh[part]) + part.start
        state.add_outcomes(rows[added], new[added], monitor, timely[added])
        revised = np.flatnonzero(~fresh[part]) + part.start
        if len(revised):
            chosen = timely[revised], kept[revised]
            state.correct_outcomes(rows[revised], outcomes.old[revised], new[revised], monitor, *chosen)


def _timely(state: ModelState, rows: Rows, known_us: Indices, monitor: Monitor) -> Flags:
    """Which labels, and what they revise, were known before the prediction's pane was beyond correction: a file, and a
    producer that was cut off, send labels behind later predictions, and must give the same numbers.

    known_us: of a first label its own time. Of a revision the latest time of a label until it came: behind one that was
    too late none is in time. Of the first label only its pane is remembered, which lies on one side of the limit. So
    nothing is taken back that was never counted."""
    places_us, panes_us = (state.table.starts_us(rows[name]) for name in ("label_pane", "pane"))
    limits_us = panes_us + _us(monitor.pane_s) + lateness_us(monitor)
    return np.maximum(known_us, places_us) < limits_us


def _kept(state: ModelState, rows: Rows, marks_us: Indices, monitor: Monitor) -> Flags:
    """Which labels come while the label's pane that they revise can still be corrected: by the labels before each of
    them, wherever their batch begins."""
    ends_us = state.table.starts_us(rows["label_pane"]) + _us(monitor.pane_s)
    return ends_us > marks_us - lateness_us(monitor)


def _us(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
