"""A worker inside the test's own process: start, restore, stop, and what ends it."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from deploy.stack.kafka import KafkaBroker
from streams.app import StreamsConfig, judge_role, profile_role
from streams.broker.admin import ensure_topics
from streams.broker.log import LogReader
from streams.replay.inprocess import InProcess, Results
from streams.stages import InputRecord
from streams.topics import PROFILE_CHECKPOINTS, all_topics
from streams.worker.checkpoint import CheckpointLog, PartitionFenced
from streams.worker.runtime import Role, Worker
from tests.patience import PATIENCE_S
from tests.streams.live import collect, publish, publish_configuration
from tests.streams.parts import until
from tests.streams.stream_data import (
    interleaved,
    make_configuration,
    make_events,
    make_monitor,
    make_reference,
)
from tests.streams.test_stage_properties import final_points

pytestmark = pytest.mark.slow

PARTITIONS = 1
MODEL = "loan"
NEVER_IDLE_S = 3_600.0
"""What seals its panes are its events alone, however long the machine takes."""


@contextlib.asynccontextmanager
async def running(config: StreamsConfig, role: Role) -> AsyncGenerator[asyncio.Task[None], None]:
    """A worker that is ready; stopped in order at the end."""
    ready = asyncio.Event()
    async with LogReader(config.broker, f"test-{role.name}") as reader:
        worker = Worker(dataclasses.replace(config, ready_callback=ready.set), role, reader)
        task = asyncio.create_task(worker.run())
        try:
            await asyncio.wait_for(ready.wait(), PATIENCE_S)
            yield task
        finally:
            worker.stop()
            await asyncio.wait({task}, timeout=PATIENCE_S)


async def test_a_worker_restores_what_it_had_and_ends_when_it_is_fenced(
    kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    broker = kafka_broker.bootstrap
    config = StreamsConfig(broker=broker, data_dir=tmp_path, partitions=PARTITIONS, checkpoint_interval_s=0.1)
    await ensure_topics(broker, all_topics(PARTITIONS))
    records = interleaved(make_events(800, 5, shift=15.0), MODEL)
    half = len(records) // 2
    async with running(config, profile_role(config)) as profile:
        await publish_configuration(
            broker, [make_monitor(MODEL, idle_s=NEVER_IDLE_S)], [make_reference(MODEL, "1")]
        )
        await publish(broker, records[:half])
        await _until_received(broker, 400)
    assert profile.exception() is None
    async with running(config, profile_role(config)) as profile, running(config, judge_role(config)) as judge:
        await publish(broker, records[half:])
        expected = _expected(records)

        async def all_measured() -> Results | None:
            found = await collect(broker, PARTITIONS)
            return found if final_points(found) == final_points(expected) else None

        found = await until("every point is that of a run in memory", all_measured)
        assert found.alerts == expected.alerts
        assert found.accounting == expected.accounting

        usurper = CheckpointLog(broker, "profile", PROFILE_CHECKPOINTS, 0)
        await usurper.acquire()
        await publish(broker, interleaved(make_events(10, 6, prefix="x"), MODEL))
        await asyncio.wait({profile}, timeout=PATIENCE_S)
        await usurper.release()
    assert isinstance(profile.exception(), PartitionFenced)
    assert judge.exception() is None
    assert (await collect(broker, PARTITIONS)).accounting == expected.accounting


async def _until_received(broker: str, rows: int) -> None:
    async def came_through() -> bool:
        found = await collect(broker, PARTITIONS)
        return any(account.received >= rows for account in found.accounting.values())

    await until(f"{rows} rows came through", came_through)


def _expected(records: list[InputRecord]) -> Results:
    run = InProcess(make_configuration(MODEL, idle_s=NEVER_IDLE_S), PARTITIONS)
    run.feed(records)
    run.flush(final=True)
    return run.results
