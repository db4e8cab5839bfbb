"""Tickets: one state machine under REST, command line, console and Slack.

    pending -> pending (one of several who must consent) | approved | rejected | expired | void
    approved -> void (the world moved before anything was done)

An approval is bound to the hash of the plan that the person saw, and to the epoch of the desired state.
"""

from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple

import msgspec

from detectors.values import Value
from remediation import own_release
from remediation.clock import seconds
from remediation.identity import approval_id as approval_id_of
from remediation.names import AGENT, PLAYBOOK
from remediation.policy import Freeze, Policy, Rule
from remediation.ports import Clock, Journal, Unit
from remediation.values import Approval, ApprovalState, Plan, Vote

Verdict = Literal["approve", "reject"]
_LONGEST_SNOOZE_MIN = 1_440.0
_BEGINS_S = 300.0
"""So long after it was given an approval is good for, whenever its ticket expires: an agent needs a moment to begin."""


_NO_GLASS = "Nobody may break the glass here: the policy names no role for it."


class Result(StrEnum):
    """What became of a decision; also the label of its metric."""

    DONE = "done"
    ALREADY = "already"
    EXPIRED = "expired"
    VOID = "void"
    HASH_DIFFERS = "hash_differs"
    FORBIDDEN = "forbidden"
    FROZEN = "frozen"
    UNKNOWN = "unknown"


class Decision(Value, frozen=True, kw_only=True):
    """The answer to a click: `sentence` is for the person, `approval` the ticket as it stands now."""

    result: Result
    sentence: str
    approval: Approval | None = None


def request(plan: Plan, *, now_us: int, ttl_s: float, policy: Policy | None = None) -> Approval:
    """The ticket for a plan, with what `policy` asks for."""
    rule = policy.rule(plan) if policy is not None else Rule()
    return Approval(
        id=approval_id_of(plan.id),
        plan_id=plan.id,
        plan_hash=plan.hash,
        incident_id=plan.incident_id,
        model=plan.model,
        requested_us=now_us,
        expires_us=now_us + seconds(ttl_s),
        quorum=rule.quorum,
        roles=rule.roles,
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
    identity: str | None = None,
    break_glass: bool = False,
    policy: Policy | None = None,
) -> Decision:
    """Decide a ticket, once. A second click is harmless: it answers ALREADY and changes nothing.

    `by` is the person, `identity` as whom the channel knows them (default: `by`), `channel` where they said it (`rest`,
    `cli`, `console`, `slack`), `plan_hash` the hash of the plan that they were shown. With `break_glass` one person
    acts alone and in a freeze, with a reason, and the record says so.
    """
    said = _Said(decision, by, (reason or "").strip() or None, channel, break_glass)
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
            return _ended(unit, approval, "void", Result.VOID, now_us, moved)
        if now_us >= approval.expires_us:
            return _ended(unit, approval, "expired", Result.EXPIRED, now_us, "nobody decided in time")
        if policy is not None and policy.knows_people:
            name = policy.who(identity or by, channel)
            said = said._replace(by=name or by)
            refusal = _not_entitled(policy, approval, said, name) or _of_their_own(
                unit, policy, plan, said, approval.roles
            )
            if refusal is not None:
                return Decision(result=Result.FORBIDDEN, sentence=refusal, approval=approval)
        if break_glass and policy is not None and not policy.break_glass:
            return Decision(result=Result.FORBIDDEN, sentence=_NO_GLASS, approval=approval)
        if break_glass and said.reason is None:
            sentence = "Breaking the glass needs a reason, for the record."
            return Decision(result=Result.FORBIDDEN, sentence=sentence, approval=approval)
        frozen = policy.freeze(plan.model, now_us) if policy is not None else None
        if frozen is not None and decision == "approve" and not break_glass:
            freeze, until = frozen
            sentence = f"{plan.model} is frozen until {until:%Y-%m-%d %H:%M} UTC: {freeze.reason}. Nothing was decided."
            return Decision(result=Result.FROZEN, sentence=sentence, approval=approval)
        return _voted(unit, _with_standing_votes(approval, policy), said, now_us)


def settle(
    unit: Unit, approval: Approval, state: Literal["expired", "void"], *, now_us: int, reason: str
) -> Approval | None:
    """End a ticket without a person; None when a person was faster."""
    changed = _changed(approval, state, now_us, AGENT, reason, None)
    return changed if unit.save_approval(changed, expected=approval.state, actor=AGENT) else None


def decided_by_playbook(unit: Unit, approval: Approval, plan: Plan, *, now_us: int) -> Approval | None:
    """Approve what a playbook may do without asking; None when a person was faster."""
    changed = _changed(
        approval, "approved", now_us, f"{PLAYBOOK}{plan.playbook}", "it may do this by itself", "policy"
    )
    return changed if unit.save_approval(changed, expected="pending", actor=AGENT) else None


def world_moved(unit: Unit, plan: Plan) -> str | None:
    """Why a plan no longer fits the world (another version or epoch was decided since), or None."""
    desired = unit.desired(plan.model)
    if desired is None:
        return None if plan.epoch == 0 else f"no version of {plan.model} is decided any more"
    if desired.epoch == plan.epoch and desired.version == plan.from_version:
        return None
    return (
        f"the world moved: {desired.decided_by} made version {desired.version} serve "
        f"(epoch {desired.epoch}, the plan knows {plan.epoch}): {desired.reason}"
    )


def good_until_us(approval: Approval) -> int:
    """When an approval can begin nothing any more."""
    return max(approval.expires_us, (approval.decided_us or 0) + seconds(_BEGINS_S))


def freeze_of(policy: Policy, plan: Plan, approval: Approval, now_us: int) -> tuple[Freeze, datetime] | None:
    """The freeze that has come since what was approved was asked, and its end; None where nothing risky is to be done,
    or somebody broke the glass."""
    return policy.freeze(plan.model, now_us) if plan.risky and not approval.broken_glass else None


def frozen(policy: Policy, plan: Plan, approval: Approval, now_us: int) -> str | None:
    """Why what was approved may not begin now."""
    found = freeze_of(policy, plan, approval, now_us)
    if found is None:
        return None
    freeze, until = found
    return f"it was approved, and {plan.model} is frozen until {until:%Y-%m-%d %H:%M} UTC: {freeze.reason}"


def snooze(
    journal: Journal,
    clock: Clock,
    approval_id: str,
    *,
    by: str,
    minutes: float,
    channel: str,
    policy: Policy,
    identity: str | None = None,
) -> Decision:
    """Be silent about a ticket for a while: no reminder, no escalation. It expires as it would have. `by`, `identity`
    and `channel` as in `decide`."""
    if not 0 < minutes <= _LONGEST_SNOOZE_MIN:
        sentence = f"A ticket can be snoozed for up to {_LONGEST_SNOOZE_MIN:g} minutes, not for {minutes:g}."
        return Decision(result=Result.FORBIDDEN, sentence=sentence)
    with journal.transaction() as unit:
        approval = unit.approval(approval_id)
        if approval is None:
            return Decision(result=Result.UNKNOWN, sentence=f"There is no approval {approval_id}.")
        if approval.state != "pending":
            return _already(approval)
        if policy.knows_people:
            name = policy.who(identity or by, channel)
            refusal = _not_entitled(policy, approval, _Said("approve", by, None, channel, False), name)
            if refusal is not None:
                return Decision(result=Result.FORBIDDEN, sentence=refusal, approval=approval)
            by = name or by
        until_us = clock.now_us() + seconds(minutes * 60)
        changed = msgspec.structs.replace(approval, snoozed_until_us=until_us, snoozed_by=by)
        return _saved(unit, approval, changed, by)


class _Said(NamedTuple):
    """What one person says, where, and why."""

    decision: Verdict
    by: str
    reason: str | None
    channel: str
    break_glass: bool


def _not_entitled(policy: Policy, approval: Approval, said: _Said, name: str | None) -> str | None:
    """Why this person may not say this; None where they may."""
    if name is None:
        return f"{said.by} is nobody whom the policy knows in {said.channel}. Nothing was decided."
    roles = policy.break_glass if said.break_glass else approval.roles
    if said.break_glass and not roles:
        return _NO_GLASS
    if policy.holds(name, roles):
        return None
    who = ", ".join(policy.entitled(roles)) or "nobody"
    return f"{name} may not decide this: it needs one of the roles {', '.join(roles)} ({who}). Nothing was decided."


def _of_their_own(unit: Unit, policy: Policy, plan: Plan, said: _Said, roles: tuple[str, ...]) -> str | None:
    """Why this person may not consent to what becomes of their own release; None where they may."""
    if said.decision == "reject" or said.break_glass or policy.rule(plan).self_approval:
        return None
    return own_release.refusal(unit, policy, plan, said.by, roles)


def _with_standing_votes(approval: Approval, policy: Policy | None) -> Approval:
    """The ticket with the consents of those who still may give one: people lose roles, and leave."""
    if policy is None or not policy.knows_people:
        return approval
    standing = tuple(each for each in approval.votes if policy.holds(each.by, approval.roles))
    return msgspec.structs.replace(approval, votes=standing)


def _voted(unit: Unit, approval: Approval, said: _Said, now_us: int) -> Decision:
    if said.decision == "reject":
        changed = _changed(approval, "rejected", now_us, said.by, said.reason, said.channel)
        return _saved(unit, approval, changed, said.by)
    if any(vote.by == said.by for vote in approval.votes) and not said.break_glass:
        sentence = f"{said.by} has approved already. {_missing(approval)}"
        return Decision(result=Result.ALREADY, sentence=sentence, approval=approval)
    vote = Vote(by=said.by, channel=said.channel, at_us=now_us, reason=said.reason)
    voted = msgspec.structs.replace(approval, votes=(*approval.votes, vote), broken_glass=said.break_glass)
    if len(voted.votes) >= voted.quorum or said.break_glass:
        names = " and ".join(dict.fromkeys(each.by for each in voted.votes))
        changed = _changed(voted, "approved", now_us, names, said.reason, said.channel)
        return _saved(unit, approval, changed, said.by)
    return _saved(unit, approval, voted, said.by)


def _ended(
    unit: Unit,
    approval: Approval,
    state: Literal["expired", "void"],
    result: Result,
    now_us: int,
    reason: str,
) -> Decision:
    changed = _changed(approval, state, now_us, AGENT, reason, None)
    decision = _saved(unit, approval, changed, AGENT)
    return msgspec.structs.replace(decision, result=result) if decision.result is Result.DONE else decision


def _saved(unit: Unit, before: Approval, changed: Approval, by: str) -> Decision:
    if not unit.save_approval(changed, expected="pending", actor=by):
        return _already(unit.approval(before.id) or before)
    return Decision(result=Result.DONE, sentence=_sentence(changed), approval=changed)


def _missing(approval: Approval) -> str:
    more = approval.quorum - len(approval.votes)
    roles = f" with one of the roles {', '.join(approval.roles)}" if approval.roles else ""
    return f"{len(approval.votes)} of {approval.quorum} have approved; {more} more{roles} must."


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
            glass = " by breaking the glass" if approval.broken_glass else ""
            return f"Approval {approval.id} was {approval.state} by {approval.decided_by}{where}{glass}{why}."
        case "expired" | "void":
            return f"Approval {approval.id} is {approval.state}{why}."
        case "pending":
            if approval.snoozed_until_us is not None and not approval.votes:
                return f"Approval {approval.id} is snoozed by {approval.snoozed_by}."
            return f"Approval {approval.id} is pending: {_missing(approval)}"
