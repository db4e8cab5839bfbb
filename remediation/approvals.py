"""Tickets: one state machine under REST, command line, console and Slack.

    pending -> approved | rejected | expired | void
    approved -> void (the world moved before anything was done)

An approval is bound to the hash of the plan that the person saw, and to the epoch of the desired state.
"""

from enum import StrEnum
from typing import Literal

import msgspec

from detectors.values import Value
from remediation import identity
from remediation.clock import seconds
from remediation.incidents import AGENT
from remediation.ports import Clock, Journal, Unit
from remediation.values import Approval, ApprovalState, Plan

Verdict = Literal["approve", "reject"]


class Result(StrEnum):
    """What became of a decision; also the label of its metric."""

    DONE = "done"
    ALREADY = "already"
    EXPIRED = "expired"
    VOID = "void"
    HASH_DIFFERS = "hash_differs"
    UNKNOWN = "unknown"


class Decision(Value, frozen=True, kw_only=True):
    """The answer to a click: `sentence` is for the person, `approval` the ticket as it stands now."""

    result: Result
    sentence: str
    approval: Approval | None = None


def request(plan: Plan, *, now_us: int, ttl_s: float) -> Approval:
    """The ticket for a plan."""
    return Approval(
        id=identity.approval_id(plan.id),
        plan_id=plan.id,
        plan_hash=plan.hash,
        incident_id=plan.incident_id,
        model=plan.model,
        requested_us=now_us,
        expires_us=now_us + seconds(ttl_s),
    )


def decide(
    journal: Journal,
    clock: Clock,
    approval_id: str,
    decision: Verdict,
    *,
    by: str,
    reason: str | None,
    channel: str,
    plan_hash: str,
) -> Decision:
    """Decide a ticket, once. A second click is harmless: it answers ALREADY and changes nothing.

    `by` is the person, `channel` where they said it (`rest`, `cli`, `console`, `slack`), `plan_hash` the hash
    of the plan that they were shown.
    """
    with journal.transaction() as unit:
        approval = unit.approval(approval_id)
        if approval is None:
            return Decision(result=Result.UNKNOWN, sentence=f"There is no approval {approval_id}.")
        if approval.state != "pending":
            return _already(approval)
        plan = unit.plan(approval.plan_id)
        if plan is None or plan_hash != approval.plan_hash or plan.hash != approval.plan_hash:
            shown = plan_hash[:12] or "nothing"
            sentence = f"The plan is {approval.plan_hash[:12]}, you were shown {shown}: look at it again."
            return Decision(result=Result.HASH_DIFFERS, sentence=sentence, approval=approval)
        now_us = clock.now_us()
        moved = world_moved(unit, plan)
        if moved is not None:
            return _settled(unit, approval, "void", Result.VOID, now_us, AGENT, moved, None)
        if now_us >= approval.expires_us:
            return _settled(
                unit, approval, "expired", Result.EXPIRED, now_us, AGENT, "nobody decided in time", None
            )
        state: ApprovalState = "approved" if decision == "approve" else "rejected"
        return _settled(unit, approval, state, Result.DONE, now_us, by, reason or None, channel)


def settle(
    unit: Unit, approval: Approval, state: Literal["expired", "void"], *, now_us: int, reason: str
) -> Approval | None:
    """End a ticket without a person; None when a person was faster."""
    changed = _changed(approval, state, now_us, AGENT, reason, None)
    return changed if unit.save_approval(changed, expected=approval.state, actor=AGENT) else None


def world_moved(unit: Unit, plan: Plan) -> str | None:
    """Why a plan no longer fits the world (another version or epoch was decided since), or None."""
    desired = unit.desired(plan.model)
    if desired is None:
        return f"no version of {plan.model} is decided any more"
    if desired.epoch == plan.epoch and desired.version == plan.from_version:
        return None
    return (
        f"the world moved: {desired.decided_by} made version {desired.version} serve "
        f"(epoch {desired.epoch}, the plan knows {plan.epoch}): {desired.reason}"
    )


def _settled(
    unit: Unit,
    approval: Approval,
    state: ApprovalState,
    result: Result,
    now_us: int,
    by: str,
    reason: str | None,
    channel: str | None,
) -> Decision:
    changed = _changed(approval, state, now_us, by, reason, channel)
    if not unit.save_approval(changed, expected="pending", actor=by):
        return _already(unit.approval(approval.id) or approval)
    return Decision(result=result, sentence=_sentence(changed), approval=changed)


def _changed(
    approval: Approval, state: ApprovalState, now_us: int, by: str, reason: str | None, channel: str | None
) -> Approval:
    return msgspec.structs.replace(
        approval, state=state, decided_us=now_us, decided_by=by, reason=reason, channel=channel
    )


def _already(approval: Approval) -> Decision:
    ended: dict[ApprovalState, Result] = {"expired": Result.EXPIRED, "void": Result.VOID}
    result = ended.get(approval.state, Result.ALREADY)
    return Decision(result=result, sentence="Nothing changed. " + _sentence(approval), approval=approval)


def _sentence(approval: Approval) -> str:
    why = f": {approval.reason}" if approval.reason else ""
    match approval.state:
        case "approved" | "rejected":
            where = f" ({approval.channel})" if approval.channel else ""
            return f"Approval {approval.id} was {approval.state} by {approval.decided_by}{where}{why}."
        case "expired" | "void":
            return f"Approval {approval.id} is {approval.state}{why}."
        case "pending":
            return f"Approval {approval.id} is pending."
