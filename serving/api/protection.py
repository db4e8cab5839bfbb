"""Who may change something: a bearer token where one is set, and never another site's page in somebody's browser."""

import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response

from serving.api.problems import problem_response

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_SIGNED_ELSEWHERE = ("/slack/",)
"""Paths whose requests carry a signature of their own."""


def add_protection(app: FastAPI, token: str | None) -> None:
    """Refuse changes from foreign origins (403) and, where `token` is set, those without it (401).

    The API uses no cookies, so a foreign page has nothing to borrow but the network position of the browser; `Origin`
    and `Sec-Fetch-Site` tell that apart (Fetch standard).
    """

    @app.middleware("http")
    async def protect(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.method not in _READING and not request.url.path.startswith(_SIGNED_ELSEWHERE):
            if _foreign(request):
                return problem_response(request, 403, "Changes are not taken from pages of another site.")
            if token is not None and not _bears(request, token):
                refusal = problem_response(
                    request, 401, "Changes need `Authorization: Bearer TOKEN` (HOMEOSTAT_API_TOKEN)."
                )
                refusal.headers["WWW-Authenticate"] = "Bearer"
                return refusal
        return await call_next(request)


def _foreign(request: Request) -> bool:
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def _bears(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), token.encode())
