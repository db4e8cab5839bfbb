"""Keep it or undo it? What a person is asked about an action whose effect could not be proven.

The question is a plan of its own, that of the undo, with a ticket like any other: to approve it is to undo, to reject
it is to keep. It names the action in its parameters, and no other action is made of it.
"""

from detectors.values import Value
from remediation import actions
from remediation.ports import Reader
from remediation.values import Action, Approval, Desired, Plan
from remediation.vocabulary import ACTIONS

_UNDOES = "undoes"


class Question(Value, frozen=True, kw_only=True):
    """The plan of the undo, and the ticket in which people decide about it."""

    plan: Plan
    ticket: Approval


def is_question(plan: Plan) -> bool:
    """Whether a plan only asks about another one's action, and is no step of its own."""
    return _UNDOES in plan.parameters


def asked(unit: Reader, action: Action) -> Question | None:
    """The question about an action, if it was asked."""
    plan = next(
        (each for each in unit.plans(action.incident_id) if each.parameters.get(_UNDOES) == action.id), None
    )
    if plan is None:
        return None
    tickets = unit.approvals(incident_id=action.incident_id)
    ticket = next((each for each in tickets if each.plan_id == plan.id), None)
    return Question(plan=plan, ticket=ticket) if ticket else None


def question(action: Action, plan: Plan, desired: Desired, *, why: str, now_us: int) -> Plan | None:
    """The plan that takes `action` back, which carried out `plan`; None where nothing can."""
    if not actions.backward(plan):
        return None
    back = "rollback" if desired.version != plan.from_version else plan.action
    return Plan(
        id=f"{plan.id}-undo",
        incident_id=plan.incident_id,
        action=back,
        model=plan.model,
        from_version=desired.version,
        from_digest=desired.digest,
        to_version=plan.from_version,
        to_digest=plan.from_digest,
        epoch=desired.epoch,
        parameters={_UNDOES: action.id},
        evidence=(
            f"Keep or undo? The {_noun(plan)} could not be proven to have helped: {why}.",
            "Approve to undo it, reject to keep it. Until somebody decides, proof is still looked for.",
        ),
        blast_radius=(
            f"Approved: what served before comes back, version {plan.from_version} of {plan.model}. "
            f"Rejected: version {desired.version} goes on as it is."
        ),
        undo=f"Promote version {desired.version} again; its artifact stays registered.",
        created_us=now_us,
        arrangement=plan.from_arrangement,
        from_arrangement=plan.arrangement,
        actuator=plan.actuator,
        playbook=plan.playbook,
        step=plan.step,
    )


def _noun(plan: Plan) -> str:
    return ACTIONS[plan.action].noun.lower()
