"""A release manager makes a version serve."""

import asyncio

import structlog

from remediation.errors import PromotionForbidden, PromotionRefused
from remediation.policy import Policy
from remediation.ports import Clock, Journal, Publisher, Registry
from remediation.reasons import stated
from remediation.values import Desired

_log = structlog.get_logger()
_NOBODY = Policy()


async def promote(
    journal: Journal,
    registry: Registry,
    publisher: Publisher,
    clock: Clock,
    *,
    model: str,
    version: str,
    by: str,
    reason: str,
    expected_epoch: int | None = None,
    policy: Policy = _NOBODY,
    channel: str = "rest",
    break_glass: bool = False,
    dry_run: bool = False,
) -> Desired:
    """Decide that `version` shall serve, and make it known.

    `expected_epoch`: refuse unless the epoch still is this one (default: whatever it is now). Promoting the
    version that serves already changes nothing, but makes it known again. Where `policy` knows people it takes one
    whom its rule for a promotion lets decide alone, outside of freezes, or, with `break_glass`, one of those who may
    break it, and the record says so. Raises `ReasonMissing`, `PromotionForbidden`, and `PromotionRefused` for an
    unknown version, in a freeze, and when somebody decided in the meantime. When the process dies after the decision,
    the agent makes it known. With `dry_run` everything is checked, the answer is what would be decided, and
    nothing is changed or made known.
    """
    by = entitled(policy, model, by, channel, now_us=clock.now_us(), break_glass=break_glass)
    desired = await asyncio.to_thread(
        _decided,
        journal,
        registry,
        clock,
        model,
        version,
        by,
        stated(reason),
        expected_epoch,
        break_glass,
        dry_run,
    )
    if dry_run:
        return desired
    if break_glass:
        _log.warning("A version is promoted by breaking the glass.", model=model, by=by)
    await publisher.publish_desired(desired)
    return desired


def entitled(policy: Policy, model: str, by: str, channel: str, *, now_us: int, break_glass: bool) -> str:
    """The name of who decides, if they may. Raises `PromotionForbidden`, and `PromotionRefused` in a freeze."""
    name = policy.who(by, channel) if policy.knows_people else by
    if name is None:
        raise PromotionForbidden(f"{by} is nobody whom the policy knows. Nothing was changed.")
    rule = policy.rule_of(model, "promote")
    if break_glass:
        if not policy.break_glass or not policy.holds(name, policy.break_glass):
            raise PromotionForbidden(f"{name} may not break the glass. Nothing was changed.")
        return name
    if policy.knows_people and not policy.holds(name, rule.roles):
        who = ", ".join(policy.entitled(rule.roles)) or "nobody"
        raise PromotionForbidden(
            f"{name} may not promote {model}: it needs one of the roles {', '.join(rule.roles)} ({who})."
        )
    if policy.knows_people and rule.quorum > 1:
        raise PromotionForbidden(
            f"A promotion of {model} takes {rule.quorum} people, and nobody decides it alone: let a playbook propose "
            "it, or break the glass."
        )
    if policy.knows_people and not rule.self_approval:
        raise PromotionForbidden(
            f"Nobody promotes {model} alone, for self_approval is false in its rule: let a playbook propose it, or "
            "break the glass."
        )
    frozen = policy.freeze(model, now_us)
    if frozen is not None:
        freeze, until = frozen
        raise PromotionRefused(f"{model} is frozen until {until:%Y-%m-%d %H:%M} UTC: {freeze.reason}.")
    return name


def _decided(
    journal: Journal,
    registry: Registry,
    clock: Clock,
    model: str,
    version: str,
    by: str,
    reason: str,
    expected_epoch: int | None,
    broken_glass: bool,
    dry_run: bool,
) -> Desired:
    registered = registry.version(model, version)
    if registered is None or not registered.digest:
        known = ", ".join(each.version for each in registry.versions(model)) or "none"
        raise PromotionRefused(f"{model} has no version {version} with a digest; registered are: {known}")
    if registered.signature.refused:
        raise PromotionRefused(
            f"{model} version {version} must not serve: {registered.signature.why}. Once it was looked at: "
            f"homeostat models sign {model} {version}"
        )
    with journal.transaction() as unit:
        before = unit.desired(model)
        epoch = before.epoch if before else 0
        if expected_epoch is not None and expected_epoch != epoch:
            raise PromotionRefused(
                f"{model} is at epoch {epoch}, not {expected_epoch}: look again, and decide again"
            )
        if before is not None and (before.version, before.digest) == (version, registered.digest):
            return before
        desired = Desired(
            model=model,
            version=version,
            digest=registered.digest,
            epoch=epoch + 1,
            previous_version=before.version if before else None,
            decided_by=by,
            reason=reason,
            at_us=clock.now_us(),
        )
        if dry_run:
            return desired
        if not unit.set_desired(desired, expected_epoch=epoch, actor=by):
            raise PromotionRefused(f"somebody else decided about {model} at this moment: look again")
        detail = {
            "version": version,
            "epoch": desired.epoch,
            "replaces": desired.previous_version,
            "reason": reason,
        }
        if broken_glass:
            detail["broken_glass"] = True
        unit.audit(actor=by, action="model.promoted", subject=f"{model}/{version}", detail=detail)
        return desired
