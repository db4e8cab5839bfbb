"""What clicks in Slack do, however they come (HTTP or a socket), decided like everywhere else.

Slack waits 3 s for an answer, and the database may take longer to decide. So a click is first written down, then
acknowledged, then carried out; one whose process died in between is carried out by the next (`keep`). What is not
written down is not acknowledged: Slack tells the person that the app did not answer, and they click again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import structlog

from remediation.approvals import Decision
from remediation.ports import Journal
from remediation.values import Approval, Plan
from serving import story
from serving.api.services import Decide, Snooze
from serving.slack import blocks, modals
from serving.slack.api import Answer
from serving.slack.parts import Block, Post, escaped
from serving.slack.payloads import Click, Opening, read_payload

log = structlog.get_logger()

_CHANNEL = "slack"
_LEFT_BEHIND_S = 10.0
"""So old is a click that no process is still carrying out."""
_GIVEN_UP_S = 3_600.0
_DETAILS_LATE = "The window could not be opened in time."


class Inbox(Protocol):
    """Where clicks are kept (`db.clicks.SqlClicks`)."""

    def record(self, click_id: str, value: Mapping[str, Any]) -> bool: ...
    def open(self, *, older_than_s: float) -> list[tuple[str, dict[str, Any]]]: ...
    def finish(self, click_id: str) -> None: ...


class Respond(Protocol):
    """Tells who has clicked (`serving.slack.api.answer_click`)."""

    def __call__(self, response_url: str, post: Post, *, replace: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Taken:
    """`reply` goes to Slack with the acknowledgement; `later` is called after it."""

    reply: Block | None = None
    later: Callable[[], None] | None = None


class Clicks:
    """Thread-safe. `open_view` is None where the app has no token: then a rejection needs no reason."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        journal: Journal,
        decide: Decide,
        snooze: Snooze,
        respond: Respond,
        open_view: Callable[[str, Block], Answer] | None = None,
        console_url: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._inbox = inbox
        self._journal = journal
        self._decide = decide
        self._snooze = snooze
        self._respond = respond
        self._open_view = open_view
        self._console_url = console_url

    def take(self, payload: bytes, click_id: str) -> Taken:
        """Write the click down. A second one with the same id is a replay and does nothing.

        Raises `NoClick` for what is no interaction with our messages, `StoreError` when it cannot be written down.
        """
        found = read_payload(payload)
        if found is None:
            return Taken()
        if isinstance(found, Opening):
            if self._open_view is not None:
                open_view = self._open_view
                return Taken(later=lambda: self._open(found, open_view))
            if found.opens == "details":
                return Taken(later=lambda: self._show(found))
            found = found.rejection("rejected in Slack")
        if found.says == "reject" and not found.reason:
            return Taken(reply=modals.reason_missing())
        click = found
        if not self._inbox.record(click_id, msgspec.to_builtins(click)):
            log.info("A click in Slack came twice", approval=click.approval, by=click.by)
            return Taken()
        return Taken(later=lambda: self._carry_out(click_id, click, told_before=False))

    async def keep(self, *, interval_s: float = 5.0) -> None:
        """Carry out what a process that died has left behind, for ever."""
        failing_since_s: dict[str, float] = {}
        while True:
            try:
                left = await asyncio.to_thread(self._inbox.open, older_than_s=_LEFT_BEHIND_S)
                failing_since_s = {each: failing_since_s.get(each, time.monotonic()) for each, _ in left}
                for click_id, value in left:
                    late = time.monotonic() - failing_since_s[click_id] > _GIVEN_UP_S
                    await asyncio.to_thread(self._resume, click_id, value, give_up=late)
            except Exception:
                log.exception("Clicks in Slack that were left behind could not be read; it is tried again")
            await asyncio.sleep(interval_s)

    def _resume(self, click_id: str, value: dict[str, Any], *, give_up: bool) -> None:
        if give_up:
            log.error("A click in Slack could not be carried out for an hour", approval=value.get("approval"))
            self._inbox.finish(click_id)
            return
        log.info("A click in Slack was left behind and is carried out now", approval=value.get("approval"))
        self._carry_out(click_id, msgspec.convert(value, Click), told_before=True)

    def _carry_out(self, click_id: str, click: Click, *, told_before: bool) -> None:
        try:
            decision = self._settle(click)
            self._inbox.finish(click_id)
        except Exception:
            # The boundary of the process: Slack has its answer already, so the person must hear of it here.
            log.exception("A click in Slack could not be carried out", approval=click.approval, by=click.by)
            if not told_before:
                later = "Your click is on record and is carried out as soon as possible. Another one does no harm."
                self._tell(click, Post(text=later))
            return
        log.info("A click in Slack", approval=click.approval, by=click.by, result=decision.result)
        self._tell(click, Post(text=escaped(decision.sentence)))
        self._replace_a_copy(click, decision.approval)

    def _settle(self, click: Click) -> Decision:
        if click.says == "snooze":
            return self._snooze(
                click.approval,
                by=click.by,
                minutes=click.minutes,
                channel=_CHANNEL,
                identity=click.identity,
            )
        return self._decide(
            click.approval,
            click.says,
            by=click.by,
            reason=click.reason,
            channel=_CHANNEL,
            plan_hash=click.plan_hash,
            identity=click.identity,
        )

    def _tell(self, click: Click, post: Post) -> None:
        if click.response_url:
            self._respond(click.response_url, post)

    def _replace_a_copy(self, click: Click, approval: Approval | None) -> None:
        """A message that is not the one on record (posted twice, say) is edited by nobody else: its buttons go."""
        if approval is None or approval.state == "pending" or not (click.message and click.response_url):
            return
        if not (approval.slack_ts or "").startswith(click.message):
            outcome = Post(text=blocks.outcome_of(approval))
            self._respond(click.response_url, outcome, replace=True)

    # -- windows -----------------------------------------------------------------------------------

    def _open(self, opening: Opening, open_view: Callable[[str, Block], Answer]) -> None:
        about = opening.about
        try:
            if opening.opens == "rejection":
                view = modals.rejecting(about, self._plan(about.approval))
            else:
                view = modals.window(self._details(about.approval))
            answer = open_view(opening.trigger_id, view)
        except Exception:
            # The boundary of the process, as above.
            log.exception("A window in Slack could not be opened", approval=about.approval)
            answer = Answer(error="failed")
        if answer.error is not None and about.response_url:
            if opening.opens == "details":
                self._show(opening)
            else:
                self._respond(
                    about.response_url, Post(text=f"{_DETAILS_LATE} Nothing was decided. Click again.")
                )

    def _show(self, opening: Opening) -> None:
        """The evidence as a message for one person, where no window can be opened."""
        try:
            post = self._details(opening.about.approval)
        except Exception:
            log.exception("The details of a ticket could not be read", approval=opening.about.approval)
            post = Post(text="The details cannot be read now. Try again.")
        if opening.about.response_url:
            self._respond(opening.about.response_url, post)

    def _plan(self, approval_id: str) -> Plan:
        with self._journal.reading() as unit:
            approval = unit.approval(approval_id)
            plan = unit.plan(approval.plan_id) if approval is not None else None
        if plan is None:
            raise LookupError(f"there is no approval {approval_id!r}, or its plan is gone")
        return plan

    def _details(self, approval_id: str) -> Post:
        with self._journal.reading() as unit:
            approval = unit.approval(approval_id)
            plan = unit.plan(approval.plan_id) if approval is not None else None
            incident = unit.incident(approval.incident_id) if approval is not None else None
            if approval is None or plan is None or incident is None:
                return Post(text=f"There is no approval {escaped(approval_id)}.")
            alerts = unit.alerts(incident.id)
            entries = story.entries(unit, incident, [plan], [approval], [])
        moments = story.told(entries, alerts)
        return modals.detailing(incident, plan, approval, alerts, moments, self._console_url())
