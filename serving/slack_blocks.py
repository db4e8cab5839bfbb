"""What a message in Slack says, as Block Kit blocks: asking for a decision, its outcome, the end of an incident.

Slack's limits (docs.slack.dev, Block Kit): a message has 50 blocks, a header 150 characters, a section 3,000, a
button's value 2,000. A message made here has fewer than 12 blocks.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from detectors.values import Alert, Value
from remediation.notices import Notice
from remediation.reminders import Reminder
from remediation.values import Approval, Incident, Plan
from serving import words

APPROVE = "homeostat_approve"
REJECT = "homeostat_reject"

_SECTION = 2_900
_HEADER = 140
_MEASURES = 5
_CUT_ENTITY = re.compile(r"&[a-z]{0,3}$")

Block = dict[str, Any]


class ButtonValue(Value, frozen=True, kw_only=True):
    """What a button carries: the ticket, and the hash of the plan that the person is shown."""

    approval: str
    plan_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A message: `text` is read aloud and shown in notifications, `blocks` is what is seen."""

    text: str
    blocks: list[Block] = field(default_factory=list[Block])


def asking(
    incident: Incident, plan: Plan, approval: Approval, alerts: Sequence[Alert], console_url: str | None
) -> Post:
    """Who looks at this for ten seconds can decide: what, why, how far it reaches, how it is undone."""
    expiry = f"Expires {_when(approval.expires_us)}. {_deciders(approval)} The name is recorded."
    command = f"`homeostat approvals approve {_escaped(approval.id)}`"
    links = _links(incident, console_url)
    return Post(
        text=_cut(
            f"A decision is needed: {_escaped(words.headline(plan))}. {_escaped(incident.summary)}", _SECTION
        ),
        blocks=[
            _header(f"{words.headline(plan)}?"),
            *_story(incident, plan, alerts),
            _context([expiry, f"Plan {approval.plan_hash[:12]}", command, *links]),
            _buttons(plan, approval),
        ],
    )


def decided(
    incident: Incident, plan: Plan, approval: Approval, alerts: Sequence[Alert], console_url: str | None
) -> Post:
    """The same message after the decision: the outcome stands where the question was."""
    outcome = _outcome(approval)
    return Post(
        text=_cut(f"{_escaped(words.headline(plan))}: {outcome}", _SECTION),
        blocks=[
            _header(words.headline(plan)),
            _section(outcome),
            *_story(incident, plan, alerts),
            _context([f"Plan {approval.plan_hash[:12]}", *_links(incident, console_url)]),
        ],
    )


def reminding(
    incident: Incident,
    plan: Plan,
    approval: Approval,
    reminder: Reminder,
    mentions: Sequence[str],
    console_url: str | None,
) -> Post:
    """Nobody has decided yet; `mentions` are Slack ids or names."""
    called = " ".join(_mention(each) for each in mentions)
    waited = f"waits for a decision since {reminder.waited_s / 60:.0f} min"
    text = f"{called} *{_escaped(words.headline(plan))}* {waited}, and expires {_when(approval.expires_us)}.".strip()
    if approval.votes:
        text += f" {len(approval.votes)} of {approval.quorum} have approved."
    command = f"`homeostat approvals approve {_escaped(approval.id)}`"
    snooze = f"`homeostat approvals snooze {_escaped(approval.id)} --for 30m`"
    links = _links(incident, console_url)
    return Post(text=_cut(text, _SECTION), blocks=[_section(text), _context([command, snooze, *links])])


def closed(incident: Incident, console_url: str | None) -> Post:
    """How it ended."""
    ended = words.status(incident.state).text
    sentence = f"*{ended}* · {_escaped(incident.model)} version {_escaped(incident.version)}"
    outcome = _escaped(incident.outcome or incident.summary)
    text = _cut(f"{sentence}\n{outcome}" if outcome else sentence, _SECTION)
    context = [f"Incident {_escaped(incident.id)}", *_links(incident, console_url)]
    return Post(text=text, blocks=[_section(text), _context(context)])


def noticing(notice: Notice, incident: Incident | None, console_url: str | None) -> Post:
    """Anything else that people have to know, as it is."""
    text = _cut(_escaped(notice.text), _SECTION)
    if incident is None:
        return Post(text=text, blocks=[_section(text)])
    context = [f"Incident {_escaped(incident.id)}", *_links(incident, console_url)]
    return Post(text=text, blocks=[_section(text), _context(context)])


def _deciders(approval: Approval) -> str:
    if approval.quorum == 1 and not approval.roles:
        return "Whoever may click here decides."
    roles = f" with one of the roles {_escaped(', '.join(approval.roles))}" if approval.roles else ""
    people = "One person" if approval.quorum == 1 else f"{approval.quorum} people"
    return f"{people}{roles} must approve; one rejection is enough."


def _story(incident: Incident, plan: Plan, alerts: Sequence[Alert]) -> list[Block]:
    cause = words.CAUSES[incident.cause]
    ill = f"{_escaped(incident.summary)}\nProbable cause: *{cause}* ({incident.confidence:.0%})"
    told = [
        ("What is wrong", ill),
        ("Measured", "\n".join(f"• {line}" for line in _measured(incident, alerts))),
        ("Why this", "\n".join(f"• {_escaped(line)}" for line in plan.evidence)),
        ("What happens", _escaped(plan.blast_radius)),
        ("How it is undone", _escaped(plan.undo)),
    ]
    return [_section(f"*{title}*\n{text}") for title, text in told if text]


def _measured(incident: Incident, alerts: Sequence[Alert]) -> list[str]:
    """The strongest evidence first, each measure as it was seen last."""
    latest = {
        (found.measure, found.feature): (found, alert)
        for alert in sorted(alerts, key=lambda each: each.end_us)
        if alert.state == "firing" and alert.version == incident.version
        for found in alert.evidence
    }
    lines: list[str] = []
    for found, alert in sorted(latest.values(), key=lambda pair: -pair[0].effect)[:_MEASURES]:
        name = words.measure(found.measure) + (f" of {found.feature}" if found.feature else "")
        now, threshold, reference = (
            words.number(found.measure, each) for each in (found.value, found.threshold, found.reference)
        )
        known = "" if found.reference is None else f", reference {reference}"
        lines.append(
            f"{_escaped(name)} *{now}* (threshold {threshold}{known}, n = {found.rows:,}, "
            f"{_when(alert.start_us)} to {_when(alert.end_us)})"
        )
    return lines


def _outcome(approval: Approval) -> str:
    why = f": {_escaped(approval.reason)}" if approval.reason else ""
    by = _escaped(approval.decided_by or "nobody")
    at = f", {_when(approval.decided_us)}" if approval.decided_us is not None else ""
    match approval.state:
        case "approved" | "rejected":
            where = f" ({_escaped(approval.channel)})" if approval.channel else ""
            return f"*{approval.state.capitalize()}* by {by}{where}{at}{why}"
        case "expired" | "void":
            return f"*{approval.state.capitalize()}*{at}{why}"
        case "pending":
            return "*Pending*"


def _links(incident: Incident, console_url: str | None) -> list[str]:
    if console_url is None:
        return []
    base = console_url.rstrip("/")
    return [f"<{base}/incidents/{quote(incident.id, safe='')}|Incident>", f"<{base}/audit|Audit log>"]


def _buttons(plan: Plan, approval: Approval) -> Block:
    value = msgspec.json.encode(ButtonValue(approval=approval.id, plan_hash=approval.plan_hash)).decode()

    def button(action: str, label: str, style: str) -> Block:
        return {
            "type": "button",
            "action_id": action,
            "text": {"type": "plain_text", "text": label, "emoji": False},
            "style": style,
            "value": value,
            "accessibility_label": _short(f"{label}: {words.headline(plan)}", 75),
        }

    return {
        "type": "actions",
        "elements": [button(APPROVE, "Approve", "primary"), button(REJECT, "Reject", "danger")],
    }


def _mention(person: str) -> str:
    """A user's id is called by Slack; a name is only shown."""
    return f"<@{person}>" if re.fullmatch(r"[UW][A-Z0-9]{2,30}", person) else _escaped(person)


def _header(text: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": _short(text, _HEADER), "emoji": False}}


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text, _SECTION)}}


def _context(parts: Sequence[str]) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": _cut(" · ".join(parts), _SECTION)}]}


def _when(time_us: int) -> str:
    """A time that every reader sees in their own zone; elsewhere UTC."""
    utc = datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{time_us // 1_000_000}^{{date_short_pretty}} {{time_secs}}|{utc}>"


def _escaped(text: str) -> str:
    """Nothing that comes from outside may mention anybody or link anywhere."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _cut(text: str, limit: int) -> str:
    """Never in the middle of an entity."""
    if len(text) <= limit:
        return text
    return _CUT_ENTITY.sub("", text[: limit - 1]) + "…"
