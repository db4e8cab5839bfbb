"""What the lists of the command line tell of the API's answers."""

from threading import Event

import httpx
import pytest

from serving.api import models
from serving.console import add_console
from tests.api.api_world import MODEL, World
from tests.api.conftest import Serve
from tests.api.test_agent_api import run
from tests.patience import PATIENCE_S


def test_the_list_of_tickets_says_what_is_asked(
    ill: World, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(ill.app()) as url:
        monkeypatch.setenv("HOMEOSTAT_API_URL", url)
        listed = run("approvals", "list")
    titles, ticket = listed.stdout.splitlines()
    assert titles.split("  ")[0] == "id"
    assert ticket.rstrip().endswith("Roll back credit-risk from version 2 to 1")
    assert "2026-11-18 12:06:40 UTC" in ticket


def test_the_list_of_tickets_says_what_an_approved_plan_waits_for(
    ill: World, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = ill.app()
    add_console(app, ill.services())
    with serve(app) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        monkeypatch.setenv("HOMEOSTAT_API_URL", url)
        before = run("approvals", "list")
        assert run("agent", "pause", "--reason", "migration", "--by", "ada").returncode == 0
        approved = run("approvals", "approve", "apr-1-1", "--by", "mira")
        listed, page = run("approvals", "list"), client.get("/").text
        detail = client.get("/api/v1/approvals/apr-1-1").json()
        incident = client.get(f"/api/v1/incidents/{detail['incident_id']}").json()
        own_page = client.get(f"/incidents/{detail['incident_id']}").text
    assert "waits for" not in before.stdout
    assert approved.stdout.splitlines() == [
        "apr-1-1 is approved (by mira).",
        "It waits: ada has paused all actions: migration.",
    ]
    assert "ada has paused all actions: migration" in listed.stdout
    assert detail["waits_for"] == "ada has paused all actions: migration"
    assert [each["waits_for"] for each in incident["approvals"]] == [detail["waits_for"]]
    assert "Waits: ada has paused all actions: migration." in page
    assert "Waits: ada has paused all actions: migration." in own_page


def test_the_list_of_models_says_what_never_served(
    ill: World, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    ill.registry.names |= {MODEL: ("1", "2", "3", "4"), "brought": ("1",)}
    with serve(ill.app()) as url:
        monkeypatch.setenv("HOMEOSTAT_API_URL", url)
        listed = run("models", "list")
        ill.registry.away = True
        away = run("models", "list")
    assert [line.split() for line in listed.stdout.splitlines()[1:]] == [
        ["brought", "0", "0", "1"],
        [MODEL, "2", "2", "2", "3,", "4"],
    ]
    assert listed.stderr == ""
    assert [line.split() for line in away.stdout.splitlines()[1:]] == [[MODEL, "2", "2", "2"]]
    assert away.stderr == "Versions that never served are not known: MLflow does not answer.\n"


def test_the_list_of_models_waits_for_no_registry_that_hangs(
    ill: World, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = Event()
    monkeypatch.setattr(models, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(ill.registry, "models", lambda: over.wait(25) and [])
    with serve(ill.app()) as url:
        monkeypatch.setenv("HOMEOSTAT_API_URL", url)
        try:
            listed = run("models", "list")
            assert not over.is_set()
        finally:
            over.set()
    assert [line.split() for line in listed.stdout.splitlines()[1:]] == [[MODEL, "2", "2", "2"]]
    assert listed.stderr.endswith("not known: The registry has not answered within 0.05 s.\n")
