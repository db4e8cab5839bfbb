"""A person stops an action that is being carried out."""

from remediation import actions
from remediation.errors import CancelForbidden, CancelRefused, UnknownAction
from remediation.policy import Policy
from remediation.ports import Clock, Journal
from remediation.reasons import stated
from remediation.values import Action, Plan


def cancel(
    journal: Journal,
    clock: Clock,
    action_id: str,
    *,
    by: str,
    reason: str,
    channel: str,
    policy: Policy,
    dry_run: bool = False,
) -> Action:
    """Ask that an action goes no further: what it decided is taken back, people go on from there.

    It is on record at once; the agent that holds the action carries it out after the step under way, and breaks a
    training off. To ask twice changes nothing. With `dry_run` it is only said whether it could be stopped: the answer
    is the action as it is. Who may decide about the plan may stop it. Raises `ReasonMissing`,
    `UnknownAction`, `CancelForbidden`, and `CancelRefused` for an action that is over or is taken back already.
    """
    why = stated(reason)
    with journal.transaction() as unit:
        action = unit.action(action_id)
        plan = unit.plan(action.plan_id) if action else None
        if action is None or plan is None:
            raise UnknownAction(f"There is no action {action_id}.")
        name = _entitled(policy, plan, by, channel)
        if actions.cancelled(action) is not None:
            return action
        if action.state not in actions.RUNNING:
            raise CancelRefused(f"Action {action_id} is over ({action.state}): {action.outcome}")
        if actions.undoing(action):
            raise CancelRefused(f"Action {action_id} has failed and is being taken back already.")
        if dry_run:
            return action
        detail = f"{name} cancelled it: {why}"
        at_us = clock.now_us()
        asked = actions.with_step(action, actions.CANCEL, "intended", at_us=at_us, detail=detail)
        if not unit.save_action(asked, expected=action.state, actor=name):
            raise CancelRefused(f"Action {action_id} went on at this moment: look again.")
        subject, told = f"action/{action_id}", {"reason": why, "channel": channel, "model": action.model}
        unit.audit(actor=name, action="action.cancelled", subject=subject, detail=told)
        return asked


def _entitled(policy: Policy, plan: Plan, by: str, channel: str) -> str:
    if not policy.knows_people:
        return by
    name, roles = policy.who(by, channel), policy.rule(plan).roles
    if name is None:
        raise CancelForbidden(f"{by} is nobody whom the policy knows. Nothing was cancelled.")
    if not policy.holds(name, roles):
        who = ", ".join(policy.entitled(roles)) or "nobody"
        raise CancelForbidden(f"{name} may not cancel this: it needs one of {', '.join(roles)} ({who}).")
    return name
