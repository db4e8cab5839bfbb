"""How remediation's values become rows, and what the audit log tells of them."""

from typing import Any

import msgspec

from db.codec import checked
from remediation.silences import Link, Silence, told
from remediation.tokens import Token
from remediation.values import Action, Approval, Incident


def verb_of(before: str, after: str) -> str:
    """What happened to a row, from its states before and after."""
    return after if after != before else "updated"


def incident_fields(incident: Incident) -> dict[str, Any]:
    """The row of an incident."""
    return {
        "id": incident.id,
        "model": incident.model,
        "state": incident.state,
        "cause": incident.cause,
        "at_us": incident.opened_us,
        "row_revision": 1,
        "value": checked(incident),
    }


def link_fields(link: Link) -> dict[str, Any]:
    """The row of an alert that was taken in."""
    return {
        "id": link.alert.id,
        "incident_id": link.incident_id,
        "silence_id": link.silence_id,
        "at_us": link.alert.end_us,
        "value": checked(link.alert),
    }


def link_detail(link: Link) -> dict[str, object]:
    """What is told of an alert that was taken in."""
    alert = link.alert
    detail: dict[str, object] = {
        "incident_id": link.incident_id,
        "model": alert.model,
        "kind": alert.kind,
        "state": alert.state,
    }
    return detail if link.silence_id is None else detail | {"silence_id": link.silence_id}


def token_detail(token: Token) -> dict[str, object]:
    """What is told of a token: never its digest."""
    return {"person": token.person, "scopes": list(token.scopes), "expires_us": token.expires_us}


def silence_fields(silence: Silence) -> dict[str, Any]:
    """The row of a silence."""
    return {
        "id": silence.id,
        "state": "set" if silence.ended_us is None else "ended",
        "at_us": silence.created_us,
        "until_us": silence.until_us,
        "row_revision": 1,
        "value": checked(silence),
    }


def silence_detail(silence: Silence) -> dict[str, object]:
    """What is told of a silence."""
    return {"covers": told(silence.matchers), "until_us": silence.until_us, "why": silence.reason}


def approval_fields(approval: Approval) -> dict[str, Any]:
    """The row of a ticket."""
    return {
        "id": approval.id,
        "plan_id": approval.plan_id,
        "incident_id": approval.incident_id,
        "state": approval.state,
        "at_us": approval.requested_us,
        "row_revision": 1,
        "value": checked(approval),
    }


def approval_detail(approval: Approval) -> dict[str, object]:
    """What is told of a ticket."""
    return {"incident_id": approval.incident_id, "plan_id": approval.plan_id, "plan_hash": approval.plan_hash}


def action_fields(action: Action) -> dict[str, Any]:
    """The row of an action."""
    return {
        "id": action.id,
        "plan_id": action.plan_id,
        "incident_id": action.incident_id,
        "model": action.model,
        "state": action.state,
        "at_us": action.started_us,
        "row_revision": 1,
        "value": checked(action),
    }


def action_detail(action: Action) -> dict[str, object]:
    """What is told of an action."""
    detail: dict[str, object] = {
        "incident_id": action.incident_id,
        "plan_id": action.plan_id,
        "kind": action.kind,
    }
    if action.steps:
        step = action.steps[-1]
        # What was said of it stands apart, where it is sealed: a person's name and reason may be in it.
        detail["step"] = msgspec.structs.replace(step, detail="")
        detail["step_detail"] = step.detail
    if action.outcome:
        detail["outcome"] = action.outcome
    return detail
