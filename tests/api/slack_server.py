"""A Slack of our own over HTTP: it keeps messages, checks what real Slack checks, and fails when it is told to."""

import hashlib
import hmac
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

TOKEN = "xoxb-test"
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
CHANNEL_ID = "C024BE91L"


@dataclass
class SlackServer:
    """`answers`: what the next requests get instead of being fulfilled."""

    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    whispered: list[dict[str, Any]] = field(default_factory=list)
    answers: deque[Response] = field(default_factory=deque)
    url: str = ""

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/api/{method}")
        async def call(method: str, request: Request) -> Response:
            body = await request.json()
            self.requests.append((method, body))
            if self.answers:
                return self.answers.popleft()
            if request.headers.get("authorization") != f"Bearer {TOKEN}":
                return refuse("invalid_auth")
            wrong = wrong_with(body)
            if wrong:
                return JSONResponse(
                    {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": wrong}}
                )
            return self._post(body) if method == "chat.postMessage" else self._update(body)

        @app.post("/whisper")
        async def whisper(request: Request) -> Response:
            self.whispered.append(await request.json())
            return PlainTextResponse("ok")

        return app

    def _post(self, body: dict[str, Any]) -> Response:
        if body["channel"] not in ("#homeostat", CHANNEL_ID):
            return refuse("channel_not_found")
        ts = f"1795000000.{len(self.messages):06d}"
        self.messages[ts] = body
        return JSONResponse({"ok": True, "channel": CHANNEL_ID, "ts": ts, "message": body})

    def _update(self, body: dict[str, Any]) -> Response:
        if body["channel"] != CHANNEL_ID or body["ts"] not in self.messages:
            return refuse("message_not_found")
        self.messages[body["ts"]] = body
        return JSONResponse({"ok": True, "channel": CHANNEL_ID, "ts": body["ts"], "text": body["text"]})

    def press(self, action_id: str, *, user: str = "ann") -> dict[str, Any]:
        """What Slack sends when somebody presses this button of the only message that has it."""
        (button,) = [
            each
            for message in self.messages.values()
            for each in buttons(message)
            if each["action_id"] == action_id
        ]
        return {
            "type": "block_actions",
            "user": {"id": "U2CERLKJA", "username": user, "name": user, "team_id": "T9TK3CUKW"},
            "actions": [{"type": "button", "action_id": action_id, "value": button["value"]}],
            "response_url": f"{self.url}/whisper",
        }


def signed(payload: Any, *, now_s: int, secret: str = SECRET) -> tuple[bytes, dict[str, str]]:
    """The body and headers of an interaction as Slack signs it."""
    body = urlencode({"payload": payload if isinstance(payload, str) else json.dumps(payload)}).encode()
    return body, signature(body, now_s=now_s, secret=secret)


def signature(body: bytes, *, now_s: int, secret: str = SECRET) -> dict[str, str]:
    base = b"v0:%d:" % now_s + body
    return {
        "X-Slack-Request-Timestamp": str(now_s),
        "X-Slack-Signature": "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest(),
        "Content-Type": "application/x-www-form-urlencoded",
    }


def refuse(error: str) -> Response:
    return JSONResponse({"ok": False, "error": error})


def too_many(retry_after: str) -> Response:
    return JSONResponse({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": retry_after})


def buttons(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for block in message["blocks"] if block["type"] == "actions" for each in block["elements"]]


def seen(message: dict[str, Any]) -> str:
    """All that a person reads in it."""
    return "\n".join(text["text"] for block in message["blocks"] for text in _texts(block))


def wrong_with(message: dict[str, Any]) -> list[str]:
    """Slack's limits that a message breaks."""
    blocks = message.get("blocks", [])
    wrong = [] if message.get("text") else ["no text"]
    wrong += [] if len(blocks) <= 50 else ["more than 50 blocks"]
    for block in blocks:
        limit = {"header": 150, "section": 3_000, "context": 3_000, "actions": 75}[block["type"]]
        wrong += [
            f"{block['type']}: {len(text['text'])}" for text in _texts(block) if len(text["text"]) > limit
        ]
        wrong += [f"{block['type']}: empty" for text in _texts(block) if not text["text"]]
        if block["type"] == "context" and len(block["elements"]) > 10:
            wrong.append("context: more than 10 elements")
    pressable = buttons({"blocks": blocks})
    if len({each["action_id"] for each in pressable}) != len(pressable):
        wrong.append("action_id twice")
    wrong += ["value too long" for each in pressable if len(each["value"]) > 2_000]
    return wrong + ["label too long" for each in pressable if len(each["accessibility_label"]) > 75]


def _texts(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "text" in block:
        yield block["text"]
    for element in block.get("elements", []):
        yield element["text"] if element["type"] == "button" else element
