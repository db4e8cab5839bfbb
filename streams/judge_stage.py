"""The judge stage: forms windows of sealed panes, measures them against the reference, decides, and
corrects."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from detectors.decide import alert_from, decide, point_from
from detectors.judgement import Decision, SeriesState, Window
from detectors.measures import measure
from detectors.performance import performance
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.values import Alert, MetricPoint, Monitor, PaneSnapshot
from homeostat.contract import partition_of
from streams.control import Configuration
from streams.deadletters import DeadLetter
from streams.panes import MICROSECONDS
from streams.ranges import joined_ranges
from streams.stages import Flush, InputRecord, OutputRecord, Snapshot
from streams.topics import ALERTS, DEADLETTERS, METRICS, PROFILES, SEALS
from streams.windows import ClosedWindow, Series, SeriesName


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """The logged decision that a window of a series is made of all panes beginning in [after_us, end_us),
    taken when the profiles topic had been read up to `offset` of `partition`."""

    model: str
    version: str
    segment: str
    axis: str
    window: str
    after_us: int
    start_us: int
    end_us: int
    rows: int
    monitor_revision: int
    reference_revision: str
    partition: int
    offset: int


class _SeriesSnapshot(msgspec.Struct, array_like=True):
    name: SeriesName
    next_us: int
    windows: list[ClosedWindow]
    state: SeriesState


class _StageSnapshot(msgspec.Struct, array_like=True):
    series: list[_SeriesSnapshot]
    watermarks: list[tuple[str, str, dict[int, int]]]
    offsets: list[int]


class JudgeStage:
    """One partition of the profiles topic. See `streams.stages.Stage` for how it is driven.

    It never looks at the clock: an idle source says so itself, in order with its snapshots.
    """

    def __init__(self, partition: int, partitions: int, configuration: Configuration) -> None:
        self.offset = -1
        self._partition = partition
        self._partitions = partitions
        self._configuration = configuration
        self._series: dict[SeriesName, Series] = {}
        self._watermarks: dict[tuple[str, str], dict[int, int]] = {}
        self._outputs: list[OutputRecord] = []
        self._decoded: tuple[int, PaneSnapshot] | None = None
        self._flushed_offset = -1
        self._pending: Snapshot | None = None

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
        if snapshot is None:
            return
        self._watermarks.setdefault((snapshot.model, snapshot.axis), {})[snapshot.source] = (
            snapshot.watermark_us
        )
        if snapshot.version:
            series = self._series_of(snapshot)
            if series.store(snapshot, record.offset):
                series.mark_dirty(snapshot.pane_us)
        frontier_us = self._frontier(snapshot.model, snapshot.axis)
        for name in sorted(self._series, key=lambda name: (name.version, name.segment)):
            if (name.model, name.axis) == (snapshot.model, snapshot.axis):
                series = self._series[name]
                for window in series.close_due(frontier_us, self._configuration.monitor_revision):
                    self._judge(series, window)

    def tick(self, now_us: int, caught_up: bool) -> None:
        """See `Stage`: time means nothing here."""

    def flush(self, final: bool = False) -> Flush | None:
        """See `Stage`: corrected points go out here, once however much has changed."""
        for series in self._series.values():
            for window in series.windows:
                if window.dirty:
                    self._correct(series, window)
        if self.offset == self._flushed_offset and not self._outputs:
            return None
        self._prune()
        outputs, self._outputs = self._outputs, []
        self._flushed_offset = self.offset
        self._pending = self._snapshot()
        return Flush(outputs)

    def snapshot(self, written: Mapping[str, Sequence[int]]) -> Snapshot:
        """See `Stage`."""
        if self._pending is None:
            raise ValueError("snapshot was called without a flush before it")
        pending, self._pending = self._pending, None
        return pending

    def restore(self, offset: int, state: bytes, log: Mapping[str, Sequence[InputRecord]]) -> None:
        """See `Stage`."""
        found = msgspec.msgpack.decode(state, type=_StageSnapshot)
        self.offset = self._flushed_offset = offset
        self._watermarks = {(model, axis): sources for model, axis, sources in found.watermarks}
        for saved in found.series:
            series = Series(saved.name)
            series.next_us, series.windows, series.state = saved.next_us, saved.windows, saved.state
            self._series[saved.name] = series
        wanted = set(found.offsets)
        for record in log.get(PROFILES, ()):
            if record.offset in wanted:
                snapshot = msgspec.msgpack.decode(record.value or b"", type=PaneSnapshot)
                self._series_of(snapshot).store(snapshot, record.offset)

    def _decode(self, record: InputRecord) -> PaneSnapshot | None:
        if self._decoded is not None and self._decoded[0] == record.offset:
            return self._decoded[1]
        try:
            snapshot = msgspec.msgpack.decode(record.value or b"", type=PaneSnapshot)
        except msgspec.DecodeError as error:
            if record.offset > self.offset:
                self._dead_letter(record, error)
            self.offset = record.offset
            return None
        self._decoded = (record.offset, snapshot)
        return snapshot

    def _dead_letter(self, record: InputRecord, error: msgspec.DecodeError) -> None:
        letter = DeadLetter(
            reason=f"not a pane snapshot: {error}",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            stage="judge",
            original=record.value or b"",
        )
        self._outputs.append(OutputRecord(DEADLETTERS, 0, letter.model.encode(), letter.to_json()))

    def _series_of(self, snapshot: PaneSnapshot) -> Series:
        name = SeriesName(snapshot.model, snapshot.version, snapshot.segment, snapshot.axis)
        return self._series.setdefault(name, Series(name))

    def _frontier(self, model: str, axis: str) -> int:
        """Up to where all sources of the model have sealed."""
        return min(self._watermarks[model, axis].values())

    def _judge(self, series: Series, window: ClosedWindow) -> None:
        """Log the seal, decide on the panes as they were sealed, tell points and transitions."""
        self._emit_seal(series, window)
        monitor, reference = self._bound(series, window)
        if reference is None:
            self._emit([_without_reference(series, window, monitor)])
            return
        profile = series.profile(window, reference, as_sealed=True)
        context = _context(series, window, profile)
        if series.name.axis == "event":
            judgement = decide(
                context, measure(profile, reference, monitor), monitor, reference, series.state
            )
            shown = _verdicts(context, profile, monitor, reference, with_drift=False)
        else:
            judgement = decide(context, performance(profile, reference), monitor, reference, series.state)
            shown = ()
        series.state = judgement.state
        decisions = (*judgement.decisions, *shown)
        self._emit(point_from(context, decision, monitor, reference) for decision in decisions)
        for transition in judgement.transitions:
            self._alert(alert_from(context, transition, monitor, reference))

    def _correct(self, series: Series, window: ClosedWindow) -> None:
        """Tell the points again as they are now. Alerts are not rewritten."""
        window.dirty = False
        monitor, reference = self._bound(series, window)
        if reference is None:
            return
        profile = series.profile(window, reference, as_sealed=False)
        context = _context(series, window, profile)
        with_drift = series.name.axis == "event" and context.rows != window.rows
        window.rows, window.revision = context.rows, window.revision + 1
        decisions = _verdicts(context, profile, monitor, reference, with_drift)
        self._emit(point_from(context, one, monitor, reference, window.revision) for one in decisions)

    def _bound(self, series: Series, window: ClosedWindow) -> tuple[Monitor, Reference | None]:
        known = self._configuration
        monitor = known.monitor_revision(series.name.model, window.monitor_revision)
        return monitor, known.reference_revision(window.reference_revision)

    def _emit(self, points: Iterable[MetricPoint]) -> None:
        for point in points:
            self._output(METRICS, point.model, msgspec.json.encode(point), "point")

    def _alert(self, alert: Alert) -> None:
        self._output(ALERTS, alert.model, msgspec.json.encode(alert), "alert")

    def _emit_seal(self, series: Series, window: ClosedWindow) -> None:
        name = series.name
        seal = Seal(
            model=name.model,
            version=name.version,
            segment=name.segment,
            axis=name.axis,
            window=window.name,
            after_us=window.after_us,
            start_us=window.start_us,
            end_us=window.end_us,
            rows=window.rows,
            monitor_revision=window.monitor_revision,
            reference_revision=window.reference_revision,
            partition=self._partition,
            offset=self.offset,
        )
        self._output(SEALS, name.model, msgspec.json.encode(seal), "seal")

    def _output(self, topic: str, model: str, value: bytes, kind: str) -> None:
        partition = partition_of(model, 0, self._partitions)
        self._outputs.append(
            OutputRecord(topic, partition, model.encode(), value, (("kind", kind.encode()),))
        )

    def _prune(self) -> None:
        for name, series in self._series.items():
            frontier_us = self._frontier(name.model, name.axis)
            newest = max(series.panes, default=frontier_us)
            lateness_us = int(self._configuration.monitor(name.model, newest).lateness_s * MICROSECONDS)
            series.prune(lateness_us, min(frontier_us, newest))

    def _snapshot(self) -> Snapshot:
        offsets = sorted({offset for series in self._series.values() for offset in series.offsets()})
        state = _StageSnapshot(
            series=[
                _SeriesSnapshot(series.name, series.next_us, series.windows, series.state)
                for series in self._series.values()
            ],
            watermarks=[(model, axis, dict(sources)) for (model, axis), sources in self._watermarks.items()],
            offsets=offsets,
        )
        return Snapshot(
            msgspec.msgpack.encode(state), {PROFILES: joined_ranges((offset, offset) for offset in offsets)}
        )


def _context(series: Series, window: ClosedWindow, profile: Profile) -> Window:
    name = series.name
    return Window(
        model=name.model,
        version=name.version,
        segment=name.segment,
        axis=name.axis,
        window=window.name,
        start_us=window.start_us,
        end_us=window.end_us,
        rows=profile.rows if name.axis == "event" else profile.labelled,
    )


def _verdicts(
    context: Window, profile: Profile, monitor: Monitor, reference: Reference, with_drift: bool
) -> tuple[Decision, ...]:
    """Verdicts on the performance, and on the rest where asked for, outside the sequence of deciding."""
    found = performance(profile, reference)
    if with_drift:
        found = [*measure(profile, reference, monitor), *found]
    return decide(context, found, monitor, reference, SeriesState()).decisions


def _without_reference(series: Series, window: ClosedWindow, monitor: Monitor) -> MetricPoint:
    name = series.name
    parts = (*msgspec.structs.astuple(name), window.name, "reference", monitor.revision)
    return MetricPoint(
        id=hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32],
        model=name.model,
        version=name.version,
        segment=name.segment,
        axis=name.axis,
        window=window.name,
        start_us=window.start_us,
        end_us=window.end_us,
        rows=window.rows,
        measure="reference",
        verdict="undefined",
        undefined=f"no reference of version {name.version!r} is known: nothing to compare with",
        monitor_revision=monitor.revision,
    )
