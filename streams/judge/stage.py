"""The judge stage: forms windows of sealed panes, measures them against the reference, decides, and
corrects."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import msgspec

from detectors.decide import alert_from, decide, point_from
from detectors.estimation.trust import Lesson
from detectors.judgement import Decision, Judgement
from detectors.reference import Reference
from detectors.sequential.hearing import Statement, hear
from detectors.single import Told, unread
from detectors.values import Alert, MetricPoint, Monitor, PaneSnapshot
from streams.control.configuration import Configuration
from streams.deadletters import DeadLetter
from streams.judge.carrying import Ageing, carry, has_aged, placed, read_copy
from streams.judge.heirs import begun
from streams.judge.kept import distances, pieces, places_of, read, to_write
from streams.judge.labels import beside, in_order, judge_labels, previous_of
from streams.judge.merging import merge_final
from streams.judge.model_axis import ModelAxis, Plans
from streams.judge.points import (
    ALL,
    KINDS,
    context_of,
    further,
    place_of,
    rows_point,
    seal_of,
    unlabelled,
    verdicts,
    without_reference,
)
from streams.judge.seals import Seal
from streams.judge.snapshots import Pending, StageSnapshot
from streams.judge.windows import NEVER_US, ClosedWindow, Kept, Series, SeriesName
from streams.ranges import joined_ranges
from streams.samples import Sample
from streams.stages import Delta, Flush, InputRecord, OutputRecord, Snapshot
from streams.telemetry_names import PANES, SERIES
from streams.times import MICROSECONDS
from streams.topics import ALERTS, CONTROL, DEADLETTERS, JUDGE_PANES, METRICS, PROFILES, SEALS

__all__ = ["JudgeStage", "Seal"]


class JudgeStage:
    """One partition of the profiles topic. See `streams.stages.Stage` for how it is driven.

    Time is what the log says: the watermarks of the sources, which tell in order with their snapshots when
    they are idle, and for windows by time of a model that is silent how the broker's time goes on. With
    `plans` it forms the windows that were logged in a former run, instead of its own. `shows`: on which axis
    and of which measures points are told (default: all); then none are of the performance before labels are there.
    """

    def __init__(
        self,
        partition: int,
        partitions: int,
        configuration: Configuration,
        plans: Plans | None = None,
        shows: Callable[[str, str], bool] | None = None,
    ) -> None:
        self.offset = -1
        self._partition = partition
        self._partitions = partitions
        self._configuration = configuration
        self._plans = plans
        self._shows = shows
        self._axes: dict[tuple[str, str], ModelAxis] = {}
        self._clock_us = 0
        self._newest = -1
        self._ageing = Ageing()
        self._outputs: list[OutputRecord] = []
        self._decoded: tuple[int, PaneSnapshot] | None = None
        self._flushed_offset = -1
        self._pending: Pending | None = None

    def unconfigured(self, record: InputRecord) -> tuple[str, str] | None:
        """See `Stage`: the revisions that a snapshot names must be known here before it is judged."""
        snapshot = self._decode(record)
        if snapshot is None or not snapshot.version:
            return None
        known = self._configuration
        if (
            snapshot.monitor_revision
            != known.monitor_revision(snapshot.model, snapshot.monitor_revision).revision
        ):
            return snapshot.model, f"monitor revision {snapshot.monitor_revision}"
        revision = snapshot.reference_revision
        if revision and known.reference_revision(revision) is None:
            return snapshot.model, f"reference revision {revision}"
        return None

    def process(self, record: InputRecord) -> None:
        """Take one snapshot and close the windows that it completes."""
        snapshot = self._decode(record)
        self.offset, self._decoded = record.offset, None
        self._pass_time(record.timestamp_us)
        if snapshot is None:
            return
        axis = self._axis(snapshot.model, snapshot.axis)
        changed = axis.take(snapshot, record.offset, self._clock_us)
        self._close(axis, changed)

    def tick(self, now_us: int, caught_up: bool) -> None:
        """See `Stage`: where the log is silent and has been read, the clock stands for its time."""
        if caught_up:
            self._pass_time(now_us)

    def samples(self) -> Iterator[Sample]:
        """See `streams.samples.Measured`."""
        place = str(self._partition)
        series = self._all_series()
        yield Sample(SERIES, (place,), len(series))
        yield Sample(PANES, (place,), sum(len(one.panes) for one in series))

    def end(self) -> None:
        """The end of a file: windows by time that have not ended are complete, too."""
        for axis in self._axes.values():
            axis.ended = True
            self._close(axis, None)

    @property
    def has_news(self) -> bool:
        """See `streams.stages.Outspoken`: windows were judged, or something was refused."""
        return bool(self._outputs)

    def flush(self, final: bool = False) -> Flush | None:
        """See `Stage`: corrected points go out here, once however much has changed."""
        for series in self._all_series():
            self._correct_all(series)
        everything = self._all_series()
        old_us = self._ageing.old_us(self._clock_us)
        is_idle = self.offset == self._flushed_offset and not self._outputs
        if is_idle and not has_aged(everything, old_us):
            return None
        for series in everything:
            self._settle(series, old_us)
        told, deltas = list[tuple[Kept, int]](), list[Delta]()
        for series in to_write(everything):
            series.kept, parts = Kept(series.state), pieces(series.name, series.state)
            told.append((series.kept, len(parts)))
            deltas += [Delta(series.name.model.encode(), part) for part in parts]
        carried = carry(everything, NEVER_US if self._plans is not None else old_us, self._newest, bool(told))
        self._flushed_offset = self.offset
        self._pending = Pending(
            state=self._state(),
            carried=carried,
            told=told,
            kept=[series.kept for series in everything if series.kept is not None],
        )
        outputs, self._outputs = self._outputs, []
        deltas = [*carried.deltas, *deltas]
        return Flush(outputs, {JUDGE_PANES: deltas} if deltas else {})

    def snapshot(self, written: Mapping[str, Sequence[int]]) -> Snapshot:
        """See `Stage`."""
        if self._pending is None:
            raise ValueError("snapshot was called without a flush before it")
        pending, self._pending = self._pending, None
        carried, places = pending.carried, list(written.get(JUDGE_PANES, ()))
        if len(places) != len(carried.made) + sum(count for _, count in pending.told):
            raise ValueError(f"{len(places)} offsets were given, not one for each record of the flush")
        self._newest = max([self._newest, *places])
        for kept, count in reversed(pending.told):
            kept.offsets, places = places[-count:], places[:-count]
        placed(carried.made, places)
        copies = sorted(copy.offset for copy in carried.copies)
        states = sorted(offset for kept in pending.kept for offset in kept.offsets)
        state = msgspec.msgpack.encode(
            (pending.state, distances(carried.offsets), distances(copies), distances(states))
        )
        needed = {
            PROFILES: joined_ranges((offset, offset) for offset in carried.offsets),
            JUDGE_PANES: joined_ranges((offset, offset) for offset in sorted((*copies, *states))),
        }
        return Snapshot(state, {topic: ranges for topic, ranges in needed.items() if ranges})

    def restore(self, offset: int, state: bytes, log: Mapping[str, Sequence[InputRecord]]) -> None:
        """See `Stage`."""
        small, panes, copies, states = msgspec.msgpack.decode(
            state, type=tuple[bytes, list[int], list[int], list[int]]
        )
        found = msgspec.msgpack.decode(small, type=StageSnapshot)
        self.offset = self._flushed_offset = offset
        self._clock_us = found.clock_us
        for memory in found.axes:
            self._axis(memory.model, memory.axis).memory = memory
        for name, memory in found.series:
            self._axis(name.model, name.axis).restore(name).memory = memory
        wanted = set(places_of(copies))
        for record in log.get(JUDGE_PANES, ()):
            self._newest = max(self._newest, record.offset)
            if record.offset in wanted:
                name, entry = read_copy(record.offset, record.value or b"")
                self._axis(name.model, name.axis).restore(name).put(entry)
        wanted = set(places_of(states))
        for name, kept in read(
            (one.offset, one.value or b"") for one in log.get(JUDGE_PANES, ()) if one.offset in wanted
        ):
            series = self._axis(name.model, name.axis).restore(name)
            series.kept, series.state = kept, kept.state
        wanted = set(places_of(panes))
        for record in log.get(PROFILES, ()):
            if record.offset in wanted:
                snapshot = msgspec.msgpack.decode(record.value or b"", type=PaneSnapshot)
                name = SeriesName(snapshot.model, snapshot.version, snapshot.segment, snapshot.axis)
                self._axis(name.model, name.axis).restore(name).store(snapshot, record.offset, True)

    def _decode(self, record: InputRecord) -> PaneSnapshot | None:
        if self._decoded is not None and self._decoded[0] == record.offset:
            return self._decoded[1]
        try:
            snapshot = msgspec.msgpack.decode(record.value or b"", type=PaneSnapshot)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if record.offset > self.offset:
                self._dead_letter(record, error)
            self.offset = record.offset
            return None
        self._decoded = (record.offset, snapshot)
        return snapshot

    def _dead_letter(self, record: InputRecord, error: Exception) -> None:
        letter = DeadLetter(
            reason=f"not a pane snapshot: {error}",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            stage="judge",
            original=record.value or b"",
        )
        self._outputs.append(OutputRecord(DEADLETTERS, 0, letter.model.encode(), letter.to_json()))

    def _axis(self, model: str, axis: str) -> ModelAxis:
        found = self._axes.get((model, axis))
        if found is None:
            known = self._configuration
            found = ModelAxis(model, axis, known.monitor_revision, self._plans, known.shadowing)
            self._axes[model, axis] = found
        return found

    def _all_series(self) -> list[Series]:
        return [series for axis in self._axes.values() for series in axis.series.values()]

    def _pass_time(self, now_us: int) -> None:
        """Once a second of the log's time: models that are silent go on with it."""
        if now_us // MICROSECONDS <= self._clock_us // MICROSECONDS:
            return
        self._clock_us = now_us
        for axis in self._axes.values():
            self._close(axis, None)

    def _close(self, axis: ModelAxis, changed: Series | None) -> None:
        times = axis.times(self._clock_us)
        for order in axis.to_learn(times):
            self._outputs.append(OutputRecord(CONTROL, 0, order.key, order.to_json()))
        said = self._configuration.statements_of(axis.memory.model) if axis.memory.axis == "event" else ()
        for alert in axis.traffic_alerts(times, self._clock_us, said):
            self._alert(alert)
        for series, window in in_order(axis.due(changed, times), times):
            self._judge(series, window)
        for series in axis.forget_silent(changed):
            self._correct_all(series)

    def _judge(self, series: Series, window: ClosedWindow) -> None:
        """Log the seal, decide on the panes as they were sealed, tell points and transitions."""
        name = series.name
        monitor, reference = self._bound(series, window)
        is_judged = reference is not None and window.decided and (window.rows > 0 or not window.by_time)
        statements = self._said(series, window) if is_judged else ()
        window.heard = tuple(one.id for one in statements)
        seal = msgspec.json.encode(seal_of(name, window, self._partition, self.offset))
        self._output(SEALS, name.model, seal, "seal")
        if window.by_time:
            self._emit([rows_point(name, window, window.rows)])
        if window.by_time and not window.rows:
            return
        if reference is None:
            self._emit([without_reference(name, window, self._because(name, window))])
            return
        profile = series.profile(window, reference, as_sealed=True)
        context, told = context_of(name, window, profile), self._told(name.axis)
        if statements:
            series.state, transitions = hear(context, statements, monitor, reference, series.state)
            for transition in transitions:
                self._alert(alert_from(context, transition, monitor, reference))
        if not window.decided:
            shown = verdicts(context, profile, monitor, reference, True, self._lessons(name), told)
            judgement = Judgement(decisions=(), transitions=(), state=series.state)
        elif name.axis == "event":
            series.state = begun(series, window, self._axis(name.model, name.axis).series.values())
            leave = unread(told, series.state.kinds)
            found = unlabelled(context, profile, monitor, reference, self._lessons(name), leave)
            judgement = decide(context, found, monitor, reference, series.state, profile, told)
            shown = further(context, profile, monitor, reference)
            if told is None or profile.labelled:
                shown = (*verdicts(context, profile, monitor, reference, False, told=told), *shown)
        else:
            axis, lessons = self._axis(name.model, name.axis), self._lessons(name)
            judgement = judge_labels(axis, series, context, profile, monitor, reference, lessons, told)
            window.previous, shown = previous_of(judgement), ()
        series.state = judgement.state
        decisions = (*judgement.decisions, *shown)
        self._emit(point_from(context, one, monitor, reference) for one in self._shown(name.axis, decisions))
        for transition in judgement.transitions:
            alert = alert_from(context, transition, monitor, reference)
            if not self._axis(name.model, name.axis).goes_on(alert):
                self._alert(alert)

    def _because(self, name: SeriesName, window: ClosedWindow) -> str:
        """Why there is no reference."""
        axis = self._axes.get((name.model, "event"))
        learner = None if axis is None else axis.memory.learners.get(name.version)
        if learner is None:
            return f"no reference of version {name.version!r} is known: nothing to compare with"
        return learner.because(window, name.version, counts=name.axis == "event" and name.segment == ALL)

    def _lessons(self, name: SeriesName) -> tuple[Lesson, ...]:
        """What the labels of a version have shown about its estimates."""
        axis = self._axes.get((name.model, "label"))
        series = None if axis is None else axis.series.get(SeriesName(name.model, name.version, ALL, "label"))
        return () if series is None else series.state.lessons

    def _said(self, series: Series, window: ClosedWindow) -> Sequence[Statement]:
        """What people have said that has not been heard and comes before this window: of a log, what it names."""
        known = self._configuration.statements(*msgspec.structs.astuple(series.name))
        if window.heard is not None:
            return [one for one in known if one.id in window.heard]
        heard = series.state.heard
        return [one for one in known if one.id not in heard and one.after_us <= window.start_us]

    def _correct_all(self, series: Series) -> None:
        for window in series.memory.windows:
            if window.dirty:
                self._correct(series, window)

    def _correct(self, series: Series, window: ClosedWindow) -> None:
        """Tell the points again as they are now. Alerts are not rewritten."""
        window.dirty = False
        monitor, reference = self._bound(series, window)
        window.revision += 1
        rows = sum(entry.current.rows for entry in series.entries(window))
        if window.by_time and rows != window.rows:
            self._emit([rows_point(series.name, window, rows)])
        if reference is None:
            window.rows = rows
            return
        profile = series.profile(window, reference, as_sealed=False)
        context = context_of(series.name, window, profile)
        with_drift = series.name.axis == "event" and rows != window.rows
        window.rows = rows
        lessons, told = self._lessons(series.name), self._told(series.name.axis)
        decisions = verdicts(context, profile, monitor, reference, with_drift, lessons, told)
        shown = self._shown(series.name.axis, beside(decisions, window.previous))
        self._emit(point_from(context, one, monitor, reference, window.revision) for one in shown)

    def _bound(self, series: Series, window: ClosedWindow) -> tuple[Monitor, Reference | None]:
        known = self._configuration
        monitor = known.monitor_revision(series.name.model, window.monitor_revision)
        return monitor, known.reference_revision(window.reference_revision)

    def _shown(self, axis: str, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Those whose points somebody reads."""
        shows = self._shows
        return decisions if shows is None else [one for one in decisions if shows(axis, one.measure)]

    def _told(self, axis: str) -> Told | None:
        """The same by the name of a measure."""
        return None if self._shows is None else partial(self._shows, axis)

    def _emit(self, points: Iterable[MetricPoint]) -> None:
        for point in points:
            self._output(METRICS, point.model, msgspec.json.encode(point), "point")

    def _alert(self, alert: Alert) -> None:
        self._output(ALERTS, alert.model, msgspec.json.encode(alert), "alert")

    def _output(self, topic: str, model: str, value: bytes, kind: str) -> None:
        place = place_of(model, self._partitions)
        self._outputs.append(OutputRecord(topic, *place, value, KINDS[kind]))

    def _settle(self, series: Series, old_us: int) -> None:
        """Forget what is beyond correction, and merge what can change no more (a plan asks for single panes)."""
        final_us = self._axis(series.name.model, series.name.axis).final_us(series)
        series.prune(min(final_us.values(), default=0))
        if self._plans is None:
            merge_final(series, final_us, self._configuration.reference_revision, old_us)

    def _state(self) -> bytes:
        """The small part, as it is now."""
        found = StageSnapshot(
            axes=[axis.memory for axis in self._axes.values()],
            series=[(series.name, series.memory) for series in self._all_series()],
            clock_us=self._clock_us,
        )
        return msgspec.msgpack.encode(found)
