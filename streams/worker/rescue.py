"""A stage has failed on a record: back to the last checkpoint, come again, and set aside what fails."""

import asyncio
from collections.abc import Sequence

import structlog

from streams.broker.log import LogReader
from streams.control.configuration import Configuration
from streams.stages import InputRecord, Stage
from streams.worker.checkpoint import Saved
from streams.worker.owned import Owned
from streams.worker.poison import isolate
from streams.worker.role import Role

_log = structlog.get_logger()


class Rescue:
    """For the partitions of one worker. `owned.lock` is held throughout, so that nobody writes a checkpoint of a stage
    that is half changed."""

    def __init__(self, role: Role, reader: LogReader, configuration: Configuration) -> None:
        self._role = role
        self._reader = reader
        self._configuration = configuration

    async def set_aside(self, owned: Owned, record: InputRecord, error: Exception) -> None:
        """Give `owned` a stage that contains `record` but for the rows on which it fails; those are dead letters.

        Raises `CheckpointError` where a checkpoint cannot be read or written, and aiokafka's `KafkaError`: trouble with
        the broker is no reason to set anything aside.
        """
        _log.warning(
            "The stage failed on a record; going back to the last checkpoint to find out on what.",
            role=self._role.name,
            partition=owned.partition,
            offset=record.offset,
            reason=repr(error),
        )
        owned.isolating = True
        async with owned.lock:
            while owned.isolating:
                owned.isolating = await self._come_again(owned, record.offset)
        owned.took(record)

    async def _come_again(self, owned: Owned, last: int) -> bool:
        """From the last checkpoint up to `last`, or up to behind the first record that fails; whether more is to
        come."""
        saved = await owned.log.read(self._reader, owned.saved_offset)
        stage = self._fresh(owned, saved)
        first = max(stage.offset + 1, owned.first_offset)
        records = await self._reader.read(self._role.input, owned.partition, first, last)
        for place, record in enumerate(records):
            try:
                await _take([record], stage)
            except Exception:  # noqa: BLE001  (whatever a bug in the stage may raise)
                await self._isolate(owned, saved, records[:place], record)
                return record.offset < last
        owned.stage = stage
        return False

    async def _isolate(
        self, owned: Owned, saved: Saved | None, before: Sequence[InputRecord], record: InputRecord
    ) -> None:
        """Checkpoint what stands before the record, decide about it, and checkpoint that: it is decided once."""
        owned.stage = self._fresh(owned, saved)
        if before:
            await _take(before, owned.stage)
            await owned.save()
            saved = await owned.log.read(self._reader, owned.saved_offset)
        found = await isolate(record, lambda: self._fresh(owned, saved), self._role.parts, self._role.name)
        owned.stage = found.stage
        owned.letters += found.letters
        owned.meters.poisoned += found.rows
        await owned.save()

    def _fresh(self, owned: Owned, saved: Saved | None) -> Stage:
        stage = self._role.stage(owned.partition, self._configuration)
        if saved is not None:
            saved.into(stage)
        return stage


async def _take(records: Sequence[InputRecord], stage: Stage) -> None:
    for record in records:
        await asyncio.sleep(0)
        stage.unconfigured(record)
        stage.process(record)
