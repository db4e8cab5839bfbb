"""A stretch of the live stream again, from the topics: the same stages over the same records, windows as they
were logged.

What the live workers decided by the clock is not decided again but read from the log: when a partition was
silent and its models were said to be idle (profiles topic), and which panes make a window (seals).
"""

from bisect import bisect_left
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec

from detectors.values import Accounting, Alert, MetricPoint
from homeostat.contract import HEADER_MODEL, ContractError, PredictionBatch, decode
from streams.broker.log import LogReader
from streams.control.configuration import STATEMENTS, Configuration
from streams.judge.seals import Planned, Seal
from streams.judge.windows import NEVER_US, SeriesName
from streams.profile.series import ALL
from streams.replay.as_logged import AsLogged, Bindings
from streams.replay.inprocess import InProcess, Results
from streams.replay.replay_source import first_offsets, read_merged
from streams.stages import InputRecord
from streams.times import IDLE_US, MICROSECONDS
from streams.topics import ALERTS, CONTROL, EVENTS, METRICS, PROFILES, SEALS

_SLACK_US = MICROSECONDS // 2
"""What a worker says about a silence may stand in the log a moment after the record that ended it."""
_FLUSH_RECORDS = 64


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is asked for: windows that begin at or after `from_us` and end at or before `to_us`, of one model or
    of all. `read_from_us`: the broker's time from which events are read; None: all that are still there."""

    from_us: int = 0
    to_us: int = 2**62
    model: str | None = None
    read_from_us: int | None = None

    def holds(self, one: MetricPoint | Alert | Seal) -> bool:
        """Whether this belongs to the stretch."""
        of_model = self.model is None or one.model == self.model
        return of_model and one.start_us >= self.from_us and one.end_us <= self.to_us


@dataclass(slots=True)
class Silence:
    """A source has told, at this time of the broker, that a model is idle on an axis. Its last pane was sealed
    at the watermark `sealed_us`; when it woke up, it told `woke_us`."""

    at_us: int
    model: str
    axis: str
    sealed_us: int
    woke_us: int = NEVER_US


class _Told(msgspec.Struct):
    """The part of a pane snapshot that tells how far its source is, and what the pane is counted on."""

    model: str
    version: str
    segment: str
    axis: str
    source: int
    pane_us: int
    pane_length_us: int
    sequence: int
    rows: int
    watermark_us: int
    reference_revision: str


@dataclass
class Logged:
    """What the live run has written. `silences`: by source, in order; `seen`: by series, where each pane (source,
    start) first stands on the profiles topic; `bindings`: by series, what each pane was counted on; `surprised`:
    models whose first pane had no reference, because their events came before their monitor; `unmeasured`: rows of
    panes of the stretch without a reference, by model, source, version and start; `set_aside`: rows that the profile
    stage has refused, by model and partition."""

    points: dict[str, MetricPoint] = field(default_factory=dict[str, MetricPoint])
    alerts: dict[str, Alert] = field(default_factory=dict[str, Alert])
    plans: dict[SeriesName, deque[Seal]] = field(default_factory=dict[SeriesName, deque[Seal]])
    silences: dict[int, list[Silence]] = field(default_factory=dict[int, list[Silence]])
    seen: dict[SeriesName, dict[tuple[int, int], int]] = field(
        default_factory=dict[SeriesName, dict[tuple[int, int], int]]
    )
    bindings: dict[SeriesName, Bindings] = field(default_factory=dict[SeriesName, Bindings])
    surprised: set[str] = field(default_factory=set[str])
    unmeasured: dict[tuple[str, int, str, int], int] = field(
        default_factory=dict[tuple[str, int, str, int], int]
    )
    set_aside: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])

    def account(self, value: bytes, stretch: Stretch) -> None:
        """Take in where the events of a model went."""
        found = msgspec.json.decode(value, type=Accounting)
        if found.stage == "profile" and stretch.model in (None, found.model):
            refused = found.deadlettered + found.label_deadlettered
            self.set_aside[found.model, found.partition] = refused

    def note(self, told: _Told, offset: int, stretch: Stretch) -> None:
        """Take in what a snapshot of a pane tells."""
        axis = "event" if told.axis == "event" else "label"
        series = SeriesName(told.model, told.version, told.segment, axis)
        end_us = told.pane_us + told.pane_length_us
        if told.sequence == 1:
            self.seen.setdefault(series, {})[told.source, told.pane_us] = offset
            panes = self.bindings.setdefault(series, Bindings()).panes
            panes[told.source, told.pane_us] = end_us, told.reference_revision
        asked = stretch.model in (None, told.model) and told.pane_us >= stretch.from_us
        whole = axis == "event" and told.segment == ALL
        if whole and not told.reference_revision and asked and end_us <= stretch.to_us:
            self.unmeasured[told.model, told.source, told.version, told.pane_us] = told.rows

    def planned(self) -> dict[SeriesName, deque[Planned]]:
        """The windows to be formed again."""
        found: dict[SeriesName, deque[Planned]] = {}
        for name, plan in self.plans.items():
            panes = sorted(
                (start_us, source, at) for (source, start_us), at in self.seen.get(name, {}).items()
            )
            found[name] = deque(Planned(seal, _absent(panes, seal)) for seal in plan)
        return found


def _absent(panes: Sequence[tuple[int, int, int]], seal: Seal) -> frozenset[tuple[int, int]]:
    """Panes (start, source, place in the log), in order: those of the window that came after its seal."""
    inside = panes[bisect_left(panes, (seal.after_us,)) : bisect_left(panes, (seal.end_us,))]
    return frozenset((source, start_us) for start_us, source, at in inside if at > seal.offset)


@dataclass
class Replayed:
    """What came out, and how far it can be compared. `complete_from_us`, by model: the events before are gone
    in part; absent where all are there. `in_order`: the events came as they had come live, so that what was
    sealed, and the alerts that rest on it, can be compared, and not only final revisions. `horizons_us`: how
    long predictions wait for labels, by model. `records`, `rows`: read; `unreadable`: records that could not be,
    of which nothing went into a window."""

    results: Results
    logged: Logged
    complete_from_us: dict[str, int]
    in_order: bool = True
    horizons_us: dict[str, int] = field(default_factory=dict[str, int])
    records: int = 0
    rows: int = 0
    unreadable: int = 0

    @property
    def unmeasured_rows(self) -> int:
        """Predictions on which no measure rests, neither live nor here, because no reference of their version was
        known when their pane began."""
        return sum(self.logged.unmeasured.values())

    @property
    def set_aside_rows(self) -> int:
        """Rows that the live stage has refused, where those of them that were dated into the future are measured here:
        the archive does not keep when a row came."""
        return 0 if self.in_order else sum(self.logged.set_aside.values())

    def complete_from(self, model: str) -> int:
        """From when on the events of a model are all there, in microseconds."""
        return self.complete_from_us.get(model, NEVER_US)

    def is_covered(self, one: MetricPoint | Alert | Seal) -> bool:
        """Whether all events are there on which this rests: in windows of label arrival also the predictions,
        which may be as old as the label horizon."""
        horizon_us = self.horizons_us.get(one.model, 0) if one.axis == "label" else 0
        return one.start_us >= self.complete_from(one.model) + horizon_us


def _nothing(records: int, rows: int) -> None:
    del records, rows


async def replay(broker: str, stretch: Stretch, tell: Callable[[int, int], None] = _nothing) -> Replayed:
    """Read events, labels, configuration and seals from the broker and run the stages over them.

    `tell` is called now and then with the records and rows read. Nothing is written.
    """
    async with (
        LogReader(broker, "homeostat-replay") as reader,
        LogReader(broker, "homeostat-replay-log") as other,
    ):
        offsets = await first_offsets(broker, EVENTS, stretch.read_from_us)
        logged, control = await read_logged(other, broker, stretch)
        topics = [(EVENTS, number) for number in range(len(offsets))]
        records = read_merged(reader, topics, [offset for offset, _ in offsets])
        run = ReplayRun(logged, stretch, control, [complete for _, complete in offsets])
        async for record in records:
            run.take(record)
            if run.replayed.records % 1_000 == 0:
                tell(run.replayed.records, run.replayed.rows)
        return run.end()


async def read_logged(reader: LogReader, broker: str, stretch: Stretch) -> tuple[Logged, list[InputRecord]]:
    """Points in their last revision, alerts, and all seals in order (also those outside of the stretch, for
    they are what the memory of deciding rests on); and the records of configuration."""
    logged = Logged()
    for number in range(len(await first_offsets(broker, SEALS, None))):
        async for record in _committed(reader, METRICS, number):
            kind = dict(record.headers).get("kind")
            if kind == b"accounting":
                logged.account(record.value or b"", stretch)
            elif kind == b"point":
                point = msgspec.json.decode(record.value or b"", type=MetricPoint)
                known = logged.points.get(point.id)
                if stretch.holds(point) and (known is None or known.revision <= point.revision):
                    logged.points[point.id] = point
        async for record in _committed(reader, ALERTS, number):
            alert = msgspec.json.decode(record.value or b"", type=Alert)
            if stretch.holds(alert):
                logged.alerts[alert.id] = alert
        async for record in _committed(reader, SEALS, number):
            seal = msgspec.json.decode(record.value or b"", type=Seal)
            if stretch.model in (None, seal.model) and seal.end_us <= stretch.to_us:
                name = SeriesName(
                    seal.model, seal.version, seal.segment, "event" if seal.axis == "event" else "label"
                )
                logged.plans.setdefault(name, deque()).append(seal)
    await _read_profiles(reader, broker, logged, stretch)
    return logged, [record async for record in _committed(reader, CONTROL, 0)]


async def _read_profiles(reader: LogReader, broker: str, logged: Logged, stretch: Stretch) -> None:
    """When sources were silent, when the judge could see which pane, and what it was counted on."""
    first: dict[str, tuple[int, str]] = {}
    sealed_us: dict[tuple[int, str, str], int] = {}
    asleep: dict[tuple[int, str, str], Silence] = {}
    for number in range(len(await first_offsets(broker, PROFILES, None))):
        async for record in _committed(reader, PROFILES, number):
            try:
                told = msgspec.msgpack.decode(record.value or b"", type=_Told)
            except msgspec.DecodeError:
                continue
            name = (told.source, told.model, told.axis)
            if told.version:
                logged.note(told, record.offset, stretch)
                now = (record.timestamp_us, told.reference_revision)
                first[told.model] = min(first.get(told.model, now), now)
            if told.watermark_us < IDLE_US:
                sealed_us[name] = told.watermark_us
                if name in asleep:
                    asleep.pop(name).woke_us = told.watermark_us
            elif not told.version and name in sealed_us:
                silence = Silence(record.timestamp_us, told.model, told.axis, sealed_us[name])
                asleep[name] = silence
                logged.silences.setdefault(told.source, []).append(silence)
    logged.surprised = {model for model, (_, revision) in first.items() if not revision}
    for found in logged.silences.values():
        found.sort(key=lambda silence: silence.at_us)


async def _committed(reader: LogReader, topic: str, partition: int) -> AsyncIterator[InputRecord]:
    first, _ = await reader.bounds(topic, partition)
    async for record in read_merged(reader, [(topic, partition)], [first]):
        yield record


class ReplayRun:
    """The stages, fed record by record.

    Panes are counted on the references that live had for them. The first monitor of a model and the first reference
    of a version are known from the start, for a live worker may have been behind; later revisions, and the first
    monitor where live has measured events before it, from their broker's time on. What people said is heard before
    the windows whose seals name it.
    """

    def __init__(
        self, logged: Logged, stretch: Stretch, control: Sequence[InputRecord], complete: Sequence[bool]
    ) -> None:
        known = Configuration()
        for record in control:
            known.apply(record.key, record.value)
        self._configuration = AsLogged(known, logged.bindings)
        self._process = InProcess(self._configuration, len(complete), logged.planned())
        self._stretch = stretch
        self._complete = complete
        self._now_us: dict[int, int] = {}
        self._last_us: dict[tuple[int, str, str], int] = {}
        self._newest_us: dict[tuple[str, str], int] = {}
        self._silences = {source: deque(found) for source, found in logged.silences.items()}
        self.replayed = Replayed(self._process.results, logged, {})
        later = {f"monitor/{quote(model, safe='')}".encode() for model in logged.surprised}
        self._control: deque[InputRecord] = deque()
        for record in control:
            subject = (record.key or b"").rpartition(b"/")[0]
            if subject in later and not subject.startswith(STATEMENTS.encode()):
                self._control.append(record)
            else:
                later.add(subject)
                self._configuration.apply(record.key, record.value)

    def take(self, record: InputRecord) -> None:
        """Take one record of the events topic."""
        while self._control and self._control[0].timestamp_us <= record.timestamp_us:
            control = self._control.popleft()
            self._configuration.apply(control.key, control.value)
        self._pass_silence(record)
        self.replayed.records += 1
        model = dict(record.headers).get(HEADER_MODEL, b"").decode(errors="replace")
        if self._stretch.model not in (None, model):
            self._process.hear(record)
            return
        woke = self._note(model, record)
        self._process.feed([record], flush_every=1 << 62)
        if woke or self.replayed.records % _FLUSH_RECORDS == 0:
            self._process.flush(final=True)

    def end(self) -> Replayed:
        """The end of what is there."""
        self._process.end()
        for model in self.replayed.complete_from_us:
            horizon_s = self._configuration.monitor(model, 2**62).label_horizon_s
            self.replayed.horizons_us[model] = int(horizon_s * MICROSECONDS)
        results = self._process.results
        results.points = {name: point for name, point in results.points.items() if self._stretch.holds(point)}
        results.alerts = [alert for alert in results.alerts if self._stretch.holds(alert)]
        results.seals = [seal for seal in results.seals if self._stretch.holds(seal)]
        return self.replayed

    def _pass_silence(self, record: InputRecord) -> None:
        """Where the live worker said that a model was idle, it had sealed its panes: so does this one, as far as it
        told then. A worker that was behind said it later, when the model may have spoken again: it had found that by
        the log, as this one does by itself."""
        partition = record.partition
        self._now_us[partition] = now_us = max(record.timestamp_us, self._now_us.get(partition, 0))
        told, due = self._silences.get(partition), list[tuple[Silence, int]]()
        while told and told[0].at_us <= now_us + _SLACK_US:
            silence = told.popleft()
            last_us = self._last_us.get((partition, silence.model, silence.axis))
            if last_us is not None and silence.at_us - last_us > max(0, self._idle_us(silence) - _SLACK_US):
                due.append((silence, last_us))
        if not due:
            return
        self._process.flush(final=True)
        for silence, last_us in due:
            lasted_us = self._lasted_us(silence, last_us)
            self._process.be_silent(partition, silence.model, silence.axis, lasted_us, last_us + lasted_us)
        self._process.flush(final=True)

    def _lasted_us(self, silence: Silence, last_us: int) -> int:
        """How long a silence had lasted when it was told: at least what makes a model idle and what carried its
        seals beyond its newest event, at most the broker's time since its last record; in between, how far
        the source said that it had been carried, when it woke up."""
        newest_us = self._newest(silence)
        least_us = max(self._idle_us(silence), silence.sealed_us - newest_us)
        return max(least_us, min(silence.woke_us - newest_us, silence.at_us - last_us))

    def _idle_us(self, silence: Silence) -> int:
        """How long a model must be silent to be idle."""
        idle_s = self._configuration.monitor(silence.model, self._newest(silence)).idle_s
        return round(idle_s * MICROSECONDS)

    def _newest(self, silence: Silence) -> int:
        return self._newest_us.get((silence.model, silence.axis), silence.sealed_us)

    def _note(self, model: str, record: InputRecord) -> bool:
        """Count, and note from when on a model's events are complete. Whether the model was idle before this record:
        the judge must hear at once that it is not, or other partitions are taken for all of it."""
        try:
            batch = decode(record.value, record.headers)
        except ContractError:
            self.replayed.unreadable += 1
            return False
        self.replayed.rows += batch.rows
        axis = "event" if isinstance(batch, PredictionBatch) else "label"
        before_us = self._newest_us.get((model, axis), NEVER_US)
        idle_us = round(self._configuration.monitor(model, before_us).idle_s * MICROSECONDS)
        place, now_us = (record.partition, model, axis), self._now_us[record.partition]
        woke = now_us - self._last_us.get(place, now_us) >= idle_us
        self._newest_us[model, axis] = max(before_us, int(batch.times_us.max()))
        self._last_us[place] = now_us
        if not self._complete[record.partition] and model not in self.replayed.complete_from_us:
            self.replayed.complete_from_us[model] = int(batch.times_us.max())
        return woke
