"""Whose release it is that a plan is about: who released a version does not judge what becomes of it."""

from collections.abc import Sequence

from remediation.changes import NEAR_S, near
from remediation.clock import seconds
from remediation.policy import Policy
from remediation.ports import Reader
from remediation.values import Plan


def refusal(unit: Reader, policy: Policy, plan: Plan, by: str, roles: Sequence[str]) -> str | None:
    """Why `by`, a name of the policy, may not consent to `plan` where its rule allows no self-approval; None where they
    may. `roles`: one of them is needed to decide the plan's ticket."""
    did = _released(unit, plan, by) or _reported(unit, policy, plan, by)
    if did is None:
        return None
    others = [name for name in policy.entitled(roles) if name != by]
    return (
        f"{did} and may not approve what becomes of it (self_approval is false); {', '.join(others) or 'nobody'} may. "
        "Nothing was decided."
    )


def _released(unit: Reader, plan: Plan, by: str) -> str | None:
    desired = unit.desired(plan.model)
    if desired is None or desired.decided_by != by:
        return None
    return f"{by} made version {desired.version} of {plan.model} serve"


def _reported(unit: Reader, policy: Policy, plan: Plan, by: str) -> str | None:
    """A release that `by` put on record, which is all that is known of who released what others serve."""
    incident = unit.incident(plan.incident_id)
    if incident is None:
        return None
    onset_us, reach_us = incident.change_us, seconds(NEAR_S)
    changes = unit.changes(since_us=onset_us - reach_us, until_us=onset_us + reach_us)
    for each in near(changes, plan.model, onset_us, NEAR_S):
        if each.kind == "release" and (policy.who(each.by, "rest") or each.by) == by:
            return f"{by} reported the release {each.title!r}"
    return None
