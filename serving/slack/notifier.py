"""Telling people in Slack: one message per ticket, edited in place by whatever becomes of it; the rest in its thread.

Where a message stands is kept in its ticket (`Approval.slack_ts`: `CHANNEL:TS`, or `CHANNEL:TS:FILE` with the file of
its chart), so that every later agent finds it.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import structlog

from detectors.values import Alert
from remediation.clock import US_PER_S
from remediation.incidents import AGENT
from remediation.notices import Notice
from remediation.policy import Policy
from remediation.ports import Journal
from remediation.reminders import Reminder
from remediation.values import Approval, Incident, Plan
from serving.picture import Drawn, drawn_of, picture_of
from serving.slack import blocks
from serving.slack.api import Answer, SlackApi, SlackConfig
from serving.slack.blocks import Chart
from serving.slack.parts import Post

log = structlog.get_logger()

_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found"})
_NO_CHANNEL = frozenset({"channel_not_found", "not_in_channel", "is_archived"})
_NO_CHARTS = frozenset({"missing_scope", "not_allowed_token_type", "file_uploads_disabled", "unknown_method"})
_BAD_BLOCKS = frozenset({"invalid_blocks", "invalid_blocks_format"})
_IS_ID = re.compile(r"[CGD][A-Z0-9]{6,}")


class _Place(NamedTuple):
    channel: str
    ts: str
    file: str = ""

    @classmethod
    def of(cls, text: str) -> "_Place":
        return cls(*text.split(":"))

    @property
    def text(self) -> str:
        return ":".join(each for each in self if each)


class SlackNotifier:
    """Fulfils `remediation.ports.Notifier`.

    Nothing is repeated here: what could not be sent answers False, and the outbox tries again. After a request of which
    nobody knows whether it was carried out, the message is looked for before it is posted a second time. A chart that
    cannot be made or uploaded never holds a question back. `elapsed_s` is a clock that never goes back.
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
        self._channel_id = config.channel if _IS_ID.fullmatch(config.channel) else None
        self._api = SlackApi(config, elapsed_s=elapsed_s)
        self._journal = journal
        self._policy = policy or Policy()
        self._console_url = console_url
        self._charts = True
        self._not_on_record: dict[str, _Place] = {}
        self._perhaps_posted: set[str] = set()
        self._looked_for: set[str] = set()
        self._started_us = time.time_ns() // 1_000
        self._drawn: dict[str, Drawn | None] = {}
        self._uploaded: dict[str, Chart] = {}

    async def approval_requested(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        """Post the question with its buttons, once."""
        return await asyncio.to_thread(self._requested, incident, plan, approval)

    async def approval_changed(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        """Show in the question who has consented so far, or that it is snoozed."""
        return await asyncio.to_thread(self._changed, incident, plan, approval)

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
        post = blocks.closed(incident, self._console_url())
        return await asyncio.to_thread(self._in_thread, incident, post, incident.state == "escalated")

    async def noticed(self, notice: Notice, incident: Incident | None) -> bool:
        """Anything else: to the channel, in the thread of the question where there is one."""
        post = blocks.noticing(notice, incident, self._console_url())
        return await asyncio.to_thread(self._in_thread, incident, post, True)

    def _requested(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        if approval.slack_ts:
            return True
        alerts = self._alerts(incident)
        chart = self._chart(incident, alerts, approval)

        def post(shown: Chart | None) -> Post:
            return blocks.asking(incident, plan, approval, alerts, self._console_url(), shown)

        return self._post(approval, post, chart)

    def _changed(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        if approval.slack_ts is None:
            return self._requested(incident, plan, approval)
        place, alerts = _Place.of(approval.slack_ts), self._alerts(incident)
        chart = self._shown(place, incident, alerts, approval)
        post = blocks.asking(incident, plan, approval, alerts, self._console_url(), chart)
        answer = self._api.update(place.channel, place.ts, post)
        return answer.error is None or answer.error in _GONE

    def _decided(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        place = self._not_on_record.get(approval.id)
        if approval.slack_ts is not None:
            place = _Place.of(approval.slack_ts)
        alerts = self._alerts(incident)

        def post(shown: Chart | None) -> Post:
            return blocks.decided(incident, plan, approval, alerts, self._console_url(), shown)

        place = place or self._found(approval)
        if place is None:
            return self._post(approval, post, None)
        chart = self._shown(place, incident, alerts, approval)
        answer = self._api.update(place.channel, place.ts, post(chart))
        if answer.error in _GONE:
            log.warning("The message is gone from Slack; the outcome is posted anew", approval=approval.id)
            self._not_on_record.pop(approval.id, None)
            return self._post(approval, post, chart)
        if answer.error is None and place.text != approval.slack_ts:
            self._remember(approval.id, place)
        return answer.error is None

    def _reminded(self, incident: Incident, plan: Plan, approval: Approval, reminder: Reminder) -> bool:
        people = self._policy.people
        mentions = [people[name].slack or name if name in people else name for name in reminder.people]
        post = blocks.reminding(incident, plan, approval, reminder, mentions, self._console_url())
        if reminder.to is not None:
            answer = self._api.post(reminder.to, post)
            if answer.error not in _NO_CHANNEL:
                return answer.error is None
            # Waiting for a channel that is not there would hold back everything else about this incident.
            log.error("The channel of an escalation cannot be used; it goes to the usual one", to=reminder.to)
            return self._api.post(self._channel, post).error is None
        if not approval.slack_ts:
            return self._api.post(self._channel, post).error is None
        place = _Place.of(approval.slack_ts)
        return self._api.post(place.channel, post, thread_ts=place.ts, reply_broadcast=True).error is None

    def _in_thread(self, incident: Incident | None, post: Post, loud: bool) -> bool:
        where = self._question(incident) if incident is not None else None
        if where is None:
            return self._api.post(self._channel, post).error is None
        return self._api.post(where.channel, post, thread_ts=where.ts, reply_broadcast=loud).error is None

    def _question(self, incident: Incident) -> _Place | None:
        with self._journal.reading() as unit:
            tickets = unit.approvals(incident_id=incident.id)
        return next((_Place.of(each.slack_ts) for each in tickets if each.slack_ts), None)

    # -- a question is posted once -------------------------------------------------------------------

    def _post(self, approval: Approval, post: Callable[[Chart | None], Post], chart: Chart | None) -> bool:
        """Post, and keep where it stands. What is posted and not yet on record is not posted again."""
        place = self._not_on_record.get(approval.id) or self._found(approval)
        if place is None:
            answer = self._say(approval, post(chart))
            if chart is not None and answer.error in _BAD_BLOCKS:
                # A file that Slack has not finished with cannot be shown yet; the question does not wait for it.
                chart = None
                answer = self._say(approval, post(None))
            if answer.error is not None:
                return False
            place = _Place.of(answer.place)._replace(file=chart.file if chart is not None else "")
            self._not_on_record[approval.id] = place
        self._remember(approval.id, place)
        return True

    def _say(self, approval: Approval, post: Post) -> Answer:
        answer = self._api.post(self._channel, post, approval=approval.id, unfurl_links=False)
        if answer.unsure:
            self._perhaps_posted.add(approval.id)
        return answer

    def _found(self, approval: Approval) -> _Place | None:
        """Where the question stands that was posted while nobody heard the answer: by this agent, or by one that died
        before it could write it down."""
        if approval.id in self._looked_for and approval.id not in self._perhaps_posted:
            return None
        if approval.requested_us >= self._started_us and approval.id not in self._perhaps_posted:
            return None
        self._looked_for.add(approval.id)
        channel = self._channel_id or self._known_channel()
        ts = channel and self._api.find(channel, approval.id, since_s=approval.requested_us // US_PER_S - 1)
        return _Place(channel, ts) if channel and ts else None

    def _known_channel(self) -> str | None:
        """The id of the channel, which Slack tells with every message; looking needs it and takes no name."""
        with self._journal.reading() as unit:
            tickets = unit.approvals(limit=100)
        return next((_Place.of(each.slack_ts).channel for each in tickets if each.slack_ts), None)

    def _remember(self, approval_id: str, place: _Place) -> None:
        with self._journal.transaction() as unit:
            current = unit.approval(approval_id)
            if current is not None:
                found = msgspec.structs.replace(current, slack_ts=place.text)
                unit.save_approval(found, expected=current.state, actor=AGENT)
        self._not_on_record.pop(approval_id, None)
        self._perhaps_posted.discard(approval_id)
        self._drawn.pop(approval_id, None)
        self._uploaded.pop(approval_id, None)

    # -- the chart -----------------------------------------------------------------------------------

    def _chart(self, incident: Incident, alerts: Sequence[Alert], approval: Approval) -> Chart | None:
        if not self._charts or approval.id in self._uploaded:
            return self._uploaded.get(approval.id)
        if approval.id not in self._drawn:
            until_us = approval.requested_us
            self._drawn[approval.id] = drawn_of(self._journal, incident, alerts, until_us=until_us)
        drawn = self._drawn[approval.id]
        if drawn is None:
            return None
        answer = self._api.upload(drawn.png, name=f"{incident.id}.png", title=f"Incident {incident.id}")
        if answer.error in _NO_CHARTS:
            log.warning("Slack takes no charts; they need the scope files:write", error=answer.error)
            self._charts = False
        if answer.error is not None:
            return None
        chart = self._uploaded[approval.id] = Chart(file=answer.place, alt=drawn.alt)
        return chart

    def _shown(
        self, place: _Place, incident: Incident, alerts: Sequence[Alert], approval: Approval
    ) -> Chart | None:
        """The chart that the message has, for an edit replaces all of it."""
        if not place.file:
            return None
        picture = picture_of(self._journal, incident, alerts, until_us=approval.requested_us)
        return Chart(file=place.file, alt=picture.alt if picture is not None else "The chart of the illness.")

    def _alerts(self, incident: Incident) -> Sequence[Alert]:
        with self._journal.reading() as unit:
            return unit.alerts(incident.id)
