"""The pause and the breakers over REST, on the console and from the command line."""

import subprocess
import sys

import httpx
import pytest
from typer.testing import CliRunner

from deploy.cli import app
from serving.console import add_console
from tests.api.api_world import World
from tests.api.conftest import Serve
from tests.patience import PATIENCE_S

SAID = {"by": "mira", "reason": "the data centre moves"}


def test_a_pause_is_told_everywhere_and_ends(world: World, serve: Serve) -> None:
    app = world.app()
    add_console(app, world.services())
    with serve(app) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        before = client.get("/api/v1/agent").json()
        assert (before["paused"], before["running"], before["breakers"]) == (False, 0, [])
        assert before["limits"]["retrainings"] == 2
        paused = client.post("/api/v1/agent/pause", json=SAID).json()
        assert (paused["paused"], paused["by"], paused["reason"]) == (True, "mira", "the data centre moves")
        assert client.post("/api/v1/agent/pause", json=SAID).json() == paused
        second = client.post("/api/v1/agent/pause", json={"by": "otto", "reason": "an upgrade"})
        assert second.status_code == 409
        first = "already paused by mira since 2026-11-18 11:06 UTC: the data centre moves"
        assert second.json()["detail"] == f"{first}; your reason was not recorded"
        assert client.get("/api/v1/health").json()["parts"]["actions"].startswith("paused by mira")
        page = client.get("/").text
        assert "Actions are paused" in page
        assert "the data centre moves" in page
        assert "homeostat agent resume --reason" in page
        resumed = client.post("/api/v1/agent/resume", json={"by": "otto", "reason": "it is over"}).json()
        assert resumed["paused"] is False
        assert "Actions are paused" not in client.get("/").text
    world.sequence()
    assert world.services().verify_audit().problems == []
    with world.journal.reading() as unit:
        told = [each.action for each in unit.audit_entries(subject="switch/pause", newest_first=False)]
    assert told == ["agent.paused", "agent.resumed"]


def test_a_breaker_is_reset_by_name_and_a_reason_is_asked_for(client: httpx.Client) -> None:
    assert client.post("/api/v1/agent/breakers/retrain/reset", json=SAID).status_code == 200
    unknown = client.post("/api/v1/agent/breakers/retrian/reset", json=SAID)
    assert unknown.status_code == 404
    assert "there are rollback, retrain" in unknown.json()["detail"]
    assert client.post("/api/v1/agent/pause", json={"by": "mira", "reason": ""}).status_code == 422


def test_the_commands_say_what_they_did(ill: World, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(ill.app()) as url:
        monkeypatch.setenv("HOMEOSTAT_API_URL", url)
        paused = run("agent", "pause", "--reason", "an exercise", "--by", "ada")
        again = run("agent", "pause", "--reason", "an upgrade", "--by", "otto")
        rejected = run("approvals", "reject", "apr-1-1", "--reason", "a campaign", "--by", "mira")
        late = run("approvals", "approve", "apr-1-1", "--by", "otto")
    assert paused.returncode == 0
    assert "by ada: an exercise" in paused.stdout
    assert again.returncode == 1
    assert "already paused by ada" in again.stderr
    assert rejected.stdout == "apr-1-1 is rejected (by mira).\n"
    assert rejected.stderr == "Not to be done: Roll back credit-risk from version 2 to 1\n"
    assert late.returncode == 1
    assert late.stderr.startswith("homeostat: Nothing changed. Approval apr-1-1 was rejected by mira")
    assert "Roll back" not in late.stderr


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    command = [sys.executable, "-m", "deploy.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


BLANK = [
    "agent pause",
    "agent resume",
    "agent reset-breaker retrain",
    "approvals approve apr-1",
    "approvals reject apr-1",
    "actions cancel act-1",
    "models promote churn 7",
    "silences set model=churn --for 2h",
]


@pytest.mark.parametrize("command", BLANK)
def test_no_command_takes_a_reason_that_says_nothing(command: str) -> None:
    told = CliRunner().invoke(app, [*command.split(), "--reason", "   "])
    assert told.exit_code == 2
    assert "must say why" in told.output
