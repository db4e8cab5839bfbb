"""A webhook of one's own: the bulletin as JSON, signed.

The signature is HMAC-SHA256 over the timestamp, a full stop and the body, in hex, as `Homeostat-Signature: v1=...`; the
timestamp (seconds since the epoch) is in `Homeostat-Timestamp`, so that an old request can be refused. Every attempt
to send the same bulletin has the same `Idempotency-Key`.
"""

import hashlib
import hmac

import msgspec

from remediation.clock import US_PER_S
from remediation.ports import Clock
from serving.channels.bulletin import Bulletin
from serving.channels.posting import post
from serving.picture import Drawn

_ADVICE = "Look at `url` and at the secret that `secret_env` names."


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The signature of a request."""
    return "v1=" + hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


class Webhook:
    """A `Transport` to whatever takes JSON."""

    shows_pictures = False

    def __init__(self, name: str, url: str, secret: str, clock: Clock) -> None:
        self.name = name
        self._url = url
        self._secret = secret
        self._clock = clock

    async def send(self, bulletin: Bulletin, picture: Drawn | None) -> None:
        """POST it; any 2xx means that it was taken."""
        del picture
        body = msgspec.json.encode({"schema": "homeostat.bulletin/1", **msgspec.to_builtins(bulletin)})
        timestamp = str(self._clock.now_us() // US_PER_S)
        headers = {
            "Idempotency-Key": hashlib.sha256(
                f"{self.name}:{bulletin.unique(bulletin.id)}".encode()
            ).hexdigest(),
            "Homeostat-Timestamp": timestamp,
            "Homeostat-Signature": sign(self._secret, timestamp, body),
        }
        await post(self._url, body, headers, advice=_ADVICE)
