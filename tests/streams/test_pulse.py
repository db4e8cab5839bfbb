"""What a worker says of itself while it runs: that its input holds nothing more, and that its consumer is gone."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaTimeoutError

from streams.broker.log import LogReader
from streams.stages import OffsetRange
from streams.worker import runtime
from streams.worker.checkpoint import CheckpointError
from streams.worker.role import StreamsConfig
from tests.patience import PATIENCE_S
from tests.streams.counting import counting_role
from tests.streams.parts import until
from tests.streams.running import make_counting_topics, running, send_numbers, until_counted

pytestmark = pytest.mark.slow


async def test_what_was_fetched_and_waits_for_the_stage_is_not_caught_up(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    await make_counting_topics(kafka, topic_prefix)
    config = StreamsConfig(broker=kafka, data_dir=tmp_path, partitions=1, checkpoint_interval_s=0.1)
    async with running(config, counting_role(topic_prefix)) as run:
        worker = cast(Any, run.worker)
        owned = worker._owned[0]
        await send_numbers(kafka, topic_prefix, [[1]])
        await until_counted(kafka, topic_prefix, 1)
        await until("all is read", lambda: worker._is_caught_up(owned))
        owned.free.clear()
        await send_numbers(kafka, topic_prefix, [[2], [3]])
        thread = worker._app.consumer._thread
        await until("they are fetched", lambda: max(thread._previous.values()) >= 2)
        assert not await worker._is_caught_up(owned)
        owned.free.set()
        await until_counted(kafka, topic_prefix, 3)
        await until("all is read", lambda: worker._is_caught_up(owned))


async def test_a_broker_that_does_not_answer_for_long_is_waited_for(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_counting_topics(kafka, topic_prefix)
    config = StreamsConfig(broker=kafka, data_dir=tmp_path, partitions=1, checkpoint_interval_s=0.1)
    async with running(config, counting_role(topic_prefix)) as run:
        asked = asyncio.Event()

        async def away(*_: object) -> OffsetRange:
            asked.set()
            raise KafkaTimeoutError("no offsets in 40 s")

        with monkeypatch.context() as patched:
            patched.setattr(LogReader, "bounds", away)
            await asked.wait()
            await send_numbers(kafka, topic_prefix, [[1]])
            worker = cast(Any, run.worker)
            await until("a checkpoint was written", lambda: worker._owned[0].saved_offset == 0)
        assert await until_counted(kafka, topic_prefix, 1) == [1]
        assert not run.task.done()


async def test_a_consumer_that_is_gone_is_noticed_by_who_waits_for_it(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_counting_topics(kafka, topic_prefix)
    asked = asyncio.Event()

    async def never_answered(*_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(runtime, "commit_offsets", never_answered)
    config = StreamsConfig(broker=kafka, data_dir=tmp_path, partitions=1, checkpoint_interval_s=0.1)
    async with running(config, counting_role(topic_prefix)) as run:
        await send_numbers(kafka, topic_prefix, [[1]])
        await asked.wait()
        await cast(Any, run.worker)._app.crash(RuntimeError("its thread has ended"))
        await asyncio.wait({run.task}, timeout=PATIENCE_S)
        with pytest.raises(CheckpointError, match="consumer has ended unexpectedly"):
            run.task.result()
