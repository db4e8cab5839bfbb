"""Routes of the change feed: what happens around the models, for whoever has to find a cause."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from remediation.changes import Change, ChangeKind
from remediation.errors import ChangeRefused
from serving.api.access import Acting, Services
from serving.api.given import Given
from serving.api.problems import Problem
from serving.api.schemas import Name, Page, Reason, microseconds, moment

router = APIRouter(tags=["changes"])


class ChangeIn(Given):
    """What began, when, and which models it can touch. A pipeline that may post twice gives its own `id`: the same id
    again is the same change."""

    id: Name | None = Field(default=None, examples=["deploy-4711"])
    kind: ChangeKind = Field(examples=["pipeline"])
    title: Name = Field(examples=["income now comes in thousands"])
    models: Name = Field(default="*", description="Shell pattern.", examples=["churn*"])
    starts_at: AwareDatetime | None = Field(default=None, description="Default: now.")
    ends_at: AwareDatetime | None = Field(default=None, description="For what lasts, such as a campaign.")
    by: Name = Field(examples=["etl-team"])
    link: Reason = Field(default="", examples=["https://ci.example/4711"])


class ChangeOut(BaseModel):
    """A change as it was recorded."""

    id: str
    kind: str
    title: str
    models: str
    starts_at: datetime | None
    ends_at: datetime | None
    by: str
    link: str
    recorded_at: datetime | None

    @classmethod
    def of(cls, change: Change) -> "ChangeOut":
        """From the value."""
        return cls(
            id=change.id,
            kind=change.kind,
            title=change.title,
            models=change.models,
            starts_at=moment(change.starts_us),
            ends_at=moment(change.ends_us),
            by=change.by,
            link=change.link,
            recorded_at=moment(change.recorded_us),
        )


@router.get("/changes", summary="Changes around the models, newest first")
def list_changes(
    services: Services,
    since: Annotated[AwareDatetime | None, Query(description="Not over before.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Begun before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Page[ChangeOut]:
    """At most `limit` of them; go back in time with `until`."""
    with services.journal.reading() as unit:
        found = unit.changes(
            since_us=None if since is None else microseconds(since),
            until_us=None if until is None else microseconds(until),
            limit=limit,
        )
    return Page(items=[ChangeOut.of(each) for each in found])


@router.post("/changes", summary="Record a change", status_code=HTTPStatus.CREATED)
def record_change(services: Services, acting: Acting, asked: ChangeIn) -> ChangeOut:
    """A diagnosis names it when an illness begins near it, and believes a fitting cause more."""
    now_us = services.clock.now_us()
    change = Change(
        id=asked.id or f"chg-{uuid4().hex[:12]}",
        kind=asked.kind,
        title=asked.title,
        models=asked.models,
        starts_us=now_us if asked.starts_at is None else microseconds(asked.starts_at),
        ends_us=None if asked.ends_at is None else microseconds(asked.ends_at),
        by=acting(asked.by),
        link=asked.link,
        recorded_us=now_us,
    )
    try:
        return ChangeOut.of(services.record_change(change))
    except ChangeRefused as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from error
