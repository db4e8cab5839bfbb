"""Routes of incidents and actions."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from detectors.values import Alert
from remediation.errors import FeedbackRefused, UnknownIncident
from remediation.experience import name_cause
from remediation.values import ActionState, AuditEntry, Cause, IncidentState
from serving import story
from serving.api.access import Cursor, Filter, Identifier, Known, Limit, Services, found, next_cursor, opened
from serving.api.judged import CauseIn, FeedbackIn, StatementOut
from serving.api.problems import Problem
from serving.api.schemas import (
    ActionOut,
    AlertOut,
    AskedOut,
    IncidentDetail,
    IncidentOut,
    Page,
    PlanOut,
    TimelineEntry,
    moment,
)
from serving.postmortem import postmortem

router = APIRouter(tags=["incidents"])


@router.get("/incidents", summary="Incidents, newest first")
def list_incidents(
    services: Services,
    state: IncidentState | None = None,
    model: Filter = None,
    cause: Cause | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[IncidentOut]:
    """Filter by state, model and cause."""
    states: list[IncidentState] | None = [state] if state else None
    with services.journal.reading() as unit:
        items = unit.incidents(
            model=model,
            states=states,
            cause=cause,
            before=opened(cursor, unit.incident),
            limit=limit + 1,
        )
    shown = [IncidentOut.of(each) for each in items[:limit]]
    return Page(items=shown, next_cursor=next_cursor(items, limit, lambda each: each.id))


@router.get("/incidents/{incident_id}", summary="One incident with its plan, tickets, actions and timeline")
def show_incident(services: Services, incident_id: Identifier) -> IncidentDetail:
    """Everything that belongs to the incident."""
    with services.journal.reading() as unit:
        incident = found(unit.incident(incident_id), "incident", incident_id)
        plans = unit.plans(incident_id)
        approvals = unit.approvals(incident_id=incident_id)
        actions = unit.actions(incident_id=incident_id)
        alerts = unit.alerts(incident_id)
        planned = {each.id: each for each in plans}
        return IncidentDetail(
            **IncidentOut.of(incident).model_dump(),
            alerts=[AlertOut.of(each) for each in alerts],
            plans=[PlanOut.of(each) for each in plans],
            approvals=[
                AskedOut.about(each, plan, services.delay(unit, plan, each))
                for each, plan in ((each, planned.get(each.plan_id)) for each in approvals)
            ],
            actions=[ActionOut.of(each) for each in actions],
            timeline=_timeline(alerts, story.entries(unit, incident, plans, approvals, actions)),
        )


@router.get(
    "/incidents/{incident_id}/postmortem",
    summary="The post-mortem of one incident, as Markdown",
    response_class=Response,
    responses={200: {"content": {"text/markdown": {"schema": {"type": "string"}}}}},
)
def show_postmortem(services: Services, incident_id: Identifier) -> Response:
    """What, since when, why, who decided what, what was done, what it cost, and how long each phase took."""
    text = found(
        postmortem(services.journal, incident_id, environment=services.environment), "incident", incident_id
    )
    return Response(text, media_type="text/markdown; charset=utf-8")


@router.post(
    "/incidents/{incident_id}/feedback",
    summary="Say what the incident was, or take it back",
    responses={
        409: {"description": "None of its alerts can be spoken about, or nothing is left to be taken back"}
    },
)
async def give_feedback(
    services: Services, acting: Known, incident_id: Identifier, feedback: FeedbackIn
) -> list[StatementOut]:
    """The judge hears it before the next window of each series that still fires; its alerts tell what has become of
    it, and the audit log keeps who said it."""
    try:
        said = await services.give_feedback(
            incident_id=incident_id, said=feedback.said, by=acting(feedback.by), why=feedback.why or ""
        )
    except UnknownIncident as error:
        raise Problem(HTTPStatus.NOT_FOUND, str(error)) from error
    except FeedbackRefused as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from error
    return [StatementOut.of(one) for one in said]


@router.post("/incidents/{incident_id}/cause", summary="Say what the true cause was")
def name_true_cause(
    services: Services, acting: Known, incident_id: Identifier, verdict: CauseIn
) -> IncidentOut:
    """Kept in the audit log, and used where an incident shows the same again."""
    by = acting(verdict.by)
    try:
        incident = name_cause(
            services.journal, incident_id=incident_id, cause=verdict.cause, by=by, why=verdict.why or ""
        )
    except UnknownIncident as error:
        raise Problem(HTTPStatus.NOT_FOUND, str(error)) from error
    return IncidentOut.of(incident)


@router.get("/actions", summary="Executed plans, newest first")
def list_actions(
    services: Services,
    state: ActionState | None = None,
    model: Filter = None,
    incident_id: Filter = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ActionOut]:
    """Filter by state, model and incident."""
    states: list[ActionState] | None = [state] if state else None
    with services.journal.reading() as unit:
        items = unit.actions(
            model=model,
            incident_id=incident_id,
            states=states,
            before=opened(cursor, unit.action),
            limit=limit + 1,
        )
    shown = [ActionOut.of(each) for each in items[:limit]]
    return Page(items=shown, next_cursor=next_cursor(items, limit, lambda each: each.id))


@router.get("/actions/{action_id}", summary="One action with its steps")
def show_action(services: Services, action_id: Identifier) -> ActionOut:
    """The action."""
    with services.journal.reading() as unit:
        return ActionOut.of(found(unit.action(action_id), "action", action_id))


def _timeline(alerts: list[Alert], entries: list[AuditEntry]) -> list[TimelineEntry]:
    """What the audit log and the alerts say about the incident, oldest first."""
    happened = [(entry.at_us, entry.actor, entry.action, entry.detail) for entry in entries]
    happened += [
        (alert.end_us, "judge", f"alert.{alert.state}", {"kind": alert.kind, "reason": alert.reason})
        for alert in alerts
    ]
    return [
        TimelineEntry(at=moment(at_us), actor=actor, what=what, detail=detail)
        for at_us, actor, what, detail in sorted(happened, key=lambda each: each[0])
    ]
