"""What is asked of Slack's Web API, and knowing that a request is Slack's. Beside `socket` the only file that imports
slack_sdk."""

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, cast

import structlog
from slack_sdk import WebClient, WebhookClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.signature import Clock as SlackClock
from slack_sdk.signature import SignatureVerifier

from serving.slack.parts import Block, Post, placed

log = structlog.get_logger()

UNREACHABLE = (SlackClientError, HTTPException, OSError, ValueError)
"""What the SDK lets through from urllib, besides its own errors; `ValueError`: an answer that is no text."""
EVENT_TYPE = "homeostat_approval"
"""The name of the metadata by which a message that asks for a decision is found again."""
# Its lines of DEBUG repeat the addresses that answer clicks, and what opens windows: both let whoever reads them act.
logging.getLogger("slack_sdk").setLevel(logging.INFO)

_DEFAULT_PAUSE_S = 30.0
_LONGEST_PAUSE_S = 3_600.0
_UNSURE = frozenset({"internal_error", "fatal_error", "request_timeout", "service_unavailable"})
"""Slack's words for having failed in the middle."""
_OPTIONAL = frozenset({("conversations.history", "missing_scope"), ("files.upload", "missing_scope")})
_ADVICE = {
    "invalid_auth": "HOMEOSTAT_SLACK_TOKEN is not valid: use the bot token of the app (xoxb-...).",
    "not_authed": "HOMEOSTAT_SLACK_TOKEN is empty: use the bot token of the app (xoxb-...).",
    "token_revoked": "HOMEOSTAT_SLACK_TOKEN was revoked: install the app again.",
    "missing_scope": "The Slack app needs the scope chat:write.",
    "channel_not_found": "HOMEOSTAT_SLACK_CHANNEL names no channel that the app can see.",
    "not_in_channel": "Invite the app to the channel of HOMEOSTAT_SLACK_CHANNEL.",
    "is_archived": "The channel of HOMEOSTAT_SLACK_CHANNEL is archived: choose another one.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackConfig:
    """`token` is the app's bot token; `channel` a name or id; `timeout_s` for one request; `environment` stands before
    every message."""

    token: str = field(repr=False)
    channel: str
    api_url: str = "https://slack.com/api/"
    timeout_s: float = 10.0
    environment: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """`place` is where the message stands (`CHANNEL:TS`), or the id of a file; `error` is Slack's word, `ratelimited`,
    or `unreachable`. `unsure`: nobody knows whether it was done."""

    place: str = ""
    error: str | None = None
    unsure: bool = False


class SlackApi:
    """Every call answers, none raises and none is repeated here. While Slack wants no requests (429, `Retry-After`), it
    is not asked: per method, and per channel where there is one, as Slack counts. `elapsed_s` is a clock that never
    goes back."""

    def __init__(self, config: SlackConfig, *, elapsed_s: Callable[[], float] = time.monotonic) -> None:
        self._client = WebClient(
            config.token, base_url=config.api_url, timeout=max(1, round(config.timeout_s)), retry_handlers=[]
        )
        self._environment = config.environment
        self._elapsed_s = elapsed_s
        self._quiet_until_s: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def post(self, channel: str, post: Post, *, approval: str | None = None, **thread: Any) -> Answer:
        """A new message; `approval` is the ticket that it asks about."""
        post = placed(post, self._environment)
        message: dict[str, Any] = {"channel": channel, "text": post.text, "blocks": post.blocks, **thread}
        if approval is not None:
            message["metadata"] = {"event_type": EVENT_TYPE, "event_payload": {"approval": approval}}
        return self._call(("chat.postMessage", channel), self._client.chat_postMessage, _place, **message)

    def update(self, channel: str, ts: str, post: Post) -> Answer:
        """Another text in the place of a message."""
        post = placed(post, self._environment)
        message = {"channel": channel, "ts": ts, "text": post.text, "blocks": post.blocks}
        return self._call(("chat.update", channel), self._client.chat_update, _place, **message)

    def open_view(self, trigger_id: str, view: Block) -> Answer:
        """A modal for who has just clicked: Slack takes it for 3 s."""
        opened = {"trigger_id": trigger_id, "view": view}
        return self._call(("views.open", ""), self._client.views_open, lambda _: "", **opened)

    def upload(self, png: bytes, *, name: str, title: str) -> Answer:
        """A picture for messages; only the app sees it until a message shows it."""
        file = {"file": png, "filename": name, "title": title}
        return self._call(("files.upload", ""), self._client.files_upload_v2, _file_id, **file)

    def find(self, channel: str, approval: str, *, since_s: int) -> str | None:
        """The ts of the message that asks about this ticket; None where there is none, or the app may not look (scope
        channels:history)."""

        def matching(answer: Any) -> str:
            for message in answer.get("messages") or []:
                metadata = message.get("metadata") or {}
                told = metadata.get("event_payload", {}).get("approval")
                if metadata.get("event_type") == EVENT_TYPE and told == approval:
                    return str(message["ts"])
            return ""

        asked = {"channel": channel, "oldest": str(since_s), "limit": 200, "include_all_metadata": True}
        key = ("conversations.history", channel)
        answer = self._call(key, self._client.conversations_history, matching, **asked)
        return answer.place or None

    def _call(
        self, key: tuple[str, str], function: Callable[..., Any], place: Callable[[Any], str], **message: Any
    ) -> Answer:
        """`key`: method and channel, as Slack counts requests."""
        with self._lock:
            if self._elapsed_s() < self._quiet_until_s.get(key, float("-inf")):
                return Answer(error="ratelimited")
        try:
            return Answer(place=place(function(**message)))
        except SlackApiError as error:
            return self._refused(key, cast("Any", error.response))
        except (*UNREACHABLE, KeyError) as error:
            log.warning("Slack cannot be reached", method=key[0], reason=type(error).__name__)
            return Answer(error="unreachable", unsure=True)

    def _refused(self, key: tuple[str, str], response: Any) -> Answer:
        data = response.data if isinstance(response.data, dict) else {}
        error = str(data.get("error", f"status {response.status_code}"))[:200]
        if response.status_code == 429:
            pause_s = _pause_s(response.headers.get("Retry-After"))
            with self._lock:
                self._quiet_until_s[key] = self._elapsed_s() + pause_s
            log.info("Slack wants fewer requests; waiting", method=key[0], channel=key[1], pause_s=pause_s)
            return Answer(error="ratelimited")
        if (key[0], error) in _OPTIONAL:
            log.info("The Slack app lacks a scope; it does without", method=key[0])
            return Answer(error=error)
        log.error("Slack refused", method=key[0], error=error, advice=advice(error))
        broken = response.status_code >= 500 or "non-JSON" in error
        return Answer(error=error, unsure=broken or error in _UNSURE)


def advice(error: str) -> str:
    """What to look at when Slack says this; empty where nothing is known."""
    return _ADVICE.get(error, "")


def answer_click(response_url: str, post: Post, *, replace: bool = False) -> None:
    """Tell the person who clicked, and nobody else; with `replace` put the answer where the clicked message stands.
    Only logs when Slack does not take it: the decision stands."""
    try:
        webhook = WebhookClient(response_url, timeout=5, retry_handlers=[])
        answer = webhook.send(
            text=post.text,
            blocks=post.blocks or None,
            response_type=None if replace else "ephemeral",
            replace_original=replace,
        )
    except UNREACHABLE as error:
        log.warning("Who clicked in Slack could not be answered", reason=type(error).__name__)
        return
    if answer.status_code != 200:
        log.warning("Who clicked in Slack could not be answered", status=answer.status_code)


class SlackVerifier:
    """Whether a request was signed by Slack with the app's signing secret within five minutes of now
    (docs.slack.dev, "Verifying requests from Slack": v0, HMAC-SHA256 over the raw body).

    Raises `ValueError` for an empty secret.
    """

    _TIMESTAMP = re.compile(r"[0-9]{1,12}")
    _SIGNATURE = re.compile(r"v0=[0-9a-f]{64}")

    def __init__(self, secret: str, *, now_s: Callable[[], float] = time.time) -> None:
        clock = SlackClock()
        clock.now = now_s
        self._verifier = SignatureVerifier(secret, clock)

    def accepts(self, body: bytes, *, timestamp: str | None, signature: str | None) -> bool:
        """Never raises: what the SDK would stumble over is refused before."""
        if timestamp is None or not self._TIMESTAMP.fullmatch(timestamp):
            return False
        if signature is None or not self._SIGNATURE.fullmatch(signature):
            return False
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return False
        return self._verifier.is_valid(text, timestamp, signature)


def _place(answer: Any) -> str:
    return f"{answer['channel']}:{answer['ts']}"


def _file_id(answer: Any) -> str:
    return str(answer["files"][0]["id"])


def _pause_s(retry_after: str | None) -> float:
    """What `Retry-After` says, in seconds, where it is a number."""
    if retry_after is None or not re.fullmatch(r"[0-9]{1,6}", retry_after):
        return _DEFAULT_PAUSE_S
    return min(float(retry_after), _LONGEST_PAUSE_S)
