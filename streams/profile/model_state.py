"""The profile stage's state of one model: what was seen, what was predicted, which labels are known or
wait."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from detectors.columns import Block
from detectors.ranks import answers
from detectors.values import Monitor, PaneSnapshot
from homeostat.contract import PredictionBatch
from streams.control.configuration import Configuration
from streams.control.evolution import outcomes as outcomes_of
from streams.control.lateness import correctable_us, horizon_us, hot_us, lateness_us, longest_us
from streams.control.schemas import Schema
from streams.profile import id_kernels as kernels
from streams.profile.arrival_slots import ArrivalSlots
from streams.profile.cold_tier import ColdTier
from streams.profile.counts import Counts
from streams.profile.id_kernels import ACCEPTED, taken
from streams.profile.id_rows import UNCOUNTED, Flags
from streams.profile.id_table import Aged, Floats, IdTable, Indices, Keys, PaneCodes, Predicted, Rows, spread
from streams.profile.pane import Pane, PaneKey, Unpacked
from streams.profile.panes import AxisPanes
from streams.profile.series import ALL, Codes, SeriesCodes
from streams.profile.service import service_of
from streams.profile.waiting import crowd_out, give_up
from streams.times import MICROSECONDS, NEVER_US

Chosen = Indices | slice
SeriesOf = Codes | int

_log = structlog.get_logger()

NEVER_EXPIRES_US = 2**62
_FEW_PAIRS = 64


class ModelState:
    """Tables, panes and counters of one model in one input partition."""

    def __init__(
        self,
        model: str,
        source: int,
        configuration: Configuration,
        send: Callable[[PaneSnapshot], None],
        cold: ColdTier | None = None,
        unpacked: Unpacked | None = None,
    ) -> None:
        self.model = model
        self.configuration = configuration
        self.table = IdTable()
        self.cold = cold
        self.series = SeriesCodes()
        self.counts = Counts()
        self.told = Counts()
        self.waiting_since_us = NEVER_EXPIRES_US
        self.crowded_out = 0
        self.arrival = ArrivalSlots()
        self._old: Aged | None = None
        self._stored: bool | None = None
        told = self.arrival.with_snapshots(send)
        self.event = AxisPanes(model, "event", source, configuration, told, unpacked)
        self.label = AxisPanes(model, "label", source, configuration, send, unpacked)

    @property
    def clock_us(self) -> int:
        """The latest time seen on either axis."""
        return max(self.event.state.watermark_us, self.label.state.watermark_us)

    @property
    def horizon_us(self) -> int:
        """Before this time predictions are forgotten; nothing is before the first event."""
        mark_us = self.event.state.watermark_us
        return NEVER_US if mark_us == NEVER_US else mark_us - self._longest_us(horizon_us)

    @property
    def segment_names(self) -> list[str]:
        """The segment files in use."""
        return [] if self.cold is None else [info.name for info in self.cold.manifest()]

    def monitor_at(self, time_us: int) -> Monitor:
        """The monitor in force."""
        return self.configuration.monitor(self.model, time_us)

    def _longest_us(self, length_us: Callable[[Monitor], int]) -> int:
        return longest_us(self.configuration, self.model, self.event.state.watermark_us, length_us)

    def pass_time(self, now_us: int) -> None:
        """The log's time goes on (0: not known): a slot of arrival that is complete is to be told."""
        self.event.state.announce |= self.arrival.pass_time(now_us)

    def take_predictions(self, batch: PredictionBatch, schema: Schema | None = None) -> None:
        """Tell duplicates and late events, profile the rest, and give them the labels that were already
        here. Names of classes are read by the schema."""
        times_us, span_us = batch.times_us, batch.span_us
        said = batch.predictions if schema is None else outcomes_of(schema, batch)
        monitor = self.monitor_at(int(times_us[0]))
        if monitor.task == "multiclass":
            said = answers(said, batch.class_scores)
        panes = self.table.pane_codes(times_us, span_us, _us(monitor.pane_s))
        series = self.series.of(batch, monitor.segments)
        self.series.tell_crowded(self.model, monitor.spread)
        admission = self.table.admit(
            Predicted(batch.keys, times_us, said, batch.scores, series, panes),
            self.series.versions,
            (self.event.state.watermark_us, self.label.state.watermark_us),
            _us(monitor.label_horizon_s),
            _us(monitor.lateness_s - monitor.behind_s),
            hot_us(monitor),
        )
        self.counts.received += batch.rows
        self.counts.profiled += admission.accepted
        self.counts.duplicates += admission.duplicates
        self.counts.late += admission.late
        if admission.late:
            self.arrival.late(admission.late, self.event.state.watermark_us, span_us[0])
        self.counts.waiting -= admission.used
        self.counts.joined += admission.used
        accepted = np.flatnonzero(admission.fates == ACCEPTED) if admission.accepted < batch.rows else None
        if accepted is not None:
            series, panes = _of(series, accepted), _of(panes, accepted)
        cells = self._fold(batch, said, accepted, series, panes, monitor)
        self.table.set_cells(admission.first, cells if accepted is None else cells[accepted])
        if len(admission.labelled):
            self._give_labels(admission.labelled, monitor)
        self.expire_waiting(monitor)

    def recall(self, keys: Keys, monitor: Monitor) -> None:
        """Bring predictions of these keys back into the table that are in the cold tier."""
        if not self.cold:
            return
        from_us = self.event.state.watermark_us - _us(monitor.label_horizon_s)
        found = self.cold.find(keys, self.series.versions, from_us)
        if found is not None:
            self.table.recall(found, self.series.versions)

    def find_old(self) -> bool:
        """Whether predictions are to go to the cold tier: then `store_old`, which takes long, and `age` follow, with
        nothing else between them that changes the table."""
        if self.cold is None:
            return False
        mark_us = self.event.state.watermark_us
        oldest_us = NEVER_US if mark_us == NEVER_US else mark_us - self._longest_us(hot_us)
        self._old = self.table.aged(oldest_us, self.cold.config.least_rows, self.cold.config.most_rows)
        return self._old is not None

    def store_old(self) -> None:
        """Write what `find_old` has found; what the storage does not take stays in memory."""
        if self.cold is not None and self._old is not None:
            held = self.table.held(self._old)
            self._stored = self.cold.add(held, self.series.versions, self.horizon_us)

    def age(self, piece_rows: int) -> tuple[list[tuple[bytes, int]], int]:
        """Forget what is too old, or is in the cold tier now: call it when nothing has changed since the table's
        `take_changed`. What the state topic must hold instead of panes before a time, and this time."""
        if self.cold is None:
            self.table.expire(self.horizon_us)
            return [], NEVER_US
        self.cold.drop_before(self.horizon_us)
        if self._stored is None and self.find_old():
            self.store_old()
        old, stored = self._old, self._stored
        self._old = self._stored = None
        if old is None or not stored:
            return [], NEVER_US
        return self.table.cut(old, piece_rows), old.before_us

    def count_labels(self, joined: int, same: int, revised: int, orphaned: int, waiting: int) -> None:
        """Account for the labels of a batch."""
        self.counts.joined += joined
        self.counts.label_duplicates += same
        self.counts.revised += revised
        self.counts.orphaned += orphaned
        self.counts.waiting += waiting

    def add_outcomes(self, rows: Rows, labels: Floats, monitor: Monitor, timely: Flags | None = None) -> None:
        """Count the outcomes of predictions: in the prediction's own pane, where it is still open to
        corrections, and in the label's pane on the label axis. `timely`: which labels were known while it was, by their
        own times; None: they were here before their predictions."""
        if timely is None:
            self._each_pane(rows, labels, rows["pane"], self.event.panes.get, 1)
        else:
            self._correct(rows[timely], labels[timely], monitor, 1)
        for pane, count in self._each_pane(rows, labels, rows["label_pane"], self.label.pane, 1):
            pane.rows += count

    def correct_outcomes(
        self, rows: Rows, old: Floats, new: Floats, monitor: Monitor, timely: Flags, kept: Flags
    ) -> None:
        """Replace outcomes by those of revised labels, in the panes that hold the old ones and can still be
        corrected: in those of predictions where all was `timely`, in those of labels where they are `kept`."""
        for sign, labels in ((-1, old), (1, new)):
            self._correct(rows[timely], labels[timely], monitor, sign)
            places = rows["label_pane"][kept]
            self._each_pane(rows[kept], labels[kept], places, self.label.panes.get, sign)

    def _correct(self, rows: Rows, labels: Floats, monitor: Monitor, sign: int) -> None:
        """Fold outcomes into the panes of predictions that can still be corrected."""
        if len(rows):
            pane_of = partial(self.event.correctable, lateness_us=correctable_us(monitor))
            self._each_pane(rows, labels, rows["pane"], pane_of, sign)

    def expire_waiting(self, monitor: Monitor) -> None:
        """Give up labels whose prediction has not come within the horizon."""
        before_us = self.clock_us - _us(monitor.label_horizon_s)
        if before_us <= self.waiting_since_us:
            return
        expired, oldest_us = give_up(self.table, before_us)
        self.waiting_since_us = NEVER_EXPIRES_US if oldest_us is None else oldest_us
        self.counts.waiting -= expired
        self.counts.orphaned += expired

    def crowd_out(self, most: int) -> None:
        """A flood of labels without predictions may not take the memory. With an eighth more than `most` it is looked
        for the oldest, which means to look at all of them. To be called behind each batch of labels: it does what it
        would have done behind each single one, so that the size of the batches does not show."""
        steps = most // 8 + 1
        over = self.counts.waiting - most - steps
        if over < 0:
            return
        gone = crowd_out(self.table, most, over % steps)
        self.counts.waiting -= gone
        self.counts.orphaned += gone
        self.crowded_out += gone
        _log.warning(
            "More labels wait for their prediction than the monitor's `waiting_labels` allow; the oldest wait no "
            "longer. Labels come that belong to no prediction, or much earlier than their predictions.",
            model=self.model,
            allowed=most,
            orphaned=gone,
        )

    def note_waiting(self, times_us: Indices) -> None:
        """Labels of these times wait from now on."""
        self.waiting_since_us = int(times_us.min(initial=self.waiting_since_us))

    def look_for_waiting(self) -> None:
        """After a restore: since when labels wait."""
        _, oldest_us = give_up(self.table, -NEVER_EXPIRES_US)
        self.waiting_since_us = NEVER_EXPIRES_US if oldest_us is None else oldest_us

    def pane_keys(self, series: SeriesOf, panes: PaneCodes) -> list[PaneKey]:
        """The panes in which rows of these series and pane codes count."""
        return [key for key, _ in self._groups(series, panes)]

    def _fold(
        self,
        batch: PredictionBatch,
        said: npt.NDArray[np.float64],
        accepted: Indices | None,
        series: SeriesOf,
        panes: PaneCodes,
        monitor: Monitor,
    ) -> npt.NDArray[np.uint16]:
        """Fold the accepted rows (None: all), whose series and panes are given, sealing on the way; returns the cell of
        each row's features."""
        cells = np.zeros(batch.rows, dtype=np.uint16)
        groups = list(self._groups(series, panes)) if accepted is None or len(accepted) else []
        service = service_of(batch)
        stretches = self.event.stretches(batch.times_us, batch.span_us, [key for key, _ in groups], monitor)
        for first, end in stretches:
            part, parts = slice(0, None), groups
            if end - first < batch.rows:
                low, high = (first, end) if accepted is None else np.searchsorted(accepted, (first, end))
                part = slice(int(low), int(high))
                parts = self._groups(_of(series, part), _of(panes, part)) if high > low else ()
            for key, members in parts:
                chosen = _span(_within(members, part, batch.rows, accepted))
                pane = self.event.pane(key)
                profile = pane.change()
                keys = None if profile.drawn is None else batch.keys[chosen]
                found = profile.fold(_features(batch, chosen), said[chosen], batch.scores[chosen], keys)
                if service is not None:
                    service.count_in(profile, chosen)
                pane.rows += len(found)
                if key.segment == ALL:
                    cells[chosen] = found
        return cells

    def _give_labels(self, labelled: Indices, monitor: Monitor) -> None:
        """Labels that came before these predictions, or that belong to the same event under another version:
        their outcomes count now, in no pane of the label axis that is already beyond correction."""
        kept_us = self.label.state.watermark_us - lateness_us(monitor)
        length_us = _us(self.monitor_at(kept_us).pane_s)
        oldest_us = kept_us // length_us * length_us
        places_us = np.maximum(self.table.starts_us(self.table.row(labelled)["label_pane"]), oldest_us)
        self.table.move_labels(labelled, self.table.codes(places_us))
        rows = self.table.row(labelled)
        self.add_outcomes(rows, rows["label"], monitor)
        self.label.wake()

    def _groups(self, series: SeriesOf, panes: PaneCodes) -> Iterator[tuple[PaneKey, Chosen]]:
        """Which rows count in which pane."""
        if isinstance(series, int) and isinstance(panes, int):
            yield from ((key, slice(None)) for key in self._keys(series, panes))
            return
        distinct, inverse = _distinct(spread(series, np.uint16), spread(panes, np.uint32))
        if len(distinct) == 1:
            pair = int(distinct[0])
            yield from ((key, slice(None)) for key in self._keys(pair >> 32, pair & 0xFFFF_FFFF))
            return
        members: dict[PaneKey, list[int]] = {}
        for number, pair in enumerate(distinct.tolist()):
            for key in self._keys(pair >> 32, pair & 0xFFFF_FFFF):
                members.setdefault(key, []).append(number)
        for key, numbers in members.items():
            if len(numbers) == len(distinct):
                yield key, slice(None)
            elif len(numbers) == 1:
                yield key, np.flatnonzero(inverse == numbers[0])
            else:
                yield key, np.flatnonzero(np.isin(inverse, numbers))

    def _keys(self, series: int, pane: int) -> list[PaneKey]:
        start_us = self.table.start_us(pane)
        version = self.series.version(series)
        return [PaneKey(version, segment, start_us) for segment in self.series.segments(series)]

    def _each_pane(
        self,
        rows: Rows,
        labels: Floats,
        panes: PaneCodes,
        pane_of: Callable[[PaneKey], Pane | None],
        sign: int,
    ) -> list[tuple[Pane, int]]:
        """Fold outcomes pane by pane; which panes were found, and with how many rows."""
        folded: list[tuple[Pane, int]] = []
        labels = np.where(labels == UNCOUNTED, np.float32(np.nan), labels)
        for key, members in self._groups(rows["series"], panes):
            pane = pane_of(key)
            if pane is None:
                continue
            profile, part = (
                pane.change(),
                rows[members] if isinstance(members, slice) else taken(rows, members),
            )
            fold = profile.fold_outcomes if sign > 0 else profile.unfold_outcomes
            fold(part["prediction"], part["score"], labels[members], part["cell"])
            folded.append((pane, len(part)))
        return folded


def _distinct(series: Codes, panes: npt.NDArray[np.uint32]) -> tuple[Indices, Indices]:
    """The distinct pairs in their order as numbers, and for each row the index of its own."""
    pairs, inverse = kernels.distinct(np.ascontiguousarray(series), np.ascontiguousarray(panes), _FEW_PAIRS)
    if len(pairs) <= 1:
        return pairs, inverse
    if len(pairs) == _FEW_PAIRS:
        mixed = np.left_shift(series.astype(np.int64), 32) | panes.astype(np.int64)
        return np.unique(mixed, return_inverse=True)
    order = np.argsort(pairs)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return pairs[order], rank[inverse]


def _of(codes: Codes | PaneCodes, rows: Chosen) -> Any:
    """The codes of some rows, where not all are the same."""
    return codes if isinstance(codes, int) else codes[rows]


def _within(members: Chosen, part: slice, rows: int, accepted: Indices | None) -> Chosen:
    """The rows of a batch of `rows` that are these members of a part of the accepted ones (None: of all)."""
    if accepted is not None:
        return accepted[part][members]
    first, end, _ = part.indices(rows)
    return slice(first, end) if isinstance(members, slice) else members + first


def _features(batch: PredictionBatch, chosen: Chosen) -> Mapping[str, npt.NDArray[Any]]:
    """The features of some rows, without a copy where they lie side by side."""
    matrix = batch.feature_matrix
    if matrix is not None and isinstance(chosen, slice):
        return Block(batch.feature_names, matrix, *chosen.indices(batch.rows)[:2])
    return {name: column[chosen] for name, column in batch.compact_features.items()}


def _span(rows: Chosen) -> Chosen:
    """The same rows as a slice, where they follow each other: views instead of copies."""
    if isinstance(rows, slice):
        return rows
    if len(rows) and int(rows[-1]) - int(rows[0]) + 1 == len(rows):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def _us(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
