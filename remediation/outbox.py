"""Telling people, without ever waiting for them: what could not be sent is sent later, in order, per
incident."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Literal

import structlog

from remediation.clock import seconds
from remediation.incidents import AGENT
from remediation.policy import Policy
from remediation.ports import Clock, Journal, Notifier, Reader
from remediation.reminders import Reminder, due
from remediation.values import CLOSED_INCIDENTS, Approval, Incident, Plan

log = structlog.get_logger()

Kind = Literal["approval_requested", "approval_decided", "approval_reminded", "incident_closed"]

_SENT = "notification.sent"
_FIRST_RETRY_S = 2.0
_LONGEST_RETRY_S = 60.0
_REMEMBERED_S = 86_400.0
_LOOK_BACK = 50


@dataclass(slots=True)
class _Letter:
    kind: Kind
    subject: str
    reminder: Reminder | None = None
    attempts: int = 0
    not_before_us: int = 0

    @property
    def name(self) -> str:
        """What the audit log calls it: a reminder by its own name, for there are several of one ticket."""
        return self.reminder.name if self.reminder is not None else self.kind


class Outbox:
    """At least once: what was sent is marked in the audit log; a new agent looks there for what is still to
    be sent."""

    def __init__(
        self, journal: Journal, notifier: Notifier, clock: Clock, policy: Policy | None = None
    ) -> None:
        self._journal = journal
        self._policy = policy or Policy()
        self._notifier = notifier
        self._clock = clock
        self._queues: dict[str, deque[_Letter]] = {}
        self._known: set[tuple[str, str]] = set()

    def collect(self) -> None:
        """Find what people have to be told, from the state of approvals and incidents."""
        since_us = self._clock.now_us() - seconds(_REMEMBERED_S)
        with self._journal.reading() as unit:
            approvals = [each for each in unit.approvals(limit=_LOOK_BACK) if each.requested_us >= since_us]
            closed = [
                each
                for each in unit.incidents(states=sorted(CLOSED_INCIDENTS), limit=_LOOK_BACK)
                if each.opened_us >= since_us
            ]
            for approval in reversed(approvals):
                self._queue(unit, "approval_requested", approval.id, approval.incident_id)
                if approval.state != "pending":
                    self._queue(unit, "approval_decided", approval.id, approval.incident_id)
                for reminder in self._due(approval):
                    self._queue(unit, "approval_reminded", approval.id, approval.incident_id, reminder)
            for incident in reversed(closed):
                self._queue(unit, "incident_closed", incident.id, incident.id)

    async def deliver(self) -> None:
        """Send what is due, the oldest of each incident first."""
        for incident_id, queue in list(self._queues.items()):
            while queue and queue[0].not_before_us <= self._clock.now_us():
                if not await self._sent(queue[0]):
                    self._postpone(queue[0])
                    break
                await asyncio.to_thread(self._mark, queue.popleft())
            if not queue:
                del self._queues[incident_id]

    @property
    def waiting(self) -> int:
        """How many messages are still to be sent."""
        return sum(len(queue) for queue in self._queues.values())

    def _due(self, approval: Approval) -> list[Reminder]:
        policy = self._policy
        return due(
            approval,
            every_min=policy.remind_every_min,
            steps=policy.escalation,
            on_call=policy.on_call,
            now_us=self._clock.now_us(),
        )

    def _queue(
        self, unit: Reader, kind: Kind, subject: str, incident_id: str, reminder: Reminder | None = None
    ) -> None:
        letter = _Letter(kind, subject, reminder)
        if (letter.name, subject) in self._known:
            return
        self._known.add((letter.name, subject))
        marks = unit.audit_entries(action=_SENT, subject=subject)
        if not any(mark.detail.get("kind") == letter.name for mark in marks):
            self._queues.setdefault(incident_id, deque()).append(letter)

    async def _sent(self, letter: _Letter) -> bool:
        incident, plan, approval = await asyncio.to_thread(self._content, letter)
        if incident is None:
            return True
        try:
            if approval is None or plan is None:
                return await self._notifier.incident_closed(incident)
            if letter.reminder is not None:
                return _stale(approval, incident) or await self._notifier.approval_reminded(
                    incident, plan, approval, letter.reminder
                )
            if letter.kind == "approval_decided":
                return await self._notifier.approval_decided(incident, plan, approval)
            return _stale(approval, incident) or await self._notifier.approval_requested(
                incident, plan, approval
            )
        except Exception:
            log.exception(
                "A message could not be sent and will be tried again", kind=letter.kind, to=letter.subject
            )
            return False

    def _content(self, letter: _Letter) -> tuple[Incident | None, Plan | None, Approval | None]:
        with self._journal.reading() as unit:
            if letter.kind == "incident_closed":
                return unit.incident(letter.subject), None, None
            approval = unit.approval(letter.subject)
            if approval is None:
                return None, None, None
            return unit.incident(approval.incident_id), unit.plan(approval.plan_id), approval

    def _postpone(self, letter: _Letter) -> None:
        delay_s = min(_FIRST_RETRY_S * 2**letter.attempts, _LONGEST_RETRY_S)
        letter.attempts += 1
        letter.not_before_us = self._clock.now_us() + seconds(delay_s)

    def _mark(self, letter: _Letter) -> None:
        with self._journal.transaction() as unit:
            unit.audit(actor=AGENT, action=_SENT, subject=letter.subject, detail={"kind": letter.name})


def _stale(approval: Approval, incident: Incident) -> bool:
    """Nobody needs to be asked about what is decided; that it was decided is a message of its own."""
    return approval.state != "pending" or incident.state in CLOSED_INCIDENTS
