"""Whose consent a step takes. Pure."""

from msgspec.structs import replace

from remediation.playbooks.proposal import Proposal
from remediation.playbooks.steps import MAY_BE_SAFE, SAFE, ScaleReplicas, Step
from remediation.playbooks.values import Autonomy
from remediation.policy import Policy, Rule
from remediation.values import Arrangement, Plan

_MINUTE_S = 60.0


def is_safe(step: Step, before: Arrangement) -> bool:
    """Whether the step needs nobody's consent. Fewer servers than run are never safe, and as many as nobody knows only
    where the playbook says so."""
    if isinstance(step, ScaleReplicas):
        grows = before.replicas is not None and step.replicas >= before.replicas
        return grows if step.safe is None else step.safe and (grows or before.replicas is None)
    return step.kind in SAFE if step.safe is None else step.safe and step.kind in MAY_BE_SAFE


def asked_of(step: Step, rule: Rule) -> tuple[tuple[str, ...], int]:
    """The roles of whom one is needed, and of how many people. A policy is never weakened: its quorum is the least, and
    of its roles and the step's those count that are in both."""
    asked = step.approval
    both = tuple(each for each in asked.roles if each in rule.roles)
    return (both or rule.roles) if rule.roles else asked.roles, max(rule.quorum, asked.quorum or 1)


def consent(step: Step, plan: Plan, now_us: int, *, policy: Policy, autonomy: Autonomy) -> Proposal:
    """The proposal of `plan`. A risky step is done without asking only where it says `act`, the model's autonomy is
    `act`, and no freeze is in force."""
    risky = not is_safe(step, plan.from_arrangement)
    plan = replace(plan, risky=risky)
    if not risky:
        return Proposal(plan=plan, approval_needed=False)
    roles, quorum = asked_of(step, policy.rule(plan))
    acts = step.act and autonomy == "act" and policy.freeze(plan.model, now_us) is None
    until_min = step.approval.until_min
    return Proposal(
        plan=plan,
        approval_needed=not acts,
        roles=roles,
        quorum=quorum,
        ttl_s=None if until_min is None else until_min * _MINUTE_S,
    )
