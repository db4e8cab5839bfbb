"""Slack: telling people, and knowing that a click is Slack's. The only file that imports slack_sdk.

The agent posts and edits; the API receives clicks (`serving.slack_clicks`). Where a message stands is kept in its
ticket (`Approval.slack_ts`, `CHANNEL:TS`), so that every later agent finds it.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, cast

import msgspec
import structlog
from slack_sdk import WebClient, WebhookClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.signature import Clock as SlackClock
from slack_sdk.signature import SignatureVerifier

from detectors.values import Alert
from remediation.incidents import AGENT
from remediation.notices import Notice
from remediation.policy import Policy
from remediation.ports import Journal
from remediation.reminders import Reminder
from remediation.values import Approval, Incident, Plan
from serving import slack_blocks
from serving.slack_blocks import Post

log = structlog.get_logger()

_UNREACHABLE = (SlackClientError, HTTPException, OSError, ValueError)
"""What the SDK lets through from urllib, besides its own errors; `ValueError`: an answer that is no text."""
_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found"})
_DEFAULT_PAUSE_S = 30.0
_LONGEST_PAUSE_S = 3_600.0
_ADVICE = {
    "invalid_auth": "HOMEOSTAT_SLACK_TOKEN is not valid: use the bot token of the app (xoxb-...).",
    "not_authed": "HOMEOSTAT_SLACK_TOKEN is empty: use the bot token of the app (xoxb-...).",
    "token_revoked": "HOMEOSTAT_SLACK_TOKEN was revoked: install the app again.",
    "missing_scope": "The Slack app needs the scope chat:write.",
    "channel_not_found": "HOMEOSTAT_SLACK_CHANNEL names no channel that the app can see.",
    "not_in_channel": "Invite the app to the channel of HOMEOSTAT_SLACK_CHANNEL.",
    "is_archived": "The channel of HOMEOSTAT_SLACK_CHANNEL is archived: choose another one.",
}
_NO_CHANNEL = ("channel_not_found", "not_in_channel", "is_archived")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackConfig:
    """`token` is the app's bot token; `channel` a name or id; `timeout_s` for one request."""

    token: str = field(repr=False)
    channel: str
    api_url: str = "https://slack.com/api/"
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class _Answer:
    place: str = ""
    error: str | None = None


class SlackNotifier:
    """Fulfils `remediation.ports.Notifier`: one message per ticket, edited in place when it is decided; how the
    incident ended stands in its thread.

    Nothing is repeated here: what could not be sent answers False, and the outbox tries again. While Slack wants
    no requests (429, `Retry-After`) it is not asked. `elapsed_s` is a clock that never goes back.
    """

    def __init__(
        self,
        config: SlackConfig,
        journal: Journal,
        *,
        policy: Policy | None = None,
        console_url: Callable[[], str | None] = lambda: None,
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channel = config.channel
        self._client = WebClient(
            config.token, base_url=config.api_url, timeout=max(1, round(config.timeout_s)), retry_handlers=[]
        )
        self._journal = journal
        self._policy = policy or Policy()
        self._console_url = console_url
        self._elapsed_s = elapsed_s
        self._quiet_until_s = float("-inf")
        self._not_on_record: dict[str, str] = {}

    async def approval_requested(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        """Post the question with its buttons, once."""
        return await asyncio.to_thread(self._requested, incident, plan, approval)

    async def approval_decided(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        """Put the outcome in place of the question; where nobody was asked in Slack, post it."""
        return await asyncio.to_thread(self._decided, incident, plan, approval)

    async def approval_reminded(
        self, incident: Incident, plan: Plan, approval: Approval, reminder: Reminder
    ) -> bool:
        """Ask again in the thread of the question, seen by the whole channel; an escalation also where it goes to."""
        return await asyncio.to_thread(self._reminded, incident, plan, approval, reminder)

    async def incident_closed(self, incident: Incident) -> bool:
        """Say how it ended, in the thread of the question; to the whole channel when a person has to look."""
        return await asyncio.to_thread(self._closed, incident)

    async def noticed(self, notice: Notice, incident: Incident | None) -> bool:
        """Anything else: to the channel, in the thread of the question where there is one."""
        return await asyncio.to_thread(self._noticed, notice, incident)

    def _requested(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        if approval.slack_ts:
            return True
        post = slack_blocks.asking(incident, plan, approval, self._alerts(incident), self._console_url())
        return self._post(approval, post)

    def _decided(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        post = slack_blocks.decided(incident, plan, approval, self._alerts(incident), self._console_url())
        place = approval.slack_ts or self._not_on_record.get(approval.id)
        if place is None:
            return self._post(approval, post)
        channel, _, ts = place.partition(":")
        answer = self._call(
            self._client.chat_update, channel=channel, ts=ts, text=post.text, blocks=post.blocks
        )
        if answer.error in _GONE:
            log.warning("The message is gone from Slack; the outcome is posted anew", approval=approval.id)
            self._not_on_record.pop(approval.id, None)
            return self._post(approval, post)
        if answer.error is None and approval.id in self._not_on_record:
            self._remember(approval.id, place)
        return answer.error is None

    def _reminded(self, incident: Incident, plan: Plan, approval: Approval, reminder: Reminder) -> bool:
        mentions = [self._policy.people[name].slack or name for name in reminder.people]
        post = slack_blocks.reminding(incident, plan, approval, reminder, mentions, self._console_url())
        if reminder.to is not None:
            answer = self._say(reminder.to, post)
            if answer.error not in _NO_CHANNEL:
                return answer.error is None
            # Waiting for a channel that is not there would hold back everything else about this incident.
            log.error("The channel of an escalation cannot be used; it goes to the usual one", to=reminder.to)
            return self._say(self._channel, post).error is None
        if not approval.slack_ts:
            return self._say(self._channel, post).error is None
        channel, _, ts = approval.slack_ts.partition(":")
        return self._say(channel, post, thread_ts=ts, reply_broadcast=True).error is None

    def _closed(self, incident: Incident) -> bool:
        post = slack_blocks.closed(incident, self._console_url())
        return self._in_thread(incident, post, broadcast=incident.state == "escalated")

    def _noticed(self, notice: Notice, incident: Incident | None) -> bool:
        post = slack_blocks.noticing(notice, incident, self._console_url())
        if incident is None:
            return self._say(self._channel, post).error is None
        return self._in_thread(incident, post, broadcast=True)

    def _in_thread(self, incident: Incident, post: Post, *, broadcast: bool) -> bool:
        """In the thread of the incident's question; without one to the channel."""
        with self._journal.reading() as unit:
            tickets = unit.approvals(incident_id=incident.id)
        place = next((each.slack_ts for each in tickets if each.slack_ts), None)
        thread: dict[str, Any] = {}
        channel = self._channel
        if place is not None:
            channel, _, ts = place.partition(":")
            thread = {"thread_ts": ts, "reply_broadcast": broadcast}
        return self._say(channel, post, **thread).error is None

    def _post(self, approval: Approval, post: Post) -> bool:
        """Post, and keep where it stands. What is posted and not yet on record is not posted again."""
        place = self._not_on_record.get(approval.id)
        if place is None:
            answer = self._say(self._channel, post)
            if answer.error is not None:
                return False
            place = self._not_on_record[approval.id] = answer.place
        self._remember(approval.id, place)
        return True

    def _remember(self, approval_id: str, place: str) -> None:
        with self._journal.transaction() as unit:
            current = unit.approval(approval_id)
            if current is not None:
                found = msgspec.structs.replace(current, slack_ts=place)
                unit.save_approval(found, expected=current.state, actor=AGENT)
        self._not_on_record.pop(approval_id, None)

    def _alerts(self, incident: Incident) -> Sequence[Alert]:
        with self._journal.reading() as unit:
            return unit.alerts(incident.id)

    def _say(self, channel: str, post: Post, **thread: Any) -> _Answer:
        message = {"channel": channel, "text": post.text, "blocks": post.blocks, **thread}
        return self._call(self._client.chat_postMessage, **message, unfurl_links=False)

    def _call(self, method: Callable[..., Any], **message: Any) -> _Answer:
        if self._elapsed_s() < self._quiet_until_s:
            return _Answer(error="ratelimited")
        try:
            answer = method(**message)
            return _Answer(place=f"{answer['channel']}:{answer['ts']}")
        except SlackApiError as error:
            return _Answer(error=self._refused(cast("Any", error.response)))
        except _UNREACHABLE as error:
            log.warning("Slack cannot be reached; the message is tried again later", reason=repr(error))
            return _Answer(error="unreachable")

    def _refused(self, response: Any) -> str:
        data = response.data if isinstance(response.data, dict) else {}
        error = str(data.get("error", f"status {response.status_code}"))[:200]
        if response.status_code == 429:
            pause_s = _pause_s(response.headers.get("Retry-After"))
            self._quiet_until_s = self._elapsed_s() + pause_s
            log.info("Slack wants fewer messages; waiting", pause_s=pause_s)
            return "ratelimited"
        log.error(
            "Slack refused a message; it is tried again later", error=error, advice=_ADVICE.get(error, "")
        )
        return error


def _pause_s(retry_after: str | None) -> float:
    """What `Retry-After` says, in seconds, where it is a number."""
    if retry_after is None or not re.fullmatch(r"[0-9]{1,6}", retry_after):
        return _DEFAULT_PAUSE_S
    return min(float(retry_after), _LONGEST_PAUSE_S)


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


def answer_click(response_url: str, text: str) -> None:
    """Tell the person who clicked, and nobody else. Only logs when Slack does not take it: the decision stands."""
    try:
        webhook = WebhookClient(response_url, timeout=5, retry_handlers=[])
        answer = webhook.send(text=text, response_type="ephemeral", replace_original=False)
    except _UNREACHABLE as error:
        log.warning("Who clicked in Slack could not be answered", reason=repr(error))
        return
    if answer.status_code != 200:
        log.warning("Who clicked in Slack could not be answered", status=answer.status_code)
