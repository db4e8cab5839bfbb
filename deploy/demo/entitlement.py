"""Whether the policy in force lets the demo's own people do what the story needs, before anything is started."""

import time

from deploy.demo.session import RELEASE_MANAGER
from deploy.demo.watching import APPROVER
from deploy.errors import UserError
from deploy.pieces import policy
from deploy.settings import Settings
from remediation.errors import PromotionForbidden, PromotionRefused
from remediation.policy import Policy
from remediation.promotion import entitled
from remediation.values import ActionKind

_PLANS: tuple[ActionKind, ...] = ("rollback", "retrain")


def refuse_policy(settings: Settings, model: str, *, approve: bool) -> None:
    """Nothing, where the demo may promote `model` and, unless the person does (`approve`), decide its plans. Raises
    `UserError` that says what to do."""
    known = policy(settings)
    reason = _promotion(known, model) or (None if approve else _decision(known, model))
    if reason is None:
        return
    needs = f"{RELEASE_MANAGER} promotes {model}"
    if not approve:
        needs += f", and {APPROVER} alone approves its plans (with --approve you do)"
    raise UserError(
        f"HOMEOSTAT_POLICY ({settings.policy}) does not let the demo play: {reason} In the demo {needs}. Run it "
        "without HOMEOSTAT_POLICY, or with a copy of the file that lets them."
    )


def _promotion(known: Policy, model: str) -> str | None:
    try:
        entitled(known, model, RELEASE_MANAGER, "rest", now_us=time.time_ns() // 1_000, break_glass=False)
    except (PromotionForbidden, PromotionRefused) as error:
        return str(error)
    return None


def _decision(known: Policy, model: str) -> str | None:
    if not known.knows_people:
        return None
    name = known.who(APPROVER, "rest")
    if name is None:
        return f"{APPROVER} is nobody whom the policy knows."
    for action in _PLANS:
        rule = known.rule_of(model, action)
        if not known.holds(name, rule.roles):
            return f"{name} has none of the roles {', '.join(rule.roles)}, one of which a {action} needs."
        if rule.quorum > 1:
            return f"a {action} of {model} takes {rule.quorum} people."
    return None
