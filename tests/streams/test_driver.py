"""What this project changes about Faust's Kafka driver, without a broker."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from faust.types import TP

from streams.worker.driver import new_app

PLACE = TP("in", 0)


class Nowhere:
    def positions(self) -> Mapping[TP, int]:
        return {}


@pytest.fixture
async def full(tmp_path: Path) -> AsyncIterator[Any]:
    """A consumer of one partition whose buffer is full."""
    consumer = cast(Any, new_app("test", "127.0.0.1:1", "0", str(tmp_path), Nowhere()).consumer)
    consumer._set_active_tps({PLACE})
    consumer.on_buffer_full(PLACE)
    yield consumer
    consumer._thread.thread_loop.close()


async def test_fetching_goes_on_as_soon_as_a_full_buffer_has_room(full: Any) -> None:
    clock = asyncio.get_running_loop()
    fetched: list[set[TP]] = []

    async def getmany(active_partitions: set[TP], timeout: float) -> dict[TP, list[Any]]:
        fetched.append(set(active_partitions))
        return {}

    full._getmany = getmany
    waiting, began_s = asyncio.create_task(full._wait_next_records(60.0)), clock.time()
    await asyncio.sleep(0)
    assert not fetched
    full.on_buffer_drop(PLACE)
    await waiting
    assert fetched == [{PLACE}]
    assert clock.time() - began_s < 30


async def test_a_buffer_that_stays_full_is_not_fetched_for(full: Any) -> None:
    assert await full._wait_next_records(60.0) == ({}, set())
