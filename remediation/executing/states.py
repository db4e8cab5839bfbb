"""Which state a plan decides, stage by stage. Pure."""

from itertools import pairwise

import msgspec

from remediation import actions, incidents
from remediation.errors import StepFailed
from remediation.playbooks.proposal import controls
from remediation.values import Action, Arrangement, Desired, Plan


def wanted(action: Action, plan: Plan, stage: int, *, at_us: int) -> Desired:
    """The state of a stage, one epoch above what the action decided last. Raises `StepFailed` for a plan that names no
    state."""
    version, digest = _target(action, plan)
    arrangement = plan.arrangement
    if plan.action == "shift_traffic":
        share = _shares(plan)[stage - 1]
        if share < 1:
            arrangement = _with_share(plan.arrangement, version, digest, share)
            version, digest = plan.from_version, plan.from_digest
    return Desired(
        model=plan.model,
        version=version,
        digest=digest,
        epoch=actions.own_epoch(action, plan) + 1,
        previous_version=plan.from_version,
        decided_by=incidents.AGENT,
        reason=f"{plan.action} approved in {plan.id} for {plan.incident_id}",
        at_us=at_us,
        arrangement=arrangement,
    )


def restored(action: Action, plan: Plan, current: Desired, *, at_us: int) -> Desired:
    """The state before the action, one epoch above what it decided last."""
    return Desired(
        model=plan.model,
        version=plan.from_version,
        digest=plan.from_digest,
        epoch=actions.own_epoch(action, plan) + 1,
        previous_version=current.version,
        decided_by=incidents.AGENT,
        reason=f"undo of {plan.action} in {plan.id} for {plan.incident_id}",
        at_us=at_us,
        arrangement=plan.from_arrangement,
    )


def brought_in(desired: Desired, plan: Plan) -> dict[str, str]:
    """The versions that shall answer or score from now on, by their digests: what has to be there before it is
    decided. Raises `StepFailed` for a version of the arrangement without a digest."""
    arrangement = desired.arrangement
    named = [*arrangement.shares, *arrangement.shadows]
    unknown = [version for version in named if not arrangement.digests.get(version)]
    if unknown:
        raise StepFailed(f"the arrangement names version {unknown[0]} of {plan.model} without a digest")
    found = {version: arrangement.digests[version] for version in named}
    if desired.version != plan.from_version:
        found[desired.version] = desired.digest
    return found


def told(desired: Desired) -> str:
    """What was decided, in the record of the step."""
    parts = [f"version {desired.version}", f"epoch {desired.epoch}"]
    arrangement = desired.arrangement
    parts += [f"{share:.0%} to version {version}" for version, share in sorted(arrangement.shares.items())]
    if arrangement.hash:
        parts.append(f"arrangement {arrangement.hash[:12]}")
    return ", ".join(parts)


def _target(action: Action, plan: Plan) -> tuple[str, str]:
    """Version and digest that the action makes serve; those that serve where it changes only how."""
    if action.to_version is not None and action.to_digest is not None:
        return action.to_version, action.to_digest
    if plan.action in ("rollback", "promote", "retrain", "shift_traffic"):
        raise StepFailed(f"{plan.action} in {plan.id} names no version to serve")
    return plan.from_version, plan.from_digest


def _shares(plan: Plan) -> tuple[float, ...]:
    shares = controls(plan).shares or (1.0,)
    rises = all(earlier < later for earlier, later in pairwise(shares))
    if not rises or shares[-1] != 1:
        raise StepFailed(f"shares of {plan.id} are {list(shares)}: they must rise, and end with 1")
    return shares


def _with_share(arrangement: Arrangement, version: str, digest: str, share: float) -> Arrangement:
    return msgspec.structs.replace(
        arrangement,
        shares={**arrangement.shares, version: share},
        digests={**arrangement.digests, version: digest},
    )
