"""Personal data leave the log, and every proof stays as it is; whoever cheats about it is shown."""

import pytest
from msgspec.structs import replace
from sqlalchemy import insert, text
from sqlalchemy.exc import OperationalError

from db.audit import append
from db.engine import reading, writing
from db.errors import AuditError, StoreError
from db.journal import SqlJournal
from db.tables import ClickRow
from remediation.actions import CANCEL, ended, with_step
from tests.db.audit_world import ENTRIES, Log, topic
from tests.db.values import TickingClock


def test_a_redaction_leaves_every_proof_as_it_is(log: Log) -> None:
    before = topic(log)
    journal = SqlJournal(log.engine, TickingClock())
    told = log.keeper.redact(
        3, ["actor", "detail.reason", "detail.decided_by"], at_us=9, actor="dpo", reason="art. 17"
    )
    assert told.told.fields == ("actor", "detail.reason", "detail.decided_by", "rows")
    assert (told.action, told.subject) == ("approval.approved", "approval/a1")
    assert (told.leftovers.entries, told.leftovers.first[:2]) == (20, (8, 9))
    assert told.leftovers.rows == {"desired": 1, "deployments": 2}, "what ann decided besides"
    report = log.whole()
    assert topic(log)[: len(before)] == before
    assert report.notices == [
        f"Entry 3: actor, detail.reason, detail.decided_by was redacted (entry {ENTRIES})."
    ]
    with journal.reading() as reader:
        entry = reader.audit_entries(after=2, before=4)[0]
        ticket = reader.approval("a1")
    assert (entry.actor, entry.detail["reason"], entry.detail["to"]) == (
        "[redacted]",
        "[redacted]",
        "approved",
    )
    assert ticket is not None
    assert (ticket.decided_by, ticket.reason, ticket.state) == ("[redacted]", "[redacted]", "approved")
    assert (ticket.votes[0].by, ticket.votes[0].reason, ticket.votes[0].at_us) == (
        "[redacted]",
        "[redacted]",
        1,
    )
    with reading(log.engine) as connection:
        everything = connection.execute(
            text("SELECT actor, subject, leaf, personal FROM audit_leaves WHERE idx = 3")
        ).one()
    assert not any("ann" in str(cell).replace("channel", "") for cell in everything)
    log.keeper.redact(ENTRIES, ["actor"], at_us=9, actor="dpo", reason="the officer, too")
    assert len(log.whole().notices) == 2


def test_what_a_person_cancelled_can_be_redacted_wherever_it_is_told(log: Log) -> None:
    journal = SqlJournal(log.engine, TickingClock())
    said = "tamara cancelled it: her campaign explains it"
    with journal.transaction() as unit:
        before = unit.action("x1")
        incident = unit.incident("i1")
        assert before is not None
        assert incident is not None
        asked = with_step(before, CANCEL, "intended", at_us=7, detail=said)
        assert unit.save_action(asked, expected=before.state, actor="tamara")
        over = ended(asked, "failed", now_us=8, outcome=f"{said}; undone")
        assert unit.save_action(over, expected=before.state, actor="agent")
        closed = replace(incident, outcome=said)
        assert unit.save_incident(closed, expected=incident.state, actor="agent", why=said)
    log.sequence()
    places = (
        (ENTRIES, ["actor", "detail.step_detail"]),
        (ENTRIES + 1, ["detail.outcome", "detail.step_detail"]),
    )
    for index, fields in places:
        log.keeper.redact(index, fields, at_us=9, actor="dpo", reason="art. 17")
    done = log.keeper.redact(ENTRIES + 2, ["detail.why"], at_us=9, actor="dpo", reason="art. 17")
    assert (done.leftovers.entries, done.leftovers.open, done.leftovers.rows) == (0, (), {})
    log.whole()
    with reading(log.engine) as connection:
        tables = ("audit_leaves", "actions", "incidents")
        everything = [connection.execute(text(f"SELECT * FROM {table}")).all() for table in tables]
    assert "tamara" not in str(everything)
    with journal.reading() as unit:
        action = unit.action("x1")
    assert action is not None
    assert (action.outcome, action.steps[-1].detail, action.state) == ("[redacted]", "[redacted]", "failed")


def test_words_that_no_redaction_reaches_are_found(log: Log) -> None:
    log.write(1, subject="model/tamara")
    with writing(log.engine) as connection:
        append(connection, at_us=1, actor="tamara", action="look", subject="s", detail={})
        click = {"id": "c", "state": "open", "at_us": 1, "value": {"user": "tamara"}}
        connection.execute(insert(ClickRow), click)
    log.sequence()
    left = log.keeper.redact(ENTRIES + 1, ["actor"], at_us=9, actor="dpo", reason="art. 17").leftovers
    assert (left.entries, left.open, left.rows) == (0, (ENTRIES,), {"slack_clicks": 1})


@pytest.mark.parametrize(
    ("index", "fields", "words"),
    [
        (99, ["actor"], "There is no entry 99"),
        (10, ["detail.n"], r"no field 'detail.n' that can be redacted; it has actor"),
        (10, [], r"no field ''"),
    ],
)
def test_what_cannot_be_redacted(log: Log, index: int, fields: list[str], words: str) -> None:
    with pytest.raises(AuditError, match=words):
        log.keeper.redact(index, fields, at_us=9, actor="dpo", reason="x")
    with pytest.raises(ValueError, match="reason must say why"):
        log.keeper.redact(10, ["actor"], at_us=9, actor="dpo", reason=" ")
    log.whole()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            """UPDATE audit_leaves SET personal = '{}', actor = '[redacted]' WHERE idx = 12""",
            r"^Entry 12 was edited: the value of actor was removed without a redaction",
        ),
        (
            "UPDATE audit_leaves SET personal = replace(personal, 'ann', 'bob'), actor = 'bob' WHERE idx = 12",
            r"^Entry 12 was edited: the value kept for actor is not the one that its text sealed",
        ),
        (
            "UPDATE audit_leaves SET personal = (SELECT personal FROM audit_leaves WHERE idx = 12), actor = 'ann' "
            "WHERE idx = 11",
            r"^Entry 11 was edited: the value kept for actor is not",
        ),
        (
            "UPDATE audit_leaves SET leaf = replace(leaf, '[\"actor\"]', '[\"other\"]') WHERE idx = 28",
            r"^Entry 28 was edited: its text does not have the hash",
        ),
        (
            "UPDATE audit_leaves SET leaf = replace(leaf, '\"entry\":11', '\"entry\":12') WHERE idx = 28",
            r"^Entry 28 \(audit.redacted\) is forged: its signature is not valid",
        ),
        (
            "UPDATE audit_leaves SET personal = replace(personal, '{', '{ ') WHERE idx = 12",
            "Entry 12 cannot be read",
        ),
        (
            'UPDATE audit_leaves SET personal = replace(personal, \'{\', \'{"x":["a","b"],\') WHERE idx = 12',
            r"Entry 12 (was edited: a value is kept for x|cannot be read)",
        ),
    ],
)
def test_an_edited_redaction_is_shown(log: Log, statement: str, words: str) -> None:
    log.keeper.redact(11, ["actor"], at_us=9, actor="dpo", reason="x")
    log.sql(statement.replace(":", r"\:"))
    log.told(words)


def test_a_value_that_was_put_back_is_shown(log: Log) -> None:
    with reading(log.engine) as connection:
        kept = connection.scalar(text("SELECT personal FROM audit_leaves WHERE idx = 11"))
    log.keeper.redact(11, ["actor"], at_us=9, actor="dpo", reason="x")
    with writing(log.engine) as connection:
        connection.execute(
            text("UPDATE audit_leaves SET personal = :kept, actor = 'ann' WHERE idx = 11"), {"kept": kept}
        )
    log.told(r"^Entry 11 holds a value of actor although it was redacted: it was put back")


def test_a_dry_run_on_a_database_that_fails_is_told_in_words(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise OperationalError("SELECT 1", {}, ConnectionError("the server has gone away"))

    monkeypatch.setattr("db.audit.keeping._remove", lost)
    with pytest.raises(StoreError, match="gone away"):
        log.keeper.redact(3, ["actor"], at_us=9, actor="dpo", reason="art. 17", dry_run=True)
