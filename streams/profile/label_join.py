"""Labels meet predictions: in either order, revised, repeated, or never."""

import numpy as np

from detectors.values import Monitor
from homeostat.contract import LabelBatch
from streams.control.evolution import outcomes as outcomes_of
from streams.control.schemas import Schema
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
    marks = np.maximum.accumulate(np.maximum(times_us, mark_us))
    places_us = np.maximum(times_us, marks - _us(monitor.lateness_s)) // length_us * length_us
    values = batch.values if schema is None else outcomes_of(schema, batch)
    rows = np.zeros(batch.rows, dtype=ROW)
    rows["key"], rows["label"], rows["series"] = batch.keys, values, WAITING
    rows["pane"] = state.table.codes(times_us // length_us * length_us)
    rows["label_pane"] = state.table.codes(places_us)
    state.recall(batch.keys, monitor)
    outcomes, fates = state.table.join(
        rows, times_us, state.series.versions, (mark_us, event_mark_us), _us(monitor.label_horizon_s)
    )
    state.counts.label_received += batch.rows
    state.count_labels(*fates)
    if fates[-1]:
        state.note_waiting(times_us // length_us * length_us)
    _apply(state, times_us, rows["label"], outcomes, monitor)
    state.expire_waiting(monitor)


def _apply(
    state: ModelState, times_us: Indices, values: Floats, outcomes: Outcomes, monitor: Monitor
) -> None:
    """Count the outcomes in order of the input, sealing panes of the label axis on the way."""
    rows = state.table.row(outcomes.row)
    new = values[outcomes.position]
    fresh = np.isnan(outcomes.old)
    touched = state.pane_keys(rows["series"][fresh], rows["label_pane"][fresh])
    for first, end in state.label.stretches(times_us, touched, monitor):
        low, high = np.searchsorted(outcomes.position, (first, end))
        part = slice(int(low), int(high))
        added = np.flatnonzero(fresh[part]) + part.start
        state.add_outcomes(rows[added], new[added], monitor)
        again = np.flatnonzero(~fresh[part]) + part.start
        if len(again):
            state.correct_outcomes(rows[again], outcomes.old[again], new[again], monitor)


def _us(seconds: float) -> int:
    return int(seconds * MICROSECONDS)
