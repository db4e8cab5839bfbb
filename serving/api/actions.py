"""Routes that change an action under way."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from remediation.errors import CancelForbidden, CancelRefused, UnknownAction
from serving.api.access import Acting, Identifier, Services
from serving.api.given import Given, Why
from serving.api.problems import Problem
from serving.api.schemas import ActionOut, Name

router = APIRouter(tags=["incidents"])

_REFUSED: dict[int | str, dict[str, Any]] = {
    403: {"description": "The policy does not let this person stop it"},
    409: {"description": "The action is over, or is being taken back already"},
}


class CancelIn(Given):
    """Who stops the action, and why."""

    by: Name = Field(examples=["mira"])
    reason: Why = Field(examples=["the campaign explains it"])
    dry_run: bool = Field(default=False, description="Say whether it could be stopped, and change nothing.")


@router.post("/actions/{action_id}/cancel", summary="Stop an action under way", responses=_REFUSED)
def cancel(services: Services, acting: Acting, action_id: Identifier, stop: CancelIn) -> ActionOut:
    """It goes no further; what it decided is taken back, and its incident is left to people. To ask twice changes
    nothing. With `dry_run` the answer is the action as it is."""
    try:
        action = services.cancel(
            action_id, by=acting(stop.by), reason=stop.reason, channel="rest", dry_run=stop.dry_run
        )
    except UnknownAction as error:
        raise Problem(HTTPStatus.NOT_FOUND, str(error)) from error
    except CancelForbidden as error:
        raise Problem(HTTPStatus.FORBIDDEN, str(error)) from error
    except CancelRefused as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from error
    return ActionOut.of(action)
