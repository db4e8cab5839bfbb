"""What was decided and waits for the end of a freeze: whether it does, and how people hear of it."""

from datetime import UTC, datetime

from remediation import approvals
from remediation.clock import US_PER_S
from remediation.notices import Notice
from remediation.policy import Policy
from remediation.ports import Unit
from remediation.questions import is_question
from remediation.values import Approval, Plan
from remediation.vocabulary import ACTIONS


def waits(unit: Unit, policy: Policy, plan: Plan, approval: Approval, now_us: int) -> bool:
    """Whether a freeze keeps what follows from this ticket from beginning; people are told once for each freeze."""
    found = approvals.freeze_of(policy, plan, approval, now_us)
    if found is None:
        return False
    freeze, until = found
    text = (
        f"{_what(plan, approval)}, and waits: {plan.model} is frozen until {until:%Y-%m-%d %H:%M} UTC "
        f"({freeze.reason}). {_then(plan, approval, until)}"
    )
    unit.add_notice(
        Notice(
            id=f"frozen/{approval.id}/{until:%Y%m%dT%H%M}",
            kind="frozen",
            text=text,
            at_us=now_us,
            model=plan.model,
            incident_id=plan.incident_id,
        )
    )
    return True


def _what(plan: Plan, approval: Approval) -> str:
    noun = "undo" if is_question(plan) else ACTIONS[plan.action].noun.lower()
    of = f"The {noun} of {plan.model} (approval {approval.id})"
    if approval.state == "approved":
        return f"{of} was approved by {approval.decided_by}"
    return f"{of} is due, for nobody has said whether to keep it"


def _then(plan: Plan, approval: Approval, until: datetime) -> str:
    if is_question(plan):
        return "It begins then, unless it is not needed any more."
    ends = datetime.fromtimestamp(approval.expires_us / US_PER_S, UTC)
    if ends <= until:
        return f"The approval ends before that, at {ends:%Y-%m-%d %H:%M} UTC: it is asked again then."
    return "It begins then, unless the world has moved."
