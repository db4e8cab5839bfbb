"""What a keeper may do to the log: a new key, telling of a restore. Each stays visible and verifies."""

import base64
from pathlib import Path

import pytest
from sqlalchemy import select, text

from db.audit import Sequencer, Witness, append, entries
from db.audit.acts import Rotation
from db.audit.export import Filter, export
from db.audit.keys import create_next, load_chain, load_signer
from db.audit.note import Note, parse
from db.audit.notefile import NoteFile
from db.audit.offline import verify_export
from db.audit.proofs import Proofs
from db.engine import reading, writing
from db.errors import AuditError
from db.tables import CheckpointRow, TreeRow
from tests.db.audit_world import ENTRIES, Log, forget_after, topic


def rotate(log: Log) -> Rotation:
    return log.keeper.rotate(at_us=5, actor="mira", reason="yearly")


def backup(log: Log) -> tuple[int, bytes]:
    with reading(log.engine) as connection:
        tree = connection.execute(select(TreeRow.size, TreeRow.edge)).one()
    return tree.size, tree.edge


def restore(log: Log, state: tuple[int, bytes]) -> None:
    with writing(log.engine) as connection:
        forget_after(connection, *state)


def test_a_new_key_takes_over_and_old_checkpoints_stay_valid(log: Log) -> None:
    first = load_signer(log.folder, "log")
    for round_ in range(2):
        told = rotate(log)
        log.sequence()
        log.more()
        report = log.whole()
        assert report.notices[-1] == f"From entry {ENTRIES + 5 * round_} on another key signs: {told.new}."
    chain = load_chain(log.folder / "log.pub")
    assert chain is not None
    assert first is not None
    assert chain.keys[0] == first.verifier
    assert [key.name for key in chain.keys] == [first.verifier.name] * 3
    note = NoteFile(log.folder / "checkpoints.txt").last()
    assert note is not None
    assert [key.signed(note) for key in chain.keys] == [False, False, True]
    assert load_chain(log.folder / "witness" / "log.pub") == chain
    with reading(log.engine) as connection:
        entry = entries(connection, action="audit.key_rotated")[0]
    assert (entry.actor, entry.detail["reason"]) == ("mira", "yearly")


@pytest.mark.parametrize("crash", ["before the entry", "after the entry", "between the files"])
def test_a_change_of_keys_that_crashed_is_ended(
    log: Log, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    def die(*_: object, **__: object) -> None:
        raise OSError("killed")

    where = {
        "before the entry": "db.audit.keeping.append_all",
        "after the entry": "db.audit.keeping.settle",
        "between the files": "db.audit.keeping.settle",
    }[crash]
    with monkeypatch.context() as patch:
        patch.setattr(where, die)
        with pytest.raises(OSError, match="killed"):
            rotate(log)
    if crash == "between the files":
        (log.folder / "log.next.pub").replace(log.folder / "log.pub")
    log.more()
    report = log.whole()
    rotated = crash != "before the entry"
    assert (report.entries, len(report.notices)) == (ENTRIES + 4 + rotated, rotated)
    assert not list(log.folder.glob("*next*"))
    rotate(log)
    log.whole()


def test_the_old_key_signs_nothing_more(log: Log) -> None:
    old = load_signer(log.folder, "log")
    assert old is not None
    rotate(log)
    log.sequence()
    log.write()
    Sequencer(log.engine, log.folder).sequence([old])
    log.told(r"^The checkpoint of 30 entries in the database lacks a valid signature of the log's key")


def rotate_witness(log: Log) -> Rotation:
    return log.keeper.rotate_witness(at_us=5, actor="mira", reason="yearly")


def test_the_witness_has_a_new_key_and_what_the_old_one_cosigned_stays_valid(
    log: Log, tmp_path: Path
) -> None:
    file = NoteFile(log.folder / "witness" / "checkpoints.txt")
    exported, told = tmp_path / "audit.jsonl", rotate_witness(log)
    for round_ in range(2):
        told = rotate_witness(log) if round_ else told
        Sequencer(log.engine, log.folder).run_once()
        # The newest cosignature is still the old key's.
        exported.write_text("\n".join(export(Proofs(log.engine, log.folder), Filter())))
        report = verify_export(exported)
        assert (report.problems, report.witness) == ([], told.old)
        log.more()
        log.whole()
    chain, note = load_chain(log.folder / "witness" / "witness.pub"), file.last()
    assert chain is not None
    assert note is not None
    assert [key.signed(note) for key in chain.keys] == [False, False, True]
    with reading(log.engine) as connection:
        entry = entries(connection, action="audit.witness_key_rotated")[0]
    assert (entry.actor, entry.detail["new"]) == ("mira", told.new)


def test_the_witnesses_old_key_cosigns_nothing_more(log: Log) -> None:
    folder = log.folder / "witness"
    stolen = load_signer(folder, "witness")
    assert stolen is not None
    rotate_witness(log)
    log.more(rounds=2)
    file = NoteFile(folder / "checkpoints.txt")
    *before, last = file.notes()
    by_log = Note(last.checkpoint, last.signatures[:1])
    (folder / "checkpoints.txt").write_bytes(b"")
    file.append([*before, stolen.sign(by_log, 7)])
    log.told(r"cosigned with the key .*, which a later one had replaced before")


@pytest.mark.parametrize("published", [True, False])
def test_a_change_of_the_witnesses_key_that_crashed_is_ended(log: Log, published: bool) -> None:
    folder = log.folder / "witness"
    old = load_signer(folder, "witness")
    assert old is not None
    new, _ = create_next(folder, "witness", old)
    if published:
        (folder / "witness.next.pub").replace(folder / "witness.pub")
    log.more()
    log.whole()
    now = load_signer(folder, "witness")
    assert now is not None
    assert now.verifier == new.verifier
    assert not list(folder.glob("*.next.*"))


def test_a_swapped_key_is_shown(log: Log) -> None:
    """A thief who may write everywhere but does not have the old key puts a key of his own in its place."""
    old = load_signer(log.folder, "log")
    assert old is not None
    create_next(log.folder, "log", old)
    forged = (log.folder / "log.next.pub").read_text()
    (log.folder / "log.pub").write_text(forged)
    log.told(r"^log.pub ends with the key .* which no entry of the log introduces: the key was swapped")
    first, second = forged.splitlines()
    (log.folder / "log.pub").write_text(f"{second.partition(' ')[0]}\n")
    log.told(r"^The log's key is not the one that the witness knows: .*its key swapped")
    wrong = base64.b64encode(bytes(64)).decode()
    (log.folder / "log.pub").write_text(f"{first}\n{second.partition(' ')[0]} {wrong}\n")
    log.told(r"log.pub is damaged: the key .* was not handed over by")
    with pytest.raises(AuditError, match="is damaged"):
        Witness(log.engine, log.folder).run_once()


def test_an_act_needs_the_logs_key(log: Log) -> None:
    """Who can only write into the database can add an entry, but not one that excuses a removal."""
    with writing(log.engine) as connection:
        connection.execute(
            text("UPDATE audit_leaves SET personal = '{}', actor = '[redacted]' WHERE idx = 12")
        )
        detail = {"entry": 12, "id": "x", "fields": ["actor"], "key": "k", "signature": ""}
        append(connection, at_us=1, actor="mira", action="audit.redacted", subject="audit/12", detail=detail)
    log.sequence()
    log.told(r"^Entry 28 \(audit.redacted\) is forged: 'k' is not a verifier key")
    log.told(r"^Entry 12 was edited: the value of actor was removed without a redaction")


def test_a_restore_from_a_backup_must_be_told(log: Log) -> None:
    saved = backup(log)
    log.more(rounds=2)
    lost = topic(log)
    restore(log, saved)
    log.told(r"vouches for 36 entries, only 28 follow .*A restore must be told: `homeostat audit restored`")
    log.write()
    with pytest.raises(AuditError, match="homeostat audit restored"):
        Sequencer(log.engine, log.folder).run_once()
    told = log.keeper.restored(at_us=7, actor="mira", reason="disk died", topic=lost)
    assert (told.entries, told.lost_until, set(told.places)) == (28, 36, {"file", "witness", "topic"})
    log.sequence()
    report = log.whole()
    assert report.notices == [
        "The log was restored from a backup of 28 entries (entry 29): the entries 28 to 35 of before are lost."
    ]
    after = [*lost, *topic(log)[len(lost) :]]
    log.more(rounds=3)
    log.whole([*lost, *topic(log)[len(lost) :]])
    assert after[-1] != lost[-1]
    with pytest.raises(AuditError, match="nothing is lost"):
        log.keeper.restored(at_us=7, actor="mira", reason="again")


def test_a_restore_from_a_still_older_backup_and_a_lost_key(log: Log) -> None:
    """Twice restored, the second time to before the first; in between a key that only the lost part introduced."""
    saved = backup(log)
    log.more()
    middle = backup(log)
    rotate(log)
    log.sequence()
    log.more()
    restore(log, middle)
    log.keeper.restored(at_us=7, actor="mira", reason="disk died")
    log.sequence()
    log.more(rounds=2)
    assert len(log.whole().notices) == 1
    restore(log, saved)
    log.keeper.restored(at_us=7, actor="mira", reason="disk died again")
    log.sequence()
    log.more()
    assert "restored from a backup of 28 entries" in log.whole().notices[0]
    rotate(log)
    log.sequence()
    log.whole()


def test_a_restore_that_crashed_before_the_file_is_ended(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = backup(log)
    log.more()
    restore(log, saved)
    with monkeypatch.context() as patch:
        patch.setattr(Sequencer, "publish", lambda _: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            log.keeper.restored(at_us=7, actor="mira", reason="disk died")
    log.more()
    log.whole()


def test_lost_checkpoints_must_stay(log: Log) -> None:
    saved = backup(log)
    log.more(rounds=2)
    restore(log, saved)
    log.keeper.restored(at_us=7, actor="mira", reason="disk died")
    log.sequence()
    log.whole()
    file = NoteFile(log.folder / "checkpoints.txt")
    kept = [note for note in file.notes() if note.checkpoint.size != 32]
    file.path.write_bytes(b"")
    file.append(kept)
    log.told(r"^In the checkpoint file the checkpoints of the entries that were lost .* changed or removed")


def test_another_database_is_no_backup(log: Log) -> None:
    with reading(log.engine) as connection:
        note = connection.scalar(select(CheckpointRow.note).where(CheckpointRow.size == 28))
    assert note is not None
    saved = backup(log)
    log.more()
    restore(log, saved)
    forged = parse(note)
    signer = load_signer(log.folder, "log")
    assert signer is not None
    with writing(log.engine) as connection:
        connection.execute(text("UPDATE audit_leaves SET idx = -1 WHERE idx = 27"))
        connection.execute(text("UPDATE audit_leaves SET idx = 27 WHERE idx = 26"))
        connection.execute(text("UPDATE audit_leaves SET idx = 26 WHERE idx = -1"))
    log.told("put in another order")
    with writing(log.engine) as connection:
        from tests.db.test_audit_tampering import repair_tree

        repair_tree(connection, log.folder, sign=True)
    with pytest.raises(AuditError, match="a fork"):
        log.keeper.restored(at_us=7, actor="mira", reason="x")
    assert forged.checkpoint.size == 28
