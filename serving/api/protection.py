"""Who may change something: a bearer token where there is one, and never another site's page in somebody's browser."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from db.errors import StoreError
from remediation.ports import Clock, Journal
from remediation.tokens import Scope, token_of
from serving.api.problems import problem_response

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_SIGNED_ELSEWHERE = ("/slack/",)
"""Paths whose requests carry a signature of their own."""
_SCOPES: tuple[tuple[str, Scope], ...] = (("/api/v1/approvals/", "decide"), ("/v1/", "ingest"))
"""What a change needs, by the beginning of its path; everything else needs `operate`."""


class Guarded(Protocol):
    """What protection needs to know: the token for everything, where there is one, and who has one of their own."""

    @property
    def token(self) -> str | None: ...
    @property
    def journal(self) -> Journal: ...
    @property
    def clock(self) -> Clock: ...


def add_protection(app: FastAPI, services: Guarded) -> None:
    """Refuse changes from foreign origins (403) and, once there is a token, those without one (401) or with one that is
    for something else (403).

    The API uses no cookies, so a foreign page has nothing to borrow but the network position of the browser; `Origin`
    and `Sec-Fetch-Site` tell that apart (Fetch standard). The token of HOMEOSTAT_API_TOKEN may do everything in any
    name; a personal token acts in the name of its person, who is then in `request.state.person`.
    """

    @app.middleware("http")
    async def protect(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.method not in _READING and not request.url.path.startswith(_SIGNED_ELSEWHERE):
            if _foreign(request):
                return problem_response(request, 403, "Changes are not taken from pages of another site.")
            try:
                refusal = await run_in_threadpool(_refusal, request, services)
            except StoreError as error:
                return problem_response(request, 503, str(error))
            if refusal is not None:
                return refusal
        return await call_next(request)


def needs_token(services: Guarded) -> bool:
    """Whether changes need a token: one is set, or somebody has one."""
    if services.token is not None:
        return True
    with services.journal.reading() as unit:
        return bool(unit.tokens(limit=1))


def scope_of(path: str) -> Scope:
    """What a change at this path needs."""
    for start, scope in _SCOPES:
        if path.startswith(start):
            return scope
    return "operate"


def _refusal(request: Request, services: Guarded) -> Response | None:
    given = _bearer(request)
    if services.token is not None and hmac.compare_digest(given.encode(), services.token.encode()):
        return None
    token = token_of(services.journal, given)
    if token is None:
        if not needs_token(services):
            return None
        told = "Changes need `Authorization: Bearer TOKEN`: one of `homeostat tokens create`, or HOMEOSTAT_API_TOKEN."
        return _unauthorized(request, told)
    state, scope = token.state(services.clock.now_us()), scope_of(request.url.path)
    if state != "valid":
        return _unauthorized(request, f"The token {token.id} of {token.person} is {state}.")
    if scope not in token.scopes:
        may = ", ".join(token.scopes)
        return problem_response(request, 403, f"The token {token.id} may {may}; this needs {scope}.")
    request.state.person = token.person
    return None


def _unauthorized(request: Request, detail: str) -> Response:
    refusal = problem_response(request, 401, detail)
    refusal.headers["WWW-Authenticate"] = "Bearer"
    return refusal


def _foreign(request: Request) -> bool:
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def _bearer(request: Request) -> str:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given if scheme.lower() == "bearer" else ""
