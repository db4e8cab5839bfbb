"""What a message in Slack says, as Block Kit blocks: asking for a decision, its outcome, the end of an incident.

Slack's limits (docs.slack.dev, Block Kit): a message has 50 blocks, a header 150 characters, a section 3,000, a
button's value 2,000, an option's value 150. A message made here has fewer than 14 blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from detectors.values import Alert, Value
from remediation.notices import Notice
from remediation.reminders import Reminder
from remediation.values import Approval, Incident, Plan
from serving import words
from serving.measured import strongest
from serving.slack.parts import (
    Block,
    Post,
    context,
    cut,
    escaped,
    header,
    links,
    mention,
    plain,
    section,
    short,
    when,
)

APPROVE = "homeostat_approve"
REJECT = "homeostat_reject"
SNOOZE = "homeostat_snooze"
DETAILS = "homeostat_details"
MORNING = "morning"
SNOOZES = {"15": "15 minutes", "60": "1 hour", MORNING: "Until 08:00 UTC"}
"""How long a ticket can be snoozed by a click: minutes, or until the next morning."""

_MEASURES = 5


class ButtonValue(Value, frozen=True, kw_only=True):
    """What a button carries: the ticket, and the hash of the plan that the person is shown."""

    approval: str
    plan_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture that Slack has: the id of its file, and words for who does not see it."""

    file: str
    alt: str


def asking(
    incident: Incident,
    plan: Plan,
    approval: Approval,
    alerts: Sequence[Alert],
    console_url: str | None,
    chart: Chart | None = None,
) -> Post:
    """Who looks at this for ten seconds can decide: what, why, how far it reaches, how it is undone."""
    expiry = f"Expires {when(approval.expires_us)}. {_deciders(approval)} The name is recorded."
    command = f"`homeostat approvals approve {escaped(approval.id)}`"
    so_far = progress(approval)
    return Post(
        text=cut(f"A decision is needed: {escaped(words.headline(plan))}. {escaped(incident.summary)}"),
        blocks=[
            header(f"{words.headline(plan)}?"),
            *story(incident, plan, alerts),
            *_image(chart),
            *([section(so_far)] if so_far else []),
            context([expiry, f"Plan {approval.plan_hash[:12]}", command, *links(incident, console_url)]),
            _buttons(plan, approval),
        ],
    )


def decided(
    incident: Incident,
    plan: Plan,
    approval: Approval,
    alerts: Sequence[Alert],
    console_url: str | None,
    chart: Chart | None = None,
) -> Post:
    """The same message after the decision: the outcome stands where the question was."""
    outcome = outcome_of(approval)
    return Post(
        text=cut(f"{escaped(words.headline(plan))}: {outcome}"),
        blocks=[
            header(words.headline(plan)),
            section(outcome),
            *story(incident, plan, alerts),
            *_image(chart),
            context([f"Plan {approval.plan_hash[:12]}", *links(incident, console_url)]),
        ],
    )


def progress(approval: Approval) -> str:
    """Who has consented so far, and that nobody is reminded for a while; empty where there is nothing to say."""
    lines: list[str] = []
    if approval.votes:
        names = ", ".join(escaped(each.by) for each in approval.votes)
        lines.append(f"*{len(approval.votes)} of {approval.quorum} have approved*: {names}")
    if approval.snoozed_until_us is not None:
        lines.append(
            f"Snoozed by {escaped(approval.snoozed_by or '')} until {when(approval.snoozed_until_us)}"
        )
    return "\n".join(lines)


def reminding(
    incident: Incident,
    plan: Plan,
    approval: Approval,
    reminder: Reminder,
    mentions: Sequence[str],
    console_url: str | None,
) -> Post:
    """Nobody has decided yet; `mentions` are Slack ids or names."""
    called = " ".join(mention(each) for each in mentions)
    waited = f"waits for a decision since {reminder.waited_s / 60:.0f} min"
    text = f"{called} *{escaped(words.headline(plan))}* {waited}, and expires {when(approval.expires_us)}.".strip()
    if approval.votes:
        text += f" {len(approval.votes)} of {approval.quorum} have approved."
    command = f"`homeostat approvals approve {escaped(approval.id)}`"
    snooze = f"`homeostat approvals snooze {escaped(approval.id)} --for 30m`"
    small = [command, snooze, *links(incident, console_url)]
    return Post(text=cut(text), blocks=[section(text), context(small)])


def closed(incident: Incident, console_url: str | None) -> Post:
    """How it ended."""
    ended = words.status(incident.state).text
    sentence = f"*{ended}* · {escaped(incident.model)} version {escaped(incident.version)}"
    outcome = escaped(incident.outcome or incident.summary)
    text = cut(f"{sentence}\n{outcome}" if outcome else sentence)
    small = [f"Incident {escaped(incident.id)}", *links(incident, console_url)]
    return Post(text=text, blocks=[section(text), context(small)])


def noticing(notice: Notice, incident: Incident | None, console_url: str | None) -> Post:
    """Anything else that people have to know, as it is."""
    text = cut(escaped(notice.text))
    if incident is None:
        return Post(text=text, blocks=[section(text)])
    small = [f"Incident {escaped(incident.id)}", *links(incident, console_url)]
    return Post(text=text, blocks=[section(text), context(small)])


def _deciders(approval: Approval) -> str:
    if approval.quorum == 1 and not approval.roles:
        return "Whoever may click here decides."
    roles = f" with one of the roles {escaped(', '.join(approval.roles))}" if approval.roles else ""
    people = "One person" if approval.quorum == 1 else f"{approval.quorum} people"
    return f"{people}{roles} must approve; one rejection is enough."


def story(incident: Incident, plan: Plan, alerts: Sequence[Alert]) -> list[Block]:
    """What is known and what is proposed, paragraph by paragraph."""
    cause = words.CAUSES[incident.cause]
    ill = f"{escaped(incident.summary)}\nProbable cause: *{cause}* ({incident.confidence:.0%})"
    told = [
        ("What is wrong", ill),
        ("Measured", "\n".join(f"• {line}" for line in _measured(incident, alerts))),
        ("Why this", "\n".join(f"• {escaped(line)}" for line in plan.evidence)),
        ("What happens", escaped(plan.blast_radius)),
        ("How it is undone", escaped(plan.undo)),
    ]
    return [section(f"*{title}*\n{text}") for title, text in told if text]


def _measured(incident: Incident, alerts: Sequence[Alert]) -> list[str]:
    lines: list[str] = []
    for each in strongest(incident, alerts, _MEASURES):
        known = f", reference {each.reference}" if each.reference else ""
        lines.append(
            f"{escaped(each.name)} *{each.now}* (threshold {each.threshold}{known}, n = {each.rows:,}, "
            f"{when(each.start_us)} to {when(each.end_us)})"
        )
    return lines


def outcome_of(approval: Approval) -> str:
    """How the ticket was decided, by whom, where, when and why."""
    why = f": {escaped(approval.reason)}" if approval.reason else ""
    by = escaped(approval.decided_by or "nobody")
    at = f", {when(approval.decided_us)}" if approval.decided_us is not None else ""
    match approval.state:
        case "approved" | "rejected":
            where = f" ({escaped(approval.channel)})" if approval.channel else ""
            return f"*{approval.state.capitalize()}* by {by}{where}{at}{why}"
        case "expired" | "void":
            return f"*{approval.state.capitalize()}*{at}{why}"
        case "pending":
            return "*Pending*"


def _image(chart: Chart | None) -> list[Block]:
    if chart is None:
        return []
    return [{"type": "image", "slack_file": {"id": chart.file}, "alt_text": short(chart.alt, 2_000)}]


def _buttons(plan: Plan, approval: Approval) -> Block:
    value = msgspec.json.encode(ButtonValue(approval=approval.id, plan_hash=approval.plan_hash)).decode()

    def button(action: str, label: str, **style: str) -> Block:
        return {
            "type": "button",
            "action_id": action,
            "text": plain(label, 75),
            "value": value,
            "accessibility_label": short(f"{label}: {words.headline(plan)}", 75),
            **style,
        }

    snooze: Block = {
        "type": "static_select",
        "action_id": SNOOZE,
        "placeholder": plain("Snooze", 150),
        "options": [
            {"text": plain(label, 75), "value": f"{choice} {approval.id}"}
            for choice, label in SNOOZES.items()
        ],
    }
    answers = words.answers(plan)
    approve = button(APPROVE, answers.approve, style="primary")
    reject = button(REJECT, f"{answers.reject} …", style="danger")
    return {"type": "actions", "elements": [approve, reject, snooze, button(DETAILS, "Details")]}
