"""Alerts that a silence holds, and what is held about a model while somebody else writes, on both databases."""

import time
from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace
from sqlalchemy import Engine, text

from db.engine import reading
from db.journal import SqlJournal
from remediation.routing import Situation
from remediation.silences import Link
from tests.db.values import alert, incident
from tests.patience import PATIENCE_S


def test_held_alerts_are_found_by_model_and_let_go_once(journal: SqlJournal) -> None:
    with journal.transaction() as unit:
        held = [Link(alert=each, silence_id="sil-1") for each in (alert(1), alert(2, model="loans"))]
        unit.link_alerts([*held, Link(alert=alert(3))])
    with journal.transaction() as unit:
        (held,) = unit.held(model="loans")
        assert [each.alert.id for each in unit.held()] == [alert(1).id, alert(2).id]
        assert unit.release_alert(held, incident_id=None, silence_id=None, why="over")
        assert not unit.release_alert(held, incident_id=None, silence_id=None, why="over")
        assert unit.held(model="loans") == []


def test_who_waited_while_an_incident_was_opened_at_the_end_of_another_finds_it_open(
    journal: SqlJournal, engine: Engine
) -> None:
    first, second = incident(1), incident(2)
    with journal.transaction() as unit:
        unit.add_incident(first, actor="agent")

    def looked() -> Situation:
        with journal.transaction() as unit:
            return unit.situations([first.model])[first.model]

    with ThreadPoolExecutor(1) as other:
        with journal.transaction() as unit:
            assert unit.incident(first.id) == first
            waiting = other.submit(looked)
            if engine.dialect.name == "postgresql":
                _somebody_waits(engine)
            closed = replace(first, state="resolved", closed_us=5)
            assert unit.save_incident(closed, expected=first.state, actor="agent", why="well")
            unit.add_incident(second, actor="agent")
        found = waiting.result(30)
    assert (found.current, found.last_closed) == (second, closed)


def _somebody_waits(engine: Engine) -> None:
    deadline = time.monotonic() + PATIENCE_S
    waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    while True:
        with reading(engine) as connection:
            if connection.scalar(waits):
                return
        assert time.monotonic() < deadline, "nobody waits for the incident"
