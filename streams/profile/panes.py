"""The panes of the profile stage on one axis, sealed in the order of the input."""

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest

import msgspec
import numpy as np

from detectors.values import Axis, Monitor, PaneSnapshot
from streams.control.configuration import Configuration
from streams.profile.id_table import Indices
from streams.profile.pane import Pane, PaneKey, Unpacked
from streams.times import IDLE_US, MICROSECONDS, NEVER_US

_NO_END_US = 2**62


class AxisState(msgspec.Struct):
    """How far one axis of a model is. `watermark_us`: the largest time seen; `sealed_us`: up to where panes
    are sealed, which silence may carry further; `told_us`: how much of that the judge has heard; `idle`: said to be
    idle; `touched`, `silent_since_us`: since when it has been silent in processing time, which is not restored;
    `spoke`, `heard_since_us`: the same in what the log was heard for (`LogTime`)."""

    watermark_us: int = NEVER_US
    sealed_us: int = NEVER_US
    idle: bool = False
    announce: bool = False
    touched: bool = False
    silent_since_us: int = NEVER_US
    told_us: int = NEVER_US
    spoke: bool = False
    heard_since_us: int = 0


class AxisPanes:
    """The panes of one model on one axis. `send` is called with every snapshot. `input_offset`: of the last record
    of the model."""

    def __init__(
        self,
        model: str,
        axis: Axis,
        source: int,
        configuration: Configuration,
        send: Callable[[PaneSnapshot], None],
        unpacked: Unpacked | None = None,
    ) -> None:
        self._model = model
        self.axis: Axis = axis
        self._source = source
        self._configuration = configuration
        self._send = send
        self._unpacked = unpacked
        self.state = AxisState()
        self.input_offset = -1
        self.panes: dict[PaneKey, Pane] = {}
        self._open: dict[PaneKey, Pane] = {}
        self._untold: dict[PaneKey, Pane] = {}
        self._final_us: int | None = None

    def stretches(
        self, times_us: Indices, span_us: tuple[int, int], touched: Iterable[PaneKey], monitor: Monitor
    ) -> Iterator[tuple[int, int]]:
        """Walk a batch in stretches between which panes are sealed, moving the watermark.

        times_us: event times in order of the input, shape (rows,); span_us: the first and the last of them. touched:
        panes in which the batch has rows. Yields (first row, end): fold these rows before asking for the next.
        """
        state, delay_us = self.state, int(monitor.watermark_delay_s * MICROSECONDS)
        length_us = int(monitor.pane_s * MICROSECONDS)
        due = {key: key.start_us + length_us + delay_us for key in touched if key not in self.panes}
        due |= {key: pane.end_us + delay_us for key, pane in self._open.items()}
        mark_us = max(span_us[1], state.watermark_us)
        if max(mark_us, state.sealed_us) < min(due.values(), default=_NO_END_US):
            state.sealed_us = max(int(times_us[0]), state.watermark_us, state.sealed_us)
            yield 0, len(times_us)
        else:
            yield from self._sealing_stretches(times_us, due, delay_us)
        state.watermark_us, state.sealed_us = mark_us, max(mark_us, state.sealed_us)
        state.announce = state.announce or state.idle
        state.touched, state.spoke, state.idle = True, True, False
        self._tell_late(self._visible_watermark())
        self._tell_time(delay_us, length_us)

    def _sealing_stretches(
        self, times_us: Indices, due: dict[PaneKey, int], delay_us: int
    ) -> Iterator[tuple[int, int]]:
        """The stretches of a batch within which panes are sealed. `due`: at which time each may be."""
        state = self.state
        marks = np.maximum.accumulate(np.maximum(times_us, state.watermark_us))
        sealing = np.maximum(marks, state.sealed_us)
        cuts = np.searchsorted(sealing, list(due.values()))
        groups: dict[int, list[PaneKey]] = {}
        for key, cut in sorted(zip(due, cuts.tolist(), strict=True), key=lambda item: item[1]):
            if cut < len(sealing):
                groups.setdefault(cut, []).append(key)
        start = 0
        for cut, keys in groups.items():
            if cut > start:
                state.sealed_us = int(sealing[start])
                yield start, cut
                start = cut
            state.sealed_us = int(sealing[cut])
            self._seal([self.panes[key] for key in keys if key in self.panes], delay_us)
        state.sealed_us = int(sealing[start])
        yield start, len(sealing)

    def next_seal_us(self, first_us: int, monitor: Monitor) -> int:
        """Before which time no pane is sealed, none of those that are open nor one of an event at `first_us` or later,
        and no time is told."""
        length_us, delay_us = (int(s * MICROSECONDS) for s in (monitor.pane_s, monitor.watermark_delay_s))
        if self.state.told_us == NEVER_US:
            return NEVER_US
        first = min(first_us // length_us, (self.state.told_us - delay_us) // length_us)
        return min([(first + 1) * length_us, *(pane.end_us for pane in self._open.values())]) + delay_us

    def pane(self, key: PaneKey) -> Pane:
        """The pane, made when it is new: already sealed, and empty at that moment, where sealing has passed
        it."""
        found = self.panes.get(key)
        if found is None:
            reference = self._configuration.pane_reference(
                self._model, key.version, key.segment, self.axis, self._source, key.start_us
            )
            monitor = self._configuration.monitor(self._model, key.start_us)
            found = Pane(key, int(monitor.pane_s * MICROSECONDS), monitor.revision, reference)
            if reference is None:
                found.stood = self.input_offset, self.input_offset
            delay_us = int(monitor.watermark_delay_s * MICROSECONDS)
            if found.end_us + delay_us <= self.state.sealed_us:
                found.sealed_rows = 0
            self.add(found)
        return found

    def correctable(self, key: PaneKey, lateness_us: int) -> Pane | None:
        """The pane, where what comes now may still change it. That follows from the order of the input alone, and not
        from when `drop_old` was last called."""
        found = self.panes.get(key)
        return None if found is None or found.end_us <= self.state.watermark_us - lateness_us else found

    def add(self, pane: Pane) -> None:
        """Take a pane in."""
        pane.unpacked = self._unpacked
        self.panes[pane.key] = pane
        if pane.sealed_rows is None:
            self._open[pane.key] = pane
        elif not pane.sequence:
            self._untold[pane.key] = pane

    def tick(self, now_us: int, caught_up: bool, monitor: Monitor) -> None:
        """Let an idle axis be sealed as if its time went on with the clock, once the input is known to be
        silent."""
        state = self.state
        if state.touched or state.silent_since_us == NEVER_US:
            state.touched, state.silent_since_us = False, now_us
        if caught_up:
            self.be_silent(now_us - state.silent_since_us, monitor)

    def hear(self, heard_us: int, monitor: Monitor) -> None:
        """Let an axis be sealed as if its time went on with the log, while only others speak (see `LogTime`)."""
        state = self.state
        if state.spoke:
            state.spoke, state.heard_since_us = False, heard_us
        else:
            self.be_silent(heard_us - state.heard_since_us, monitor)

    def be_silent(self, silent_us: int, monitor: Monitor) -> None:
        """Be sealed as far as a silence of this length carries the axis: not at all while it is too short."""
        state = self.state
        if state.idle or silent_us < int(monitor.idle_s * MICROSECONDS):
            return
        if state.watermark_us == NEVER_US:
            return
        state.sealed_us = max(state.sealed_us, state.watermark_us + silent_us)
        delay_us = int(monitor.watermark_delay_s * MICROSECONDS)
        open_panes = list(self._open.values())
        due = [pane for pane in open_panes if pane.end_us + delay_us <= state.sealed_us]
        self._seal(due, delay_us)
        if len(due) == len(open_panes):
            state.idle = state.announce = True

    def wake(self) -> None:
        """A pane was opened by what no batch of this axis brought: no silence is over before it is sealed, too."""
        if self._open and self.state.idle:
            self.state.touched = self.state.spoke = self.state.announce = True
            self.state.idle = False

    def seal_all(self, monitor: Monitor) -> None:
        """The end of a file: nothing more will come."""
        delay_us = int(monitor.watermark_delay_s * MICROSECONDS)
        panes = list(self._open.values())
        self.state.sealed_us = max([self.state.sealed_us, *(pane.end_us + delay_us for pane in panes)])
        self._seal(panes, delay_us)
        self.state.idle = self.state.announce = True

    def forget_silence(self) -> None:
        """Count silence from now on: processing time does not survive a restart."""
        self.state.touched, self.state.silent_since_us = False, NEVER_US

    def send_due(self, now_us: int, hold_us: int) -> bool:
        """Send the corrections that have been held for `hold_us`, and the watermark where that is news."""
        sent = False
        for pane in self.panes.values():
            if pane.unsent and now_us - pane.sent_us >= hold_us:
                pane.sent_us = now_us
                self._send_pane(pane, self._visible_watermark())
                sent = True
        if self.state.announce:
            self.state.announce = False
            self._send(self._watermark())
            sent = True
        return sent

    def changed_panes(self) -> list[Pane]:
        """The panes that have changed since they were last recorded; the others are laid to rest."""
        for pane in self.panes.values():
            pane.rest()
        return [pane for pane in self.panes.values() if pane.changed]

    def drop_old(self, lateness_us: int) -> None:
        """Forget the panes that no event can reach any more and whose last correction is out."""
        before = self.state.watermark_us - lateness_us
        for key in [k for k, pane in self.panes.items() if pane.end_us <= before and not pane.unsent]:
            if self.panes[key].sealed_rows is not None:
                pane = self.panes.pop(key)
                if self._unpacked is not None:
                    self._unpacked.forget(pane)
        kept = [pane.end_us - 1 for pane in self.panes.values() if pane.end_us <= before]
        if self.state.watermark_us != NEVER_US:
            self._final_us = max(NEVER_US if self._final_us is None else self._final_us, min([before, *kept]))

    def _seal(self, panes: list[Pane], delay_us: int) -> None:
        """Seal panes at one moment, in order of time. Until the last is sent, the watermark that goes with
        them stays below the next one: nobody may take a pane for absent whose snapshot is still to come."""
        ordered = sorted(panes, key=lambda pane: (pane.end_us, pane.key))
        if ordered:
            self._tell_late(min(ordered[0].end_us + delay_us - 1, self.state.sealed_us))
        for pane, following in zip_longest(ordered, ordered[1:]):
            told_us = following.end_us + delay_us - 1 if following else self.state.sealed_us
            pane.sealed_rows = pane.rows
            if pane.stood is not None:
                pane.stood = pane.stood[0], self.input_offset
            del self._open[pane.key]
            self._send_pane(pane, min(told_us, self.state.sealed_us))

    def _tell_late(self, watermark_us: int) -> None:
        """Panes that sealing had passed when they began are told before any pane that is sealed after them, not when
        the stage happens to be flushed: the windows of a series begin with the first pane that the judge hears of."""
        for pane in sorted(self._untold.values(), key=lambda pane: (pane.end_us, pane.key)):
            self._send_pane(pane, watermark_us)

    def _tell_time(self, delay_us: int, length_us: int) -> None:
        """Windows may end where there is no pane to seal. What would tell so later, a correction perhaps, comes when
        the stage happens to be flushed."""
        state = self.state
        if state.told_us == NEVER_US:
            state.told_us = state.sealed_us
        if (state.sealed_us - delay_us) // length_us > (state.told_us - delay_us) // length_us:
            state.told_us = state.sealed_us
            self._send(self._watermark())

    def _send_pane(self, pane: Pane, watermark_us: int) -> None:
        self._untold.pop(pane.key, None)
        self.state.told_us = max(self.state.told_us, min(watermark_us, self.state.sealed_us))
        pane.sequence += 1
        pane.unsent = False
        pane.changed = True
        self._send(
            PaneSnapshot(
                model=self._model,
                version=pane.key.version,
                segment=pane.key.segment,
                axis=self.axis,
                pane_us=pane.key.start_us,
                pane_length_us=pane.length_us,
                source=self._source,
                sequence=pane.sequence,
                rows=pane.rows,
                sealed_rows=pane.sealed_rows,
                watermark_us=watermark_us,
                monitor_revision=pane.monitor_revision,
                reference_revision=pane.reference_revision,
                profile=pane.pack(),
                final_us=self._final_us,
                stood=pane.stood,
            )
        )

    def _watermark(self) -> PaneSnapshot:
        return PaneSnapshot(
            model=self._model,
            version="",
            axis=self.axis,
            pane_us=0,
            pane_length_us=0,
            source=self._source,
            sequence=0,
            rows=0,
            sealed_rows=0,
            watermark_us=self._visible_watermark(),
            monitor_revision=0,
            reference_revision="",
            profile=b"",
            final_us=self._final_us,
        )

    def _visible_watermark(self) -> int:
        return IDLE_US if self.state.idle else self.state.sealed_us
