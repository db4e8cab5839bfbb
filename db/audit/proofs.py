"""Proofs that can be checked without us: what is handed out with an entry, and how it is checked."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, select

from db.audit.keys import Chain, load_chain
from db.audit.leaves import Leaf, told
from db.audit.merkle import leaf_hash, verify_inclusion
from db.audit.nodes import Nodes
from db.audit.note import Note
from db.audit.notefile import CHECKPOINTS, NoteFile
from db.audit.places import last_standing, restorations_of
from db.audit.sealed import Personal, commitment, dump, load
from db.audit.sequencer import KEY_NAME
from db.audit.tree import newest_note, size_of
from db.audit.witness import FOLDER, WITNESS_KEY
from db.engine import reading
from db.errors import AuditError, UnknownEntry
from db.tables import LeafRow
from remediation.values import AuditEntry

FORMAT = "homeostat-audit/1"
COLUMNS = (
    *("index", "id", "at", "actor", "action", "subject", "detail", "leaf_hash"),
    *("leaf", "personal", "proof", "statement"),
)
"""Of an export as CSV: what people read, then what is checked."""


class Cosigned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the witness signed last, and the proof that the checkpoint beside it continues that."""

    keys: tuple[str, ...]
    checkpoint: str
    consistency: tuple[str, ...]


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What entries are proven against: a signed checkpoint, the chain of the log's keys (`log.pub`, line by line) and
    the witness. `filter`: what was asked for. `complete`: whether all entries of the checkpoint follow, which then
    need no proofs of their own. `entries`: how many follow."""

    format: str = FORMAT
    keys: tuple[str, ...]
    checkpoint: str
    witness: Cosigned | None = None
    filter: dict[str, str | int] = {}
    complete: bool = False
    entries: int = 1


class Proven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry with all that is needed to check it: `leaf` is the text that is hashed, `personal` what it seals,
    `proof` the sibling hashes up to the root in base64, `entry` what it says."""

    index: int
    entry: AuditEntry
    leaf: str
    personal: Personal
    proof: tuple[str, ...] = ()


class Proofs:
    """Makes proofs from the database and the published files. `key_dir`, `witness_dir` as for `Witness`."""

    def __init__(self, engine: Engine, key_dir: Path, witness_dir: Path | None = None) -> None:
        self.engine = engine
        self._folder = key_dir
        self._witness_dir = witness_dir or key_dir / FOLDER

    def newest(self) -> Statement:
        """The newest checkpoint, with the keys and the witness's word. Raises `AuditError` as `inclusion`."""
        with reading(self.engine) as connection:
            return self.statement(connection)[2]

    def inclusion(self, entry: int | str) -> tuple[Statement, Proven]:
        """The proof for an entry, by its index or its id.

        Raises `AuditError` when it is not there, waits for its place, or the tree is not the one that was signed.
        """
        with reading(self.engine) as connection:
            column = LeafRow.idx if isinstance(entry, int) else LeafRow.id
            index = connection.scalar(select(LeafRow.idx).where(column == entry))
            note, nodes, statement = self.statement(connection)
            if index is None or index >= note.checkpoint.size:
                raise UnknownEntry(
                    f"There is no entry {entry} in the audit log, or it waits for its place in it."
                )
            return statement, next(iter(prove(connection, nodes, [index])))

    def consistency(self, old: int, new: int | None = None) -> dict[str, Any]:
        """The proof that the log of `new` entries (default: the newest checkpoint) begins with the `old` first ones."""
        with reading(self.engine) as connection:
            note, _, statement = self.statement(connection)
            size = note.checkpoint.size if new is None else new
            if not 0 < old <= size <= size_of(connection):
                raise UnknownEntry(
                    f"A proof needs 0 < old <= new <= {size_of(connection)} entries, got old={old} and new={size}."
                )
            nodes = Nodes(connection, size)
            return {
                "old": {"size": old, "root": encoded(Nodes(connection, old).root())},
                "new": {"size": size, "root": encoded(nodes.root())},
                "proof": [encoded(each) for each in nodes.consistency(old)],
                "checkpoint": statement.checkpoint,
                "keys": list(statement.keys),
            }

    def statement(self, connection: Connection) -> tuple[Note, Nodes, Statement]:
        """The newest checkpoint with the keys and the witness's word, held against the stored tree."""
        note = newest_note(connection)
        if note is None:
            raise UnknownEntry("The audit log has no checkpoint yet: nothing can be proven.")
        chain = self.chain()
        nodes = Nodes(connection, note.checkpoint.size)
        if nodes.root() != note.checkpoint.root:
            raise AuditError(
                "The stored tree is not the one that was signed last: the log was changed. `homeostat audit verify` "
                "says where."
            )
        witness = self._cosigned(connection, chain, nodes)
        lines = tuple(chain.text.split("\n"))
        return note, nodes, Statement(keys=lines, checkpoint=note.text(), witness=witness)

    def chain(self) -> Chain:
        """The log's public keys."""
        chain = load_chain(self._folder / f"{KEY_NAME}.pub")
        if chain is None:
            raise AuditError(
                f"{self._folder / KEY_NAME}.pub is missing: nothing can be proven without the key."
            )
        return chain

    def _cosigned(self, connection: Connection, chain: Chain, nodes: Nodes) -> Cosigned | None:
        file, key = (
            NoteFile(self._witness_dir / CHECKPOINTS),
            load_chain(self._witness_dir / f"{WITNESS_KEY}.pub"),
        )
        if key is None or not file.exists():
            return None
        note = last_standing(file, "witness", restorations_of(connection, chain))
        if note is None or not 0 < note.checkpoint.size <= nodes.size:
            return None
        proof = tuple(encoded(each) for each in nodes.consistency(note.checkpoint.size))
        return Cosigned(keys=tuple(key.text.split("\n")), checkpoint=note.text(), consistency=proof)


def prove(
    connection: Connection, nodes: Nodes, indices: Sequence[int], *, proofs: bool = True
) -> list[Proven]:
    """The entries at these places, in order, each with its proof."""
    query = select(LeafRow.idx, LeafRow.leaf, LeafRow.leaf_hash, LeafRow.personal).where(
        LeafRow.idx.in_(indices)
    )
    return [
        Proven(
            index=row.idx,
            entry=told(row.leaf, row.personal, index=row.idx, hash_hex=row.leaf_hash.hex()),
            leaf=row.leaf,
            personal=load(row.personal),
            proof=tuple(encoded(each) for each in nodes.inclusion(row.idx)) if proofs else (),
        )
        for row in connection.execute(query.order_by(LeafRow.idx))
    ]


def check_proven(proven: Proven, note: Note, *, proof: bool = True) -> tuple[bytes, list[str]]:
    """Hold an entry against a checkpoint. Returns its hash, and what is wrong with it."""
    problems: list[str] = []
    hashed = leaf_hash(proven.leaf.encode())
    name, checkpoint = f"Entry {proven.index}", note.checkpoint
    try:
        path = decoded(proven.proof)
    except ValueError as error:
        return hashed, [f"The proof of entry {proven.index} cannot be read: {error}."]
    if proof and not verify_inclusion(hashed, proven.index, checkpoint.size, path, checkpoint.root):
        problems.append(f"{name} is not in the log: its proof does not lead to the checkpoint's root.")
    try:
        leaf = msgspec.json.decode(proven.leaf, type=Leaf)
        entry = told(proven.leaf, dump(proven.personal), index=proven.index, hash_hex=hashed.hex())
    except ValueError as error:
        return hashed, [*problems, f"{name} cannot be read: {error}."]
    for field, (salt, value) in proven.personal.items():
        if leaf.sealed.get(field) != commitment(salt, field, value):
            problems.append(
                f"{name} was edited: the value given for {field} is not the one that its text sealed."
            )
    if entry != proven.entry:
        problems.append(f"{name} was edited: what it is said to say is not what its text says.")
    return hashed, problems


def encoded(hashed: bytes) -> str:
    """A hash in base64."""
    return base64.b64encode(hashed).decode()


def decoded(hashes: Sequence[str]) -> list[bytes]:
    """Hashes from base64. Raises `ValueError` for any other form than `encoded` gives."""
    found = [base64.b64decode(each, validate=True) for each in hashes]
    if [encoded(each) for each in found] != list(hashes):
        raise ValueError("a hash is not in its one proper form")
    return found
