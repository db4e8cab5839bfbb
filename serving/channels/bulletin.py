"""What is told, before any channel gives it a form: a title, sentences, facts, links."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from detectors.values import Alert, Value
from remediation.channels import Event, Severity, ending
from remediation.notices import Notice
from remediation.reminders import Reminder
from remediation.values import Approval, Incident, Plan
from serving import words
from serving.measured import strongest

_MEASURES = 5


class Fact(Value, frozen=True, kw_only=True):
    """A heading and what stands under it."""

    title: str
    lines: tuple[str, ...]


class Link(Value, frozen=True, kw_only=True):
    """Somewhere to look."""

    title: str
    url: str


class Bulletin(Value, frozen=True, kw_only=True):
    """One message. `id` is the same for every attempt to send it. `asks` says what a person can do, and is empty where
    nothing is asked. `thread` is what messages about the same thing have in common. `environment` names the
    installation, where it has a name. Times are RFC 3339 in UTC."""

    id: str
    event: Event
    severity: Severity
    at: str
    title: str
    text: str
    facts: tuple[Fact, ...] = ()
    asks: str = ""
    links: tuple[Link, ...] = ()
    thread: str
    model: str = ""
    version: str = ""
    cause: str = ""
    incident_id: str = ""
    incident_state: str = ""
    approval_id: str = ""
    approval_state: str = ""
    plan_hash: str = ""
    people: tuple[str, ...] = ()
    environment: str = ""

    @property
    def headline(self) -> str:
        """The title with the name of the installation before it."""
        return f"[{self.environment}] {self.title}" if self.environment else self.title

    def unique(self, name: str) -> str:
        """An id or a thread of this bulletin that another installation, which tells the same peer, never uses."""
        return f"{self.environment}/{name}" if self.environment else name


def asking(
    incident: Incident, plan: Plan, approval: Approval, alerts: Sequence[Alert], console_url: str | None
) -> Bulletin:
    """Somebody must decide."""
    return _about(
        incident,
        console_url,
        id=f"approval_requested:{approval.id}",
        event="approval_requested",
        at=words.iso(approval.requested_us),
        title=f"A decision is needed: {words.headline(plan)}",
        text=incident.summary,
        facts=_facts(incident, plan, alerts),
        asks=f"{_deciders(approval)} It expires {words.moment(approval.expires_us)} UTC. {_how(approval)}",
        approval_id=approval.id,
        approval_state=approval.state,
        plan_hash=approval.plan_hash,
    )


def reminding(
    incident: Incident, plan: Plan, approval: Approval, reminder: Reminder, console_url: str | None
) -> Bulletin:
    """Nobody has decided yet."""
    escalates = reminder.kind == "escalation"
    so_far = f" {len(approval.votes)} of {approval.quorum} have approved." if approval.votes else ""
    return _about(
        incident,
        console_url,
        id=f"{reminder.name}:{approval.id}",
        event="escalation" if escalates else "reminder",
        at=words.iso(approval.requested_us + round(reminder.waited_s * 1e6)),
        title=f"Still undecided after {reminder.waited_s / 60:.0f} min: {words.headline(plan)}",
        text=f"{incident.summary}.{so_far}",
        asks=f"It expires {words.moment(approval.expires_us)} UTC. {_how(approval)}",
        approval_id=approval.id,
        approval_state=approval.state,
        plan_hash=approval.plan_hash,
        people=reminder.people,
    )


def decided(incident: Incident, plan: Plan, approval: Approval, console_url: str | None) -> Bulletin:
    """Somebody has decided, or time has."""
    by = f" by {approval.decided_by}" if approval.state in ("approved", "rejected") else ""
    where = f" ({approval.channel})" if approval.channel else ""
    glass = ", breaking the glass" if approval.broken_glass else ""
    why = f": {approval.reason}" if approval.reason else ""
    return _about(
        incident,
        console_url,
        id=f"approval_decided:{approval.id}",
        event="approval_decided",
        at=words.iso(approval.decided_us or approval.expires_us),
        title=f"{approval.state.capitalize()}: {words.headline(plan)}",
        text=f"{approval.state.capitalize()}{by}{where}{glass}{why}.",
        approval_id=approval.id,
        approval_state=approval.state,
        plan_hash=approval.plan_hash,
    )


def closed(incident: Incident, console_url: str | None) -> Bulletin:
    """How it ended."""
    ended = words.status(incident.state).text
    return _about(
        incident,
        console_url,
        id=f"incident_closed:{incident.id}",
        event=ending(incident),
        at=words.iso(incident.closed_us or incident.opened_us),
        title=f"{ended}: {incident.model} version {incident.version}",
        text=incident.outcome or incident.summary,
        asks="A person must look." if incident.state == "escalated" else "",
    )


def noticing(notice: Notice, incident: Incident | None, console_url: str | None) -> Bulletin:
    """What people have to know besides."""
    title = notice.text.split(". ")[0].rstrip(".")
    event: Event = "overdue" if notice.kind == "overdue" else "notice"
    if incident is not None:
        return _about(
            incident,
            console_url,
            id=f"noticed:{notice.id}",
            event=event,
            at=words.iso(notice.at_us),
            title=title,
            text=notice.text,
        )
    return Bulletin(
        id=f"noticed:{notice.id}",
        event=event,
        severity="critical",
        at=words.iso(notice.at_us),
        title=title,
        text=notice.text,
        thread=notice.id,
        model=notice.model,
        links=_links(None, console_url),
    )


def trying(channel: str, now_us: int, console_url: str | None) -> Bulletin:
    """A message that only shows that the channel works."""
    return Bulletin(
        id=f"test:{channel}:{now_us}",
        event="notice",
        severity="warning",
        at=words.iso(now_us),
        title="A test of Homeostat",
        text=f"The channel {channel} works. Nothing has happened, and nothing is asked of you.",
        thread=f"test:{channel}:{now_us}",
        links=_links(None, console_url),
    )


def _about(incident: Incident, console_url: str | None, **told: Any) -> Bulletin:
    common: dict[str, Any] = {
        "severity": incident.severity,
        "links": _links(incident, console_url),
        "thread": incident.id,
        "model": incident.model,
        "version": incident.version,
        "cause": incident.cause,
        "incident_id": incident.id,
        "incident_state": incident.state,
    }
    return Bulletin(**common, **told)


def _facts(incident: Incident, plan: Plan, alerts: Sequence[Alert]) -> tuple[Fact, ...]:
    cause = f"{words.CAUSES[incident.cause]} ({incident.confidence:.0%})"
    found = (
        ("Probable cause", (cause,)),
        ("Measured", tuple(_measured(incident, alerts))),
        ("Why this", plan.evidence),
        ("What happens", (plan.blast_radius,)),
        ("How it is undone", (plan.undo,)),
    )
    facts = ((title, tuple(line for line in lines if line)) for title, lines in found)
    return tuple(Fact(title=title, lines=lines) for title, lines in facts if lines)


def _measured(incident: Incident, alerts: Sequence[Alert]) -> list[str]:
    lines: list[str] = []
    for each in strongest(incident, alerts, _MEASURES):
        known = f", reference {each.reference}" if each.reference else ""
        lines.append(
            f"{each.name} {each.now} (threshold {each.threshold}{known}, n = {each.rows:,}, "
            f"{words.moment(each.start_us)} to {words.moment(each.end_us)} UTC)"
        )
    return lines


def _deciders(approval: Approval) -> str:
    roles = f" with one of the roles {', '.join(approval.roles)}" if approval.roles else ""
    if approval.quorum == 1:
        return f"One person{roles} decides."
    return f"{approval.quorum} people{roles} must approve; one rejection is enough."


def _how(approval: Approval) -> str:
    return f"Decide as yourself in the console, in Slack, or with: homeostat approvals approve {approval.id}"


def _links(incident: Incident | None, console_url: str | None) -> tuple[Link, ...]:
    if console_url is None:
        return ()
    base = console_url.rstrip("/")
    page = f"{base}/incidents/{quote(incident.id, safe='')}" if incident is not None else f"{base}/"
    title = "Incident" if incident is not None else "Console"
    return (Link(title=title, url=page), Link(title="Audit log", url=f"{base}/audit"))
