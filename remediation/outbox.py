"""Telling people, without ever waiting for them: what could not be sent is sent later, in order, per channel and
incident. A channel that is down or slow holds back nothing but itself."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import structlog

from remediation.channels import Event, Kind, Severity, ending
from remediation.clock import seconds
from remediation.incidents import AGENT
from remediation.notices import Notice
from remediation.policy import Policy
from remediation.ports import Clock, Journal, Notifier, Reader
from remediation.reminders import Reminder, due
from remediation.values import CLOSED_INCIDENTS, Approval, AuditEntry, Incident, Plan

log = structlog.get_logger()

_SENT = "notification.sent"
_GIVEN_UP = "notification.given_up"
_FIRST_RETRY_S = 2.0
_LONGEST_RETRY_S = 60.0
_REMEMBERED_S = 86_400.0
_LOOK_BACK = 50
_MARKS = 500
_FAILURES_A_ROUND = 3
"""So that a channel that is down costs a round a few time-outs, and not one for each incident."""
_ROUND_S = 1.0


@dataclass(slots=True)
class _Letter:
    kind: Kind
    subject: str
    queued_us: int
    reminder: Reminder | None = None
    change: str | None = None
    notice: Notice | None = None
    attempts: int = 0
    not_before_us: int = 0
    sent: bool = False

    @property
    def name(self) -> str:
        """What the audit log calls it: a reminder and a change by their own names, for a ticket has several."""
        return self.change or (self.reminder.name if self.reminder is not None else self.kind)

    def event(self, incident: Incident | None) -> Event | None:
        """What people choose it by; None for what only changes a message that is there."""
        if self.kind == "approval_changed":
            return None
        if self.kind == "approval_reminded":
            return "escalation" if self.reminder and self.reminder.kind == "escalation" else "reminder"
        if self.kind == "noticed":
            return "overdue" if self.notice and self.notice.kind == "overdue" else "notice"
        if self.kind == "incident_closed":
            return None if incident is None else ending(incident)
        return self.kind


@dataclass(slots=True)
class _Lane:
    """One channel with what waits for it, by incident. `name`: None where people decide."""

    name: str | None
    notifier: Notifier
    wants: Callable[[Event, Severity, str], bool]
    queues: dict[str, deque[_Letter]] = field(default_factory=dict[str, deque[_Letter]])
    known: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    task: asyncio.Task[None] | None = None


class Outbox:
    """At least once in every channel: what was sent is marked in the audit log, with the name of the channel; a new
    agent looks there for what is still to be sent.

    `notifier` is where people decide and hears everything; of `channels` each hears what the policy's entry of that
    name wants (everything, where there is none).
    """

    def __init__(
        self,
        journal: Journal,
        notifier: Notifier,
        clock: Clock,
        policy: Policy | None = None,
        channels: Mapping[str, Notifier] | None = None,
    ) -> None:
        self._journal = journal
        self._policy = policy or Policy()
        self._clock = clock
        wanted = {each.name: each.wants for each in self._policy.channels}
        self._lanes = [_Lane(None, notifier, _everything)] + [
            _Lane(name, each, wanted.get(name, _everything)) for name, each in (channels or {}).items()
        ]
        self._lock = threading.Lock()

    def collect(self) -> None:
        """Find what people have to be told, from the state of approvals and incidents."""
        since_us = self._clock.now_us() - seconds(_REMEMBERED_S)
        with self._journal.reading() as unit:
            approvals = [each for each in unit.approvals(limit=_LOOK_BACK) if each.requested_us >= since_us]
            closed = [
                each
                for each in unit.incidents(states=sorted(CLOSED_INCIDENTS), limit=_LOOK_BACK)
                if each.opened_us >= since_us and not each.parent_id
            ]
            for approval in reversed(approvals):
                self._queue(unit, approval.incident_id, self._letters(approval))
            for incident in reversed(closed):
                self._queue(
                    unit, incident.id, [_Letter("incident_closed", incident.id, self._clock.now_us())]
                )
            for notice in reversed(unit.notices(since_us=since_us, limit=_LOOK_BACK)):
                letter = _Letter("noticed", notice.id, self._clock.now_us(), notice=notice)
                self._queue(unit, notice.incident_id or notice.id, [letter])

    async def deliver(self) -> None:
        """Send what is due, the oldest of each incident first; return when it is sent. A channel that takes longer than
        a second while there are others goes on by itself."""
        for lane in self._lanes:
            if lane.task is None:
                lane.task = asyncio.create_task(self._deliver(lane), name=f"messages {lane.name or ''}")
        tasks = [lane.task for lane in self._lanes if lane.task is not None]
        try:
            await asyncio.wait(tasks, timeout=_ROUND_S if len(tasks) > 1 else None)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
        done = [lane for lane in self._lanes if lane.task is not None and lane.task.done()]
        ended = [lane.task for lane in done if lane.task is not None]
        for lane in done:
            lane.task = None
        failures = [error for task in ended if (error := task.exception()) is not None]
        if failures:
            raise failures[0]

    @property
    def waiting(self) -> int:
        """How many messages are still to be sent."""
        with self._lock:
            return sum(len(queue) for lane in self._lanes for queue in lane.queues.values())

    # -- what has to be told -----------------------------------------------------------------------

    def _letters(self, approval: Approval) -> list[_Letter]:
        now_us = self._clock.now_us()
        found = [_Letter("approval_requested", approval.id, now_us)]
        found += [
            _Letter("approval_changed", approval.id, now_us, change=each) for each in _changes(approval)
        ]
        if approval.state != "pending":
            found.append(_Letter("approval_decided", approval.id, now_us))
        found += [
            _Letter("approval_reminded", approval.id, now_us, reminder=each) for each in self._due(approval)
        ]
        return found

    def _due(self, approval: Approval) -> list[Reminder]:
        policy = self._policy
        return due(
            approval,
            every_min=policy.remind_every_min,
            steps=policy.escalation,
            on_call=policy.on_call,
            now_us=self._clock.now_us(),
        )

    def _queue(self, unit: Reader, about: str, letters: list[_Letter]) -> None:
        new = [
            (lane, letter)
            for lane in self._lanes
            for letter in letters
            if (letter.name, letter.subject) not in lane.known
        ]
        if not new:
            return
        incident = unit.incident(about)
        subject = letters[0].subject
        marks = [
            mark
            for action in (_SENT, _GIVEN_UP)
            for mark in unit.audit_entries(action=action, subject=subject, limit=_MARKS)
        ]
        for lane, letter in new:
            lane.known.add((letter.name, letter.subject))
            if _wanted(lane, letter, incident) and not _told(marks, lane, letter):
                with self._lock:
                    lane.queues.setdefault(about, deque()).append(replace(letter))

    # -- telling it --------------------------------------------------------------------------------

    async def _deliver(self, lane: _Lane) -> None:
        failures = 0
        with self._lock:
            queues = list(lane.queues.items())
        for incident_id, queue in queues:
            while queue and queue[0].not_before_us <= self._clock.now_us() and failures < _FAILURES_A_ROUND:
                letter = queue[0]
                # What was sent and could not be marked, the database being away, is not sent again.
                letter.sent = letter.sent or await self._sent(lane, letter)
                if letter.sent:
                    await asyncio.to_thread(self._mark, lane, letter, _SENT)
                elif self._clock.now_us() - letter.queued_us > seconds(_REMEMBERED_S):
                    log.error("A message was given up after a day", kind=letter.name, channel=lane.name)
                    await asyncio.to_thread(self._mark, lane, letter, _GIVEN_UP)
                else:
                    failures += 1
                    self._postpone(letter)
                    break
                queue.popleft()
            with self._lock:
                if not queue:
                    del lane.queues[incident_id]

    async def _sent(self, lane: _Lane, letter: _Letter) -> bool:
        incident, plan, approval = await asyncio.to_thread(self._content, letter)
        try:
            if letter.notice is not None:
                return await lane.notifier.noticed(letter.notice, incident)
            return incident is None or await _handed_over(lane.notifier, letter, incident, plan, approval)
        except Exception:
            log.exception(
                "A message could not be sent and will be tried again",
                kind=letter.name,
                about=letter.subject,
                channel=lane.name,
            )
            return False

    def _content(self, letter: _Letter) -> tuple[Incident | None, Plan | None, Approval | None]:
        with self._journal.reading() as unit:
            if letter.notice is not None:
                return unit.incident(letter.notice.incident_id), None, None
            if letter.kind == "incident_closed":
                return unit.incident(letter.subject), None, None
            approval = unit.approval(letter.subject)
            if approval is None:
                return None, None, None
            return unit.incident(approval.incident_id), unit.plan(approval.plan_id), approval

    def _postpone(self, letter: _Letter) -> None:
        delay_s = min(_FIRST_RETRY_S * 2 ** min(letter.attempts, 10), _LONGEST_RETRY_S)
        letter.attempts += 1
        letter.not_before_us = self._clock.now_us() + seconds(delay_s)

    def _mark(self, lane: _Lane, letter: _Letter, action: str) -> None:
        detail = {"kind": letter.name} | ({"channel": lane.name} if lane.name is not None else {})
        with self._journal.transaction() as unit:
            unit.audit(actor=AGENT, action=action, subject=letter.subject, detail=detail)


async def _handed_over(
    notifier: Notifier, letter: _Letter, incident: Incident, plan: Plan | None, approval: Approval | None
) -> bool:
    if approval is None or plan is None:
        return await notifier.incident_closed(incident)
    if letter.kind == "approval_decided":
        return await notifier.approval_decided(incident, plan, approval)
    if _stale(approval, incident):
        return True
    if letter.reminder is not None:
        return await notifier.approval_reminded(incident, plan, approval, letter.reminder)
    if letter.change is not None:
        return await notifier.approval_changed(incident, plan, approval)
    return await notifier.approval_requested(incident, plan, approval)


def _changes(approval: Approval) -> list[str]:
    """What has become of a ticket that still waits, by name."""
    if approval.state != "pending":
        return []
    snoozed = [f"snoozed-{approval.snoozed_until_us}"] if approval.snoozed_until_us is not None else []
    return [f"votes-{len(approval.votes)}", *snoozed] if approval.votes else snoozed


def _told(marks: list[AuditEntry], lane: _Lane, letter: _Letter) -> bool:
    return any(
        mark.detail.get("kind") == letter.name and mark.detail.get("channel") == lane.name for mark in marks
    )


def _wanted(lane: _Lane, letter: _Letter, incident: Incident | None) -> bool:
    event = letter.event(incident)
    if event is None:
        return lane.name is None and incident is not None
    if incident is None:
        # What is about no incident is about Homeostat itself: nothing can be more urgent.
        return letter.notice is not None and lane.wants(event, "critical", letter.notice.model)
    return lane.wants(event, incident.severity, incident.model)


def _everything(event: Event, severity: Severity, model: str) -> bool:
    del event, severity, model
    return True


def _stale(approval: Approval, incident: Incident) -> bool:
    """Nobody needs to be asked about what is decided; that it was decided is a message of its own."""
    return approval.state != "pending" or incident.state in CLOSED_INCIDENTS
