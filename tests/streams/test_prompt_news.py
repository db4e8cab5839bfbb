"""What somebody waits for goes out at once; everything else with the next checkpoint in its interval."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from streams.control.configuration import Configuration
from streams.stages import InputRecord
from streams.worker.owned import Owned
from streams.worker.rhythm import Rhythm
from streams.worker.role import Role, StreamsConfig
from tests.patience import PATIENCE_S
from tests.streams.counting import CountingStage, counting_role
from tests.streams.running import make_counting_topics, running, send_numbers, until_counted

_NEVER_S = 10 * PATIENCE_S


class _Speaking(CountingStage):
    """Says that somebody waits for what it has counted."""

    @property
    def has_news(self) -> bool:
        return bool(self._said)


def _speaking_role(prefix: str) -> Role:
    def make(partition: int, configuration: Configuration) -> CountingStage:
        return _Speaking(partition, prefix)

    return replace(counting_role(prefix), stage=make)


@pytest.mark.slow
async def test_news_do_not_wait_for_the_interval(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    await make_counting_topics(kafka, topic_prefix)
    config = StreamsConfig(broker=kafka, data_dir=tmp_path, partitions=1, checkpoint_interval_s=0.1)
    async with running(config, _speaking_role(topic_prefix)) as run:
        cast(Any, run.worker)._rhythm._interval_s = _NEVER_S
        await send_numbers(kafka, topic_prefix, [[1], [2]])
        assert await until_counted(kafka, topic_prefix, 2) == [1, 2]
        await send_numbers(kafka, topic_prefix, [[3]])
        assert await until_counted(kafka, topic_prefix, 3) == [1, 2, 3]


def _owned(stage: CountingStage, *, beaten_s: float = 0.0, beat_s: float = 0.0) -> Owned:
    owned = Owned(0, stage, cast(Any, None), 0, 0)
    owned.beaten_s, owned.beat_s = beaten_s, beat_s
    return owned


def _speaking() -> CountingStage:
    stage = _Speaking(0, "p")
    stage.process(InputRecord("in", 0, 0, None, b"[1]", ()))
    return stage


@pytest.mark.parametrize(
    ("stage", "waiting", "heard"),
    [
        (_speaking(), 0, True),
        (_speaking(), 1_000_000, False),
        (_speaking(), None, False),
        (_Speaking(0, "p"), 0, False),
        (CountingStage(0, "p"), 0, False),
    ],
    ids=["news", "much to read", "nobody knows", "nothing to say", "a stage that never says so"],
)
def test_only_news_of_who_has_caught_up_are_heard(
    stage: CountingStage, waiting: int | None, heard: bool
) -> None:
    owned = _owned(stage)
    Rhythm(1.0).listen(owned, waiting)
    assert owned.has_news is heard


async def test_slow_checkpoints_keep_news_waiting() -> None:
    now_s = time.monotonic()
    rhythm, stop = Rhythm(_NEVER_S), asyncio.Event()
    fast = _owned(_speaking(), beaten_s=now_s - 1, beat_s=0.1)
    slow = _owned(_speaking(), beaten_s=now_s - 1, beat_s=_NEVER_S)
    silent = _owned(_Speaking(0, "p"), beaten_s=now_s)
    overdue = _owned(_Speaking(0, "p"), beaten_s=now_s - _NEVER_S)
    for each in (fast, slow, silent, overdue):
        rhythm.listen(each, 0)
    assert await rhythm.due([fast, slow, silent, overdue], stop) == [fast, overdue]


async def test_the_interval_ends_the_wait_of_slow_checkpoints() -> None:
    slow = _owned(_speaking(), beaten_s=time.monotonic() - 1, beat_s=_NEVER_S)
    rhythm = Rhythm(0.5)
    rhythm.listen(slow, 0)
    assert await rhythm.due([slow], asyncio.Event()) == [slow]


async def test_who_waits_is_woken_by_news_and_by_the_end() -> None:
    rhythm, stop = Rhythm(_NEVER_S), asyncio.Event()
    owned = _owned(_speaking(), beaten_s=time.monotonic() - 1)
    waits = asyncio.create_task(rhythm.due([owned], stop))
    await asyncio.sleep(0)
    rhythm.listen(owned, 0)
    async with asyncio.timeout(PATIENCE_S):
        assert await waits == [owned]
    owned.beaten_s, owned.has_news = time.monotonic(), False
    waits = asyncio.create_task(rhythm.due([owned], stop))
    await asyncio.sleep(0)
    stop.set()
    rhythm.wake()
    async with asyncio.timeout(PATIENCE_S):
        assert await waits == []
