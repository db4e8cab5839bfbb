"""One HTTP request to a peer, and what its answer means. Addresses and keys stand in no message and no log line."""

import asyncio
import logging
import re
from collections.abc import Mapping

import httpx

from serving.channels.teller import NotDelivered

_TIMEOUT_S = 10.0
_WHOLE_S = 20.0
"""For a peer that answers byte by byte."""
_DEFAULT_PAUSE_S = 30.0
_SHOWN = 200

# Its lines of INFO repeat whole addresses, and the address of a workflow is a secret.
logging.getLogger("httpx").setLevel(logging.WARNING)


async def post(url: str, body: bytes, headers: Mapping[str, str], *, advice: str = "") -> str:
    """POST JSON and return the answer's text. Raises `NotDelivered` for every answer but 2xx, and for none.

    `advice` says what to look at when the peer refuses who we are or what we send.
    """
    sent = {"Content-Type": "application/json", "User-Agent": "homeostat", **headers}
    try:
        async with asyncio.timeout(_WHOLE_S), httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
            answer = await client.post(url, content=body, headers=sent)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
        raise NotDelivered(f"the peer did not answer ({type(error).__name__})") from error
    if answer.is_success:
        return answer.text
    told = " ".join(answer.text.split())[:_SHOWN]
    reason = f"the peer answered {answer.status_code}" + (f": {told}" if told else "")
    if answer.status_code in (429, 503):
        raise NotDelivered(reason, retry_after_s=pause_s(answer.headers.get("Retry-After")))
    refused = answer.status_code in (400, 401, 403, 404, 410)
    raise NotDelivered(f"{reason}. {advice}" if refused and advice else reason)


def pause_s(retry_after: str | None) -> float:
    """What `Retry-After` says, in seconds, where it is a number."""
    if retry_after is None or not re.fullmatch(r"[0-9]{1,6}", retry_after):
        return _DEFAULT_PAUSE_S
    return float(retry_after)
