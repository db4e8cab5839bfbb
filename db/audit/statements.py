"""Collecting every checkpoint that was ever signed, from the database, the checkpoint file and the witness's
file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, select

from db.audit.note import Checkpoint, Note, Verifier, load_verifier, parse
from db.audit.notefile import CHECKPOINTS, NoteFile
from db.audit.sequencer import KEY_NAME
from db.audit.witness import PINNED, WITNESS_KEY
from db.errors import AuditError
from db.tables import CheckpointRow

MAX_PROBLEMS = 1_000
DATABASE = "the database"
FILE = "the checkpoint file"
WITNESS = "the witness's file"


@dataclass(slots=True)
class Findings:
    """Sentences about what is wrong; after `MAX_PROBLEMS` the log is beyond telling and the rest is
    dropped."""

    problems: list[str] = field(default_factory=list[str])

    def add(self, problem: str) -> None:
        """One more, unless it was said already."""
        if len(self.problems) < MAX_PROBLEMS and problem not in self.problems:
            self.problems.append(problem)


@dataclass(frozen=True, slots=True)
class Statement:
    """A checkpoint and the place where it was found."""

    checkpoint: Checkpoint
    where: str


def log_key(findings: Findings, key_dir: Path) -> Verifier | None:
    """The log's public key."""
    return _key(findings, key_dir / f"{KEY_NAME}.pub")


def in_files(findings: Findings, key: Verifier | None, key_dir: Path, witness_dir: Path) -> list[Statement]:
    """What the two files state, each note checked for its signatures."""
    keys = [] if key is None else [("the log's key", key)]
    statements = list(_notes(findings, NoteFile(key_dir / CHECKPOINTS), FILE, keys, bool(keys)))
    witness = _key(findings, witness_dir / f"{WITNESS_KEY}.pub")
    if witness is not None:
        keys.append(("the witness's key", witness))
        pinned = _key(findings, witness_dir / PINNED)
        if pinned is not None and pinned != key:
            findings.add(
                "The log's key is not the one that the witness knows: the log was begun anew or forged."
            )
    file = NoteFile(witness_dir / CHECKPOINTS)
    return [*statements, *_notes(findings, file, WITNESS, keys, witness is not None)]


def in_database(findings: Findings, connection: Connection, key: Verifier | None) -> list[Statement]:
    """What the database states, each note checked for its signature."""
    statements: list[Statement] = []
    query = select(CheckpointRow.size, CheckpointRow.note).order_by(CheckpointRow.size)
    for size, text in connection.execute(query):
        try:
            note = parse(text)
        except ValueError as error:
            findings.add(f"The checkpoint of {size} entries in {DATABASE} cannot be read: {error}.")
            continue
        if note.checkpoint.size != size:
            findings.add(f"The checkpoint stored for {size} entries states {note.checkpoint.size}.")
        if key is not None:
            _check_signatures(findings, note, DATABASE, [("the log's key", key)])
        statements.append(Statement(note.checkpoint, DATABASE))
    return statements


def check_same(findings: Findings, outside: Iterable[Statement], inside: Iterable[Statement]) -> None:
    """Every checkpoint outside the database must be in it, and be the same."""
    known = {statement.checkpoint.size: statement.checkpoint for statement in inside}
    lost: dict[str, list[int]] = {}
    for statement in outside:
        size = statement.checkpoint.size
        if size not in known:
            lost.setdefault(statement.where, []).append(size)
        elif known[size] != statement.checkpoint:
            findings.add(
                f"Two different checkpoints of {size} entries are signed, one in {statement.where} and one "
                "in the database: the log was forked."
            )
    for where, sizes in lost.items():
        findings.add(
            f"Checkpoints in {where} are not in the database: {len(sizes)}, the first of {sizes[0]} entries. "
            "They were removed, or the log was rewritten."
        )


def _key(findings: Findings, path: Path) -> Verifier | None:
    try:
        return load_verifier(path)
    except AuditError as error:
        findings.add(str(error))
        return None


def _notes(
    findings: Findings, file: NoteFile, where: str, keys: list[tuple[str, Verifier]], expected: bool
) -> Iterator[Statement]:
    if not file.exists():
        if expected:
            findings.add(f"{where[0].upper()}{where[1:]} {file.path} is gone, though its key is there.")
        return
    try:
        notes = file.notes()
    except AuditError as error:
        findings.add(str(error))
        return
    before = 0
    for note in notes:
        size = note.checkpoint.size
        _check_signatures(findings, note, where, keys)
        if size <= before:
            findings.add(
                f"In {where} a checkpoint of {size} entries follows one of {before}: it was rewritten."
            )
        before = size
        yield Statement(note.checkpoint, where)


def _check_signatures(findings: Findings, note: Note, where: str, keys: list[tuple[str, Verifier]]) -> None:
    size = note.checkpoint.size
    for name, key in keys:
        if not key.signed(note):
            findings.add(f"The checkpoint of {size} entries in {where} lacks a valid signature of {name}.")
