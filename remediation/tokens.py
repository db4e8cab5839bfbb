"""Personal tokens: who somebody is to the API, what they may do there, and until when. Only a digest is kept.

The secret has 256 bits of chance, so one round of SHA-256 is enough: there is nothing to guess (a password would need
a slow hash).
"""

import hashlib
import hmac
import re
import secrets
from typing import Literal, get_args

import msgspec

from detectors.values import Value
from remediation.clock import seconds
from remediation.errors import TokenRefused
from remediation.names import taken
from remediation.ports import Clock, Journal

Scope = Literal["decide", "operate", "ingest"]
"""`decide`: approve and reject. `operate`: promote, silence, give feedback, record changes. `ingest`: send events."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
_DAY_S = 86_400.0
_MOST_DAYS = 366
_TEXT = re.compile(r"hst_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")


class Token(Value, frozen=True, kw_only=True):
    """What is kept of a token. `digest`: SHA-256 of the secret, hexadecimal."""

    id: str
    person: str
    scopes: tuple[Scope, ...]
    digest: str
    created_us: int
    created_by: str
    expires_us: int
    revoked_us: int | None = None
    revoked_by: str | None = None

    def state(self, now_us: int) -> Literal["valid", "expired", "revoked"]:
        """Whether it opens anything."""
        if self.revoked_us is not None:
            return "revoked"
        return "valid" if now_us < self.expires_us else "expired"


def create_token(
    journal: Journal, clock: Clock, *, person: str, scopes: tuple[str, ...], days: float, by: str
) -> tuple[Token, str]:
    """A new token, and its text, which is shown once and kept nowhere. Raises `TokenRefused`."""
    known: tuple[Scope, ...] = tuple(scope for scope in SCOPES if scope in scopes)
    unknown = ", ".join(repr(scope) for scope in scopes if scope not in SCOPES)
    if unknown or not scopes:
        problem = f"there is no scope {unknown}" if unknown else "a token needs a scope, and none is given"
        raise TokenRefused(f"{problem}; choose from {', '.join(SCOPES)}")
    if not 0 < days <= _MOST_DAYS:
        raise TokenRefused(f"days is {days:g}; a token lives above 0 and at most {_MOST_DAYS} days")
    if not person.strip() or not person.isprintable():
        raise TokenRefused("the person needs a name, without control characters")
    if (why := taken(person)) is not None:
        raise TokenRefused(f"{why}, and no token was made")
    secret, now_us = secrets.token_urlsafe(32), clock.now_us()
    token = Token(
        id=secrets.token_hex(6),
        person=person,
        scopes=known,
        digest=_digest(secret),
        created_us=now_us,
        created_by=by,
        expires_us=now_us + seconds(days * _DAY_S),
    )
    with journal.transaction() as unit:
        unit.add_token(token)
    return token, f"hst_{token.id}_{secret}"


def revoke_token(journal: Journal, clock: Clock, *, token_id: str, by: str) -> Token:
    """End a token now; a second time changes nothing. Raises `TokenRefused` for one that is not known."""
    with journal.transaction() as unit:
        token = unit.token(token_id)
        if token is None:
            raise TokenRefused(f"There is no token {token_id!r}.")
        if token.revoked_us is not None:
            return token
        revoked = msgspec.structs.replace(token, revoked_us=clock.now_us(), revoked_by=by)
        unit.revoke_token(revoked)
        return revoked


def token_of(journal: Journal, text: str) -> Token | None:
    """The token that somebody shows, valid or not any more; None for what is none, or has another secret."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    with journal.reading() as unit:
        token = unit.token(found["id"])
    if token is None or not hmac.compare_digest(token.digest, _digest(found["secret"])):
        return None
    return token


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
