"""Roles that nobody has, and the record of which policy is in force."""

import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from db.audit.sequencer import Sequencer
from db.engine import connect
from db.journal import SqlJournal
from deploy import pieces, policies
from deploy.cli import app
from deploy.doctor import Level, run_checks
from deploy.errors import UserError
from deploy.preflight import refuse_wrong_files
from deploy.settings import Settings
from tests.databases import migrate
from tests.db.values import TickingClock

SOUND = "people: {mira: {roles: [admin]}}\nbreak_glass: [admin]\n"
IDLE = "people: {mira: {roles: [admin]}}\nbreak_glass: [admn]\n"


class Home:
    """An installation with an audit log."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "policy.yaml"
        url = f"sqlite:///{folder / 'homeostat.db'}"
        migrate(url)
        self.engine = connect(url)
        self.journal = SqlJournal(self.engine, TickingClock())

    def start(self, role: str = "agent") -> None:
        """What a role does when it starts, and the sequencer a moment later."""
        settings = Settings()
        policies.put_on_record(settings, self.journal, role, pieces.policy(settings))
        Sequencer(self.engine, self.file.parent / "audit").run_once()

    def told(self) -> list[tuple[str, str, object]]:
        with self.journal.reading() as unit:
            found = unit.audit_entries(action="policy.in_force", newest_first=False)
        return [(each.actor, each.subject, each.detail["people"]) for each in found]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("HOMEOSTAT_DATABASE_URL", raising=False)
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path))
    monkeypatch.setenv("HOMEOSTAT_POLICY", str(tmp_path / "policy.yaml"))
    return Home(tmp_path)


@pytest.mark.parametrize("field", ["break_glass", "operators"])
def test_a_right_that_nobody_has_is_a_mistake(field: str, home: Home) -> None:
    home.file.write_text(f"people: {{mira: {{roles: [admin]}}}}\n{field}: [admn]\n")
    words = f"line 2, {field} names the roles admn, which nobody in people has: nobody could"
    found = CliRunner().invoke(app, ["policy", "lint", str(home.file)])
    assert (found.exit_code, words in found.stdout, "did you mean 'admin'?" in found.stdout) == (
        1,
        True,
        True,
    )
    assert json.loads(CliRunner().invoke(app, ["policy", "lint", "--json"]).stdout)["ok"] is False
    (check,) = (each for each in run_checks(Settings()) if each.name == "policy")
    assert (check.level, words in check.found) == (Level.FAIL, True)
    home.file.write_text(SOUND)
    found = CliRunner().invoke(app, ["policy", "lint"])
    assert (found.exit_code, "1 person, 0 rules: nothing is wrong." in found.stdout) == (0, True)


def test_a_new_file_with_such_a_mistake_starts_nothing(home: Home) -> None:
    home.file.write_text(SOUND)
    home.start()
    home.file.write_text(IDLE)
    for begin in (home.start, lambda: refuse_wrong_files(Settings())):
        with pytest.raises(UserError, match="break_glass names the roles admn"):
            begin()


def test_one_that_was_in_force_before_is_taken_and_told(home: Home) -> None:
    """Such as a file that an older Homeostat has taken."""
    home.file.write_text(IDLE)
    with pytest.raises(UserError, match="break_glass names"):
        home.start()
    with home.journal.transaction() as unit:
        unit.audit(actor="mira", action="look", subject="s", detail={})
    Sequencer(home.engine, home.file.parent / "audit").run_once()
    for _ in range(2):
        with capture_logs() as logs:
            home.start()
        assert "break_glass names the roles admn" in logs[0]["mistake"]
    refuse_wrong_files(Settings())
    (check,) = (each for each in run_checks(Settings()) if each.name == "policy")
    assert check.level is Level.FAIL
    home.file.write_text(IDLE + "# another file\n")
    with pytest.raises(UserError, match="break_glass names"):
        home.start()
    home.file.write_text(IDLE.replace("people", "poeple"))
    with pytest.raises(UserError, match="did you mean 'people'"):
        home.start()


def test_the_log_tells_when_who_may_decide_has_changed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.file.write_text(SOUND)
    for role in ("agent", "api", "agent"):
        home.start(role)
    first = [("agent", "policy/agent", 1), ("api", "policy/api", 1)]
    assert home.told() == first
    home.file.write_text("people: {mira: {}, otto: {}}\n")
    home.start()
    monkeypatch.delenv("HOMEOSTAT_POLICY")
    home.start()
    home.start()
    assert home.told() == [*first, ("agent", "policy/agent", 2), ("agent", "policy/agent", 0)]


def test_a_first_file_was_not_in_force_before(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    named = str(home.file)
    monkeypatch.delenv("HOMEOSTAT_POLICY")
    for _ in range(2):
        home.start()
    assert home.told() == [("agent", "policy/agent", 0)]
    home.file.write_text(IDLE)
    monkeypatch.setenv("HOMEOSTAT_POLICY", named)
    with pytest.raises(UserError, match="break_glass names the roles admn"):
        home.start()
