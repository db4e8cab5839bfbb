"""Sequencer, checkpoint file and witness: what is signed, when nothing is, and what a crash leaves."""

import asyncio
import base64
import hashlib
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, insert, select, text

from db.audit import Sequencer, Witness, append, entries, keep, verify
from db.audit.keys import create_key, load_signer
from db.audit.merkle import verify_consistency, verify_inclusion
from db.audit.nodes import Nodes
from db.audit.note import COSIGNATURE, Checkpoint, Note, Verifier, parse
from db.audit.notefile import NoteFile
from db.ed25519 import ED25519
from db.engine import reading, writing
from db.errors import AuditError, StoreError
from db.tables import CheckpointRow, DeploymentRow, LeafRow
from tests.db.values import desired
from tests.patience import PATIENCE_S


def write(engine: Engine, count: int = 1, actor: str = "ann") -> None:
    with writing(engine) as connection:
        for number in range(count):
            append(
                connection,
                at_us=number,
                actor=actor,
                action="look",
                subject=f"s/{number}",
                detail={"n": number},
            )


def hashes(engine: Engine) -> list[bytes]:
    with reading(engine) as connection:
        query = select(LeafRow.leaf_hash).where(LeafRow.idx.is_not(None)).order_by(LeafRow.idx)
        return list(connection.scalars(query))


def test_an_empty_log_is_whole(engine: Engine, tmp_path: Path) -> None:
    assert Sequencer(engine, tmp_path).run_once() == 0
    assert Witness(engine, tmp_path).run_once() == 0
    report = verify(engine, tmp_path)
    assert (report.ok, report.entries, report.problems) == (True, 0, [])
    assert not (tmp_path / "log.key").exists(), "no key before there is something to sign"


def test_leaves_get_their_places_and_are_signed(engine: Engine, tmp_path: Path) -> None:
    sequencer, witness = Sequencer(engine, tmp_path), Witness(engine, tmp_path)
    for size in (5, 1, 7):
        write(engine, size)
        assert verify(engine, tmp_path).pending == size
        assert sequencer.run_once() == size
        assert sequencer.run_once() == 0
        assert witness.run_once() == size
        assert witness.run_once() == 0
    report = verify(engine, tmp_path)
    assert (report.ok, report.entries, report.pending, report.problems) == (True, 13, 0, [])
    assert report.checkpoints == 9, "three in the database, in the file and in the witness's file"
    notes = NoteFile(tmp_path / "checkpoints.txt").notes()
    assert [note.checkpoint.size for note in notes] == [5, 6, 13]
    roots = [note.checkpoint.root for note in notes]
    leaves = hashes(engine)
    with reading(engine) as connection:
        nodes = Nodes(connection, 13)
        assert verify_consistency(6, 13, nodes.consistency(6), roots[1], roots[2])
        assert verify_inclusion(leaves[4], 4, 13, nodes.inclusion(4), roots[2])


def test_keys_and_files_are_for_the_owner(engine: Engine, tmp_path: Path) -> None:
    write(engine)
    Sequencer(engine, tmp_path / "audit").run_once()
    Witness(engine, tmp_path / "audit").run_once()
    for key in ("log.key", "witness/witness.key"):
        assert stat.S_IMODE((tmp_path / "audit" / key).stat().st_mode) == 0o600
    for folder in ("audit", "audit/witness"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


def test_a_checkpoint_is_a_signed_note(tmp_path: Path) -> None:
    signer = create_key(tmp_path, "log", origin="example.com/log", kind=ED25519)
    witness = create_key(tmp_path, "witness", origin="example.com/witness", kind=COSIGNATURE)
    note = signer.sign(Note(Checkpoint("example.com/log", 7, bytes(range(32))), ()), 0)
    body, signature = note.text().split("\n\n")
    assert body == "example.com/log\n7\n" + base64.b64encode(bytes(range(32))).decode()
    dash, name, data = signature.split()
    assert (dash, name, len(base64.b64decode(data))) == ("—", "example.com/log", 4 + 64)
    both = witness.sign(note, 1_790_000_000)
    assert len(both.signatures[1][1]) == 4 + 8 + 64
    assert parse(both.text()) == both
    assert signer.verifier.signed(both)
    assert witness.verifier.signed(both)
    other = Note(Checkpoint("example.com/log", 8, bytes(range(32))), both.signatures)
    assert not signer.verifier.signed(other)
    assert not witness.verifier.signed(other)
    assert not signer.verifier.signed(Note(note.checkpoint, (("example.com/log", signer.verifier.key_id),)))
    assert Verifier.parse(witness.verifier.text) == witness.verifier
    assert load_signer(tmp_path, "nobody") is None


@pytest.mark.parametrize(
    "text",
    ["", "a\n1\nAAAA\n", "a\nb\nAAAA\n\n", "a\n1\n!!\n\n", "a\n1\nAAAA\n\n- b AAAA\n", "a\n1\nAAAA\n\n— b\n"],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a signed checkpoint"):
        parse(text)


def test_a_damaged_key_is_told(engine: Engine, tmp_path: Path) -> None:
    create_key(tmp_path, "log", origin="a", kind=ED25519)
    public = (tmp_path / "log.pub").read_text()
    create_key(tmp_path, "log", origin="a", kind=ED25519)
    (tmp_path / "log.pub").write_text(public)
    with pytest.raises(AuditError, match="is not the public half"):
        Sequencer(engine, tmp_path).run_once()
    (tmp_path / "log.key").write_text("AAAA")
    with pytest.raises(AuditError, match=r"log.key is damaged"):
        Sequencer(engine, tmp_path).run_once()
    (tmp_path / "log.pub").write_text("log+00000000+AAAA")
    assert "log.pub is damaged" in verify(engine, tmp_path).problems[0]


def test_a_crash_before_the_file_is_written_is_made_good(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequencer = Sequencer(engine, tmp_path)
    write(engine, 3)
    sequencer.run_once()

    def crash(*_: object) -> None:
        raise OSError("no space left on device")

    write(engine, 2)
    with monkeypatch.context() as patch:
        patch.setattr(NoteFile, "append", crash)
        with pytest.raises(OSError, match="no space"):
            sequencer.run_once()
    assert verify(engine, tmp_path).ok, "a file that lags behind the database is no tampering"
    assert Sequencer(engine, tmp_path).run_once() == 0
    assert [note.checkpoint.size for note in NoteFile(tmp_path / "checkpoints.txt").notes()] == [3, 5]


@pytest.mark.parametrize("cut", [1, 2, 3, 40, 150])
def test_a_torn_note_at_the_end_is_replaced(engine: Engine, tmp_path: Path, cut: int) -> None:
    sequencer, path = Sequencer(engine, tmp_path), tmp_path / "checkpoints.txt"
    for _ in range(3):
        write(engine)
        sequencer.run_once()
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert verify(engine, tmp_path).ok
    sequencer.run_once()
    assert path.read_bytes() == whole


def test_a_long_file_is_read_from_its_end(tmp_path: Path) -> None:
    signer = create_key(tmp_path, "log", origin="log", kind=ED25519)
    file = NoteFile(tmp_path / "checkpoints.txt")
    file.create()
    assert file.last() is None
    notes = [signer.sign(Note(Checkpoint("log", size, bytes(32)), ()), 0) for size in range(1, 101)]
    for note in notes:
        file.append([note])
        assert file.last() == note
    assert file.notes() == notes
    assert (tmp_path / "checkpoints.txt").stat().st_size > 8_192
    with (tmp_path / "checkpoints.txt").open("ab") as raw:
        raw.write(b"x" * 9_000)
    with pytest.raises(AuditError, match="changed by hand: there is no checkpoint"):
        file.last()


SEQUENCE = """
import sys
from pathlib import Path
from db.audit import Sequencer
from db.engine import connect

engine = connect(sys.argv[1])
sequencer = Sequencer(engine, Path(sys.argv[2]))
print("ready", flush=True)
done = 0
while (line := sys.stdin.readline()) != "stop\\n":
    done += sequencer.run_once()
print(done + sequencer.run_once())
engine.dispose()
"""


def test_two_sequencers_take_turns(engine: Engine, url: str, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SEQUENCE, url, str(tmp_path / "audit")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for number in range(20):
        write(engine, 3, actor=f"p{number}")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
    done = 0
    for process in processes:
        out, _ = process.communicate("stop\n", timeout=PATIENCE_S)
        done += int(out.splitlines()[-1])
    assert done == 60
    with reading(engine) as connection:
        places = connection.scalars(select(LeafRow.idx).order_by(LeafRow.idx)).all()
    assert places == list(range(60))
    assert verify(engine, tmp_path / "audit").problems == []


def test_more_leaves_than_one_batch(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.audit.sequencer.BATCH", 10)
    write(engine, 35)
    assert Sequencer(engine, tmp_path).run_once() == 35
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(CheckpointRow)) == 4
    assert verify(engine, tmp_path).ok


def test_a_log_without_its_folder_is_not_continued(engine: Engine, tmp_path: Path) -> None:
    write(engine)
    Sequencer(engine, tmp_path / "first").run_once()
    write(engine)
    with pytest.raises(AuditError, match=r"holds 1 entries, but .*second lacks its key"):
        Sequencer(engine, tmp_path / "second").run_once()
    assert any("log.pub" in problem for problem in verify(engine, tmp_path / "second").problems)
    (tmp_path / "first" / "checkpoints.txt").unlink()
    with pytest.raises(AuditError, match=r"lacks its key or its checkpoints.txt"):
        Sequencer(engine, tmp_path / "first").run_once()


def test_a_restarted_witness_goes_on(engine: Engine, tmp_path: Path) -> None:
    sequencer = Sequencer(engine, tmp_path)
    for size in (3, 4):
        write(engine, size)
        sequencer.run_once()
        assert Witness(engine, tmp_path, tmp_path / "elsewhere").run_once() == size
    assert verify(engine, tmp_path, tmp_path / "elsewhere").checkpoints == 6


def test_a_witness_knows_one_log(engine: Engine, tmp_path: Path) -> None:
    write(engine)
    Sequencer(engine, tmp_path).run_once()
    Witness(engine, tmp_path).run_once()
    create_key(tmp_path, "log", origin="another", kind=ED25519)
    with pytest.raises(AuditError, match="another log"):
        Witness(engine, tmp_path).run_once()
    assert any("begun anew or forged" in problem for problem in verify(engine, tmp_path).problems)


async def test_keep_goes_on_after_trouble(engine: Engine, tmp_path: Path) -> None:
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Flaky:
        runs = 0

        def run_once(self) -> int:
            self.runs += 1
            if self.runs < 3:
                raise StoreError("the database is away")
            if self.runs > 4:
                loop.call_soon_threadsafe(enough.set)
            return 0

    await asyncio.to_thread(write, engine, 4)
    parts = [Flaky(), Sequencer(engine, tmp_path), Witness(engine, tmp_path)]
    task = asyncio.create_task(keep(parts, interval_s=0.01))
    await asyncio.wait_for(enough.wait(), PATIENCE_S)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    report = await asyncio.to_thread(verify, engine, tmp_path)
    assert (report.ok, report.entries, report.checkpoints) == (True, 4, 3)


def test_a_leaf_changed_before_it_was_sequenced_is_shown(engine: Engine, tmp_path: Path) -> None:
    write(engine, 2)
    with writing(engine) as connection:
        connection.execute(text("UPDATE audit_leaves SET leaf = replace(leaf, 's/1', 's/9')"))
    assert "Waiting entry" in verify(engine, tmp_path).problems[0]
    Sequencer(engine, tmp_path).run_once()
    assert verify(engine, tmp_path).problems[0].startswith("Entry 1 was edited")


def test_a_log_of_the_first_schema_goes_on(url: str, engine: Engine, tmp_path: Path) -> None:
    """Its entries hold their personal data themselves; the inner nodes are made when the schema is upgraded."""
    from alembic import command

    from db.audit.merkle import leaf_hash
    from db.codec import canonical
    from db.migrate import _config, upgrade  # pyright: ignore[reportPrivateUsage]

    row = canonical(desired(1, "1"))
    fields = {"actor": "ann", "action": "look", "subject": "s", "at_us": 3}
    rows: list[dict[str, object]] = []
    for number in range(600):
        detail = {"reason": "r", "rows": {"deployments/churn/1": hashlib.sha256(row).hexdigest()}}
        leaf = canonical({"id": f"{number:032x}", **fields, "detail": detail})
        rows.append({"id": f"{number:032x}", **fields, "leaf": leaf.decode(), "leaf_hash": leaf_hash(leaf)})
    with writing(engine) as connection:
        connection.execute(insert(LeafRow), rows)
        connection.execute(insert(DeploymentRow), {"model": "churn", "epoch": 1, "value": desired(1, "1")})
    Sequencer(engine, tmp_path).run_once()
    config = _config()
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    upgrade(url)
    write(engine, 2)
    Sequencer(engine, tmp_path).run_once()
    assert verify(engine, tmp_path).problems == []
    with reading(engine) as connection:
        entry = entries(connection, before=600, limit=1)[0]
    assert (entry.actor, entry.detail["reason"]) == ("ann", "r")


def test_a_changed_inner_node_is_shown(engine: Engine, tmp_path: Path) -> None:
    write(engine, 600)
    Sequencer(engine, tmp_path).run_once()
    with writing(engine) as connection:
        connection.execute(text("UPDATE audit_nodes SET number = 2 WHERE number = 1"))
    assert verify(engine, tmp_path).problems == [
        "The stored hash 2 of height 8 is none of the log's: it was added or moved.",
        "The stored hash over the entries 256 to 511 is gone: it was removed.",
    ]
