"""What was decided, or is under way, and waits for the end of a freeze: whether it does, and how people hear of it."""

from datetime import UTC, datetime

from remediation import actions, approvals
from remediation.clock import US_PER_S
from remediation.notices import Notice
from remediation.playbooks.proposal import controls
from remediation.policy import Freeze, Policy
from remediation.ports import Reader, Unit
from remediation.questions import is_question
from remediation.values import Action, Approval, Plan
from remediation.vocabulary import ACTIONS


def waits(unit: Unit, policy: Policy, plan: Plan, approval: Approval, now_us: int) -> bool:
    """Whether a freeze keeps what follows from this ticket from beginning; people are told once for each freeze."""
    found = approvals.freeze_of(policy, plan, approval, now_us)
    if found is None:
        return False
    until = found[1]
    _tell(unit, plan, approval.id, found, _what(plan, approval), _then(plan, approval, until), now_us)
    return True


def in_force(unit: Reader, policy: Policy, plan: Plan, now_us: int) -> tuple[Freeze, datetime] | None:
    """The freeze in which an action under way decides nothing more, and its end; None where it is not risky, or was
    approved by breaking the glass."""
    tickets = unit.approvals(incident_id=plan.incident_id)
    own = next((each for each in tickets if each.plan_id == plan.id), None)
    return approvals.freeze_of(policy, plan, own, now_us) if own is not None else None


def holds(unit: Unit, policy: Policy, action: Action, plan: Plan, name: str, now_us: int) -> bool:
    """Whether a freeze keeps an action from what it decides with the step `name`, or after it where that one watches a
    share of the traffic; people are told once for each freeze."""
    found = in_force(unit, policy, plan, now_us)
    if found is None:
        return False
    what, then = _held(action, plan, name)
    _tell(unit, plan, f"{action.id}/{name}", found, what, then, now_us)
    return True


def decides_later(name: str) -> bool:
    """Whether a step decides for the first time: no share of the traffic would be left unwatched while it waits."""
    return actions.base(name) == "decide" and actions.stage_of(name) == 1


def keeps(
    unit: Reader, policy: Policy, action: Action, plan: Plan, now_us: int
) -> tuple[Freeze, datetime] | None:
    """The freeze whose end an action under way waits for, and its end; None where it waits for none."""
    name = actions.next_step(action, plan)
    step = actions.step_of(action, name) if name is not None else None
    if name is None or (step is None and actions.base(name) != "decide"):
        return None
    if step is not None and not actions.waits(step):
        return None
    return in_force(unit, policy, plan, now_us)


def _tell(
    unit: Unit, plan: Plan, about: str, found: tuple[Freeze, datetime], what: str, then: str, now_us: int
) -> None:
    freeze, until = found
    text = f"{what}, and waits: {plan.model} is frozen until {until:%Y-%m-%d %H:%M} UTC ({freeze.reason}). {then}"
    unit.add_notice(
        Notice(
            id=f"frozen/{about}/{until:%Y%m%dT%H%M}",
            kind="frozen",
            text=text,
            at_us=now_us,
            model=plan.model,
            incident_id=plan.incident_id,
        )
    )


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


def _held(action: Action, plan: Plan, name: str) -> tuple[str, str]:
    of = f"The {ACTIONS[plan.action].noun.lower()} of {plan.model}"
    if actions.base(name) == "hold":
        share = controls(plan).shares[actions.stage_of(name) - 1]
        reached = f"{of} to version {plan.to_version} goes no further than {share:.0%} of the requests"
        return (
            reached,
            "It goes on then, if the version still does well; what falls ill is taken back at once.",
        )
    if action.to_version is not None and plan.to_version is None:
        ready = f"{of} is done up to the moment in which version {action.to_version} would serve"
        return ready, "It serves then, unless the world has moved."
    return f"{of} has begun, and has decided nothing yet", "It goes on then, unless the world has moved."
