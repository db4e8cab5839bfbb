"""What people are told once, beside tickets and the ends of incidents: a step that is overdue, a silence that ended
while its alert burns, an illness that nobody has taken up, an incident that grew, something turned on
that could not be turned off, what was decided and waits for the end of a freeze, or for a limit."""

from typing import Literal

from detectors.values import Value

NoticeKind = Literal["overdue", "silence_over", "still_burning", "grown", "cleanup_failed", "frozen", "held"]

AUDITED_AS: dict[NoticeKind, str] = {
    "overdue": "watchdog.overdue",
    "silence_over": "silence.burning",
    "still_burning": "incident.repeated",
    "grown": "incident.grown",
    "cleanup_failed": "cleanup.failed",
    "frozen": "approval.frozen",
    "held": "approval.held",
}
"""What the audit log calls them."""


class Notice(Value, frozen=True, kw_only=True):
    """`id` is the same whenever it is worked out, so that it is written and told once. `model` and `incident_id` are
    empty where it is about none (the agent is dead, say); `text` is the whole message, in sentences."""

    id: str
    kind: NoticeKind
    text: str
    at_us: int
    model: str = ""
    incident_id: str = ""
