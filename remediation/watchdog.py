"""A dead man's switch: whatever should have moved on and has not is told, whoever's fault it is.

The agent looks at itself, and the API looks at the agent: a dead agent tells nobody that it is dead. What is overdue is
written once, whoever finds it, and told once; when it moves and gets stuck again that is another notice.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from detectors.values import Value
from remediation import actions, freezing, limits
from remediation.actuation import allowed_s
from remediation.approvals import freeze_of
from remediation.clock import US_PER_S, seconds
from remediation.config import AgentConfig
from remediation.diagnosis import longest_us
from remediation.incidents import AGENT, OPEN_STATES
from remediation.names import API
from remediation.notices import Notice
from remediation.observed import patience_us
from remediation.playbooks.proposal import controls
from remediation.ports import Clock, Journal, Reader
from remediation.proving import required
from remediation.questions import Question, asked, is_question, undecided
from remediation.values import CLOSED_INCIDENTS, Action, Approval, Incident, Plan

log = structlog.get_logger()

OVERDUE_S = 300.0
"""How long something may be due before it is told."""

AGENT_SILENT_S = 60.0
"""After so long without a round of the agent the API tells that nothing moves on."""

_MOST = 10_000
_TOLD = "notification.sent"


Tell = Callable[[Notice, Incident | None], Awaitable[bool]]
"""Sends one notice; answers whether it was sent."""


class Due(Value, frozen=True, kw_only=True):
    """What had to come of an incident next, and when at the latest."""

    what: str
    at_us: int


def overdue(unit: Reader, *, now_us: int, config: AgentConfig) -> list[Notice]:
    """Everything that should have moved on `OVERDUE_S` ago."""
    found: list[Notice] = []
    for incident in unit.incidents(states=OPEN_STATES, limit=_MOST):
        due = _due(unit, incident, config)
        late = due is not None and now_us - due.at_us >= seconds(OVERDUE_S)
        frozen = late and (
            _frozen(unit, incident, config, now_us) or _held_in_freeze(unit, incident, config, now_us)
        )
        if due is not None and late and not frozen:
            found.append(_stuck(incident, due, now_us))
    return found


def silent_agent(unit: Reader, *, now_us: int, since_us: int) -> Notice | None:
    """That no agent has done a round for `AGENT_SILENT_S`; `since_us`: from when on one could have been heard."""
    beats = [at_us for name, at_us in unit.heartbeats().items() if name.startswith(AGENT)]
    last_us = max(beats, default=0)
    if now_us - max(last_us, since_us) < seconds(AGENT_SILENT_S):
        return None
    heard = f"since {_clock(last_us)} UTC" if last_us else "at any time"
    return Notice(
        id=f"overdue/agent/{last_us or since_us}",
        kind="overdue",
        text=f"The agent has done nothing {heard}: no incident moves on, and no plan is carried out. Its log says why; "
        "`homeostat status` shows whether it runs.",
        at_us=now_us,
    )


def watch(journal: Journal, *, now_us: int, config: AgentConfig) -> list[Notice]:
    """Write down what is overdue; returns what nobody had written before."""
    with journal.reading() as unit:
        found = overdue(unit, now_us=now_us, config=config)
    return written(journal, found)


def written(journal: Journal, notices: Sequence[Notice]) -> list[Notice]:
    """Those of the notices that were not on record."""
    if not notices:
        return []
    with journal.transaction() as unit:
        new = [each for each in notices if unit.add_notice(each)]
    for each in new:
        log.error("Overdue", incident=each.incident_id, model=each.model, text=each.text)
    return new


@dataclass(slots=True)
class SecondEyes:
    """The watch beside the agent: looks at the agent's heartbeat, and while that is missing at everything else, and
    tells people itself, for nobody else does then. `tell`: by the name of the channel (None: where people decide)."""

    journal: Journal
    clock: Clock
    config: AgentConfig
    tell: Mapping[str | None, Tell]
    _begun_us: int | None = None
    _untold: list[tuple[str | None, Notice]] = field(default_factory=list[tuple[str | None, Notice]])

    async def look(self) -> None:
        """One round."""
        now_us = self.clock.now_us()
        self._begun_us = now_us if self._begun_us is None else self._begun_us
        with self.journal.reading() as unit:
            silent = silent_agent(unit, now_us=now_us, since_us=self._begun_us)
            stuck = overdue(unit, now_us=now_us, config=self.config) if silent is not None else []
        if silent is not None:
            new = written(self.journal, [silent, *stuck])
            self._untold += [(name, each) for each in new for name in self.tell]
        self._untold = [each for each in self._untold if not await self._sent(*each)]

    async def _sent(self, name: str | None, notice: Notice) -> bool:
        with self.journal.reading() as unit:
            incident = unit.incident(notice.incident_id) if notice.incident_id else None
        try:
            if not await self.tell[name](notice, incident):
                return False
        except Exception:
            log.exception(
                "A notice could not be sent and will be tried again", notice=notice.id, channel=name
            )
            return False
        detail = {"kind": "noticed"} | ({"channel": name} if name is not None else {})
        with self.journal.transaction() as unit:
            unit.audit(actor=API, action=_TOLD, subject=notice.id, detail=detail)
        return True


def _stuck(incident: Incident, due: Due, now_us: int) -> Notice:
    late_min = (now_us - due.at_us) / US_PER_S / 60
    return Notice(
        id=f"overdue/{incident.id}/{incident.state}/{due.at_us}",
        kind="overdue",
        model=incident.model,
        incident_id=incident.id,
        text=f"Incident {incident.id} of {incident.model} version {incident.version} is stuck: {due.what} since "
        f"{_clock(due.at_us)} UTC ({late_min:.0f} min). Nothing is done about it until this moves on.",
        at_us=now_us,
    )


def _due(unit: Reader, incident: Incident, config: AgentConfig) -> Due | None:
    tickets = unit.approvals(incident_id=incident.id)
    taken = unit.actions(incident_id=incident.id)
    moved_us = max(_movements(incident, tickets, taken))
    match incident.state:
        case "open" if incident.parent_id:
            return _member_due(unit, incident, config)
        case "open":
            span_us = max((each.end_us - each.start_us for each in unit.alerts(incident.id)), default=0)
            allowed_us = longest_us(span_us, config.diagnosis)
            return Due(what="it should have been diagnosed", at_us=moved_us + allowed_us)
        case "diagnosed" | "awaiting_approval" if _held_up(unit, incident, tickets, config):
            return None
        case "diagnosed":
            return Due(what="it should have been planned for", at_us=moved_us)
        case "awaiting_approval":
            return _ticket_due(unit, tickets, moved_us)
        case "executing":
            return _action_due(unit, taken, moved_us, config)
        case "verifying":
            return _verdict_due(unit, incident, taken, moved_us, config)
        case _:
            return None


def _held_up(unit: Reader, incident: Incident, tickets: Sequence[Approval], config: AgentConfig) -> bool:
    """Whether nothing may begin for now, by people or by limits, and nothing else is due."""
    if any(each.state == "pending" for each in tickets):
        return False
    return limits.held_up(unit, incident.model, config.policy.limits) is not None


def _frozen(unit: Reader, incident: Incident, config: AgentConfig, now_us: int) -> bool:
    """Whether what was decided waits for the end of a freeze, or that has only just come."""
    tickets = unit.approvals(incident_id=incident.id)
    newest = max(tickets, key=lambda each: (each.requested_us, each.id), default=None)
    plan = unit.plan(newest.plan_id) if newest is not None else None
    if newest is None or plan is None:
        return False
    if is_question(plan):
        waits = newest.state in ("approved", "expired") and undecided(unit, plan)
    else:
        waits = (incident.state, newest.state) == ("awaiting_approval", "approved")
    if not waits:
        return False
    moments = (now_us, now_us - seconds(OVERDUE_S))
    return any(freeze_of(config.policy, plan, newest, at_us) for at_us in moments)


def _held_in_freeze(unit: Reader, incident: Incident, config: AgentConfig, now_us: int) -> bool:
    """Whether an action under way waits for the end of a freeze, or that has only just come."""
    if incident.state != "executing":
        return False
    moments = (now_us, now_us - seconds(OVERDUE_S))
    found = [(each, unit.plan(each.plan_id)) for each in unit.actions(incident_id=incident.id)]
    return any(
        freezing.keeps(unit, config.policy, action, plan, at_us)
        for action, plan in found
        if plan is not None
        for at_us in moments
    )


def _movements(incident: Incident, tickets: Sequence[Approval], taken: Sequence[Action]) -> Iterator[int]:
    """When anything is known to have happened."""
    yield from (
        at_us
        for at_us in (incident.opened_us, incident.diagnosed_us, incident.approved_us, incident.acted_us)
        if at_us is not None
    )
    for ticket in tickets:
        yield ticket.requested_us
        yield ticket.decided_us or 0
    for action in taken:
        yield action.finished_us or action.started_us
        yield from (step.at_us for step in action.steps)


def _member_due(unit: Reader, incident: Incident, config: AgentConfig) -> Due | None:
    """Who belongs to another incident waits for as long as that is open."""
    root = unit.incident(incident.parent_id)
    if root is not None and root.state not in CLOSED_INCIDENTS:
        return None
    settle_us = seconds(config.policy.grouping.settle_min * 60)
    ended_us = incident.opened_us if root is None else root.closed_us or root.opened_us
    return Due(
        what=f"it should have ended with {incident.parent_id}, or gone on alone", at_us=ended_us + settle_us
    )


def _ticket_due(unit: Reader, tickets: Sequence[Approval], moved_us: int) -> Due:
    waiting = max(tickets, key=lambda each: (each.requested_us, each.id), default=None)
    if waiting is None:
        return Due(what="its ticket is missing", at_us=moved_us)
    if waiting.state == "pending":
        return Due(what=f"ticket {waiting.id} should have expired", at_us=waiting.expires_us)
    plan = unit.plan(waiting.plan_id)
    deed = f"the {plan.action.replace('_', ' ')} " if plan else ""
    what = f"{deed}should have begun" if waiting.state == "approved" else "it should have gone on"
    return Due(
        what=f"ticket {waiting.id} is {waiting.state}, and {what}", at_us=waiting.decided_us or moved_us
    )


def _action_due(unit: Reader, taken: Sequence[Action], moved_us: int, config: AgentConfig) -> Due:
    running = next((each for each in taken if each.state in actions.RUNNING), None)
    plan = unit.plan(running.plan_id) if running else None
    if running is None or plan is None:
        return Due(what="it should have gone on after its action", at_us=moved_us)
    name = actions.next_step(running, plan) or (running.steps[-1].name if running.steps else "begin")
    if (share := asked(unit, running, step=name)) is not None and share.ticket.state == "pending":
        return _answer_due(share)
    last_us = running.steps[-1].at_us if running.steps else running.started_us
    what = f"step {name} of the {plan.action.replace('_', ' ')} should have been done"
    allowed_us = seconds(_allowed_s(name, plan, config))
    if actions.base(name) == "hold":
        allowed_us += patience_us(unit.alerts(plan.incident_id), required(plan, config))
    return Due(what=what, at_us=last_us + allowed_us)


def _allowed_s(name: str, plan: Plan, config: AgentConfig) -> float:
    """How long a step may take at most."""
    said, execution = controls(plan), config.execution
    match actions.base(name):
        case "train" | "gate":
            return said.timeout_s or execution.train_s
        case "collect":
            return config.retraining.collect_s + execution.step_s
        case "hold":
            return said.hold_s + execution.step_s
        case _:
            return allowed_s(name, plan, config)


def _verdict_due(
    unit: Reader, incident: Incident, taken: Sequence[Action], moved_us: int, config: AgentConfig
) -> Due:
    running = next((each for each in taken if each.state in actions.RUNNING), None)
    question = asked(unit, running) if running is not None else None
    if question is not None and question.ticket.state == "pending":
        return _answer_due(question)
    plan = unit.plan(running.plan_id) if running is not None else None
    limit_us = patience_us(unit.alerts(incident.id), required(plan, config))
    since_us = max(incident.acted_us or moved_us, moved_us)
    return Due(what="it should be known whether the action helped", at_us=since_us + limit_us)


def _answer_due(question: Question) -> Due:
    return Due(what=f"question {question.ticket.id} should have expired", at_us=question.ticket.expires_us)


def _clock(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / US_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")
