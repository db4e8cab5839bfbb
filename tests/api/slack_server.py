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
APP_TOKEN = "xapp-test"
TRIGGER = "398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
CHANNEL_ID = "C024BE91L"


@dataclass
class SlackServer:
    """`answers`: what the next messages get instead of being taken; `after`: the same, but after they were taken.
    `down`: what everything gets. `scopes`: what the app may do besides writing."""

    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    whispered: list[dict[str, Any]] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)
    answers: deque[Response] = field(default_factory=deque)
    after: deque[Response] = field(default_factory=deque)
    scopes: set[str] = field(default_factory=lambda: {"files:write", "channels:history"})
    down: Response | None = None
    not_ready: bool = False
    socket_url: str = ""
    url: str = ""

    def app(self) -> FastAPI:
        app = FastAPI()
        methods = {
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "views.open": self._open,
            "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._uploaded,
            "conversations.history": self._history,
            "apps.connections.open": self._connect,
        }

        @app.post("/api/{method}")
        async def call(method: str, request: Request) -> Response:
            is_json = request.headers.get("content-type", "").startswith("application/json")
            body = json.loads(await request.body() or b"{}") if is_json else dict(await request.form())
            self.requests.append((method, body))
            if self.down is not None:
                return self.down
            if self.answers and method.startswith("chat."):
                return self.answers.popleft()
            needed = APP_TOKEN if method == "apps.connections.open" else TOKEN
            if request.headers.get("authorization") != f"Bearer {needed}":
                return refuse("invalid_auth")
            wrong = wrong_with(body) if "text" in body or "blocks" in body else []
            if wrong:
                return JSONResponse(
                    {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": wrong}}
                )
            answer = methods[method](body)
            return self.after.popleft() if self.after and method.startswith("chat.") else answer

        @app.post("/upload/{file}")
        async def upload(file: str, request: Request) -> Response:
            self.files[file] = await request.body()
            return PlainTextResponse("OK")

        @app.post("/whisper")
        async def whisper(request: Request) -> Response:
            self.whispered.append(await request.json())
            return PlainTextResponse("ok")

        return app

    def _post(self, body: dict[str, Any]) -> Response:
        if body["channel"] not in ("#homeostat", CHANNEL_ID):
            return refuse("channel_not_found")
        if any(each not in self.ready for each in images(body)):
            return refuse("invalid_blocks")
        ts = f"1795000000.{len(self.messages):06d}"
        self.messages[ts] = body
        return JSONResponse({"ok": True, "channel": CHANNEL_ID, "ts": ts, "message": body})

    def _update(self, body: dict[str, Any]) -> Response:
        if body["channel"] != CHANNEL_ID or body["ts"] not in self.messages:
            return refuse("message_not_found")
        self.messages[body["ts"]] = body
        return JSONResponse({"ok": True, "channel": CHANNEL_ID, "ts": body["ts"], "text": body["text"]})

    def _open(self, body: dict[str, Any]) -> Response:
        if body["trigger_id"] != TRIGGER:
            return refuse("expired_trigger_id")
        wrong = wrong_with_view(body["view"])
        if wrong:
            return JSONResponse({"ok": False, "error": "invalid_arguments", "response_metadata": wrong})
        self.views.append(body["view"])
        return JSONResponse({"ok": True, "view": {"id": "V1"}})

    def _upload_url(self, body: dict[str, Any]) -> Response:
        if "files:write" not in self.scopes:
            return refuse("missing_scope")
        file = f"F{len(self.files) + 1:06d}"
        return JSONResponse({"ok": True, "file_id": file, "upload_url": f"{self.url}/upload/{file}"})

    def _uploaded(self, body: dict[str, Any]) -> Response:
        files = json.loads(body["files"])
        self.ready |= set() if self.not_ready else {each["id"] for each in files}
        return JSONResponse({"ok": True, "files": files})

    def _history(self, body: dict[str, Any]) -> Response:
        if "channels:history" not in self.scopes:
            return refuse("missing_scope")
        if body["channel"] != CHANNEL_ID:
            return refuse("channel_not_found")
        found = [{"ts": ts, **message} for ts, message in reversed(self.messages.items())]
        return JSONResponse({"ok": True, "messages": found})

    def _connect(self, body: dict[str, Any]) -> Response:
        return JSONResponse({"ok": True, "url": self.socket_url})

    @property
    def asked(self) -> list[str]:
        """The requests about messages."""
        return [method for method, _ in self.requests if method.startswith("chat.")]

    def press(self, action_id: str, *, user: str = "ann", choice: str = "15") -> dict[str, Any]:
        """What Slack sends when somebody presses this button (or takes this choice) of the only message that has it."""
        ((ts, button),) = [
            (ts, each)
            for ts, message in self.messages.items()
            for each in buttons(message)
            if each["action_id"] == action_id
        ]
        action = {"type": button["type"], "action_id": action_id}
        if button["type"] == "static_select":
            values = [each["value"] for each in button["options"]]
            (value,) = [each for each in values if each.startswith(f"{choice} ")]
            action["selected_option"] = {"value": value}
        else:
            action["value"] = button["value"]
        return {
            "type": "block_actions",
            "user": _user(user),
            "trigger_id": TRIGGER,
            "container": {"type": "message", "message_ts": ts, "channel_id": CHANNEL_ID},
            "actions": [action],
            "response_url": f"{self.url}/whisper",
        }

    def submit(self, reason: str | None, *, user: str = "ann") -> dict[str, Any]:
        """What Slack sends when somebody submits the newest window."""
        view = self.views[-1]
        (block,) = [each for each in view["blocks"] if each["type"] == "input"]
        field = {"type": "plain_text_input", "value": reason}
        return {
            "type": "view_submission",
            "user": _user(user),
            "view": {
                "callback_id": view["callback_id"],
                "private_metadata": view["private_metadata"],
                "state": {"values": {block["block_id"]: {block["element"]["action_id"]: field}}},
            },
        }


def _user(name: str) -> dict[str, str]:
    return {"id": "U2CERLKJA", "username": name, "name": name, "team_id": "T9TK3CUKW"}


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


def images(message: dict[str, Any]) -> list[str]:
    """The files that it shows."""
    return [each["slack_file"]["id"] for each in message.get("blocks", []) if each["type"] == "image"]


def seen(message: dict[str, Any]) -> str:
    """All that a person reads in it."""
    return "\n".join(text["text"] for block in message["blocks"] for text in _texts(block))


def wrong_with(message: dict[str, Any]) -> list[str]:
    """Slack's limits that a message breaks."""
    blocks = message.get("blocks", [])
    wrong = [] if message.get("text") else ["no text"]
    wrong += [] if len(blocks) <= 50 else ["more than 50 blocks"]
    for block in blocks:
        wrong += _wrong_with_block(block)
    pressable = buttons({"blocks": blocks})
    if len({each["action_id"] for each in pressable}) != len(pressable):
        wrong.append("action_id twice")
    for each in pressable:
        if each["type"] == "static_select":
            wrong += ["option too long" for option in each["options"] if len(option["value"]) > 150]
            wrong += [] if len(each["placeholder"]["text"]) <= 150 else ["placeholder too long"]
        else:
            wrong += ["value too long"] if len(each["value"]) > 2_000 else []
            wrong += ["label too long"] if len(each["accessibility_label"]) > 75 else []
    return wrong


def wrong_with_view(view: dict[str, Any]) -> list[str]:
    """Slack's limits that a window breaks."""
    wrong = [] if len(view["blocks"]) <= 100 else ["more than 100 blocks"]
    wrong += [each for each in ("title", "submit", "close") if len(view.get(each, {}).get("text", "")) > 24]
    wrong += [] if len(view.get("private_metadata", "")) <= 3_000 else ["metadata too long"]
    return wrong + [each for block in view["blocks"] for each in _wrong_with_block(block)]


def _wrong_with_block(block: dict[str, Any]) -> list[str]:
    kind = block["type"]
    if kind == "image":
        return [] if 0 < len(block["alt_text"]) <= 2_000 else ["image: alt text"]
    limit = {"header": 150, "section": 3_000, "context": 3_000, "actions": 75, "input": 2_000}[kind]
    wrong = [f"{kind}: {len(text['text'])}" for text in _texts(block) if not 0 < len(text["text"]) <= limit]
    if len(block.get("elements", [])) > (10 if kind == "context" else 25):
        wrong.append(f"{kind}: too many elements")
    return wrong


def _texts(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if block["type"] == "image":
        yield {"text": block["alt_text"]}
    if "text" in block:
        yield block["text"]
    if "label" in block:
        yield block["label"]
    for element in block.get("elements", []):
        if element["type"] == "static_select":
            yield from (option["text"] for option in element["options"])
        else:
            yield element["text"] if element["type"] == "button" else element
