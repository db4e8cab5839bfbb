"""Giving audit leaves their place in the Merkle tree, and signing what the tree then is."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy import Connection, Engine, select

from db.audit.acts import Restoration
from db.audit.keys import create_key, load_chain, load_signer, settle, waiting_key
from db.audit.note import Note, Signer
from db.audit.notefile import CHECKPOINTS, NoteFile
from db.audit.places import last_standing, restorations_of
from db.audit.tree import newest_note, place_waiting, sign, size_of, stored_edge, stored_note
from db.ed25519 import ED25519
from db.engine import reading, writing
from db.errors import AuditError, StoreError
from db.keyfiles import locked
from db.tables import CheckpointRow, LeafRow

KEY_NAME = "log"
BATCH = 10_000
"""Leaves per transaction: less than a second on either database."""

_log = structlog.get_logger()


class Sequencer:
    """Puts the leaves that have no place yet into the tree, signs a checkpoint, and writes it into the
    database and into `KEY_DIR/checkpoints.txt`.

    The file follows the database: a crash between the two leaves the file behind, and the next run catches
    up. Were it the other way round, a crash would look like a cut-off log. Any number of sequencers may run;
    the lock on the tree's row lets one in at a time. The key (`KEY_DIR/log.key`, mode 0600) is made on first
    use.

    It refuses (`AuditError`) to sign a tree that contradicts the file: after that only a person can say what
    is true.
    """

    def __init__(self, engine: Engine, key_dir: Path) -> None:
        self._engine = engine
        self.folder = key_dir
        self.file = NoteFile(key_dir / CHECKPOINTS)

    def run_once(self) -> int:
        """Sequence what waits, sign, publish. Returns how many leaves got their place; 0 costs a few small
        reads."""
        with locked(self.folder):
            signer = self.signer()
            return 0 if signer is None else self.run_locked(signer)

    def run_locked(self, signer: Signer) -> int:
        """`run_once` for who holds the folder's lock and its key."""
        done = 0
        while self._waiting():
            count = self.sequence([signer])
            done += count
            if count < BATCH:
                break
        self.publish()
        return done

    def signer(self) -> Signer | None:
        """The key; None when there is neither a key nor anything to sign. Ends a change of keys that a crash
        interrupted."""
        next_key = waiting_key(self.folder, KEY_NAME)
        if next_key is not None:
            with reading(self._engine) as connection:
                newest = newest_note(connection)
            settle(self.folder, KEY_NAME, took_over=newest is not None and next_key.signed(newest))
        signer = load_signer(self.folder, KEY_NAME)
        with reading(self._engine) as connection:
            size = size_of(connection)
        if size > 0 and (signer is None or not self.file.exists()):
            raise AuditError(
                f"The audit log holds {size} entries, but {self.folder} lacks its key or its {CHECKPOINTS}. "
                "Point the sequencer to the folder that was used before, or restore it from a backup."
            )
        if signer is None and self._waiting():
            origin = f"homeostat-audit-{time.time_ns():x}"
            self.file.create()
            signer = create_key(self.folder, KEY_NAME, origin=origin, kind=ED25519)
            _log.info("A new audit log begins.", origin=origin, key=signer.verifier.text)
        return signer

    def sequence(
        self,
        signers: Sequence[Signer],
        write: Callable[[Connection], object] | None = None,
        *,
        restored: bool = False,
    ) -> int:
        """One transaction: what `write` adds, places for what waits, and a checkpoint with each signer's signature.
        Returns how many leaves got their place. `restored`: the log is known to lack what the file vouches for."""
        with writing(self._engine) as connection:
            edge = stored_edge(connection)
            if not restored:
                published = self._published(connection)
                if published is not None:
                    _check_covers(connection, published, edge.size)
            if write is not None:
                write(connection)
            count = more = place_waiting(connection, edge, BATCH)
            while write is not None and more:
                more = place_waiting(connection, edge, BATCH)
                count += more
            if count:
                sign(connection, edge, signers)
            return count

    def publish(self) -> None:
        """Append the checkpoints of the database that the file does not have yet."""
        with reading(self._engine) as connection:
            published = self._published(connection)
            if published is not None:
                _check_covers(connection, published, size_of(connection))
            after = 0 if published is None else published.checkpoint.size
            query = select(CheckpointRow.note).where(CheckpointRow.size > after).order_by(CheckpointRow.size)
            notes = [stored_note(text) for text in connection.scalars(query)]
        if notes:
            self.file.append(notes)

    def restorations(self, connection: Connection) -> list[Restoration]:
        """Every restoration from a backup that the log tells of."""
        return restorations_of(connection, load_chain(self.folder / f"{KEY_NAME}.pub"))

    def _published(self, connection: Connection) -> Note | None:
        return last_standing(self.file, "file", self.restorations(connection))

    def _waiting(self) -> bool:
        with reading(self._engine) as connection:
            return (
                connection.scalar(select(LeafRow.position).where(LeafRow.idx.is_(None)).limit(1)) is not None
            )


class Periodic(Protocol):
    """What `keep` runs: a sequencer or a witness."""

    def run_once(self) -> int: ...


async def keep(parts: Sequence[Periodic], *, interval_s: float = 0.5) -> None:
    """Run each part every `interval_s` until cancelled; a failure is logged when it begins and tried
    again."""
    failing: dict[int, str] = {}
    while True:
        for number, part in enumerate(parts):
            try:
                await asyncio.to_thread(part.run_once)
            except (StoreError, OSError) as error:
                if failing.get(number) != str(error):
                    _log.error("The audit log waits.", part=type(part).__name__, reason=str(error))
                failing[number] = str(error)
            else:
                if failing.pop(number, None) is not None:
                    _log.info("The audit log goes on.", part=type(part).__name__)
        await asyncio.sleep(interval_s)


def _check_covers(connection: Connection, published: Note, size: int) -> None:
    stated = published.checkpoint
    if size < stated.size:
        raise AuditError(
            f"The checkpoint file vouches for {stated.size} audit entries, the database holds {size}: "
            "entries were cut off, or an old backup was restored. Nothing is signed until this is settled: after a "
            "restore by `homeostat audit restored`."
        )
    text = connection.scalar(select(CheckpointRow.note).where(CheckpointRow.size == stated.size))
    if text is None or stored_note(text).checkpoint != stated:
        raise AuditError(
            f"The checkpoint of {stated.size} audit entries in the file is not the one in the database: the "
            "log was forked or rewritten. Nothing is signed until this is settled."
        )
