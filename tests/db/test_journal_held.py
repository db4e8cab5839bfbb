"""Alerts that a silence holds, on both databases."""

from db.journal import SqlJournal
from remediation.silences import Link
from tests.db.values import alert


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
