"""Profile and judge as real processes on a real broker: the same numbers as in memory. Killing them and worse is in
test_faults_short.py."""

import asyncio
import dataclasses
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from deploy.stack.kafka import KafkaBroker
from detectors.values import MetricPoint
from homeostat.contract import partition_of
from streams.broker.admin import ensure_topics
from streams.broker.log import LogReader
from streams.control.configuration import Configuration
from streams.profile.stage import ProfileStage
from streams.replay.inprocess import InProcess, Results
from streams.stages import InputRecord
from streams.topics import METRICS, PROFILE_CHECKPOINTS, all_topics
from streams.worker.checkpoint import CheckpointLog, PartitionFenced
from tests.patience import patient_s
from tests.streams.live import Worker, collect, publish, publish_configuration
from tests.streams.stream_data import (
    START_US,
    Events,
    interleaved,
    make_configuration,
    make_events,
    make_monitor,
    make_reference,
)
from tests.streams.task_data import pets, prices
from tests.streams.test_stage_properties import final_points, seals

pytestmark = pytest.mark.slow

PARTITIONS = 2
MODELS = ("loan", "churn")
IDLE_S = 6.0
OTHERS = (pets(900, 3), prices(900, 4))
"""Models of the other tasks."""


@pytest.fixture
def workers(kafka_broker: KafkaBroker, tmp_path: Path) -> Iterator[dict[str, Worker]]:
    found = {
        role: Worker(role, kafka_broker.bootstrap, tmp_path, PARTITIONS) for role in ("profile", "judge")
    }
    yield found
    for worker in found.values():
        worker.stop()


def streams(rows: int) -> tuple[dict[str, Events], list[InputRecord]]:
    """Two models on two partitions, mixed as they would arrive."""
    events = {model: make_events(rows, seed, shift=15.0) for seed, model in enumerate(MODELS)}
    mixed: list[InputRecord] = []
    offsets = [0] * PARTITIONS
    producers = [interleaved(events[model], model) for model in MODELS]
    for pair in zip(*producers, strict=True):
        for model, record in zip(MODELS, pair, strict=True):
            partition = partition_of(model, 0, PARTITIONS)
            headers = tuple(
                (name, f"p-{model}".encode() if name == "producer" else value)
                for name, value in record.headers
            )
            mixed.append(
                dataclasses.replace(record, partition=partition, offset=offsets[partition], headers=headers)
            )
            offsets[partition] += 1
    for other in OTHERS:
        mixed += other.records(PARTITIONS, offsets)
    return events, mixed


def configuration() -> Configuration:
    found = Configuration()
    for model in MODELS:
        found.add_monitor(make_monitor(model, idle_s=IDLE_S))
        found.add_reference(make_reference(model, "1"))
    for other in OTHERS:
        found.add_monitor(other.monitor(IDLE_S))
        found.add_reference(other.reference())
    return found


def undisturbed(records: Sequence[InputRecord]) -> Results:
    run = InProcess(configuration(), PARTITIONS)
    run.feed(records)
    run.end()
    return run.results


async def publish_configuration_of_models(broker: str) -> None:
    await publish_configuration(
        broker,
        [*(make_monitor(model, idle_s=IDLE_S) for model in MODELS), *(one.monitor(IDLE_S) for one in OTHERS)],
        [*(make_reference(model, "1") for model in MODELS), *(one.reference() for one in OTHERS)],
    )


async def assert_same(broker: str, expected: Results, timeout_s: float = 150) -> Results:
    """Wait until everything has come through, then compare all of it."""
    deadline = time.monotonic() + patient_s(timeout_s)
    while True:
        began_s = time.monotonic()
        found = await collect(broker, PARTITIONS)
        if final_points(found) == final_points(expected) and found.accounting == expected.accounting:
            break
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(max(0.5, 2 * (time.monotonic() - began_s)))
    assert found.accounting == expected.accounting
    assert seals(found) == seals(expected)
    assert final_points(found) == final_points(expected)
    assert sorted(alert.id for alert in found.alerts) == sorted(alert.id for alert in expected.alerts)
    assert {alert.id: alert for alert in found.alerts} == {alert.id: alert for alert in expected.alerts}
    return found


def assert_right(results: Results, events: dict[str, Events]) -> None:
    """Against plain NumPy over all events: the panes of a window are known from its name."""
    checked = 0
    for seal in results.seals:
        if seal.axis != "event" or seal.model not in events:
            continue
        mine = events[seal.model]
        inside = (mine.times_us >= max(seal.after_us, START_US)) & (mine.times_us < seal.end_us)
        points = {
            point.measure: point
            for point in results.points.values()
            if (point.model, point.axis, point.window, point.feature)
            == (seal.model, "event", seal.window, None)
        }
        right = mine.predictions[inside] == mine.labels[inside]
        _assert_point(points["accuracy"], float(right.mean()), int(inside.sum()))
        _assert_point(points["positive_rate"], float(mine.predictions[inside].mean()), int(inside.sum()))
        checked += 1
    assert checked >= 10


def assert_other_tasks_right(results: Results) -> None:
    """The same for classes, embeddings and numbers: what NumPy makes of the rows of each window."""
    checked = {one.model: 0 for one in OTHERS}
    for traffic in OTHERS:
        mine = [one for one in results.points.values() if one.model == traffic.model and one.axis == "event"]
        for seal in results.seals:
            if (seal.model, seal.axis, seal.segment) != (traffic.model, "event", "all"):
                continue
            times_us = traffic.times_us
            inside = (times_us >= max(seal.after_us, START_US)) & (times_us < seal.end_us)
            said, truth = traffic.said[inside], traffic.truth[inside]
            points = {
                (one.measure, one.feature): one
                for one in mine
                if (one.window, one.segment) == (seal.window, "all")
            }
            if traffic.task == "multiclass":
                _assert_point(points["accuracy", None], float((said == truth).mean()), len(said))
            else:
                rooms = traffic.columns["rooms"][inside]
                _assert_point(points["mae", None], float(np.abs(said - truth).mean()), len(said), rel=1e-6)
                _assert_point(points["missing_rate", "rooms"], float(np.isnan(rooms).mean()), len(said))
            checked[traffic.model] += 1
        assert {one.feature for one in mine} >= {spec.name for spec in traffic.specs}
    assert {one.segment for one in results.points.values()} >= {"all", "region=eu", "region=us"}
    assert min(checked.values()) >= 3


def _assert_point(point: MetricPoint, value: float, rows: int, rel: float | None = None) -> None:
    assert point.value is not None
    assert (point.rows, point.value) == (rows, pytest.approx(value, rel=rel, abs=1e-9))


async def test_live_workers_give_the_numbers_of_a_run_in_memory_and_of_numpy(
    kafka_broker: KafkaBroker, workers: dict[str, Worker]
) -> None:
    events, records = streams(2_000)
    expected = undisturbed(records)
    assert {alert.kind for alert in expected.alerts} >= {"data_drift", "performance"}
    await ensure_topics(kafka_broker.bootstrap, all_topics(PARTITIONS))
    for name in workers:
        workers[name].start(wait=False)
    for name in workers:
        workers[name].wait_ready()
    # Published when the workers have already read the control topic: they must look again before they decide.
    await publish_configuration_of_models(kafka_broker.bootstrap)
    await publish(kafka_broker.bootstrap, records)
    found = await assert_same(kafka_broker.bootstrap, expected)
    assert_right(found, events)
    assert_other_tasks_right(found)
    for name in workers:
        assert workers[name].end(signal.SIGTERM) == 0


async def test_a_new_owner_fences_the_old_one_and_undoes_its_open_transaction(kafka: str) -> None:
    await ensure_topics(kafka, all_topics(PARTITIONS))
    (record,) = interleaved(make_events(40, 1), "loan")[:1]
    loan = make_configuration("loan")
    old = CheckpointLog(kafka, "zombie", PROFILE_CHECKPOINTS, 0)
    await old.acquire()
    first = ProfileStage(0, PARTITIONS, loan)
    first.process(record)
    flush = first.flush()
    assert flush is not None
    await old.save(first, flush, first.offset)

    async with LogReader(kafka, "test-zombie") as reader:
        _, before = await reader.bounds(METRICS, partition_of("loan", 0, PARTITIONS))
        new = CheckpointLog(kafka, "zombie", PROFILE_CHECKPOINTS, 0)
        await new.acquire()
        second = ProfileStage(0, PARTITIONS, loan)
        assert await new.load(reader, second)
        assert second.offset == first.offset == 0

        first.process(dataclasses.replace(record, offset=1))
        flush = first.flush()
        assert flush is not None
        with pytest.raises(PartitionFenced, match="zombie-0"):
            await old.save(first, flush, first.offset)

        second.process(dataclasses.replace(record, offset=1))
        flush = second.flush()
        assert flush is not None
        await new.save(second, flush, second.offset)
        third = ProfileStage(0, PARTITIONS, loan)
        assert await new.load(reader, third)
        assert third.offset == 1
        partition = partition_of("loan", 0, PARTITIONS)
        _, after = await reader.bounds(METRICS, partition)
        written = await reader.read(METRICS, partition, before, after - 1)
        assert len(written) == 1, "only what the new owner wrote is seen"
    await old.release()
    await new.release()
