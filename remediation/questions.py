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
_STEP = "step"


class Question(Value, frozen=True, kw_only=True):
    """The plan of the undo, and the ticket in which people decide about it."""

    plan: Plan
    ticket: Approval


def is_question(plan: Plan) -> bool:
    """Whether a plan only asks about another one's action, and is no step of its own."""
    return _UNDOES in plan.parameters


def is_about_share(plan: Plan) -> bool:
    """Whether a question is about a step that is held: a share of the traffic, or a shadow."""
    return _STEP in plan.parameters


def undecided(unit: Reader, plan: Plan) -> bool:
    """Whether the action that a question is about still stands where it was asked: neither goes on, nor is undone."""
    taken = unit.actions(incident_id=plan.incident_id, states=actions.RUNNING)
    action = next((each for each in taken if each.id == plan.parameters[_UNDOES]), None)
    if action is None or actions.undoing(action):
        return False
    return _STEP not in plan.parameters or not actions.is_done(action, str(plan.parameters[_STEP]))


def asked(unit: Reader, action: Action, *, step: str | None = None) -> Question | None:
    """The question about an action, if it was asked; with `step` the one about a share that is held."""
    about = {_UNDOES: action.id} | ({_STEP: step} if step is not None else {})
    plan = next((each for each in unit.plans(action.incident_id) if each.parameters == about), None)
    if plan is None:
        return None
    tickets = unit.approvals(incident_id=action.incident_id)
    ticket = next((each for each in tickets if each.plan_id == plan.id), None)
    return Question(plan=plan, ticket=ticket) if ticket else None


def waiting(unit: Reader, action: Action) -> list[Approval]:
    """The tickets about an action that nobody has decided."""
    about = {each.id for each in unit.plans(action.incident_id) if each.parameters.get(_UNDOES) == action.id}
    found = unit.approvals(incident_id=action.incident_id, state="pending")
    return [each for each in found if each.plan_id in about]


def question(
    action: Action, plan: Plan, desired: Desired, *, why: str, now_us: int, step: str | None = None
) -> Plan | None:
    """The plan that takes `action` back, which carried out `plan`; None where nothing can. With `step` the question is
    whether to go on with the next share of the traffic, or after a shadow."""
    if not actions.backward(plan):
        return None
    moved = desired.version != plan.from_version or (step is not None and not plan.new_shadows)
    return Plan(
        id=f"{plan.id}-undo" if step is None else f"{plan.id}-undo.{actions.stage_of(step)}",
        incident_id=plan.incident_id,
        action="rollback" if moved else plan.action,
        model=plan.model,
        from_version=desired.version,
        from_digest=desired.digest,
        to_version=plan.from_version,
        to_digest=plan.from_digest,
        epoch=desired.epoch,
        parameters={_UNDOES: action.id} | ({_STEP: step} if step is not None else {}),
        evidence=_asks(plan, why) if step is None else _asks_share(plan, why),
        blast_radius=(
            f"Approved: what served before comes back, version {plan.from_version} of {plan.model}. "
            f"Rejected: {_rejected(plan, desired, step)}."
        ),
        undo=f"Promote version {desired.version} again; its artifact stays registered.",
        created_us=now_us,
        arrangement=plan.from_arrangement,
        from_arrangement=plan.arrangement if step is None else desired.arrangement,
        actuator=plan.actuator,
        playbook=plan.playbook,
        step=plan.step,
    )


def _asks(plan: Plan, why: str) -> tuple[str, ...]:
    return (
        f"Keep or undo? The {_noun(plan)} could not be proven to have helped: {why}.",
        "Approve to undo it, reject to keep it. Until somebody decides, proof is still looked for.",
    )


def _asks_share(plan: Plan, why: str) -> tuple[str, ...]:
    version, what, after = plan.to_version, "with its share", "with the next share"
    if plan.new_shadows:
        version, what, after = ", ".join(plan.new_shadows), "as a shadow", "with the playbook"
    return (
        f"Go on or undo? Version {version} could not be proven to do well {what}: {why}.",
        f"Approve to undo it, reject to go on {after}. Until somebody decides, proof is still looked for.",
    )


def _rejected(plan: Plan, desired: Desired, step: str | None) -> str:
    if step is None:
        return f"version {desired.version} goes on as it is"
    if plan.new_shadows:
        return f"version {', '.join(plan.new_shadows)} stays a shadow, and the playbook goes on"
    return f"version {plan.to_version} gets its next share of the requests"


def _noun(plan: Plan) -> str:
    return ACTIONS[plan.action].noun.lower()
