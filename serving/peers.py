"""Other people's HTTP servers: asked with a deadline, and told of in errors without any secret."""

import functools
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from remediation.errors import RemediationError, StepFailed

_SHOWN_CHARS = 300
_MAX_ANSWER_BYTES = 4 * 1024 * 1024
_LATER = frozenset({408, 423, 425, 429})
"""Client errors that are over after a while."""


class PeerTrouble(RemediationError):
    """A server did not answer, or cannot at the moment: nobody knows whether it did what it was asked to."""

    retriable = True


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body; raises `PeerTrouble` where it is no JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PeerTrouble(f"the answer (HTTP {self.status}) is no JSON: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """`secrets` are struck out of every error. `verify`: whose certificates are trusted (None: those of the
    system)."""

    timeout_s: float = 10.0
    secrets: tuple[str, ...] = ()
    verify: ssl.SSLContext | None = None

    async def ask(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer, whatever its status below 400, and 404 and 409, which mean different things to different callers.

        Raises `PeerTrouble` where the same may succeed later, `StepFailed` for every other refusal.
        """
        try:
            async with httpx.AsyncClient(
                timeout=self.timeout_s, verify=self.verify or _usual_trust(), follow_redirects=False
            ) as client:
                response = await client.request(method, url, content=body, headers=dict(headers or {}))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise PeerTrouble(self._clean(f"{method} {shown(url)}: {_said(error)}")) from None
        answer = Answer(response.status_code, response.content[:_MAX_ANSWER_BYTES])
        if answer.status < 300 or answer.status in (404, 409):
            return answer
        told = self._clean(f"{method} {shown(url)}: {self.told(answer)}")
        if answer.status >= 500 or answer.status in _LATER:
            raise PeerTrouble(told)
        raise StepFailed(told)

    def told(self, answer: Answer) -> str:
        """Status and the beginning of the body, for people."""
        text = answer.body.decode(errors="replace")[:_SHOWN_CHARS].strip()
        known = {each.value: each.phrase for each in HTTPStatus}
        return self._clean(
            f"HTTP {answer.status} {known.get(answer.status, '')}".strip() + (f": {text}" if text else "")
        )

    def _clean(self, text: str) -> str:
        for secret in self.secrets:
            if secret:
                text = text.replace(secret, "***")
        return text


@functools.cache
def _usual_trust() -> ssl.SSLContext:
    """Read once: it takes longer than most requests."""
    return httpx.create_ssl_context()


def shown(url: str) -> str:
    """Whom an address means: paths and queries of webhooks are often secret."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(an address that cannot be read)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def from_environment(variable: str, what: str) -> str:
    """The value of an environment variable. Raises `StepFailed` that names it where it is not set."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise StepFailed(f"the environment variable {variable} ({what}) is not set for this process")
    return value


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
