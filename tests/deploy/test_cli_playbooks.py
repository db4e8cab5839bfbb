"""`homeostat playbooks ...`: checked, tried on paper, and held against the record."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace
from typer.testing import CliRunner

from db.engine import connect
from deploy import dry_run
from deploy.cli import app
from deploy.errors import UserError
from detectors.reference import Reference
from remediation import incidents
from serving.model_errors import RegistryRefused
from tests.api.api_world import SECOND_US, START_US, FakeRegistry, World
from tests.databases import migrate

RUN = CliRunner()
PAUSE = (
    "playbooks: [{name: pause, match: {causes: [bad_release]}, steps: [{action: pause_model, act: true}]}]"
)


class Registered(FakeRegistry):
    """Two versions, and no reference."""

    def reference(self, model: str, version: str) -> Reference:
        raise RegistryRefused(f"version {version} of {model} has no reference")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A home with one incident that waits for a decision and one that was rejected."""
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path))
    for name in ("HOMEOSTAT_DATABASE_URL", "HOMEOSTAT_API_URL", "HOMEOSTAT_POLICY", "HOMEOSTAT_PLAYBOOKS"):
        monkeypatch.delenv(name, raising=False)
    registry = Registered()
    monkeypatch.setattr(dry_run, "registry", lambda settings: registry)
    migrate(f"sqlite:///{tmp_path / 'homeostat.db'}")
    engine = connect(f"sqlite:///{tmp_path / 'homeostat.db'}")
    world = World(engine, tmp_path / "audit", registry=registry)
    world.fall_ill(1)
    with world.journal.transaction() as unit:
        first = unit.incident("inc-1")
        assert first is not None
        incidents.close(unit, first, to="rejected", outcome="ada rejected it", now_us=START_US)
    world.clock.at_us += 60 * SECOND_US
    world.fall_ill(2)
    yield world
    engine.dispose()


def run(*command: str, code: int = 0) -> str:
    result = RUN.invoke(app, ["playbooks", *command])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def test_what_would_be_done_next_and_why(world: World, tmp_path: Path) -> None:
    told = run("plan", "inc-2")
    assert "Playbook: bad release (built in)" in told
    assert "step 1, rollback: next" in told
    assert "Roll back credit-risk from version 2 to 1." in told
    assert "Consent: 1 person must approve." in told
    file = tmp_path / "mine.yaml"
    file.write_text("autonomy: {'*': observe}\n" + PAUSE)
    found = json.loads(run("plan", "inc-1", "--file", str(file), "--json"))
    assert (found["playbook"], found["plan"]["action"], found["approval_needed"]) == (
        "pause",
        "pause_model",
        True,
    )
    assert found["why_not"].startswith("Observed only")
    with world.journal.reading() as unit:
        assert len(unit.plans("inc-1")) == 1, "nothing is written"


def test_an_incident_that_is_not_on_record(world: World) -> None:
    result = RUN.invoke(app, ["playbooks", "plan", "inc-9"])
    assert isinstance(result.exception, UserError)
    assert "There is no incident inc-9" in str(result.exception)


def test_playbooks_beside_what_was_done(world: World, tmp_path: Path) -> None:
    same = json.loads(run("backtest", "--json"))
    assert same["counts"] == {
        "incidents": 2,
        "same": 2,
        "other": 0,
        "told": 0,
        "by_action": {"rollback": 2},
        "by_playbook": {"bad release (built in)": 2},
    }
    assert [each["did"] for each in same["items"]] == ["rollback: pending", "rollback: pending"]
    file = tmp_path / "mine.yaml"
    file.write_text("autonomy: {'*': act}\n" + PAUSE)
    told = run("backtest", "--file", str(file), "--model", "credit-risk")
    assert "nobody is asked (autonomy)" in told
    assert "2 incidents: 0 as it was done, 2 otherwise" in told
    assert "No diagnosed incident" in run("backtest", "--until", "2020-01-01T00:00")


def test_lint_says_by_its_exit_code_whether_something_is_wrong(world: World, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(PAUSE)
    assert json.loads(run("lint", str(file), "--json")) == {
        "ok": True,
        "findings": [
            {
                "level": "warning",
                "place": "playbook 'pause', step 1 (pause_model)",
                "text": "it says `act: true`, and `autonomy` gives none of its models `act`: it asks",
            }
        ],
    }
    assert "warning: playbook 'pause'" in run("lint", str(file), "--strict", code=1)
    file.write_text(PAUSE.replace("pause_model", "pausemodel"))
    refused = RUN.invoke(app, ["playbooks", "lint", str(file)])
    assert isinstance(refused.exception, UserError)
    assert "step 1 (pausemodel)" in str(refused.exception)


def test_show_gives_a_file_that_does_the_same(world: World, tmp_path: Path) -> None:
    shown: Any = yaml.safe_load(run("show"))
    assert shown["built_in"] is False
    names = [each["name"].replace(" (built in)", "") for each in shown["playbooks"]]
    assert names[:2] == ["bad release", "wrong arrivals"]
    file = tmp_path / "shown.yaml"
    file.write_text(run("show"))
    assert json.loads(run("lint", str(file), "--json"))["ok"]
    assert json.loads(run("show", "--json", "--file", str(file))) == shown


def test_without_a_registry_nothing_is_known_of_features(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "registry", lambda settings: None)
    told = run("plan", "inc-2")
    assert "passed over: no version is safe to go back to" in told
    assert "Nothing would be proposed." in told


def test_a_registry_that_is_away_is_told(world: World) -> None:
    world.registry.away = True
    refused = RUN.invoke(app, ["playbooks", "backtest"])
    assert isinstance(refused.exception, UserError)
    assert "MLflow does not answer" in str(refused.exception)


def test_only_what_was_known_then_counts(world: World) -> None:
    """Version 1 was itself found to be bad, but only later."""
    with world.journal.transaction() as unit:
        first = unit.incident("inc-1")
        assert first is not None
        later = replace(
            first,
            id="inc-0",
            version="1",
            state="resolved",
            closed_us=START_US + 3_600 * SECOND_US,
            opened_us=first.opened_us - 1,
        )
        unit.add_incident(later, actor="agent")
    assert "step 1, rollback: next" in run("plan", "inc-1")
    assert "step 1, rollback: passed over" in run("plan", "inc-2")
