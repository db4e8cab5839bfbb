"""The series of one model on one axis, and how far its sources have come."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import structlog

from detectors.quality.arrivals import Arrived
from detectors.quality.traffic import Told
from detectors.sequential.hearing import Statement, is_told
from detectors.values import Alert, Monitor, PaneSnapshot
from streams.control.learning import LearningOrder
from streams.control.shadowing import Shadowing, only_scored
from streams.judge.arrivals import arrival_alert, arrived, is_open
from streams.judge.learning import Learner, orders
from streams.judge.seals import Planned
from streams.judge.traffic import Watched, count, pass_time, volume_alert
from streams.judge.voices import hear
from streams.judge.windows import NEVER_US, MonitorOf, Series, SeriesName, Times
from streams.times import IDLE_US, MICROSECONDS

_log = structlog.get_logger()

MAX_SERIES = 2_048
"""Versions times segments of a model that are judged; what comes beyond is told in the log and left out."""

_SOURCE_WAIT_US = 30_000_000
_NEWEST = -1
"""No revision has this number; what is known as the newest is given for it."""

Plans = Mapping[SeriesName, deque[Planned]]


class AxisMemory(msgspec.Struct, array_like=True):
    """What is remembered besides the series. `watermarks`: by source, as last told; `reached_us`: the least of
    them when one was awake last, at the log's time `reached_at_us`; `finals`: by source, up to where it
    corrects nothing any more; `newest_us`: start of the newest pane; `floor_us`: series that were forgotten
    had windows up to here; `since_us`: the log's time when a source spoke first; `watched`: the model's traffic;
    `learners`: the versions that learn their reference, or have."""

    model: str
    axis: str
    watermarks: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    reached_us: int = NEVER_US
    reached_at_us: int = 0
    finals: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    newest_us: int = NEVER_US
    floor_us: int = NEVER_US
    since_us: int = 0
    watched: Watched = msgspec.field(default_factory=Watched)
    learners: dict[str, Learner] = msgspec.field(default_factory=dict[str, Learner])


class ModelAxis:
    """The series of one model on one axis, in the order in which they are judged."""

    def __init__(
        self,
        model: str,
        axis: str,
        monitor_of: MonitorOf,
        plans: Plans | None = None,
        shadowing: Callable[[str], Shadowing] | None = None,
    ) -> None:
        self.memory = AxisMemory(model, axis)
        self.series: dict[SeriesName, Series] = {}
        self.versions: tuple[str, ...] = ()
        self.ended = False
        self._monitor_of = monitor_of
        self._plans = plans
        self._shadowing = shadowing
        self._refused = False
        self._seen: Times | None = None
        self._forgotten_us: int | None = None
        self._told: list[Told | Arrived] = []

    def take(self, snapshot: PaneSnapshot, offset: int, clock_us: int) -> Series | None:
        """Note a snapshot; the series that has changed, if one has. `clock_us`: how far the log itself is, in
        broker time."""
        memory = self.memory
        if not memory.watermarks:
            memory.since_us = clock_us
        memory.watermarks[snapshot.source] = snapshot.watermark_us
        frontier_us = min(memory.watermarks.values())
        if frontier_us < IDLE_US:
            memory.reached_us, memory.reached_at_us = frontier_us, clock_us
        if snapshot.final_us is not None:
            memory.finals[snapshot.source] = snapshot.final_us
        self._told += arrived(memory.watched, snapshot, self._monitor())
        if not snapshot.version or snapshot.pane_us < memory.floor_us:
            return None
        series = self._series_of(snapshot)
        before = 0 if series is None else series.rows_of(snapshot)
        if series is None or not series.store(snapshot, offset):
            return None
        if snapshot.axis == "event" and snapshot.segment == "all" and not self._only_scored(snapshot):
            self._told += count(memory.watched, snapshot, snapshot.rows - before, self._monitor())
        memory.newest_us = max(memory.newest_us, snapshot.pane_us)
        series.mark_dirty(snapshot.pane_us)
        return series

    def due(self, changed: Series | None, times: Times) -> Iterator[Series]:
        """The series that may have windows to close: all of them when time has moved, else the one that has
        changed."""
        if times != self._seen:
            self._seen = times
            yield from list(self.series.values())
        elif changed is not None:
            yield changed

    def times(self, clock_us: int) -> Times:
        """How far the model is. While all of it is silent, its time goes on from where it was as the log's time
        does (`clock_us`), so that events of long ago are not judged as if nothing had come since."""
        memory = self.memory
        frontier_us = min(memory.watermarks.values(), default=NEVER_US)
        if self.ended and frontier_us == IDLE_US:
            return Times(IDLE_US, IDLE_US, memory.newest_us)
        if self._awaits_sources(clock_us):
            return Times(NEVER_US, NEVER_US, NEVER_US)
        if frontier_us < IDLE_US:
            return Times(frontier_us, frontier_us, frontier_us)
        time_us = memory.reached_us + max(0, clock_us - memory.reached_at_us)
        return Times(IDLE_US, time_us, time_us)

    def traffic_alerts(self, times: Times, clock_us: int, statements: Sequence[Statement]) -> Iterator[Alert]:
        """What is to be told about the model's traffic now, and about how its events arrive. The end of a file is no
        silence. times: how far the model is; statements: what people have said about either."""
        memory = self.memory
        watched = memory.watched
        if watched.traffic is None and not watched.arrivals:
            return
        monitor = self._monitor()
        told, self._told = self._told, []
        told += hear(watched, statements, times.time_us, clock_us)
        # What a source has seen lately it tells after the delay, with the pane that is sealed then.
        held_us = int(monitor.watermark_delay_s * MICROSECONDS)
        frontier_us = times.frontier_us - held_us if times.frontier_us < IDLE_US else IDLE_US
        now_us = IDLE_US if self.ended else times.time_us - held_us
        told += pass_time(memory.watched, frontier_us, now_us, monitor)
        for one in told:
            if isinstance(one, Told):
                yield volume_alert(memory.model, watched, one, monitor)
            elif one.state == "firing" or not self._is_told(watched.arrived_version):
                yield arrival_alert(memory.model, watched, one, monitor)

    def goes_on(self, alert: Alert) -> bool:
        """Whether an alert that ends goes on, because of how the events arrive."""
        ends = alert.kind == "data_quality" and alert.state == "cleared" and alert.segment == "all"
        return ends and is_open(self.memory.watched, alert.version)

    def _is_told(self, version: str) -> bool:
        """Whether windows tell an alert of data quality of a version, which is the same alert."""
        series = self.series.get(SeriesName(self.memory.model, version, "all", "event"))
        return series is not None and is_told(series.state, "data_quality")

    def to_learn(self, times: Times) -> Iterator[LearningOrder]:
        """The versions that have as many sealed rows now as their reference is to be learned from."""
        if self.memory.axis != "event" or self._monitor().learning is None:
            return
        yield from orders(self.memory.learners, self.series.values(), times.frontier_us, self._monitor_of)

    def _only_scored(self, snapshot: PaneSnapshot) -> bool:
        known = self._shadowing(snapshot.model) if self._shadowing is not None else None
        return known is not None and only_scored(known.spans, snapshot)

    def _monitor(self) -> Monitor:
        return self._monitor_of(self.memory.model, _NEWEST)

    def _awaits_sources(self, clock_us: int) -> bool:
        """Whether a partition on which the model lives has not spoken yet: windows that are closed without it
        would be decided on a part of their rows. One that has no events is not waited for without end."""
        memory = self.memory
        spread = self._monitor().spread
        return len(memory.watermarks) < spread and clock_us - memory.since_us < _SOURCE_WAIT_US

    def final_us(self, series: Series) -> dict[int, int]:
        """By source: up to where the panes of a series have been looked at and can change no more. A source
        that does not say so, or is idle, is taken to correct nothing older than its lateness."""
        memory = self.memory
        frontier_us = min(memory.watermarks.values(), default=NEVER_US)
        revisions = series.newest_revisions()
        if revisions is None:
            return {}
        spec = series.spec_at(revisions)
        guess_us = min(frontier_us, memory.newest_us) - spec.lateness_us
        examined_us = min(frontier_us, memory.newest_us) - spec.delay_us
        found: dict[int, int] = {}
        for source, watermark_us in memory.watermarks.items():
            told_us = memory.finals.get(source)
            final_us = guess_us if told_us is None else told_us
            if watermark_us == IDLE_US:
                final_us = max(final_us, guess_us)
            found[source] = min(final_us, examined_us)
        return found

    def forget_silent(self, changed: Series | None) -> Iterator[Series]:
        """Drop the series whose last rows are longer ago than their time to live, in time of the model's
        events; yields each before it goes. Where time has not moved only the one that has changed can be one."""
        memory = self.memory
        now_us = min(min(memory.watermarks.values(), default=NEVER_US), memory.newest_us)
        asked = list(self.series.values())
        if now_us == self._forgotten_us:
            asked = [] if changed is None else [changed]
        self._forgotten_us = now_us
        for series in asked:
            if series.expires_us() < now_us:
                yield series
                memory.floor_us = max(memory.floor_us, series.memory.next_us)
                del self.series[series.name]

    def restore(self, name: SeriesName) -> Series:
        """A series that is known to have been judged."""
        found = self.series.get(name)
        if found is None:
            plan = None if self._plans is None else self._plans.get(name, deque())
            found = Series(name, self._monitor_of, plan)
            self.series[name] = found
            ordered = sorted(self.series.items(), key=lambda item: (item[0].version, item[0].segment))
            self.series = dict(ordered)
            self.versions = tuple(dict.fromkeys(one.version for one in self.series))
        return found

    def _series_of(self, snapshot: PaneSnapshot) -> Series | None:
        name = SeriesName(snapshot.model, snapshot.version, snapshot.segment, snapshot.axis)
        if name not in self.series and len(self.series) >= MAX_SERIES:
            if not self._refused:
                self._refused = True
                _log.error(
                    "A model has too many versions and segments; new ones are not judged.",
                    model=name.model,
                    segment=name.segment,
                    most=MAX_SERIES,
                )
            return None
        return self.restore(name)
