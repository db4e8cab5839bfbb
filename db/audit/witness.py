"""A second pair of eyes: it signs a checkpoint only if the log still begins with what it signed before."""

import time
from pathlib import Path

import structlog
from sqlalchemy import Connection, Engine, select

from db.audit.keys import Chain, create_key, create_next, load_chain, load_signer, settle, waiting_key
from db.audit.merkle import TILE, Edge, leaf_hash
from db.audit.note import COSIGNATURE, Note, Signer, Verifier
from db.audit.notefile import CHECKPOINTS, NoteFile
from db.audit.places import last_standing, restorations_of
from db.audit.sequencer import KEY_NAME
from db.engine import reading
from db.errors import AuditError
from db.keyfiles import locked, write_file
from db.tables import LeafRow

FOLDER = "witness"
WITNESS_KEY = "witness"
PINNED = "log.pub"

_log = structlog.get_logger()


class Witness:
    """Cosigns the log's checkpoints with a key of its own, into a file of its own
    (`WITNESS_DIR/checkpoints.txt`).

    It keeps the right edge of the tree it signed last, reads the entries that came since from the database,
    and grows its own tree with them: it signs when its root is the one that the log states. That is
    consistency with the last cosigned checkpoint and, beyond it, that the new entries are really there. It
    trusts the log's key that it sees first, and later only keys that a trusted one has handed over to. After a
    restore from a backup it goes on only when the log has a signed entry that names exactly what the witness
    had cosigned. To be worth more than the log itself, its folder belongs on another disk, under another user.

    `key_dir`: the log's folder, of which it reads `log.pub` and `checkpoints.txt`. `witness_dir`: default
    `key_dir/witness`.
    """

    def __init__(self, engine: Engine, key_dir: Path, witness_dir: Path | None = None) -> None:
        self._engine = engine
        self._log_dir = key_dir
        self._folder = witness_dir or key_dir / FOLDER
        self._published = NoteFile(key_dir / CHECKPOINTS)
        self._file = NoteFile(self._folder / CHECKPOINTS)
        self._edge: Edge | None = None

    def run_once(self) -> int:
        """Cosign the newest checkpoint. Returns how many entries it covers that were not covered before.

        Raises `AuditError` when the log contradicts what was cosigned, or is not signed by the log's key.
        """
        chain = load_chain(self._log_dir / f"{KEY_NAME}.pub")
        newest = self._published.last() if self._published.exists() else None
        if chain is None or newest is None:
            return 0
        with locked(self._folder):
            signer = self._signer()
            self._check_keys(chain)
            with reading(self._engine) as connection:
                last = last_standing(self._file, "witness", restorations_of(connection, chain))
                if last is not None and last.checkpoint == newest.checkpoint:
                    return 0
                if not chain.newest.signed(newest):
                    raise AuditError("The newest checkpoint does not carry the signature of the log's key.")
                self._check_consistent(connection, last, newest)
            self._file.append([signer.sign(newest, time.time_ns() // 1_000_000_000)])
            return newest.checkpoint.size - (0 if last is None else last.checkpoint.size)

    def rotate(self) -> tuple[Verifier, Verifier]:
        """Cosign with a new key from now on: the old one and the new one. What the old one cosigned stays valid, its
        private half is gone; a crash leaves one of the two in use. Raises `AuditError` where there is none yet."""
        with locked(self._folder):
            self.key()
            old = self._signer()
            new, _ = create_next(self._folder, WITNESS_KEY, old)
            settle(self._folder, WITNESS_KEY, took_over=True)
            return old.verifier, new.verifier

    def key(self) -> Signer:
        """The key in use. Raises `AuditError` where there is none yet."""
        found = load_signer(self._folder, WITNESS_KEY)
        if found is None:
            raise AuditError(f"The witness in {self._folder} has no key yet: it has cosigned nothing.")
        return found

    def _signer(self) -> Signer:
        if waiting_key(self._folder, WITNESS_KEY) is not None:
            # It was handed over before it was written, so whoever comes next ends what a crash interrupted.
            settle(self._folder, WITNESS_KEY, took_over=True)
        signer = load_signer(self._folder, WITNESS_KEY)
        if signer is None:
            self._file.create()
            origin = f"homeostat-witness-{time.time_ns():x}"
            signer = create_key(self._folder, WITNESS_KEY, origin=origin, kind=COSIGNATURE)
            _log.info("A new witness watches the audit log.", key=signer.verifier.text)
        elif not self._file.exists():
            raise AuditError(f"The witness's file {self._file.path} is gone. Restore it from a backup.")
        return signer

    def _check_keys(self, chain: Chain) -> None:
        pinned = load_chain(self._folder / PINNED)
        if pinned is not None and not chain.follows(pinned):
            raise AuditError(
                f"The log's key is {chain.newest.text}, the witness knows {pinned.newest.text}, which did not hand "
                "over to it: another log."
            )
        if chain != pinned:
            write_file(self._folder / PINNED, chain.text, 0o644)

    def _check_consistent(self, connection: Connection, last: Note | None, newest: Note) -> None:
        if last is not None and newest.checkpoint.size <= last.checkpoint.size:
            raise AuditError(
                f"The log states {newest.checkpoint.size} entries in its newest checkpoint, the witness "
                f"cosigned {last.checkpoint.size}: it was cut off or rewritten, or an old backup restored."
            )
        edge = self._own_edge(connection, last)
        _extend(connection, edge, newest.checkpoint.size)
        if edge.root() != newest.checkpoint.root:
            self._edge = None
            raise AuditError(
                f"The {newest.checkpoint.size} entries in the database do not give the root that the log "
                "signed: entries were changed after they were sequenced."
            )
        self._edge = edge

    def _own_edge(self, connection: Connection, last: Note | None) -> Edge:
        """The edge at the last cosigned checkpoint; after a restart it is computed again, and checked."""
        size = 0 if last is None else last.checkpoint.size
        if (
            self._edge is not None
            and self._edge.size == size
            and (last is None or self._edge.root() == last.checkpoint.root)
        ):
            return Edge(size, self._edge.hashes)
        edge = Edge()
        _extend(connection, edge, size)
        if last is not None and edge.root() != last.checkpoint.root:
            raise AuditError(
                f"The first {size} entries in the database are not those that the witness cosigned: the log "
                "was rewritten or forked."
            )
        return edge


def _extend(connection: Connection, edge: Edge, size: int) -> None:
    query = (
        select(LeafRow.idx, LeafRow.leaf)
        .where(LeafRow.idx >= edge.size, LeafRow.idx < size)
        .order_by(LeafRow.idx)
    )
    for block in connection.execute(query, execution_options={"yield_per": TILE}).partitions():
        follow_on = [leaf for place, (index, leaf) in enumerate(block, edge.size) if index == place]
        edge.extend([leaf_hash(leaf.encode()) for leaf in follow_on])
        if len(follow_on) < len(block):
            break
    edge.tiles.clear()
    if edge.size != size:
        raise AuditError(
            f"Entry {edge.size} of the audit log is missing, though the log signed {size} entries."
        )
