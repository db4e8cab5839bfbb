"""What the lists of the command line tell of the API's answers."""

from threading import Event

import pytest

from serving.api import models
from tests.api.api_world import MODEL, World
from tests.api.conftest import Serve
from tests.api.test_agent_api import run


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
