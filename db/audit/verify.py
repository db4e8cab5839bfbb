"""Checking the whole audit log against everything that was ever signed, and the tables against the log."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, select

from db.audit.merkle import Edge, leaf_hash
from db.audit.rows import LastWrites
from db.audit.statements import Findings, Statement, check_same, in_database, in_files, log_key
from db.audit.witness import FOLDER
from db.engine import reading
from db.tables import LeafRow, TreeRow
from remediation.values import AuditEntry


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found.

    `entries`: leaves with a place in the tree. `pending`: leaves that wait for the sequencer. `checkpoints`:
    signed statements checked, over the database, the file and the witness. `problems`: one sentence each;
    none means that the log is whole.
    """

    ok: bool
    entries: int
    problems: list[str]
    pending: int = 0
    checkpoints: int = 0


def verify(engine: Engine, key_dir: Path, witness_dir: Path | None = None) -> VerifyReport:
    """Recompute every leaf hash and the tree, in linear time, and compare with every checkpoint there is.

    It shows: an entry edited, removed, inserted or put elsewhere; a tail cut off, also by restoring an old
    backup; a log forked or signed with another key; a checkpoint removed; a state row changed, added or
    removed without an entry. It cannot show a log cut off together with the checkpoint file and the witness's
    file, nor one rewritten by somebody who holds both private keys: keep the witness elsewhere.

    May run while the log grows: the files are read before the database.
    """
    findings = Findings()
    key = log_key(findings, key_dir)
    outside = in_files(findings, key, key_dir, witness_dir or key_dir / FOLDER)
    rows = LastWrites()
    with reading(engine) as connection:
        inside = in_database(findings, connection, key)
        check_same(findings, outside, inside)
        walk = _Walk(findings, rows, [*inside, *outside])
        walk.run(connection)
        _check_tree(findings, connection, walk)
        if walk.entries and key is None:
            findings.add("The log's public key (log.pub) is missing, so no signature can be checked.")
        pending = _check_pending(findings, connection, rows)
        for problem in rows.problems(connection):
            findings.add(problem)
    return VerifyReport(
        ok=not findings.problems,
        entries=walk.entries,
        problems=findings.problems,
        pending=pending,
        checkpoints=len(inside) + len(outside),
    )


class _Walk:
    """Grows the tree over the entries in their order, and holds it against each checkpoint on the way."""

    def __init__(self, findings: Findings, rows: LastWrites, statements: list[Statement]) -> None:
        self.edge = Edge()
        self.entries = 0
        self._findings = findings
        self._rows = rows
        self._ahead = sorted(statements, key=lambda statement: -statement.checkpoint.size)
        self._largest = self._ahead[0].checkpoint.size if self._ahead else 0
        self._agreed = 0
        self._contradicted: set[str] = set()

    def run(self, connection: Connection) -> None:
        """One pass. After a gap the tree cannot grow any more, but the entries are still read."""
        query = select(LeafRow).where(LeafRow.idx.is_not(None)).order_by(LeafRow.idx)
        whole = True
        for leaf in connection.execute(query, execution_options={"yield_per": 1_000}):
            self.entries += 1
            if whole and leaf.idx != self.edge.size:
                self._findings.add(_missing(self.edge.size, leaf.idx - 1))
                whole = False
            _check_leaf(self._findings, leaf, f"Entry {leaf.idx}", self._rows)
            if whole:
                self.edge.append(leaf_hash(leaf.leaf.encode()))
                self._compare()
        self._check_end()

    def _compare(self) -> None:
        while self._ahead and self._ahead[-1].checkpoint.size == self.edge.size:
            statement = self._ahead.pop()
            if statement.checkpoint.root == self.edge.root():
                self._agreed = self.edge.size
            elif statement.where not in self._contradicted:
                self._contradicted.add(statement.where)
                self._findings.add(
                    f"The first {self.edge.size} entries do not give the root signed in {statement.where}: "
                    f"of the entries {self._agreed} to {self.edge.size - 1} one was edited, inserted, "
                    "replaced or put in another order."
                )

    def _check_end(self) -> None:
        for where, size in {one.where: one.checkpoint.size for one in reversed(self._ahead)}.items():
            self._findings.add(
                f"A checkpoint in {where} vouches for {size} entries, only {self.edge.size} follow one "
                "another in the database: entries were removed, the tail was cut off, or an old backup "
                "was restored."
            )
        if self.edge.size > self._largest:
            self._findings.add(
                f"The entries from {self._largest} to {self.edge.size - 1} are covered by no checkpoint: "
                "they were put in behind the sequencer, or checkpoints were removed."
            )


def _missing(first: int, last: int) -> str:
    what = f"Entry {first} is" if first == last else f"Entries {first} to {last} are"
    return f"{what} missing from the middle of the log: removed. The tree cannot be followed from there on."


def _check_leaf(findings: Findings, leaf: Row[Any], entry: str, rows: LastWrites) -> None:
    """The text against its hash, and the columns beside the text against what it says."""
    if leaf_hash(leaf.leaf.encode()) != leaf.leaf_hash:
        findings.add(f"{entry} was edited: its text does not have the hash stored with it.")
    try:
        told = msgspec.json.decode(leaf.leaf, type=AuditEntry)
    except msgspec.DecodeError as error:
        findings.add(f"{entry} cannot be read: {error}.")
        return
    for column in ("id", "at_us", "actor", "action", "subject"):
        stored, said = getattr(leaf, column), getattr(told, column)
        if stored != said:
            findings.add(f"{entry} was edited: its column {column} is {stored!r}, its text says {said!r}.")
    rows.note(told.detail, f"{entry[0].lower()}{entry[1:]} ({told.action})")


def _check_tree(findings: Findings, connection: Connection, walk: _Walk) -> None:
    trees = connection.execute(select(TreeRow.size, TreeRow.edge)).all()
    if len(trees) != 1:
        findings.add(f"The audit tree must have one row, it has {len(trees)}.")
    elif (trees[0].size, trees[0].edge) != (walk.edge.size, walk.edge.to_bytes()):
        findings.add(
            f"The stored tree of {trees[0].size} entries is not the one that the {walk.entries} entries "
            "give: entries were changed, added or removed behind the sequencer."
        )


def _check_pending(findings: Findings, connection: Connection, rows: LastWrites) -> int:
    """Leaves that wait: their hashes, and what they wrote, which is later than any entry."""
    query = select(LeafRow).where(LeafRow.idx.is_(None)).order_by(LeafRow.position)
    waiting = connection.execute(query).all()
    for leaf in waiting:
        _check_leaf(findings, leaf, f"Waiting entry {leaf.id}", rows)
    return len(waiting)
