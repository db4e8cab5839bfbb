"""Giving audit leaves their place in the Merkle tree, and signing what the tree then is."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy import Connection, Engine, bindparam, insert, select, update

from db.audit.merkle import EMPTY_ROOT, Edge, leaf_hash
from db.audit.note import ED25519, Checkpoint, Note, Signer, create_key, load_signer, parse
from db.audit.notefile import CHECKPOINTS, NoteFile, locked
from db.engine import reading, writing
from db.errors import AuditError, StoreError
from db.tables import CheckpointRow, LeafRow, TreeRow

KEY_NAME = "log"
BATCH = 10_000
"""Leaves per transaction: about a second on either database."""

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
        self._folder = key_dir
        self._file = NoteFile(key_dir / CHECKPOINTS)

    def run_once(self) -> int:
        """Sequence what waits, sign, publish. Returns how many leaves got their place; 0 costs two small
        reads."""
        with locked(self._folder):
            signer = self._signer()
            if signer is None:
                return 0
            done = 0
            while self._waiting():
                count = self._sequence(signer)
                done += count
                if count < BATCH:
                    break
            self._publish()
            return done

    def _signer(self) -> Signer | None:
        """The key; None when there is neither a key nor anything to sign."""
        signer = load_signer(self._folder, KEY_NAME)
        with reading(self._engine) as connection:
            size = _size(connection)
        if size > 0 and (signer is None or not self._file.exists()):
            raise AuditError(
                f"The audit log holds {size} entries, but {self._folder} lacks its key or its {CHECKPOINTS}. "
                "Point the sequencer to the folder that was used before, or restore it from a backup."
            )
        if signer is None and self._waiting():
            origin = f"homeostat-audit-{time.time_ns():x}"
            self._file.create()
            signer = create_key(self._folder, KEY_NAME, origin=origin, kind=ED25519)
            _log.info("A new audit log begins.", origin=origin, key=signer.verifier.text)
        return signer

    def _waiting(self) -> bool:
        with reading(self._engine) as connection:
            return (
                connection.scalar(select(LeafRow.position).where(LeafRow.idx.is_(None)).limit(1)) is not None
            )

    def _sequence(self, signer: Signer) -> int:
        with writing(self._engine) as connection:
            edge = _stored_edge(connection)
            published = self._file.last()
            if published is not None:
                _check_covers(connection, published, edge.size)
            waiting = connection.execute(
                select(LeafRow.position, LeafRow.leaf)
                .where(LeafRow.idx.is_(None))
                .order_by(LeafRow.position)
                .limit(BATCH)
            ).all()
            if not waiting:
                return 0
            places = _grow(edge, waiting)
            connection.execute(
                update(LeafRow).where(LeafRow.position == bindparam("at")).values(idx=bindparam("place")),
                places,
            )
            note = signer.sign(Note(Checkpoint(signer.verifier.name, edge.size, edge.root()), ()), 0)
            connection.execute(update(TreeRow).values(size=edge.size, edge=edge.to_bytes()))
            now_us = time.time_ns() // 1_000
            connection.execute(insert(CheckpointRow).values(size=edge.size, at_us=now_us, note=note.text()))
        return len(waiting)

    def _publish(self) -> None:
        """Append the checkpoints of the database that the file does not have yet."""
        published = self._file.last()
        after = 0 if published is None else published.checkpoint.size
        with reading(self._engine) as connection:
            if published is not None:
                _check_covers(connection, published, _size(connection))
            query = select(CheckpointRow.note).where(CheckpointRow.size > after).order_by(CheckpointRow.size)
            notes = [_note(text) for text in connection.scalars(query)]
        if notes:
            self._file.append(notes)


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


def _size(connection: Connection) -> int:
    return connection.execute(select(TreeRow.size)).scalar_one_or_none() or 0


def _stored_edge(connection: Connection) -> Edge:
    """The tree as it was left, locked until the end of the transaction; it must give the root signed last."""
    tree = connection.execute(select(TreeRow.size, TreeRow.edge).with_for_update()).one_or_none()
    text = connection.scalar(select(CheckpointRow.note).order_by(CheckpointRow.size.desc()).limit(1))
    signed = (0, EMPTY_ROOT) if text is None else (_note(text).checkpoint.size, _note(text).checkpoint.root)
    try:
        edge = None if tree is None else Edge.from_bytes(tree.size, tree.edge)
    except ValueError:
        edge = None
    if edge is None or (edge.size, edge.root()) != signed:
        raise AuditError(
            f"The audit tree in the database is not the one whose root was signed last ({signed[0]}): "
            "it was changed by hand. Nothing is signed until this is settled."
        )
    return edge


def _note(text: str) -> Note:
    try:
        return parse(text)
    except ValueError as error:
        raise AuditError(f"A checkpoint in the database was changed by hand: {error}.") from error


def _grow(edge: Edge, waiting: Sequence[tuple[int, str]]) -> list[dict[str, int]]:
    places: list[dict[str, int]] = []
    for position, leaf in waiting:
        places.append({"at": position, "place": edge.size})
        edge.append(leaf_hash(leaf.encode()))
    return places


def _check_covers(connection: Connection, published: Note, size: int) -> None:
    stated = published.checkpoint
    if size < stated.size:
        raise AuditError(
            f"The checkpoint file vouches for {stated.size} audit entries, the database holds {size}: "
            "entries were cut off, or an old backup was restored. Nothing is signed until this is settled."
        )
    text = connection.scalar(select(CheckpointRow.note).where(CheckpointRow.size == stated.size))
    if text is None or _note(text).checkpoint != stated:
        raise AuditError(
            f"The checkpoint of {stated.size} audit entries in the file is not the one in the database: the "
            "log was forked or rewritten. Nothing is signed until this is settled."
        )
