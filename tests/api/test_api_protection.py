"""Who may change something over REST."""

from collections.abc import Iterator

import httpx
import pytest

from tests.api.api_world import World
from tests.api.conftest import Serve
from tests.patience import PATIENCE_S

APPROVE = "/api/v1/approvals/apr-1-1/approve"


@pytest.fixture
def protected(ill: World, serve: Serve) -> Iterator[httpx.Client]:
    """A client of an API that wants a token."""
    with serve(ill.app("geheim")) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield client


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Basic dG9rZW4=", "Bearer", "Bearer gehéim"])
def test_a_change_needs_the_token(protected: httpx.Client, given: str | None) -> None:
    headers = {} if given is None else {b"Authorization": given.encode()}
    answer = protected.post(APPROVE, json={"by": "mira"}, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_token_opens_and_reading_needs_none(protected: httpx.Client) -> None:
    assert protected.get("/api/v1/incidents").status_code == 200
    headers = {"Authorization": "bearer geheim"}
    assert protected.post(APPROVE, json={"by": "mira"}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_foreign_page_may_not_change_anything(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.post(APPROVE, json={"by": "mira"}, headers=headers)
    assert answer.status_code == 403


def test_the_own_page_may(client: httpx.Client) -> None:
    headers = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert client.post(APPROVE, json={"by": "mira"}, headers=headers).status_code == 200


def test_a_simple_form_cannot_decide(client: httpx.Client) -> None:
    """A body that a foreign form could send without a preflight is not read as JSON."""
    answer = client.post(APPROVE, content='{"by": "mira"}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422
