"""What is handed to an auditor can be checked without us, and no changed byte of it passes."""

import json
import random
from pathlib import Path

import pytest

from db.audit.export import Filter, export
from db.audit.keys import load_chain
from db.audit.merkle import verify_consistency
from db.audit.nodes import Nodes
from db.audit.offline import OfflineReport, verify_export
from db.audit.proofs import Proofs
from db.engine import reading
from db.errors import AuditError
from tests.db.audit_world import ENTRIES, Log


def written(log: Log, path: Path, wanted: Filter | None = None) -> OfflineReport:
    form = "csv" if path.suffix == ".csv" else "jsonl"
    lines = export(Proofs(log.engine, log.folder), wanted or Filter(), form)
    path.write_text("".join(f"{line}\n" for line in lines), newline="")
    return verify_export(path)


@pytest.mark.parametrize("name", ["audit.jsonl", "audit.csv"])
def test_everything_and_a_part(log: Log, tmp_path: Path, name: str) -> None:
    log.keeper.rotate(at_us=1, actor="mira", reason="yearly")
    log.keeper.redact(3, ["actor"], at_us=1, actor="dpo", reason="art. 17")
    log.more(entries=300)
    path = tmp_path / name
    report = written(log, path)
    assert (report.problems, report.entries, report.complete) == ([], ENTRIES + 302, True)
    assert report.witness is not None
    of_ann = written(log, path, Filter(actor="ann", until_us=3))
    assert (of_ann.problems, of_ann.complete, of_ann.size) == ([], False, ENTRIES + 302)
    assert of_ann.entries == 18, "of each round the first three; the redacted one is found no more"
    model = written(log, path, Filter(model="churn"))
    assert (model.problems, model.entries) == ([], 8)
    assert written(log, path, Filter(model="nobody")).entries == 0


def test_an_auditor_pins_any_key_of_the_chain(log: Log, tmp_path: Path) -> None:
    path, strange = tmp_path / "audit.jsonl", Log(log.engine, tmp_path / "other")
    log.keeper.rotate(at_us=1, actor="mira", reason="yearly")
    written(log, path)
    chain = load_chain(log.folder / "log.pub")
    assert chain is not None
    for line in chain.text.splitlines():
        assert verify_export(path, line).ok
    log.keeper.rotate(at_us=1, actor="mira", reason="yearly")
    later = load_chain(log.folder / "log.pub")
    assert later is not None
    assert not verify_export(path, later.newest.text).ok, "a key that came after the export"
    assert not strange.folder.exists()


def test_no_changed_byte_passes(log: Log, tmp_path: Path) -> None:
    rng = random.Random(5)
    for path in (tmp_path / "audit.jsonl", tmp_path / "audit.csv"):
        for wanted in (Filter(), Filter(actor="agent")):
            assert written(log, path, wanted).ok
            whole = path.read_bytes()
            for _ in range(60):
                at = rng.randrange(len(whole))
                bent = bytearray(whole)
                bent[at] ^= 1 << rng.randrange(8)
                path.write_bytes(bytes(bent))
                try:
                    passed = verify_export(path).ok
                except AuditError:
                    passed = False
                assert not passed or _says_the_same(whole, bytes(bent)), (at, whole[at - 40 : at + 40])


def _says_the_same(whole: bytes, bent: bytes) -> bool:
    """A change of white space, of how a text is escaped, or of the note about what was asked for."""

    def loose(data: bytes) -> str:
        text = data.decode(errors="replace")
        return text[text.find('"entries"') :] if '"filter"' in text else text

    return "".join(loose(whole).split()) == "".join(loose(bent).split())


def test_removed_and_reordered_lines_are_told(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(log, path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    assert "do not give the root that was signed" in verify_export(path).problems[0]
    path.write_text("".join([*lines[:4], lines[5], lines[4], *lines[6:]]))
    assert "Entry 4 follows entry 2: entries are missing or out of order" in verify_export(path).problems[0]
    written(log, path, Filter(actor="agent"))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], *lines[3:]]))
    assert verify_export(path).problems == ["The file is said to hold 7 entries, it holds 6."]
    path.write_text("what\n")
    with pytest.raises(AuditError, match="no whole export"):
        verify_export(path)


def test_a_strange_key_is_told(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(log, path)
    witness = (log.folder / "witness" / "witness.pub").read_text()
    assert "do not contain yours" in verify_export(path, witness).problems[0]
    for strange in ("abc", " "):
        with pytest.raises(AuditError, match=r"key is no line of log\.pub"):
            verify_export(path, strange)


def test_proofs_of_one_entry_and_of_growth(log: Log) -> None:
    log.more(entries=700)
    proofs = Proofs(log.engine, log.folder)
    statement, proven = proofs.inclusion(300)
    assert (proven.index, len(proven.proof)) == (300, 10)
    assert proofs.inclusion(proven.entry.id) == (statement, proven)
    with pytest.raises(AuditError, match="There is no entry 9999"):
        proofs.inclusion(9999)
    found = proofs.consistency(ENTRIES)
    assert (found["old"]["size"], found["new"]["size"]) == (ENTRIES, ENTRIES + 700)
    with pytest.raises(AuditError, match=r"need.* got old=0"):
        proofs.consistency(0)
    with reading(log.engine) as connection:
        new = Nodes(connection, ENTRIES + 700)
        for size in (1, 255, 256, 257, 512, 700, ENTRIES + 700):
            old = Nodes(connection, size)
            assert verify_consistency(size, new.size, new.consistency(size), old.root(), new.root())


def test_a_changed_tree_gives_no_proof(log: Log) -> None:
    log.sql(
        "UPDATE audit_leaves SET leaf_hash = (SELECT leaf_hash FROM audit_leaves WHERE idx = 1) WHERE idx = 2"
    )
    with pytest.raises(AuditError, match="says where"):
        Proofs(log.engine, log.folder).inclusion(7)


def test_the_lines_are_plain_json(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(log, path, Filter(actor="agent"))
    first, second, *_ = [json.loads(line) for line in path.read_text().splitlines()]
    assert first["format"] == "homeostat-audit/1"
    assert (second["entry"]["actor"], second["index"]) == ("agent", 0)
