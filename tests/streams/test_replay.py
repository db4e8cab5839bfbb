"""A replay says what the live run said: real workers, a real broker, silence in the middle, records that are
gone."""

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition

from deploy.stack.kafka import KafkaBroker
from detectors.values import PaneSnapshot
from homeostat.contract import PredictionBatch, decode, partition_of
from streams.broker.admin import ensure_topics
from streams.broker.log import LogReader
from streams.replay.replay import Stretch, replay
from streams.replay.replay_check import check
from streams.stages import InputRecord
from streams.times import IDLE_US
from streams.topics import EVENTS, JUDGE_CHECKPOINTS, PROFILES, all_topics
from tests.patience import patient_s
from tests.streams.live import Worker, publish, publish_configuration
from tests.streams.stream_data import (
    START_US,
    Events,
    interleaved,
    make_events,
    make_monitor,
    make_reference,
)
from tests.streams.test_stage_properties import with_troubles

pytestmark = pytest.mark.slow

PARTITIONS = 2
MODELS = ("loan", "churn")
LATE = "fraud"
"""Its events come before its monitor."""


@pytest.fixture
def workers(kafka_broker: KafkaBroker, tmp_path: Path) -> Iterator[list[Worker]]:
    found = [Worker(role, kafka_broker.bootstrap, tmp_path, PARTITIONS) for role in ("profile", "judge")]
    yield found
    for worker in found:
        worker.stop()


def two_halves(seed: int) -> Events:
    """Five seconds of events, then twenty of silence, then five more."""
    events = make_events(1_000, seed, shift=15.0)
    for times_us in (events.times_us, events.label_times_us):
        times_us[500:] += 20_000_000
    return events


def surprising(seed: int) -> Events:
    """Two seconds of events near the end of a pane of the default length, then twenty of silence, then eight more."""
    events = make_events(1_000, seed, shift=15.0)
    for times_us in (events.times_us, events.label_times_us):
        times_us += 7_000_000
        times_us[200:] += 20_000_000
    return events


def predictions_in(records: list[InputRecord]) -> int:
    batches = [decode(record.value, record.headers) for record in records]
    return sum(batch.rows for batch in batches if isinstance(batch, PredictionBatch))


def placed(records: list[InputRecord], model: str) -> list[InputRecord]:
    """The records of one model, with a producer of its own, on its partition."""
    partition = partition_of(model, 0, PARTITIONS)
    return [
        dataclasses.replace(
            record,
            partition=partition,
            headers=tuple((n, model.encode() if n == "producer" else v) for n, v in record.headers),
        )
        for record in records
    ]


async def idle_models(broker: str) -> dict[tuple[str, str], int]:
    """How often each model and axis has been said to be idle."""
    counts: dict[tuple[str, str], int] = {}
    async with LogReader(broker, "test-idle") as reader:
        for partition in range(PARTITIONS):
            first, end = await reader.bounds(PROFILES, partition)
            for record in await reader.read(PROFILES, partition, first, end - 1) if end > first else []:
                snapshot = msgspec.msgpack.decode(record.value or b"", type=PaneSnapshot)
                if snapshot.watermark_us == IDLE_US and not snapshot.version:
                    name = (snapshot.model, snapshot.axis)
                    counts[name] = counts.get(name, 0) + 1
    return counts


async def wait_for_silence(broker: str, times: int) -> None:
    deadline = time.monotonic() + patient_s(60)
    while True:
        counts = await idle_models(broker)
        if all(
            counts.get((model, axis), 0) >= times for model in (*MODELS, LATE) for axis in ("event", "label")
        ):
            return
        assert time.monotonic() < deadline, f"not all are idle: {counts}"
        await asyncio.sleep(0.3)


async def wait_until_all_is_told(broker: str) -> None:
    """Corrections are held for two seconds: no snapshot for longer than that, and all of them judged."""
    known, since = [0], time.monotonic()
    async with LogReader(broker, "test-quiet") as reader:
        while time.monotonic() - since < 3.0:
            ends = [(await reader.bounds(PROFILES, partition))[1] for partition in range(PARTITIONS)]
            if ends != known:
                known, since = ends, time.monotonic()
            await asyncio.sleep(0.2)
        deadline = time.monotonic() + patient_s(30)
        for partition in range(PARTITIONS):
            snapshots = await reader.read(
                PROFILES, partition, *_span(await reader.bounds(PROFILES, partition))
            )
            while snapshots and await _judged(reader, partition) < snapshots[-1].offset:
                assert time.monotonic() < deadline, "the judge does not come to the end"
                await asyncio.sleep(0.2)


def _span(bounds: tuple[int, int]) -> tuple[int, int]:
    return bounds[0], bounds[1] - 1


async def _judged(reader: LogReader, partition: int) -> int:
    """The last offset that the judge's checkpoint of a partition contains."""
    record = await reader.last(JUDGE_CHECKPOINTS, partition)
    return -1 if record is None else msgspec.msgpack.decode(record.value or b"")[1]


async def delete_before(broker: str, partition: int, offset: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(EVENTS, partition): RecordsToDelete(before_offset=offset)})
    finally:
        await admin.close()


async def test_a_replay_gives_the_points_and_alerts_of_the_live_run(
    kafka_broker: KafkaBroker, workers: list[Worker]
) -> None:
    broker = kafka_broker.bootstrap
    await ensure_topics(broker, all_topics(PARTITIONS))
    monitors = [
        make_monitor("loan", idle_s=2.0),
        make_monitor("churn", idle_s=2.0, window_s=4.0, slide_s=2.0, label_window_s=3.0),
    ]
    references = [make_reference(model, version) for model in MODELS for version in ("1", "2")]
    await publish_configuration(broker, monitors, references)
    for worker in workers:
        worker.start()
    troubled = placed(with_troubles(two_halves(5)), "loan")
    plain = placed(interleaved(two_halves(6), "churn"), "churn")
    late = placed(interleaved(surprising(5), LATE), LATE)
    await asyncio.gather(
        publish(broker, troubled[:23]), publish(broker, plain[:20]), publish(broker, late[:8])
    )
    await wait_for_silence(broker, 1)
    late_monitor = make_monitor(LATE, idle_s=2.0, window_rows=100, segments=("city",))
    await publish_configuration(broker, [late_monitor], [make_reference(LATE, "1")])
    await asyncio.gather(
        publish(broker, troubled[23:]), publish(broker, plain[20:]), publish(broker, late[8:])
    )
    await wait_for_silence(broker, 2)
    await wait_until_all_is_told(broker)
    for worker in workers:
        worker.stop()

    found = await replay(broker, Stretch())
    same = check(found)
    assert same.differences == []
    assert same.left_out == {}
    assert same.points == len(found.logged.points) > 150
    assert same.alerts == len(found.logged.alerts) > 0
    assert found.unmeasured_rows == predictions_in(late[:8]) > 100
    assert same.windows == sum(len(plan) for plan in found.logged.plans.values()) > 10

    middle_us = START_US + 5_000_000
    part = await replay(broker, Stretch(to_us=middle_us, model="churn"))
    assert check(part).holds
    assert 0 < len(part.results.points) < len(found.results.points)
    assert {point.model for point in part.results.points.values()} == {"churn"}

    point = next(point for point in found.logged.points.values() if point.measure == "psi")
    found.logged.points[point.id] = msgspec.structs.replace(point, value=9.0)
    alert = found.results.alerts.pop()
    assert [one.kind for one in check(found).differences] == ["point", "alert"]
    assert alert.id in found.logged.alerts

    await delete_before(broker, partition_of("loan", 0, PARTITIONS), 20)
    cut = await replay(broker, Stretch(model="loan"))
    compared = check(cut)
    assert cut.complete_from("loan") > START_US
    assert compared.left_out
    assert compared.differences == []
    assert compared.points > 10
