"""No worker waits without end for what cannot come, and each says what it waited for."""

import asyncio
from pathlib import Path

import pytest

import streams.worker.checkpoint
import streams.worker.driver
from deploy.stack.kafka import KafkaBroker
from streams.app import StreamsConfig, profile_role
from streams.broker.admin import ensure_topics
from streams.broker.log import LogReader
from streams.topics import all_topics
from streams.worker.checkpoint import CheckpointError, CheckpointLog
from streams.worker.runtime import Worker
from tests.patience import PATIENCE_S


async def test_who_is_never_granted_a_partition_is_told_and_leaves_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody listens there and never answers."""
    monkeypatch.setattr(streams.worker.checkpoint, "_ACQUIRE_TIMEOUT_S", 0.2)
    hung_up = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        hung_up.set()

    async with await asyncio.start_server(listen, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        log = CheckpointLog(f"127.0.0.1:{port}", "loan", "loan.checkpoints", 0)
        with pytest.raises(
            CheckpointError, match=r"has not granted the writing of checkpoints within 0\.2 s"
        ):
            async with asyncio.timeout(PATIENCE_S):
                await log.acquire()
        async with asyncio.timeout(PATIENCE_S):
            await hung_up.wait()


async def test_a_worker_that_gets_no_place_in_its_group_ends_and_says_why(
    kafka_broker: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams.worker.driver, "_PLACE_WAIT_S", 0.0)
    config = StreamsConfig(broker=kafka_broker.bootstrap, data_dir=tmp_path, partitions=1)
    await ensure_topics(config.broker, all_topics(1))
    async with LogReader(config.broker, "test-place") as reader:
        with pytest.raises(CheckpointError, match="no place in its group homeostat-profile within 0 s"):
            async with asyncio.timeout(PATIENCE_S):
                await Worker(config, profile_role(config), reader).run()
