"""Routes of approvals: one state machine behind every surface."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter

from remediation.approvals import Decision, Result, Verdict
from remediation.ports import Reader
from remediation.values import Approval, ApprovalState
from serving.api.access import Acting, Cursor, Filter, Identifier, Limit, Services, found, next_cursor, opened
from serving.api.bodies import DecisionIn, RejectionIn, SnoozeIn
from serving.api.problems import Problem
from serving.api.schemas import ApprovalDetail, AskedOut, IncidentOut, Page, PlanOut
from serving.api.services import ApiServices

router = APIRouter(tags=["approvals"])

_AGREES: dict[Verdict, ApprovalState] = {"approve": "approved", "reject": "rejected"}


@router.get("/approvals", summary="Approval tickets, newest first")
def list_approvals(
    services: Services,
    state: ApprovalState | None = None,
    incident_id: Filter = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[AskedOut]:
    """Filter by state and incident."""
    with services.journal.reading() as unit:
        before = opened(cursor, unit.approval)
        items = unit.approvals(state=state, incident_id=incident_id, before=before, limit=limit + 1)
        shown = [_asked(services, unit, each) for each in items[:limit]]
    return Page(items=shown, next_cursor=next_cursor(items, limit, lambda each: each.id))


@router.get("/approvals/{approval_id}", summary="One ticket, its plan and its incident")
def show_approval(services: Services, approval_id: Identifier) -> ApprovalDetail:
    """The ticket with what it is about."""
    with services.journal.reading() as unit:
        approval = found(unit.approval(approval_id), "approval", approval_id)
        plan = unit.plan(approval.plan_id)
        incident = unit.incident(approval.incident_id)
        asked = _asked(services, unit, approval)
    return ApprovalDetail(
        **asked.model_dump(),
        plan=PlanOut.of(plan) if plan else None,
        incident=IncidentOut.of(incident) if incident else None,
    )


def _asked(services: ApiServices, unit: Reader, approval: Approval) -> AskedOut:
    plan = unit.plan(approval.plan_id)
    return AskedOut.about(approval, plan, services.delay(unit, plan, approval))


_CONFLICT: dict[int | str, dict[str, Any]] = {
    403: {"description": "The policy does not let this person decide it"},
    409: {
        "description": "Somebody decided otherwise, it expired, the plan is another one, or a freeze is in force"
    },
}


@router.post("/approvals/{approval_id}/approve", summary="Approve the plan", responses=_CONFLICT)
def approve(services: Services, acting: Acting, approval_id: Identifier, decision: DecisionIn) -> AskedOut:
    """The plan is executed at once, unless something holds it up (`waits_for`). A second
    approval of an approved ticket changes nothing and is answered alike."""
    return _decided(services, approval_id, "approve", decision, acting(decision.by))


@router.post("/approvals/{approval_id}/reject", summary="Reject the plan", responses=_CONFLICT)
def reject(services: Services, acting: Acting, approval_id: Identifier, decision: RejectionIn) -> AskedOut:
    """The incident ends without an action. It needs a reason."""
    return _decided(services, approval_id, "reject", decision, acting(decision.by))


@router.post("/approvals/{approval_id}/snooze", summary="Be silent about it for a while", responses=_CONFLICT)
def snooze(services: Services, acting: Acting, approval_id: Identifier, asked: SnoozeIn) -> AskedOut:
    """No reminder and no escalation meanwhile. The ticket expires when it would have expired."""
    by = acting(asked.by)
    answer = services.snooze(approval_id, by=by, minutes=asked.minutes, channel=asked.channel)
    return _told(services, answer, None)


def _decided(
    services: ApiServices, approval_id: str, verdict: Verdict, decision: DecisionIn | RejectionIn, by: str
) -> AskedOut:
    shown_hash = decision.plan_hash
    if shown_hash is None:
        with services.journal.reading() as unit:
            shown_hash = found(unit.approval(approval_id), "approval", approval_id).plan_hash
    answer = services.decide(
        approval_id,
        verdict,
        by=by,
        reason=decision.reason,
        channel=decision.channel,
        plan_hash=shown_hash,
        break_glass=decision.break_glass,
    )
    return _told(services, answer, _AGREES[verdict])


def _told(services: ApiServices, answer: Decision, agrees: ApprovalState | None) -> AskedOut:
    if answer.result is Result.UNKNOWN or answer.approval is None:
        raise Problem(HTTPStatus.NOT_FOUND, answer.sentence)
    if answer.result is Result.FORBIDDEN:
        raise Problem(HTTPStatus.FORBIDDEN, answer.sentence)
    agreed = answer.result is Result.ALREADY and answer.approval.state == agrees
    if answer.result is not Result.DONE and not agreed:
        raise Problem(
            HTTPStatus.CONFLICT, answer.sentence, result=str(answer.result), state=answer.approval.state
        )
    with services.journal.reading() as unit:
        return _asked(services, unit, answer.approval)
