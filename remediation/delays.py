"""Why what was decided has not begun, or goes no further for now: said in every list of tickets, and told to people."""

from datetime import UTC, datetime

from remediation import freezing, limits
from remediation.approvals import freeze_of, good_until_us
from remediation.clock import US_PER_S, seconds
from remediation.identity import action_id
from remediation.notices import Notice
from remediation.policy import Freeze, Policy
from remediation.ports import Reader, Unit
from remediation.questions import is_question, undecided
from remediation.values import Approval, Plan
from remediation.vocabulary import ACTIONS

_TURN_S = 60.0
"""So long what was approved may wait for other actions before people are told: most of them are over sooner."""


def why(unit: Reader, policy: Policy, plan: Plan, approval: Approval, now_us: int) -> str | None:
    """What keeps the decision of a ticket from being carried out; None where it is not decided, or nothing does."""
    if is_question(plan):
        decided = approval.state in ("approved", "expired") and undecided(unit, plan)
        return _freeze(freeze_of(policy, plan, approval, now_us)) if decided else None
    incident = unit.incident(approval.incident_id)
    if approval.state != "approved" or incident is None:
        return None
    action = unit.action(action_id(plan))
    if action is not None:
        return _freeze(freezing.keeps(unit, policy, action, plan, now_us))
    if incident.state != "awaiting_approval":
        return None
    return _freeze(freeze_of(policy, plan, approval, now_us)) or limits.held_up(
        unit, plan.model, policy.limits
    )


def tell(unit: Unit, plan: Plan, approval: Approval, reason: str, now_us: int) -> None:
    """Write that an approved plan waits for a limit: at once where people have paused all actions, and where it is
    only not its turn after a minute; once for each ticket."""
    paused = limits.paused_by(unit) is not None
    if not paused and now_us - (approval.decided_us or now_us) < seconds(_TURN_S):
        return
    ends = datetime.fromtimestamp(good_until_us(approval) / US_PER_S, UTC)
    text = (
        f"The {ACTIONS[plan.action].noun.lower()} of {plan.model} (approval {approval.id}) was approved by "
        f"{approval.decided_by}, and waits: {reason}. It begins when that is over. The approval ends at "
        f"{ends:%Y-%m-%d %H:%M} UTC: after that it is asked again."
    )
    unit.add_notice(
        Notice(
            id=f"held/{approval.id}/{'pause' if paused else 'turn'}",
            kind="held",
            text=text,
            at_us=now_us,
            model=plan.model,
            incident_id=plan.incident_id,
        )
    )


def _freeze(found: tuple[Freeze, datetime] | None) -> str | None:
    return f"a freeze until {found[1]:%Y-%m-%d %H:%M} UTC: {found[0].reason}" if found is not None else None
