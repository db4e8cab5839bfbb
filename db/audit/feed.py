"""The checkpoints on a topic: a copy that neither the database's nor the folder's owner can change."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from db.audit.note import Note
from db.audit.notefile import CHECKPOINTS, NoteFile
from db.errors import AuditError

if TYPE_CHECKING:
    from remediation.bus import Bus

_log = structlog.get_logger()


class Feed:
    """Publishes every note of the checkpoint file, once and in order; after a crash it goes on behind the last one
    that is there. Where the topic ends with a note that the file does not hold, the file was changed: nothing is
    published then, and `verify` with the topic says what happened."""

    def __init__(self, bus: "Bus", topic: str, key_dir: Path) -> None:
        self._bus = bus
        self._topic = topic
        self._file = NoteFile(key_dir / CHECKPOINTS)
        self._offset: int | None = None

    async def keep(self, *, interval_s: float = 0.5) -> None:
        """Publish what is new every `interval_s` until cancelled; a failure is logged when it begins."""
        failing = ""
        while True:
            try:
                await self.run_once()
                failing = ""
            except (AuditError, OSError) as error:
                if failing != str(error):
                    _log.error("Checkpoints of the audit log wait for their topic.", reason=str(error))
                failing = str(error)
            await asyncio.sleep(interval_s)

    async def run_once(self) -> int:
        """Publish what is new. Returns how many notes."""
        if not self._file.exists():
            return 0
        if self._offset is None:
            notes, end = await self._unpublished()
        else:
            notes, end = await asyncio.to_thread(self._file.since, self._offset)
        for note in notes:
            await self._bus.publish(
                self._topic, key=str(note.checkpoint.size).encode(), value=note.text().encode()
            )
        self._offset = end
        return len(notes)

    async def _unpublished(self) -> tuple[list[Note], int]:
        notes, end = await asyncio.to_thread(self._file.since, 0)
        there = [message.value for message in await self._bus.read_all(self._topic)]
        if not there:
            return notes, end
        texts = [note.text().encode() for note in notes]
        if there[-1] not in texts:
            raise AuditError(
                f"The topic {self._topic} ends with a checkpoint that {self._file.path} does not hold: the file was "
                "changed, or an old copy of it restored."
            )
        return notes[texts.index(there[-1]) + 1 :], end
