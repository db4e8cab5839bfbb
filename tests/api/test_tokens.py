"""Personal tokens: every change over REST, by scope, person and time."""

import re
from collections.abc import Iterator

import httpx
import pytest

from remediation.errors import TokenRefused
from remediation.tokens import SCOPES, create_token, revoke_token, token_of
from serving.api.protection import scope_of
from tests.api.api_world import World
from tests.api.conftest import Serve
from tests.patience import PATIENCE_S


def make(world: World, *scopes: str, days: float = 1.0) -> str:
    return create_token(
        world.journal, world.clock, person="mira", scopes=scopes or SCOPES, days=days, by="root"
    )[1]


@pytest.fixture
def open_api(ill: World, serve: Serve) -> Iterator[httpx.Client]:
    """An API without a token of its own, and a model that fell ill."""
    with serve(ill.app()) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield client


def changes_of(world: World) -> list[tuple[str, str]]:
    """Every route that is no reading, with something in the place of its parameters."""
    paths = world.app().openapi()["paths"]
    return [
        (method, re.sub(r"\{[^}]+\}", "x", path))
        for path, methods in paths.items()
        for method in sorted(set(methods) - {"get", "head", "options"})
    ]


def test_every_change_needs_a_token_of_its_scope_once_there_is_one(
    open_api: httpx.Client, ill: World
) -> None:
    found = changes_of(ill)
    assert len(found) >= 7
    tokens = {scope: make(ill, scope) for scope in SCOPES}
    for method, path in found:
        assert open_api.request(method, path, json={}).status_code == 401, path
        for scope, text in tokens.items():
            answer = open_api.request(method, path, json={}, headers={"Authorization": f"Bearer {text}"})
            assert (answer.status_code == 403) is (scope != scope_of(path)), (path, scope, answer.text)


def test_a_token_acts_in_the_name_of_its_person_only(open_api: httpx.Client, ill: World) -> None:
    headers = {"Authorization": f"Bearer {make(ill)}"}
    path = "/api/v1/approvals/apr-1-1/approve"
    other = open_api.post(path, json={"by": "otto"}, headers=headers)
    assert (other.status_code, "mira's" in other.json()["detail"]) == (403, True)
    assert open_api.post(path, json={"by": "mira"}, headers=headers).status_code == 200


@pytest.mark.parametrize("spoil", ["expired", "revoked", "secret", "id", "form"])
def test_what_opens_nothing(open_api: httpx.Client, ill: World, spoil: str) -> None:
    text = make(ill)
    token = token_of(ill.journal, text)
    assert token is not None
    if spoil == "expired":
        ill.clock.at_us = token.expires_us
    if spoil == "revoked":
        revoke_token(ill.journal, ill.clock, token_id=token.id, by="root")
        again = revoke_token(ill.journal, ill.clock, token_id=token.id, by="eve")
        assert again.revoked_by == "root"
    last = "A" if text[-1] != "A" else "B"
    shown = {"secret": text[:-1] + last, "id": text.replace(token.id, "0" * 12), "form": "hst_x"}.get(
        spoil, text
    )
    answer = open_api.post(
        "/api/v1/approvals/apr-1-1/approve", json={"by": "mira"}, headers={"Authorization": f"Bearer {shown}"}
    )
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    if spoil in ("expired", "revoked"):
        assert f"is {spoil}" in answer.json()["detail"]


def test_the_secret_is_nowhere(ill: World) -> None:
    secret = make(ill).rsplit("_", 1)[-1][-40:]
    ill.sequence()
    with ill.journal.reading() as unit:
        kept = repr((unit.tokens(), unit.audit_entries(action="token.created")))
    assert "token.created" in kept
    assert secret not in kept
    assert ill.services().verify_audit().problems == []


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"scopes": ("decide", "admin")}, "there is no scope 'admin'; choose from decide, operate, ingest"),
        ({"scopes": ()}, "none"),
        ({"days": 0.0}, "above 0"),
        ({"days": 400.0}, "at most 366"),
        ({"person": " "}, "needs a name"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(world: World, asked: dict[str, object], told: str) -> None:
    wanted: dict[str, object] = {"person": "mira", "scopes": ("decide",), "days": 1.0, "by": "root", **asked}
    with pytest.raises(TokenRefused, match=told):
        create_token(world.journal, world.clock, **wanted)  # type: ignore[arg-type]
