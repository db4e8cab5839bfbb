"""Routes about the agent as a whole: the pause, the limits, the breakers."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from remediation import actions
from remediation.errors import AlreadyPaused, NotEntitled
from remediation.limits import open_breakers
from remediation.switches import PAUSE, breaker_of
from remediation.values import ActionKind
from serving.api.access import Acting, Services
from serving.api.given import Given, Why
from serving.api.problems import Problem
from serving.api.schemas import Name, moment
from serving.api.services import ApiServices

router = APIRouter(prefix="/agent", tags=["agent"])
Kind = Annotated[str, Path(max_length=200, examples=["retrain"])]


class TurnIn(Given):
    """Who says so, and why."""

    by: Name = Field(examples=["mira"])
    reason: Why = Field(examples=["the data centre moves tonight"])
    channel: Literal["rest", "cli"] = "rest"


class BreakerOut(BaseModel):
    """A kind of action that is not done until a person resets it."""

    kind: str
    reason: str


class AgentOut(BaseModel):
    """Whether actions are paused, by whom and why; how many are under way; which kinds are not done; the limits."""

    paused: bool
    by: str | None
    reason: str | None
    since: datetime | None
    running: int
    breakers: list[BreakerOut]
    limits: dict[str, float]


@router.get("", summary="What the agent may do now")
def agent(services: Services) -> AgentOut:
    """Also while nothing is wrong."""
    limits = services.limits
    with services.journal.reading() as unit:
        switch = unit.switch(PAUSE)
        breakers = open_breakers(unit, limits, now_us=services.clock.now_us())
        running = len(unit.actions(states=actions.RUNNING, limit=500))
    paused = switch if switch is not None and switch.on else None
    return AgentOut(
        paused=paused is not None,
        by=paused.by if paused else None,
        reason=paused.reason if paused else None,
        since=moment(paused.at_us if paused else None),
        running=running,
        breakers=[BreakerOut(kind=kind, reason=reason) for kind, reason in breakers.items()],
        limits={name: getattr(limits, name) for name in limits.__struct_fields__},
    )


_FORBIDDEN: dict[int | str, dict[str, Any]] = {403: {"description": "The policy does not let this person"}}
_PAUSED: dict[int | str, dict[str, Any]] = {409: {"description": "Somebody has paused them already"}}


@router.post("/pause", summary="Start no action any more", responses=_PAUSED | _FORBIDDEN)
def pause(services: Services, acting: Acting, asked: TurnIn) -> AgentOut:
    """Of all models. Incidents are found and diagnosed as before; what is under way is finished, verified, and taken
    back if it did not help. The first pause stays: a second one for another reason is refused."""
    return _turned(services, PAUSE, acting(asked.by), asked, on=True)


@router.post("/resume", summary="Let actions start again", responses=_FORBIDDEN)
def resume(services: Services, acting: Acting, asked: TurnIn) -> AgentOut:
    """What waits goes on, as far as it still fits the world."""
    return _turned(services, PAUSE, acting(asked.by), asked, on=False)


@router.post("/breakers/{kind}/reset", summary="Allow a kind of action again", responses=_FORBIDDEN)
def reset(services: Services, acting: Acting, kind: Kind, asked: TurnIn) -> AgentOut:
    """Its failures until now do not count any more."""
    known = {name: name for name in get_args(ActionKind)}
    if kind not in known:
        detail = f"There is no kind of action {kind!r}; there are {', '.join(known)}."
        raise Problem(HTTPStatus.NOT_FOUND, detail)
    return _turned(services, breaker_of(known[kind]), acting(asked.by), asked, on=False)


def _turned(services: ApiServices, switch: str, by: str, asked: TurnIn, *, on: bool) -> AgentOut:
    try:
        services.turn(switch, on=on, by=by, reason=asked.reason, channel=asked.channel)
    except NotEntitled as error:
        raise Problem(HTTPStatus.FORBIDDEN, str(error)) from error
    except AlreadyPaused as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from error
    return agent(services)
