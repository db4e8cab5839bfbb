"""Slow work of a stage is done in a thread: the loop goes on, and nobody else touches the stage meanwhile."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.control.configuration import Configuration
from streams.stages import Flush, InputRecord
from streams.worker.owned import Owned
from streams.worker.role import Role, StreamsConfig
from tests.streams.counting import CountingStage, counting_role
from tests.streams.parts import until
from tests.streams.running import counts, make_counting_topics, running, send_numbers, until_counted

_WORK_S = 0.3


class Filer(CountingStage):
    """Files before every flush, and notices who comes meanwhile."""

    def __init__(self, partition: int, prefix: str) -> None:
        super().__init__(partition, prefix)
        self.works = False
        self.filed = self.cleaned = 0
        self.in_loop = True
        self.disturbed: list[str] = []

    def _note(self, who: str) -> None:
        if self.works:
            self.disturbed.append(who)

    def process(self, record: InputRecord) -> None:
        self._note("process")
        super().process(record)

    def tick(self, now_us: int, caught_up: bool) -> None:
        self._note("tick")

    def flush(self, final: bool = False) -> Flush | None:
        self._note("flush")
        return super().flush(final)

    def slow_work(self) -> Callable[[], None] | None:
        return self._file if self.offset != self._flushed else None

    def _file(self) -> None:
        self.works = True
        self.in_loop = threading.current_thread() is threading.main_thread()
        threading.Event().wait(_WORK_S)
        self.filed += 1
        self.works = False

    def committed(self) -> None:
        self.cleaned += 1


@pytest.mark.slow
async def test_a_worker_goes_on_while_a_stage_files(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    made: list[Filer] = []

    def make(partition: int, configuration: Configuration) -> Filer:
        made.append(Filer(partition, topic_prefix))
        return made[-1]

    parts = counting_role(topic_prefix)
    role = Role(parts.name, parts.input, parts.checkpoints, make, parts.state_topics, parts.parts)
    config = StreamsConfig(broker=kafka, data_dir=tmp_path, partitions=1, checkpoint_interval_s=0.05)
    await make_counting_topics(kafka, topic_prefix)
    async with running(config, role) as one:
        seen, number = 0, 0
        while seen < 20 or made[0].filed < 3:
            await send_numbers(kafka, topic_prefix, [[number]])
            number += 1
            seen += made[0].works
        await until_counted(kafka, topic_prefix, number - 1)
        await send_numbers(kafka, topic_prefix, [[number]])
    assert one.task.exception() is None
    (stage,) = made
    assert (stage.disturbed, stage.in_loop) == ([], False)
    assert stage.cleaned >= stage.filed - 1
    found = await counts(kafka, topic_prefix)
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= number


async def test_who_is_told_to_go_waits_for_the_thread() -> None:
    """A second checkpoint would find the stage in the middle of its work."""
    stage = Filer(0, "t")
    stage.offset = 3
    owned = Owned(0, stage, None, 0, 0)  # pyright: ignore[reportArgumentType]  (there is nothing to write yet)
    saving = asyncio.create_task(owned.save())
    await until("it files", lambda: stage.works, 10)
    assert not owned.free.is_set()
    saving.cancel()
    await asyncio.wait({saving})
    assert saving.cancelled()
    assert (stage.works, stage.filed, owned.free.is_set()) == (False, 1, True)
