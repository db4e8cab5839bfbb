"""A release manager makes a version serve."""

import asyncio

from remediation.errors import PromotionRefused
from remediation.ports import Clock, Journal, Publisher, Registry
from remediation.reasons import stated
from remediation.values import Desired


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
) -> Desired:
    """Decide that `version` shall serve, and make it known.

    `expected_epoch`: refuse unless the epoch still is this one (default: whatever it is now). Promoting the
    version that serves already changes nothing, but makes it known again. Raises `ReasonMissing`, and
    `PromotionRefused` for an unknown version and when somebody decided in the meantime. When the process dies
    after the decision, the agent makes it known.
    """
    desired = await asyncio.to_thread(
        _decided, journal, registry, clock, model, version, by, stated(reason), expected_epoch
    )
    await publisher.publish_desired(desired)
    return desired


def _decided(
    journal: Journal,
    registry: Registry,
    clock: Clock,
    model: str,
    version: str,
    by: str,
    reason: str,
    expected_epoch: int | None,
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
        if not unit.set_desired(desired, expected_epoch=epoch, actor=by):
            raise PromotionRefused(f"somebody else decided about {model} at this moment: look again")
        detail = {
            "version": version,
            "epoch": desired.epoch,
            "replaces": desired.previous_version,
            "reason": reason,
        }
        unit.audit(actor=by, action="model.promoted", subject=f"{model}/{version}", detail=detail)
        return desired
