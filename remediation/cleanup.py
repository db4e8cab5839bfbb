"""What was turned on for the time of an incident is turned off when that ends: full logs, shadows.

A cleanup is a plan and an action like any other: decided, published and acknowledged in an epoch of its own, and
consented to in the name of the playbook whose step it ends. Its parameters name the action that it ends. It waits while
the model is being treated, and while a ticket waits that it would void.
"""

from collections.abc import Iterator

import msgspec

from remediation import actions, approvals, incidents, limits
from remediation.config import AgentConfig
from remediation.notices import Notice
from remediation.playbooks.drafts.values import without_shadows
from remediation.playbooks.proposal import controls, is_cleanup
from remediation.ports import Clock, Journal, Reader, Unit
from remediation.values import CLOSED_INCIDENTS, Action, ActionKind, Arrangement, Desired, Incident, Plan

_ENDS = "ends"
_BUSY = ("awaiting_approval", "executing", "verifying")
_ATTEMPTS = 3
"""So many fail by themselves, each told; and after so many that others overtook people are told."""
_MOST = 200
"""Actions of each kind and model that are looked back at."""


def clean_up(journal: Journal, clock: Clock, config: AgentConfig) -> list[Action]:
    """Begin what is due; answers with the actions that have to be carried out. Harmless when repeated."""
    begun: list[Action] = []
    with journal.reading() as unit:
        due = list(_due(unit, config))
    for action in due:
        with journal.transaction() as unit:
            found = _begin(unit, action, clock.now_us(), config)
            if found is not None:
                begun.append(found)
    return begun


def not_ended(unit: Unit, plan: Plan, why: str, *, now_us: int) -> None:
    """Tell people that a cleanup has failed."""
    text = f"{_told(plan)} was decided when incident {plan.incident_id} ended, and is not in force: {why}."
    notice = Notice(
        id=f"cleanup/{plan.id}",
        kind="cleanup_failed",
        model=plan.model,
        incident_id=plan.incident_id,
        text=text,
        at_us=now_us,
    )
    unit.add_notice(notice)


def _due(unit: Reader, config: AgentConfig) -> Iterator[Action]:
    """What is in force decides where there is anything to end, so that nothing is overlooked however much was done."""
    for model in unit.deployed_models():
        desired = unit.desired(model)
        if desired is None:
            continue
        if desired.arrangement.detailed:
            yield from _due_of(unit, model, "raise_log_detail", config)
        if desired.arrangement.shadows:
            yield from _due_of(unit, model, "shadow", config)


def _due_of(unit: Reader, model: str, kind: ActionKind, config: AgentConfig) -> Iterator[Action]:
    """The newest action counts: what an earlier one had turned on it took over."""
    seen: set[tuple[str, ...]] = set()
    for action in unit.actions(model=model, states=("succeeded",), kind=kind, limit=_MOST):
        plan = unit.plan(action.plan_id)
        if plan is None or is_cleanup(plan):
            continue
        subject = plan.new_shadows
        if subject not in seen and _ready(unit, plan, config):
            yield action
        seen.add(subject)
        if kind == "raise_log_detail":
            return


def _ready(unit: Reader, plan: Plan, config: AgentConfig) -> bool:
    if controls(plan).keep:
        return False
    desired, incident = unit.desired(plan.model), unit.incident(plan.incident_id)
    if desired is None or incident is None or incident.state not in CLOSED_INCIDENTS:
        return False
    if _ended(desired.arrangement, plan) == desired.arrangement:
        return False
    tried = _tried(unit, plan)
    in_vain = len(tried) - len(_overtaken(unit, tried, desired))
    if in_vain >= _ATTEMPTS or unit.incidents(model=plan.model, states=_BUSY, limit=1):
        return False
    return limits.held_up(unit, plan.model, config.policy.limits) is None


def _begin(unit: Unit, action: Action, now_us: int, config: AgentConfig) -> Action | None:
    unit.alone("actions")
    plan = unit.plan(action.plan_id)
    if plan is None or not _ready(unit, plan, config):
        return None
    desired, incident = unit.desired(plan.model), unit.incident(plan.incident_id)
    if desired is None or incident is None:
        return None
    tried = _tried(unit, plan)
    ending = _plan(action, plan, desired, incident, attempt=len(tried) + 1, now_us=now_us)
    ticket = approvals.request(ending, now_us=now_us, ttl_s=config.approval_ttl_s)
    unit.add_plan(ending, ticket, actor=incidents.AGENT)
    approvals.decided_by_playbook(unit, ticket, ending, now_us=now_us)
    overtaken = len(_overtaken(unit, tried, desired))
    if overtaken and overtaken % _ATTEMPTS == 0:
        unit.add_notice(_told_overtaken(plan, overtaken, now_us))
    begun = actions.new_action(ending, now_us=now_us)
    return begun if unit.add_action(begun, actor=incidents.AGENT) else None


def _tried(unit: Reader, plan: Plan) -> list[Plan]:
    ended = actions.new_action(plan, now_us=0).id
    return [each for each in unit.plans(plan.incident_id) if each.parameters.get(_ENDS) == ended]


def _overtaken(unit: Reader, tried: list[Plan], desired: Desired) -> list[Plan]:
    """Those that decided nothing because somebody else had: nothing speaks against trying them again."""
    found: list[Plan] = []
    for each in tried:
        action = unit.action(actions.new_action(each, now_us=0).id)
        if action is not None and not actions.decisions(action) and each.epoch != desired.epoch:
            found.append(each)
    return found


def _told_overtaken(plan: Plan, times: int, now_us: int) -> Notice:
    text = (
        f"{_told(plan)} is due since incident {plan.incident_id} ended, and is not in force yet: {times} times "
        f"somebody else decided about {plan.model} first. It is tried again."
    )
    return Notice(
        id=f"cleanup/{plan.id}/overtaken-{times}",
        kind="cleanup_failed",
        model=plan.model,
        incident_id=plan.incident_id,
        text=text,
        at_us=now_us,
    )


def _plan(
    action: Action, plan: Plan, desired: Desired, incident: Incident, *, attempt: int, now_us: int
) -> Plan:
    return Plan(
        id=f"{plan.id}-end{attempt}",
        incident_id=plan.incident_id,
        action=plan.action,
        model=plan.model,
        from_version=desired.version,
        from_digest=desired.digest,
        to_version=None,
        to_digest=None,
        epoch=desired.epoch,
        parameters={_ENDS: action.id},
        evidence=(f"Incident {incident.id} is over ({incident.state}), for whose time it was turned on.",),
        blast_radius=f"{_told(plan)}. No answer changes.",
        undo="The next incident whose playbook asks for it turns it on again.",
        created_us=now_us,
        arrangement=_ended(desired.arrangement, plan),
        from_arrangement=desired.arrangement,
        actuator=plan.actuator,
        playbook=plan.playbook,
        step=plan.step,
        risky=False,
    )


def _ended(now: Arrangement, plan: Plan) -> Arrangement:
    """How the model answers without what the plan had turned on."""
    if plan.action == "raise_log_detail":
        return msgspec.structs.replace(now, detailed=plan.from_arrangement.detailed)
    return without_shadows(now, plan.new_shadows)


def _told(plan: Plan) -> str:
    if plan.action == "raise_log_detail":
        return f"Logging the requests of {plan.model} as before"
    return f"An end of version {', '.join(plan.new_shadows)} scoring the requests of {plan.model}"
