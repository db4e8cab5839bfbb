"""What would come of it, said without doing it: the database is the same after it, row by row."""

from functools import partial
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from db.engine import reading
from db.tables import Base
from deploy.cli import records
from deploy.cli.client import ApiClient
from deploy.cli.records import actions_cancel, models_promote, told_of_cancelling
from deploy.settings import Settings
from remediation.policy import Person, Policy, Rule
from remediation.promotion import promote
from tests.api.api_world import MODEL, World
from tests.api.conftest import Serve
from tests.patience import PATIENCE_S

WHO = {"by": "mira", "reason": "spring release"}


class Quiet:
    """A publisher that must not be asked."""

    async def publish_desired(self, *_: object) -> None:
        raise AssertionError("a dry run has made something known")


def rows(world: World) -> dict[str, list[Any]]:
    with reading(world.engine) as connection:
        return {
            table.name: [*connection.execute(select(table)).all()] for table in Base.metadata.sorted_tables
        }


@pytest.fixture
def real(ill: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world with promotions as they are."""
    registry: Any = ill.registry
    registry.version = lambda model, name: next(
        (v for v in registry.versions(model) if v.version == name), None
    )
    ill.policy = Policy(
        people={"mira": Person(roles=("owner",)), "otto": Person()}, rules=(Rule(roles=("owner",)),)
    )
    publisher: Any = Quiet()
    promoting: Any = partial(promote, ill.journal, registry, publisher, ill.clock, policy=ill.policy)
    monkeypatch.setattr(ill, "promote", promoting)
    return ill


@pytest.mark.parametrize(
    ("version", "by", "status", "told"),
    [
        ("1", "mira", 200, '"epoch":3'),
        ("2", "mira", 200, '"epoch":2'),
        ("9", "mira", 409, "has no version 9"),
        ("1", "otto", 403, "needs one of the roles owner"),
    ],
)
def test_a_promotion_is_only_checked(
    real: World, serve: Serve, version: str, by: str, status: int, told: str
) -> None:
    before = rows(real)
    with serve(real.app()) as url:
        body = {**WHO, "by": by, "version": version, "dry_run": True}
        answer = httpx.post(f"{url}/api/v1/models/{MODEL}/promote", json=body, timeout=PATIENCE_S)
    assert (answer.status_code, told in answer.text) == (status, True), answer.text
    assert rows(real) == before


def test_a_cancellation_is_only_checked(ill: World, serve: Serve) -> None:
    action = ill.act(ill.fall_ill(2))
    before = rows(ill)
    with serve(ill.app()) as url:
        path = f"{url}/api/v1/actions/{action.id}/cancel"
        answer = httpx.post(path, json={**WHO, "dry_run": True}, timeout=PATIENCE_S)
        assert (answer.status_code, answer.json()["steps"][-1]["name"]) == (200, "acknowledge")
        assert (
            httpx.post(
                f"{url}/api/v1/actions/act-0/cancel", json={**WHO, "dry_run": True}, timeout=PATIENCE_S
            ).status_code
            == 404
        )
        assert rows(ill) == before
        httpx.post(path, json=WHO, timeout=PATIENCE_S)
        assert rows(ill) != before


def test_the_commands_say_what_would_be(
    real: World, serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    action = real.act(real.fall_ill(2))
    before = rows(real)
    with serve(real.app()) as url:
        monkeypatch.setenv("HOMEOSTAT_API_URL", url)
        client = ApiClient(Settings())
        monkeypatch.setattr(records, "_client", lambda: client)
        models_promote(MODEL, "1", reason="spring", by="mira", break_glass=False, dry_run=True)
        actions_cancel(action.id, reason="no", by="mira", dry_run=True)
        vars(client)["_client"].close()
    told = capsys.readouterr().out
    assert f"{MODEL} would serve version 1 (epoch 3)." in told
    assert "would go no further than the step acknowledge; what it decided would be taken back." in told
    assert rows(real) == before


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ({"decide": "done", "publish": "done", "cancel": "intended"}, "is stopped already; nothing more"),
        (
            {"decide": "done", "publish": "done"},
            "no further than it is; what it decided would be taken back.",
        ),
        ({"collect": "intended"}, "no further than the step collect; it has decided nothing yet."),
        ({"call": "done"}, "than it is; what it called for would be taken back where its plan says how."),
    ],
)
def test_what_a_cancellation_would_come_to_is_true_of_every_step(steps: dict[str, str], told: str) -> None:
    rows = [{"name": name, "state": state} for name, state in steps.items()]
    assert told in told_of_cancelling({"id": "act-1", "kind": "retrain", "model": MODEL, "steps": rows})
