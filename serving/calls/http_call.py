"""A signed POST to somebody else's service: an issue, or whatever a playbook calls."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from remediation.errors import StepFailed
from serving.peers import Answer, Peer, PeerTrouble, from_environment
from serving.signing import signed_headers

_LINK_KEYS = ("html_url", "web_url", "url", "link", "key", "id", "number")
"""Where trackers say what they have opened, the most readable first."""


class HttpParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What a call needs. `url_env`, `check_env`, `secret_env`: names of environment variables with the address, an
    address that tells whether the effect with a key is there (`{key}` is filled in), and the secret that signs.
    `title`, `body`: from the playbook; `facts`: what is known of the incident. `timeout_s`: of one attempt."""

    url_env: str
    secret_env: str | None = None
    check_env: str | None = None
    title: str | None = None
    body: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] | None = None


class HttpCall:
    """POSTs JSON with an `Idempotency-Key`: the receiver that knows it does nothing twice. Where the playbook names an
    address to check, a second attempt asks there first."""

    def __init__(self, *, timeout_s: float = 10.0) -> None:
        self._timeout_s = timeout_s

    async def call(self, parameters: Mapping[str, Any], *, key: str) -> str:
        """Raises `StepFailed` where the receiver refuses for good, `PeerTrouble` where nobody knows."""
        told = _read(parameters)
        url, secret = from_environment(told.url_env, "the address to call"), _secret(told)
        body = msgspec.json.encode(content(told, key))
        headers = {**signed_headers(secret, body), "Content-Type": "application/json", "Idempotency-Key": key}
        peer = self._peer(told, url, secret)
        answer = await peer.ask("POST", url, body=body, headers=headers)
        if answer.status == 409:
            raise PeerTrouble(
                f"{told.url_env} works on the same call, or on another one: {peer.told(answer)}"
            )
        if answer.status >= 300:
            raise StepFailed(f"the call to {told.url_env} was refused: {peer.told(answer)}")
        return _outcome(answer)

    async def observe(self, parameters: Mapping[str, Any], *, key: str) -> str | None:
        """Asks the address to check: 2xx is there, 404 is not there."""
        told = _read(parameters)
        if told.check_env is None:
            return None
        url = from_environment(told.check_env, "the address to check").replace("{key}", key)
        secret = _secret(told)
        answer = await self._peer(told, url, secret).ask("GET", url, headers=signed_headers(secret, b""))
        return _outcome(answer) if answer.status < 300 else None

    def _peer(self, told: HttpParameters, url: str, secret: str | None) -> Peer:
        return Peer(
            timeout_s=min(told.timeout_s or self._timeout_s, self._timeout_s), secrets=(url, secret or "")
        )


def content(told: HttpParameters, key: str) -> dict[str, Any]:
    """What is posted: the playbook's own fields as they are, and beside them what is known. `title` and `body` (text)
    are what trackers such as GitHub take as an issue."""
    facts = told.facts
    found = {"key": key, **facts, **told.body}
    if told.title is not None or "title" not in found:
        model, cause = facts.get("model"), facts.get("cause")
        found["title"] = told.title or (f"{model}: {cause}" if model else f"Homeostat {key}")
    if "body" not in found:
        found["body"] = "\n".join(f"{name}: {value}" for name, value in facts.items())
    return found


def _outcome(answer: Answer) -> str:
    try:
        told = msgspec.json.decode(answer.body) if answer.body else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = None
    named = next((told[key] for key in _LINK_KEYS if told.get(key)), None) if isinstance(told, dict) else None
    return f"HTTP {answer.status}" + (f": {str(named)[:200]}" if named is not None else "")


def _secret(told: HttpParameters) -> str | None:
    return None if told.secret_env is None else from_environment(told.secret_env, "the secret that signs")


def _read(parameters: Mapping[str, Any]) -> HttpParameters:
    try:
        return msgspec.convert(dict(parameters), HttpParameters)
    except msgspec.ValidationError as error:
        raise StepFailed(f"the parameters of the call: {error}") from error
