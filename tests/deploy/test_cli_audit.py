"""The commands over the audit log, on a filled one: what they say, and their exit codes."""

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from db.audit import Witness
from db.audit.feed import Feed
from db.engine import connect
from db.errors import AuditError
from db.journal import SqlJournal
from deploy.cli import app
from deploy.errors import UserError
from deploy.redaction import out_of_reach
from streams.broker.admin import ensure_topics
from streams.bus import KafkaBus
from streams.topics import AUDIT_CHECKPOINTS, all_topics
from tests.databases import migrate
from tests.db.audit_world import ENTRIES, Log
from tests.db.values import TickingClock


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path))
    monkeypatch.delenv("HOMEOSTAT_DATABASE_URL", raising=False)
    monkeypatch.delenv("HOMEOSTAT_BROKER", raising=False)
    url = f"sqlite:///{tmp_path / 'homeostat.db'}"
    migrate(url)
    return Log(connect(url), tmp_path / "audit").fill()


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["audit", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def test_a_redaction_names_every_place_in_mlflow_that_repeats_the_words() -> None:
    told = " ".join(out_of_reach("model.registered", "churn/3"))
    assert all(
        place in told for place in ("homeostat.reason", "homeostat.card", "model_card.json", "models sign")
    )
    assert "MLflow" not in " ".join(out_of_reach("silence.set", "silence/sil-1"))


def test_a_redaction_does_not_promise_to_take_words_out_of_sentences(log: Log) -> None:
    journal = SqlJournal(log.engine, TickingClock())
    with journal.transaction() as unit:
        found = unit.incident("i1")
        assert found is not None
        told = msgspec.structs.replace(found, outcome="ann rejected it: agreed")
        assert unit.save_incident(told, expected=found.state, actor="ann", why="agreed")
    log.sequence()
    said = run("redact", str(ENTRIES), "--field", "actor", "--field", "detail.why", "--reason", "art. 17")
    assert "1 of incidents" in said
    assert "Inside another sentence no command takes them out" in said
    with journal.reading() as reader:
        kept = reader.incident("i1")
    assert kept is not None
    assert kept.outcome == "ann rejected it: agreed"


def test_the_life_of_a_log(log: Log, tmp_path: Path) -> None:
    """Verified, handed out, kept, tampered with."""
    assert f"intact: {ENTRIES} entries" in run("verify")
    told = run("redact", "3", "--field", "actor", "--reason", "art. 17", "--by", "dpo")
    assert "actor is removed" in told
    assert "The same words stand in 21 entries of the log (3, 8, " in told
    assert "Backups of the database from before now" in told
    key = run("rotate", "--reason", "yearly").splitlines()[-1]
    log.sequence()
    told = json.loads(run("verify", "--json"))
    assert (told["ok"], told["entries"], len(told["notices"])) == (True, ENTRIES + 2, 2)

    everything, part = str(tmp_path / "all.jsonl"), str(tmp_path / "part.csv")
    assert f"{ENTRIES + 2} entries in" in run("export", "--out", everything)
    assert "8 entries in" in run("export", "--out", part, "--model", "churn")
    assert "0 entries in" in run("export", "--out", part, "--until", "1970-01-01")
    checked = run("verify", "--export", everything, "--key", key)
    assert "all 30 entries" in checked
    assert "compare it" not in checked
    assert "compare it with one that you have" in run("verify", "--export", part)
    proof = tmp_path / "entry.jsonl"
    proof.write_text(run("prove", "17"))
    assert json.loads(run("verify", "--export", str(proof), "--json"))["ok"]
    proof.write_text(proof.read_text().replace('"n":1', '"n":2'))
    assert "Entry 17" in run("verify", "--export", str(proof), code=1)

    log.sql("UPDATE audit_leaves SET subject = 'other' WHERE idx = 9")
    assert "Entry 9 was edited: its column subject is 'other'" in run("verify", code=1)


def test_a_dry_run_says_what_a_keeper_would_do_and_changes_nothing(log: Log, tmp_path: Path) -> None:
    Witness(log.engine, log.folder).run_once()
    redaction = ("redact", "3", "--field", "actor", "--reason", "art. 17")
    log.engine.dispose()
    before = _contents(tmp_path)
    told = run(*redaction, "--dry-run")
    assert "Entry 3: actor would be removed." in told
    assert "The same words stand in 21 entries of the log (3, 8, " in told
    assert json.loads(run(*redaction, "--dry-run", "--json"))["dry_run"] is True
    for more, key in (((), "log.pub"), (("--witness",), "witness/witness.pub")):
        used = (tmp_path / "audit" / key).read_text().splitlines()[-1].split()[0]
        assert f"This key would be replaced:\n{used}" in run(
            "rotate", *more, "--reason", "yearly", "--dry-run"
        )
    with pytest.raises(AuditError, match="nothing is lost"):
        run("restored", "--no-topic", "--reason", "x", "--dry-run")
    with pytest.raises(AuditError, match="There is no entry 99"):
        run("redact", "99", "--field", "actor", "--reason", "art. 17", "--dry-run")
    assert _contents(tmp_path) == before


@pytest.mark.parametrize("more", [(), ("--witness",), ("--dry-run",), ("--witness", "--dry-run")])
def test_a_new_key_needs_a_reason(log: Log, more: tuple[str, ...]) -> None:
    Witness(log.engine, log.folder).run_once()
    with pytest.raises(UserError, match="reason must say why"):
        run("rotate", "--reason", " ", *more)


def _contents(home: Path) -> dict[str, bytes]:
    """Every file but what SQLite keeps beside its own."""
    files = (each for each in home.rglob("*") if each.is_file() and each.suffix not in (".db-wal", ".db-shm"))
    return {str(each.relative_to(home)): each.read_bytes() for each in files}


def test_mistakes_are_told(log: Log, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="There is no entry 99"):
        run("prove", "99")
    with pytest.raises(AuditError, match="nothing is lost"):
        run("restored", "--reason", "x")
    with pytest.raises(UserError, match="reason must say why"):
        run("rotate", "--reason", " ")
    handed_out = tmp_path / "audit.jsonl"
    handed_out.write_text("of before")
    log.sql("DELETE FROM audit_checkpoints")
    with pytest.raises(AuditError, match="no checkpoint yet"):
        run("export", "--out", str(handed_out))
    assert handed_out.read_text() == "of before"


async def test_checkpoints_are_on_the_topic(kafka: str, topic_prefix: str, log: Log, tmp_path: Path) -> None:
    """Each once, whatever the agent did in between; and they say when the folder and the database were cut off."""
    topic = f"{topic_prefix}.audit"
    spec = next(each for each in all_topics() if each.name == AUDIT_CHECKPOINTS)
    await ensure_topics(kafka, [type(spec)(topic, spec.partitions, spec.config)])
    async with KafkaBus(kafka) as bus:
        feed = Feed(bus, topic, log.folder)
        assert [await feed.run_once(), await feed.run_once()] == [6, 0]
        log.more(rounds=2)
        assert await feed.run_once() == 2
        log.more()
        assert await Feed(bus, topic, log.folder).run_once() == 1, "after a restart"
        texts = [(message.value or b"").decode() for message in await bus.read_all(topic)]
        assert len(texts) == 9
        assert log.whole(texts).checkpoints == 4 * 9
        forged = (log.folder / "checkpoints.txt").read_bytes().split(b"\n\n\n")
        (log.folder / "checkpoints.txt").write_bytes(b"\n\n\n".join([*forged[:-2], b""]))
        with pytest.raises(AuditError, match="does not hold: the file was changed"):
            await Feed(bus, topic, log.folder).run_once()
    log.sql("DELETE FROM audit_leaves WHERE idx >= 36")
    log.sql("DELETE FROM audit_checkpoints WHERE size > 36")
    log.told(r"^A checkpoint in the Kafka topic vouches for 40 entries, only 36", texts)
    log.told(r"^The Kafka topic holds something else", ["x"])
