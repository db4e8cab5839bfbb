"""Windows that Slack opens for who has clicked: the reason of a rejection, and the evidence.

Slack's limits (docs.slack.dev, modals): a title of 24 characters, 100 blocks, private metadata of 3,000 characters.
"""

from collections.abc import Sequence

import msgspec

from detectors.values import Alert, Value
from remediation.values import Approval, Incident, Plan
from serving import words
from serving.slack.blocks import outcome_of, progress, story
from serving.slack.parts import Block, Post, context, escaped, links, plain, section, when
from serving.story import Moment

REASON = "reason"
"""Block and action of the field that holds the reason."""
REJECTION = "homeostat_rejection"
_LONGEST_REASON = 500
_LATEST = 15


class RejectionOf(Value, frozen=True, kw_only=True):
    """What the window carries from the click that opened it to its submission."""

    approval: str
    plan_hash: str
    response_url: str = ""
    message: str = ""


def rejecting(about: RejectionOf, plan: Plan) -> Block:
    """Asks why. Nothing is decided by closing it."""
    label = words.answers(plan).reject
    told = f"*{escaped(words.headline(plan))}*\n{words.refusal(plan)} Name and reason are recorded."
    return {
        "type": "modal",
        "callback_id": REJECTION,
        "private_metadata": msgspec.json.encode(about).decode(),
        "title": plain(label, 24),
        "submit": plain(label, 24),
        "close": plain("Back", 24),
        "blocks": [
            section(told),
            {
                "type": "input",
                "block_id": REASON,
                "label": plain("Why?", 48),
                "element": {
                    "type": "plain_text_input",
                    "action_id": REASON,
                    "multiline": True,
                    "min_length": 1,
                    "max_length": _LONGEST_REASON,
                    "placeholder": plain("A campaign that we know of", 150),
                },
            },
        ],
    }


def reason_missing() -> Block:
    """The answer to a submission that says nothing."""
    return {"response_action": "errors", "errors": {REASON: "Say in a few words why."}}


def detailing(
    incident: Incident,
    plan: Plan,
    approval: Approval,
    alerts: Sequence[Alert],
    moments: Sequence[Moment],
    console_url: str | None,
) -> Post:
    """Everything that speaks for and against it, who has said what, and where the record is."""
    state = progress(approval) if approval.state == "pending" else outcome_of(approval)
    blocks = [*([section(state)] if state else []), *story(incident, plan, alerts)]
    considered = [
        f"• *{words.CAUSES[each.cause]}* ({each.confidence:.0%}): {escaped('; '.join(each.reasons)) or 'no reasons'}"
        for each in incident.hypotheses
    ]
    blocks += [section("*Causes considered*\n" + "\n".join(considered))] if considered else []
    happened = [
        f"• {when(each.at_us)} {escaped(each.actor)}: {escaped(each.text)}" for each in moments[:_LATEST]
    ]
    blocks += [section("*What happened, newest first*\n" + "\n".join(happened))] if happened else []
    blocks.append(
        context(
            [
                f"Ticket {escaped(approval.id)}",
                f"Plan {approval.plan_hash}",
                *links(incident, console_url),
            ]
        )
    )
    return Post(text=f"Details of {escaped(approval.id)}", blocks=blocks)


def window(post: Post) -> Block:
    """A post as a window to read."""
    return {
        "type": "modal",
        "title": plain("Details", 24),
        "close": plain("Close", 24),
        "blocks": post.blocks,
    }
