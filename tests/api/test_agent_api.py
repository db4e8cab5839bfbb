"""The pause and the breakers over REST, on the console and from the command line."""

import os
import subprocess
import sys

import httpx

from serving.console import add_console
from tests.api.api_world import World
from tests.api.conftest import Serve

SAID = {"by": "mira", "reason": "the data centre moves"}


def test_a_pause_is_told_everywhere_and_ends(world: World, serve: Serve) -> None:
    app = world.app()
    add_console(app, world.services())
    with serve(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        before = client.get("/api/v1/agent").json()
        assert (before["paused"], before["running"], before["breakers"]) == (False, 0, [])
        assert before["limits"]["retrainings"] == 2
        paused = client.post("/api/v1/agent/pause", json=SAID).json()
        assert (paused["paused"], paused["by"], paused["reason"]) == (True, "mira", "the data centre moves")
        assert client.post("/api/v1/agent/pause", json={**SAID, "by": "otto"}).json()["by"] == "mira"
        assert client.get("/api/v1/health").json()["parts"]["actions"].startswith("paused by mira")
        page = client.get("/").text
        assert "Actions are paused" in page
        assert "the data centre moves" in page
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


def test_the_command_says_what_it_did(world: World, serve: Serve) -> None:
    with serve(world.app()) as url:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "deploy.cli", "agent", "pause"),
                *("--reason", "an exercise", "--by", "ada"),
            ],
            env={**os.environ, "HOMEOSTAT_API_URL": url},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert "by ada: an exercise" in done.stdout
