"""A log with some of everything, for the tests of what may be done to it and what may not."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, text

from db.audit import NewEntry, Sequencer, VerifyReport, Witness, append_all, verify
from db.audit.keeping import Keeper
from db.audit.notefile import NoteFile
from db.engine import reading, writing
from db.journal import SqlJournal
from db.tables import Base
from remediation.values import Vote
from tests.db.values import TickingClock, action, approval, desired, incident, plan

ENTRIES = 28


@dataclass
class Log:
    """A database and the folder beside it."""

    engine: Engine
    folder: Path

    @property
    def keeper(self) -> Keeper:
        return Keeper(self.engine, self.folder)

    def fill(self) -> "Log":
        """8 entries of state changes and 20 others, in six checkpoints, all witnessed."""
        journal = SqlJournal(self.engine, TickingClock())
        with journal.transaction() as unit:
            unit.add_incident(incident(), actor="agent")
            unit.add_plan(plan(), approval(plan()), actor="agent")
            votes = (Vote(by="ann", channel="rest", at_us=1, reason="agreed"),)
            done = approval(plan(), state="approved", decided_by="ann", reason="agreed", votes=votes)
            unit.save_approval(done, expected="pending", actor="ann")
            unit.add_action(action(plan()), actor="agent")
            unit.set_desired(desired(1, "1"), expected_epoch=0, actor="agent")
            unit.set_desired(desired(2, "2"), expected_epoch=1, actor="agent")
            unit.save_incident(incident(state="resolved"), expected="open", actor="agent", why="well again")
        self.sequence()
        self.more(rounds=5)
        return self

    def more(self, rounds: int = 1, entries: int = 4) -> None:
        """Entries, sequenced and witnessed round by round."""
        for number in range(rounds):
            self.write(entries, f"s/{number}")
            self.sequence()

    def write(self, entries: int = 1, subject: str = "s") -> None:
        """Entries that wait."""
        with writing(self.engine) as connection:
            append_all(
                connection,
                [
                    NewEntry(at_us=at, actor="ann", action="look", subject=subject, detail={"n": at})
                    for at in range(entries)
                ],
            )

    def sequence(self) -> None:
        """What the agent does twice a second."""
        Sequencer(self.engine, self.folder).run_once()
        Witness(self.engine, self.folder).run_once()

    def verify(self, topic: list[str] | None = None) -> VerifyReport:
        return verify(self.engine, self.folder, topic=topic)

    def whole(self, topic: list[str] | None = None) -> VerifyReport:
        """It must verify."""
        report = self.verify(topic)
        assert report.problems == []
        return report

    def told(self, pattern: str, topic: list[str] | None = None) -> None:
        """Verification must fail with these words."""
        report = self.verify(topic)
        assert not report.ok
        assert any(re.search(pattern, problem) for problem in report.problems), report.problems

    def sql(self, statement: str) -> None:
        with writing(self.engine) as connection:
            connection.execute(text(statement))


class Template:
    """A filled log, put back into its own database before each test: a hundred times faster than a new one."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._tables = Base.metadata.sorted_tables
        with reading(log.engine) as connection:
            self._rows: dict[str, list[dict[str, Any]]] = {
                table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
                for table in self._tables
            }

    def renewed(self, folder: Path) -> Log:
        """The database as it was, and a copy of the folder."""
        with writing(self._log.engine) as connection:
            for table in reversed(self._tables):
                connection.execute(table.delete())
            for table in self._tables:
                if self._rows[table.name]:
                    connection.execute(insert(table), self._rows[table.name])
        shutil.copytree(self._log.folder, folder)
        return Log(self._log.engine, folder)


def forget_after(connection: Connection, entries: int, edge: bytes) -> None:
    """What the database is after an old backup was restored."""
    connection.execute(text("DELETE FROM audit_leaves WHERE idx IS NULL OR idx >= :n"), {"n": entries})
    connection.execute(text("DELETE FROM audit_checkpoints WHERE size > :n"), {"n": entries})
    connection.execute(text("UPDATE audit_tree SET size = :n, edge = :edge"), {"n": entries, "edge": edge})


def topic(log: Log) -> list[str]:
    """What the topic holds: the file's notes, told as they come."""
    return [note.text() for note in NoteFile(log.folder / "checkpoints.txt").notes()]
