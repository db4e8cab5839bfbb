"""Signatures of what is sent to other people's servers: HMAC-SHA256 (RFC 2104) over `timestamp.body`."""

import hashlib
import hmac
import time

TIMESTAMP, SIGNATURE = "X-Homeostat-Timestamp", "X-Homeostat-Signature"


def signed_headers(secret: str | None, body: bytes, *, now_s: float | None = None) -> dict[str, str]:
    """The headers that prove who sent `body` and when; without a secret only when. The receiver computes the same over
    the raw body, compares in constant time, and refuses times that are more than a few minutes away."""
    timestamp = str(int(time.time() if now_s is None else now_s))
    if secret is None:
        return {TIMESTAMP: timestamp}
    return {TIMESTAMP: timestamp, SIGNATURE: f"v1={_digest(secret, timestamp, body)}"}


def is_signed(
    secret: str, body: bytes, timestamp: str, signature: str, *, now_s: float, window_s: float
) -> bool:
    """What a receiver does: whether `signature` is that of `body`, made within `window_s` of now."""
    if not timestamp.isdigit() or abs(now_s - int(timestamp)) > window_s:
        return False
    return hmac.compare_digest(f"v1={_digest(secret, timestamp, body)}".encode(), signature.encode())


def _digest(secret: str, timestamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
