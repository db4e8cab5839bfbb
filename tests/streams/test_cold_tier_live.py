"""Segments under a real worker that is killed all the time: the account is that of a run in memory."""

import asyncio
import signal
from pathlib import Path

import numpy as np
import pytest

from deploy.stack.kafka import KafkaBroker
from detectors.values import Accounting
from streams.broker.admin import ensure_topics
from streams.topics import all_topics
from tests.streams import live
from tests.streams.stream_data import make_monitor, make_reference
from tests.streams.test_cold_tier import MODEL, SHORT, Line, stream

pytestmark = [pytest.mark.soak, pytest.mark.timeout(240)]

PROGRAM = live.PROGRAM.replace(
    "config = StreamsConfig(",
    """
from functools import partial
import streams.app
streams.app.ColdConfig = partial(streams.app.ColdConfig, least_rows=0)
config = StreamsConfig(segments=folder + "/segments", """,
)


async def test_a_worker_with_segments_that_is_killed_loses_and_doubles_nothing(
    kafka_broker: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = stream(11, rows=2_000)
    expected = Line(None)
    expected.run(records, set(), None)
    monkeypatch.setattr(live, "PROGRAM", PROGRAM)
    await ensure_topics(kafka_broker.bootstrap, all_topics(1))
    monitor = make_monitor(MODEL, **SHORT)
    references = [make_reference(MODEL, version) for version in ("1", "2")]
    await live.publish_configuration(kafka_broker.bootstrap, [monitor], references)
    worker = live.Worker("profile", kafka_broker.bootstrap, tmp_path, 1)
    try:
        worker.start()
        sending = asyncio.create_task(live.publish(kafka_broker.bootstrap, records, pause_s=0.05))
        rng, kills = np.random.default_rng(6), 0
        while not sending.done() or kills < 5:
            await asyncio.to_thread(worker.wait_ready)
            await asyncio.sleep(float(rng.uniform(0.3, 1.5)))
            assert worker.end(signal.SIGKILL) == -signal.SIGKILL
            worker.start(wait=False)
            kills += 1
        await sending
        found: dict[tuple[str, int], Accounting] = {}
        async with asyncio.timeout(60):
            while found.get((MODEL, 0)) != expected.accounting():
                await asyncio.sleep(0.5)
                found = (await live.collect(kafka_broker.bootstrap, 1)).accounting
        await asyncio.to_thread(worker.wait_ready)
        assert worker.end(signal.SIGTERM) == 0
    finally:
        worker.stop()
    assert len(list((tmp_path / "segments" / "partition-0").iterdir())) > 0
