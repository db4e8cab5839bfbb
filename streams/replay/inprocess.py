"""Profile and judge over records in memory: for backtests, and for tests that compare with the live
system."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from operator import itemgetter

import msgspec

from detectors.values import Accounting, Alert, MetricPoint
from homeostat.contract import LabelBatch, PredictionBatch
from streams.control.configuration import Configuration
from streams.judge.model_axis import Plans
from streams.judge.seals import Seal
from streams.judge.stage import JudgeStage
from streams.profile.stage import ProfileStage
from streams.stages import InputRecord, OutputRecord, Stage
from streams.topics import ALERTS, DEADLETTERS, METRICS, PROFILES, SEALS


@dataclass(slots=True)
class Results:
    """What came out. Points by id in their last revision, accounting by model and partition; alerts and seals
    in order."""

    points: dict[str, MetricPoint] = field(default_factory=dict[str, MetricPoint])
    accounting: dict[tuple[str, int], Accounting] = field(default_factory=dict[tuple[str, int], Accounting])
    alerts: list[Alert] = field(default_factory=list[Alert])
    seals: list[Seal] = field(default_factory=list[Seal])
    deadletters: list[bytes] = field(default_factory=list[bytes])

    def take(self, topic: str, kind: bytes, value: bytes) -> None:
        """Read one output record."""
        if topic == METRICS and kind == b"point":
            point = msgspec.json.decode(value, type=MetricPoint)
            known = self.points.get(point.id)
            if known is None or known.revision <= point.revision:
                self.points[point.id] = point
        elif topic == METRICS:
            account = msgspec.json.decode(value, type=Accounting)
            self.accounting[account.model, account.partition] = account
        elif topic == ALERTS:
            self.alerts.append(msgspec.json.decode(value, type=Alert))
        elif topic == SEALS:
            self.seals.append(msgspec.json.decode(value, type=Seal))
        elif topic == DEADLETTERS:
            self.deadletters.append(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed(InputRecord):
    """A record that nobody has to decode: `batch` keeps to the contract."""

    batch: PredictionBatch | LabelBatch


class InProcess:
    """The two stages on every partition, with topics in memory. With `plans` the judge forms the windows of a
    former run. `results` may be an object of the caller's own with the method `take` of `Results`. `shows`: on which
    axis and of which measures points are told (default: all). `by_time`: the input comes in large pieces, predictions
    before their labels; what a flush says to the judge is put into the order in which it would have come live.

    Example: `run = InProcess(configuration, 4); run.feed(records); run.end(); run.results.points`.
    """

    def __init__(
        self,
        configuration: Configuration,
        partitions: int,
        plans: Plans | None = None,
        results: Results | None = None,
        shows: Callable[[str, str], bool] | None = None,
        by_time: bool = False,
    ) -> None:
        self.results = results or Results()
        self._by_time = by_time
        self._profiles = [ProfileStage(p, partitions, configuration) for p in range(partitions)]
        self._judges = [JudgeStage(p, partitions, configuration, plans, shows) for p in range(partitions)]
        self._offsets = [0] * partitions

    def feed(self, records: Iterable[InputRecord], flush_every: int = 64) -> None:
        """Process records of the events topic, in order per partition; flush now and then, as a worker
        would."""
        for number, record in enumerate(records):
            batch = record.batch if isinstance(record, Handed) else None
            self._profiles[record.partition].process(record, batch)
            if number % flush_every == flush_every - 1:
                self.flush()

    def flush(self, final: bool = False) -> None:
        """Hand on what the stages have to say."""
        for stage in self._profiles:
            outputs = _flush(stage, final)
            for output in by_time(outputs) if self._by_time else outputs:
                self._route(output)
        for stage in self._judges:
            for output in _flush(stage, final):
                self._route(output)

    def tick(self, partition: int, now_us: int) -> None:
        """Let processing time pass while a partition of events is silent."""
        self._profiles[partition].tick(now_us, caught_up=True)

    def hear(self, record: InputRecord) -> None:
        """A record comes that is not looked at. See `ProfileStage.hear`."""
        self._profiles[record.partition].hear(record.timestamp_us)

    def be_silent(self, partition: int, model: str, axis: str, silent_us: int, now_us: int) -> None:
        """See `ProfileStage.be_silent`."""
        self._profiles[partition].be_silent(model, axis, silent_us, now_us)

    def end(self) -> None:
        """The end of the input: seal all, complete every window, and let every correction out."""
        for stage in self._profiles:
            stage.end()
        self.flush(final=True)
        for judge in self._judges:
            judge.end()
        self.flush(final=True)

    def _route(self, output: OutputRecord) -> None:
        if output.topic != PROFILES:
            self.results.take(output.topic, dict(output.headers).get("kind", b""), output.value)
            return
        record = InputRecord(
            PROFILES,
            output.partition,
            self._offsets[output.partition],
            output.key,
            output.value,
            output.headers,
        )
        self._offsets[output.partition] += 1
        self._judges[output.partition].process(record)


def by_time(outputs: Iterable[OutputRecord]) -> Iterator[OutputRecord]:
    """The axes of each model beside each other, by how far they are; the order along an axis stays.

    What is estimated for a window rests on the windows of labels that had ended when it began, so the judge must have
    seen these first.
    """
    lines: dict[tuple[str, str], list[tuple[int, OutputRecord]]] = {}
    for output in outputs:
        if output.topic != PROFILES:
            yield output
            continue
        told = _told(output.value)
        line = lines.setdefault((told.model, told.axis), [])
        line.append((max(told.watermark_us, line[-1][0] if line else told.watermark_us), output))
    yield from (output for _, output in merge(*lines.values(), key=itemgetter(0)))


class _Told(msgspec.Struct):
    """As much of a snapshot as is needed here."""

    model: str
    axis: str
    watermark_us: int


_told = msgspec.msgpack.Decoder(_Told).decode


def _flush(stage: Stage, final: bool) -> list[OutputRecord]:
    flush = stage.flush(final)
    if flush is None:
        return []
    stage.snapshot({topic: range(len(deltas)) for topic, deltas in flush.deltas.items()})
    return flush.outputs
