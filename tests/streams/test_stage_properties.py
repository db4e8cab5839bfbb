"""Laws of the stages: the split into batches, the order within the lateness and crashes do not show."""

import dataclasses
from collections.abc import Sequence

import msgspec
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.values import MetricPoint
from streams.judge.stage import JudgeStage
from streams.profile.stage import ProfileStage
from streams.replay.inprocess import InProcess, Results
from streams.stages import InputRecord, Stage
from streams.topics import PROFILES
from tests.streams.stream_data import (
    Events,
    interleaved,
    label_record,
    make_configuration,
    make_events,
    prediction_record,
)

MODEL = "loan"
SLOW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def final_points(results: Results) -> dict[str, MetricPoint]:
    """Points without the number of corrections that it took to get there."""
    return {name: msgspec.structs.replace(point, revision=1) for name, point in results.points.items()}


def seals(results: Results) -> list[tuple[str, str, str, int]]:
    return sorted((seal.version, seal.axis, seal.window, seal.rows) for seal in results.seals)


def run(records: Sequence[InputRecord], flush_every: int = 16) -> Results:
    process = InProcess(make_configuration(MODEL, ("1", "2")), 1)
    process.feed(records, flush_every)
    process.end()
    return process.results


def batches(events: Events, sizes: Sequence[int]) -> list[InputRecord]:
    """All predictions, and each label right behind the batch in which its prediction was; cut as told."""
    records: list[InputRecord] = []
    start = turn = 0
    while start < len(events.ids):
        rows = np.arange(start, min(start + sizes[turn % len(sizes)], len(events.ids)))
        records.append(prediction_record(events, rows, MODEL, len(records), offset=len(records)))
        records.append(label_record(events, rows, MODEL, len(records), offset=len(records)))
        start, turn = int(rows[-1]) + 1, turn + 1
    return records


@SLOW
@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=8), flush_every=st.integers(1, 40))
def test_the_cut_into_batches_does_not_show(sizes: list[int], flush_every: int) -> None:
    events = make_events(900, 5, shift=15.0)
    events.label_times_us = events.times_us
    expected = run(batches(events, [100]))
    found = run(batches(events, sizes), flush_every)
    assert final_points(found) == final_points(expected)
    assert seals(found) == seals(expected)
    assert found.accounting == expected.accounting
    assert sorted(found.alerts, key=lambda alert: alert.id) == sorted(
        expected.alerts, key=lambda alert: alert.id
    )


@SLOW
@given(seed=st.integers(0, 2**32 - 1))
def test_disorder_within_the_watermark_delay_changes_nothing(seed: int) -> None:
    events = make_events(900, 5, shift=15.0)
    order = np.argsort(events.times_us + np.random.default_rng(seed).integers(0, 400_000, 900))
    disordered = dataclasses.replace(
        events,
        ids=[events.ids[row] for row in order],
        **{
            field.name: getattr(events, field.name)[order]
            for field in dataclasses.fields(events)
            if field.name != "ids"
        },
    )
    expected, found = run(interleaved(events, MODEL)), run(interleaved(disordered, MODEL))
    on_events = {name: point for name, point in final_points(expected).items() if point.axis == "event"}
    assert on_events
    assert {name: point for name, point in final_points(found).items() if point.axis == "event"} == on_events
    assert found.accounting == expected.accounting


class Crashing:
    """One stage over a log in memory, that loses its memory now and then."""

    def __init__(
        self, make: type[ProfileStage] | type[JudgeStage], rng: np.random.Generator, **changes: object
    ) -> None:
        self._make = make
        self._rng = rng
        self._configuration = make_configuration(MODEL, ("1", "2"), **changes)
        self.topics: dict[str, list[InputRecord]] = {}
        self._checkpoint: tuple[int, bytes, dict[str, list[tuple[int, int]]]] | None = None
        self._stage = self._new()
        self.crashes = 0

    def drive(self, log: Sequence[InputRecord], crash_rate: float) -> None:
        self.topics.setdefault(log[0].topic, list(log))
        while self._stage.offset + 1 < len(log) or not self._saved_all(log):
            stage = self._stage
            stage.process(log[stage.offset + 1])
            chance = self._rng.random()
            if chance < crash_rate:
                self.crashes += 1
                self._stage = self._new()
            elif chance < 0.3:
                self.save()

    def _saved_all(self, log: Sequence[InputRecord]) -> bool:
        """Save at the end of the log; a death in that save sends the stage back, and the rest comes again."""
        self.save()
        return self._stage.offset + 1 >= len(log)

    def save(self, final: bool = False) -> None:
        stage = self._stage
        offset = stage.offset
        flush = stage.flush(final)
        if flush is None:
            return
        if self._rng.random() < 0.1 and not final:
            self._stage = self._new()  # killed before the commit: nothing of the transaction is seen
            return
        written: dict[str, list[int]] = {}
        for topic, deltas in flush.deltas.items():
            stored = self.topics.setdefault(topic, [])
            written[topic] = [len(stored) + number for number in range(len(deltas))]
            stored += [
                InputRecord(topic, 0, len(stored) + number, delta.key, delta.value, ())
                for number, delta in enumerate(deltas)
            ]
        for output in flush.outputs:
            stored = self.topics.setdefault(output.topic, [])
            stored.append(InputRecord(output.topic, 0, len(stored), output.key, output.value, output.headers))
        snapshot = stage.snapshot(written)
        self._checkpoint = (offset, snapshot.state, snapshot.needed)

    def end(self) -> None:
        if isinstance(self._stage, ProfileStage):
            self._stage.end()
        self.save(final=True)

    def _new(self) -> Stage:
        stage = self._make(0, 1, self._configuration)
        if self._checkpoint is not None:
            offset, state, needed = self._checkpoint
            log = {
                topic: [self.topics[topic][at] for first, last in ranges for at in range(first, last + 1)]
                for topic, ranges in needed.items()
            }
            stage.restore(offset, state, log)
        return stage


@SLOW
@given(seed=st.integers(0, 2**32 - 1))
def test_crashes_at_any_moment_change_no_final_number(seed: int) -> None:
    rng = np.random.default_rng(seed)
    events = make_events(1_000, 5, shift=15.0)
    records = with_troubles(events)
    expected = run(records)
    profile = Crashing(ProfileStage, rng)
    profile.drive(records, crash_rate=0.15)
    profile.end()
    judge = Crashing(JudgeStage, rng)
    judge.drive(profile.topics[PROFILES], crash_rate=0.05)
    judge.end()
    found = Results()
    for topics in (profile.topics, judge.topics):
        for topic, stored in topics.items():
            for record in stored:
                found.take(topic, dict(record.headers).get("kind", b""), record.value or b"")
    assert profile.crashes + judge.crashes > 0
    assert final_points(found) == final_points(expected)
    assert seals(found) == seals(expected)
    assert found.alerts == expected.alerts
    assert found.accounting == expected.accounting
    assert found.deadletters == expected.deadletters


def with_troubles(events: Events) -> list[InputRecord]:
    """A live stream with repeated, late, revised, early and unreadable records in it, and a second
    version."""
    records = interleaved(events, MODEL)
    rng = np.random.default_rng(11)
    early = np.arange(700, 730)
    extra = [
        (10, prediction_record(events, np.arange(40, 80), MODEL, 900)),
        (12, label_record(events, early, MODEL, 901, times_us=events.times_us[np.full(30, 300)])),
        (20, label_record(events, np.arange(0, 40), MODEL, 902, values=1 - events.labels[:40])),
        (25, InputRecord(records[0].topic, 0, 0, None, b"junk", ())),
        (30, prediction_record(events, np.arange(400, 600), MODEL, 903, "2")),
        (44, prediction_record(events, rng.integers(0, 800, 60), MODEL, 904)),
        (50, label_record(events, np.array([3, 3, 5, 3]), MODEL, 905, values=np.array([0.0, 1, 1, 1]))),
    ]
    for place, record in reversed(extra):
        records.insert(place, record)
    fields = [dataclasses.replace(record, offset=number) for number, record in enumerate(records)]
    return [_renumbered(record, number) for number, record in enumerate(fields)]


def _renumbered(record: InputRecord, number: int) -> InputRecord:
    headers = [
        (name, str(number).encode() if name == "sequence" else value) for name, value in record.headers
    ]
    return dataclasses.replace(record, headers=tuple(headers))
