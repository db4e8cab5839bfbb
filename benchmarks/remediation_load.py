"""Requests to inference servers, in a process of its own: `python -m benchmarks.remediation_load URL [URL ...]`.

Reads one JSON line per command: `{"model": ..., "bad": ...}` sends requests for that model from now on, `{}` stops and
answers with one JSON line: requests, failures (with the first reason), and when the last request was sent that version
`bad` answered, on the monotonic clock that all processes of a machine share (`clock_gettime(CLOCK_MONOTONIC)`).
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass

import httpx

_LOOPS = 2
_PAUSE_S = 0.01
_BODY = {"instances": [{"features": {"a": 0.1, "b": 1.4}}]}


@dataclass
class Seen:
    """What became of the requests."""

    requests: int = 0
    failed: int = 0
    reason: str = ""
    last_bad_s: float = 0.0


async def main(urls: list[str]) -> None:
    """Until the end of the standard input."""
    loop = asyncio.get_running_loop()
    seen, tasks = Seen(), list[asyncio.Task[None]]()
    async with httpx.AsyncClient(timeout=10) as client:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            asked = json.loads(line)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if not asked:
                print(json.dumps(asdict(seen)), flush=True)
                continue
            seen = Seen()
            tasks = [
                asyncio.create_task(
                    _send(client, f"{url}/v1/models/{asked['model']}/predict", asked["bad"], seen)
                )
                for url in urls
                for _ in range(_LOOPS)
            ]


async def _send(client: httpx.AsyncClient, url: str, bad: str, seen: Seen) -> None:
    while True:
        sent_s = time.monotonic()
        version, failure = await _asked(client, url)
        seen.requests += 1
        if failure:
            seen.failed += 1
            seen.reason = seen.reason or failure
        elif version == bad:
            seen.last_bad_s = max(seen.last_bad_s, sent_s)
        await asyncio.sleep(_PAUSE_S)


async def _asked(client: httpx.AsyncClient, url: str) -> tuple[str, str]:
    """Which version answered, and why none did."""
    try:
        answer = await client.post(url, json=_BODY)
    except httpx.HTTPError as error:
        return "", repr(error)
    if not answer.is_success:
        return "", f"{answer.status_code}: {answer.text[:200]}"
    return str(answer.json()["version"]), ""


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
