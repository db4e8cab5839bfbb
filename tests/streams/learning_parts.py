"""A version that learns its reference, with the stages and the topics in memory."""

from collections.abc import Iterable

import numpy as np

from detectors.values import Learning
from streams.control.configuration import Configuration
from streams.control.learner import learned
from streams.control.learning import InForce, LearningOrder
from streams.judge.stage import JudgeStage
from streams.profile.stage import ProfileStage
from streams.replay.inprocess import Results
from streams.stages import InputRecord, Stage
from streams.topics import CONTROL, JUDGE_PANES, PROFILES
from tests.streams.stream_data import (
    START_US,
    Events,
    label_record,
    make_events,
    make_monitor,
    prediction_record,
)

MODEL = "loan"
ROWS = 1_000
SECOND_US = 1_000_000


def steady(rows: int, seed: int = 3) -> Events:
    """100 rows in each second, whose labels are known after a tenth of a second."""
    events = make_events(rows, seed)
    events.times_us[:] = START_US + np.arange(rows) * 10_000
    events.label_times_us[:] = events.times_us + 100_000
    return events


def sent(events: Events, partitions: int = 1, batch: int = 50, segments: bool = False) -> list[InputRecord]:
    """Predictions, each batch followed by the labels of the one before; batches take turns among partitions."""
    records: list[InputRecord] = []
    offsets = [0] * partitions
    for number, start in enumerate(range(0, len(events.ids), batch)):
        at = number % partitions
        rows = np.arange(start, min(start + batch, len(events.ids)))
        place = {"partition": at, "offset": offsets[at]}
        records.append(prediction_record(events, rows, MODEL, 2 * number + 1, segments=segments, **place))
        before = rows - partitions * batch
        offsets[at] += 1
        if before[0] >= 0:
            records.append(
                label_record(events, before, MODEL, 2 * number + 2, partition=at, offset=offsets[at])
            )
            offsets[at] += 1
    return records


class World:
    """The two stages of every partition of events; one judge. What goes to the control topic is read at once; what
    it asks to be learned is built by `learn`."""

    def __init__(self, partitions: int = 1, rows: int = ROWS, **changes: object) -> None:
        self.configuration = Configuration()
        settings: dict[str, object] = {"spread": partitions, "learning": Learning(rows=rows)}
        self.configuration.add_monitor(make_monitor(MODEL, **(settings | changes)))
        self.profiles = [ProfileStage(place, 1, self.configuration) for place in range(partitions)]
        self.judge = JudgeStage(0, 1, self.configuration)
        self.results = Results()
        self.orders: list[LearningOrder] = []
        self.log: list[InputRecord] = []
        self.snapshots: list[InputRecord] = []
        self._states: list[InputRecord] = []
        self._checkpoint = (-1, b"")

    def feed(self, records: Iterable[InputRecord], learn: bool = True) -> None:
        for record in records:
            self.log.append(record)
            self.profiles[record.partition].process(record)
            self.flush()
            if learn:
                self.learn()

    def flush(self, final: bool = False) -> None:
        for stage in (*self.profiles, self.judge):
            self._flush(stage, final)

    def end(self) -> None:
        for stage in self.profiles:
            stage.end()
        self.flush(True)
        self.judge.end()
        self.flush(True)

    def learn(self) -> None:
        for order in self.configuration.orders():
            stretches = {partition: (first, last) for partition, first, last in order.stretches}
            records = [
                one
                for one in self.log
                if one.partition in stretches
                and stretches[one.partition][0] <= one.offset <= stretches[one.partition][1]
            ]
            monitor = self.configuration.monitor_revision(MODEL, order.monitor_revision)
            reference = learned(order, monitor, None, records)
            self.configuration.add_in_force(
                InForce(
                    model=MODEL,
                    version=order.version,
                    revision=reference.revision,
                    effective_us=order.effective_us,
                )
            )
            self.configuration.add_reference(reference)

    def restart_judge(self) -> None:
        """A new owner takes over from the last checkpoint."""
        self.judge = JudgeStage(0, 1, self.configuration)
        offset, state = self._checkpoint
        if offset >= 0:
            self.judge.restore(offset, state, {PROFILES: self.snapshots, JUDGE_PANES: self._states})

    def _flush(self, stage: Stage, final: bool) -> None:
        offset = stage.offset
        flush = stage.flush(final)
        if flush is None:
            return
        places = {topic: range(len(deltas)) for topic, deltas in flush.deltas.items()}
        if stage is self.judge:
            first = len(self._states)
            for delta in flush.deltas.get(JUDGE_PANES, ()):
                self._states.append(
                    InputRecord(JUDGE_PANES, 0, len(self._states), delta.key, delta.value, ())
                )
            places = {JUDGE_PANES: range(first, len(self._states))}
        snapshot = stage.snapshot(places)
        if stage is self.judge:
            self._checkpoint = offset, snapshot.state
        for output in flush.outputs:
            if output.topic == CONTROL:
                self.orders.append(LearningOrder.from_json(output.value))
                self.configuration.apply(output.key, output.value)
            elif output.topic == PROFILES:
                offset = len(self.snapshots)
                record = InputRecord(PROFILES, 0, offset, output.key, output.value, output.headers)
                self.snapshots.append(record)
                self.judge.process(record)
            else:
                self.results.take(output.topic, dict(output.headers).get("kind", b""), output.value)
