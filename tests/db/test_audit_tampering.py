"""Whoever changes the log or the tables with the database's password is shown, each kind in its own words."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text, update

from db.audit import Sequencer, Witness, append
from db.audit.keys import load_signer
from db.audit.merkle import Edge, leaf_hash
from db.audit.note import Checkpoint, Note, parse
from db.audit.notefile import NoteFile
from db.engine import writing
from db.errors import AuditError
from db.tables import CheckpointRow, LeafRow, TreeRow
from tests.db.audit_world import Log

FILE = "checkpoints.txt"
IN_ORDER = select(LeafRow).where(LeafRow.idx.is_not(None)).order_by(LeafRow.idx)
Attack = Callable[[Connection], None]


def repair_tree(connection: Connection, folder: Path, *, sign: bool) -> None:
    """What a careful forger does next: hashes, tree and, with the stolen key, checkpoints made to fit."""
    edge, roots = Edge(), {}
    for row in connection.execute(IN_ORDER).all():
        digest = leaf_hash(row.leaf.encode())
        connection.execute(update(LeafRow).where(LeafRow.position == row.position).values(leaf_hash=digest))
        edge.append(digest)
        roots[edge.size] = edge.root()
    connection.execute(update(TreeRow).values(size=edge.size, edge=edge.to_bytes()))
    connection.execute(text("DELETE FROM audit_checkpoints WHERE size > :size"), {"size": edge.size})
    signer = load_signer(folder, "log")
    assert signer is not None
    if sign:
        for size, note in connection.execute(select(CheckpointRow.size, CheckpointRow.note)).all():
            checkpoint = Checkpoint(parse(note).checkpoint.origin, size, roots[size])
            forged = signer.sign(Note(checkpoint, ()), 0)
            connection.execute(
                update(CheckpointRow).where(CheckpointRow.size == size).values(note=forged.text())
            )


def swap(connection: Connection, one: int, other: int) -> None:
    for old, new in ((one, -1), (other, one), (-1, other)):
        connection.execute(
            text("UPDATE audit_leaves SET idx = :new WHERE idx = :old"), {"old": old, "new": new}
        )


def edit(connection: Connection) -> None:
    connection.execute(
        text("UPDATE audit_leaves SET leaf = replace(leaf, 'approved', 'rejected') WHERE idx = 3")
    )


def edit_column(connection: Connection) -> None:
    connection.execute(text("UPDATE audit_leaves SET actor = 'bob' WHERE idx = 3"))


def delete_in_the_middle(connection: Connection) -> None:
    connection.execute(text("DELETE FROM audit_leaves WHERE idx IN (14, 15)"))


def delete_and_close_the_gap(connection: Connection) -> None:
    connection.execute(text("DELETE FROM audit_leaves WHERE idx = 14"))
    for at in range(15, 28):
        connection.execute(
            text("UPDATE audit_leaves SET idx = :new WHERE idx = :at"), {"at": at, "new": at - 1}
        )


def insert_one(connection: Connection) -> None:
    append(connection, at_us=1, actor="ann", action="look", subject="s", detail={})
    connection.execute(text("UPDATE audit_leaves SET idx = 28 WHERE idx IS NULL"))


def insert_in_the_middle(connection: Connection) -> None:
    for at in range(27, 19, -1):
        connection.execute(
            text("UPDATE audit_leaves SET idx = :new WHERE idx = :at"), {"at": at, "new": at + 1}
        )
    append(connection, at_us=1, actor="ann", action="look", subject="s", detail={})
    connection.execute(text("UPDATE audit_leaves SET idx = 20 WHERE idx IS NULL"))


def reorder(connection: Connection) -> None:
    swap(connection, 11, 17)


def cut_off(connection: Connection) -> None:
    connection.execute(text("DELETE FROM audit_leaves WHERE idx >= 20"))
    connection.execute(text("DELETE FROM audit_checkpoints WHERE size > 20"))


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (edit, r"^Entry 3 was edited: its text does not have the hash"),
        (edit_column, r"^Entry 3 was edited: its column actor is 'bob', its text says 'ann'"),
        (delete_in_the_middle, r"^Entries 14 to 15 are missing from the middle"),
        (
            delete_and_close_the_gap,
            r"entries 12 to 15 one was edited, inserted, replaced or put in another order",
        ),
        (insert_one, r"^The entries from 28 to 28 are covered by no checkpoint"),
        (
            reorder,
            r"^The first 12 entries do not give the root signed in the database.*entries 8 to 11 .*order",
        ),
        (cut_off, r"checkpoint in the checkpoint file vouches for 28 entries, only 20 .*cut off"),
    ],
)
def test_a_simple_forger(log: Log, attack: Attack, words: str) -> None:
    with writing(log.engine) as connection:
        attack(connection)
    log.told(words)


@pytest.mark.parametrize("attack", [edit, delete_and_close_the_gap, insert_in_the_middle, reorder, cut_off])
def test_a_careful_forger_with_the_logs_key(log: Log, attack: Attack) -> None:
    """Hashes, tree and signed checkpoints in the database fit: the files outside still contradict them."""
    with writing(log.engine) as connection:
        attack(connection)
        repair_tree(connection, log.folder, sign=True)
    log.told("checkpoint file")
    log.told("witness's file")
    with writing(log.engine) as connection:
        append(connection, at_us=1, actor="ann", action="look", subject="s", detail={})
    with pytest.raises(AuditError, match="Nothing is signed"):
        Sequencer(log.engine, log.folder).run_once()


@pytest.mark.parametrize("attack", [edit, reorder])
def test_a_fork_is_shown(log: Log, attack: Attack) -> None:
    """The checkpoint file is forged too: only the witness knows better, and it signs no more."""
    with writing(log.engine) as connection:
        attack(connection)
        repair_tree(connection, log.folder, sign=True)
        notes = [
            parse(note)
            for note in connection.scalars(select(CheckpointRow.note).order_by(CheckpointRow.size))
        ]
    (log.folder / FILE).write_bytes(b"")
    NoteFile(log.folder / FILE).append(notes)
    log.told(r"^Two different checkpoints of \d+ entries are signed, one in the witness's file")
    with writing(log.engine) as connection:
        append(connection, at_us=1, actor="ann", action="look", subject="s", detail={})
    Sequencer(log.engine, log.folder).run_once()
    with pytest.raises(AuditError, match="not those that the witness cosigned"):
        Witness(log.engine, log.folder).run_once()


def test_an_old_backup_is_shown(log: Log, tmp_path: Path) -> None:
    """SQLite by its files; PostgreSQL by taking back what came after the backup."""
    path = Path(log.engine.url.database or "")
    if log.engine.dialect.name == "sqlite":
        log.sql("SELECT 1")
        log.engine.dispose()
        shutil.copy(path, tmp_path / "backup.db")
        log.more(rounds=2)
        log.engine.dispose()
        for leftover in ("-wal", "-shm"):
            Path(f"{path}{leftover}").unlink(missing_ok=True)
        shutil.copy(tmp_path / "backup.db", path)
    else:
        log.more(rounds=2)
        with writing(log.engine) as connection:
            connection.execute(text("DELETE FROM audit_leaves WHERE idx >= 28"))
            repair_tree(connection, log.folder, sign=False)
    log.told(r"vouches for 36 entries, only 28 follow .*old backup was restored")
    with writing(log.engine) as connection:
        append(connection, at_us=1, actor="ann", action="look", subject="s", detail={})
    with pytest.raises(AuditError, match="old backup was restored"):
        Sequencer(log.engine, log.folder).run_once()


def test_truncation_of_database_and_file_is_shown_by_the_witness(log: Log) -> None:
    with writing(log.engine) as connection:
        cut_off(connection)
        repair_tree(connection, log.folder, sign=False)
    kept = [note for note in NoteFile(log.folder / FILE).notes() if note.checkpoint.size <= 20]
    (log.folder / FILE).write_bytes(b"")
    NoteFile(log.folder / FILE).append(kept)
    log.told(r"witness's file vouches for 28 entries, only 20")
    with pytest.raises(AuditError, match="the witness cosigned 28"):
        Witness(log.engine, log.folder).run_once()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "UPDATE incidents SET state = 'open'",
            r"row incidents/i1 contradicts itself: its column state is 'open'",
        ),
        (
            "UPDATE approvals SET value = CAST(replace(CAST(value AS TEXT), 'ann', 'bob') AS JSON)",
            r"row approvals/a1 is not what entry 3 \(approval.approved\) wrote",
        ),
        (
            "UPDATE desired SET epoch = 7, value = CAST(replace(CAST(value AS TEXT), ':2', ':7') AS JSON)",
            r"row desired/churn is not what entry 6 \(model.desired\) wrote",
        ),
        ("DELETE FROM deployments WHERE epoch = 1", r"row deployments/churn/1 that entry 5 .* is gone"),
        ("DELETE FROM actions", r"row actions/x1 that entry 4 \(action.intended\) wrote is gone"),
        (
            "INSERT INTO deployments SELECT 'other', epoch, value FROM deployments WHERE epoch = 1",
            r"row deployments/other/1 has no audit entry",
        ),
        ("DELETE FROM audit_checkpoints WHERE size = 12", "not in the database: 1, the first of 12 entries"),
        ("DELETE FROM audit_checkpoints", r"not in the database: 6, the first of 8 entries"),
        (
            "UPDATE audit_checkpoints SET note = 'x' WHERE size = 12",
            "checkpoint of 12 entries .* cannot be read",
        ),
        ("UPDATE audit_checkpoints SET size = 13 WHERE size = 12", "stored for 13 entries states 12"),
        ("UPDATE audit_leaves SET leaf = 'x' WHERE idx = 9", "^Entry 9 cannot be read"),
        ("UPDATE audit_leaves SET leaf = replace(leaf, '{\"n\"', '{\"rows\"')", "^Entry 8 was edited"),
        ("UPDATE audit_tree SET size = 29", r"stored tree of 29 entries is not the one"),
        ("DELETE FROM audit_tree", "audit tree must have one row, it has 0"),
    ],
)
def test_changed_tables_are_shown(log: Log, statement: str, words: str) -> None:
    if log.engine.dialect.name == "sqlite":
        statement = statement.replace("CAST(replace", "(replace").replace(") AS JSON)", "))")
    with writing(log.engine) as connection:
        connection.execute(text(statement.replace(":2", r"\:2").replace(":7", r"\:7")))
    log.told(words)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE audit_tree SET size = 29", "not the one whose root was signed last"),
        (
            "UPDATE audit_tree SET size = 24, edge = substr(edge, 1, 64)",
            "not the one whose root was signed last",
        ),
        ("DELETE FROM audit_tree", "not the one whose root was signed last"),
        ("UPDATE audit_checkpoints SET note = 'x'", "was changed by hand"),
        ("DELETE FROM audit_checkpoints WHERE size > 12", "not the one whose root was signed last"),
    ],
)
def test_nothing_is_signed_over_a_changed_tree(log: Log, statement: str, words: str) -> None:
    with writing(log.engine) as connection:
        append(connection, at_us=1, actor="ann", action="look", subject="s", detail={})
        connection.execute(text(statement))
    with pytest.raises(AuditError, match=words):
        Sequencer(log.engine, log.folder).run_once()


@pytest.mark.parametrize(
    ("path", "old", "new", "words"),
    [
        (
            FILE,
            b"\n12\n",
            b"\n13\n",
            r"checkpoint of 13 entries in the checkpoint file lacks a valid signature",
        ),
        (
            f"witness/{FILE}",
            b"\n12\n",
            b"\n13\n",
            r"witness's file lacks a valid signature of the witness's key",
        ),
        (FILE, b"\n12\n", b"\nmany\n", r"checkpoints.txt was changed by hand"),
        (FILE, None, None, r"^The checkpoint file .* is gone"),
        (f"witness/{FILE}", None, None, r"^The witness's file .* is gone"),
        ("log.pub", None, None, r"public key \(log.pub\) is missing"),
    ],
)
def test_changed_files_are_shown(
    log: Log, path: str, old: bytes | None, new: bytes | None, words: str
) -> None:
    if old is None or new is None:
        (log.folder / path).unlink()
    else:
        (log.folder / path).write_bytes((log.folder / path).read_bytes().replace(old, new))
    log.told(words)


def test_a_rewritten_file_is_shown(log: Log) -> None:
    file = NoteFile(log.folder / FILE)
    file.append(file.notes()[:1])
    log.told("a checkpoint of 8 entries follows one of 28")


def test_a_checkpoint_of_a_strange_key_is_not_cosigned(log: Log) -> None:
    last = NoteFile(log.folder / FILE).last()
    assert last is not None
    checkpoint = Checkpoint(last.checkpoint.origin, 29, bytes(32))
    NoteFile(log.folder / FILE).append([Note(checkpoint, last.signatures)])
    with pytest.raises(AuditError, match="does not carry the signature"):
        Witness(log.engine, log.folder).run_once()


def test_a_signed_lie_is_not_cosigned(log: Log) -> None:
    with writing(log.engine) as connection:
        append(connection, at_us=1, actor="ann", action="look", subject="s", detail={})
    Sequencer(log.engine, log.folder).run_once()
    with writing(log.engine) as connection:
        connection.execute(
            text("UPDATE audit_leaves SET leaf = replace(leaf, 'look', 'peep') WHERE idx = 28")
        )
    with pytest.raises(AuditError, match="do not give the root that the log signed"):
        Witness(log.engine, log.folder).run_once()
    with writing(log.engine) as connection:
        connection.execute(text("DELETE FROM audit_leaves WHERE idx = 28"))
    with pytest.raises(AuditError, match="Entry 28 of the audit log is missing"):
        Witness(log.engine, log.folder).run_once()
