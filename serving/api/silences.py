"""Routes of silences: alerts that nobody wants to be woken by, for a while and for a reason."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, BaseModel, Field

from remediation.errors import SilenceRefused, UnknownSilence
from remediation.silences import Matcher, Silence, parse_matcher
from remediation.silencing import Outcome
from serving.api.access import Cursor, Identifier, Known, Limit, Services, found, next_cursor, opened
from serving.api.given import Given, Why
from serving.api.problems import Problem
from serving.api.schemas import Name, Page, microseconds, moment

router = APIRouter(tags=["silences"])


class SilenceIn(Given):
    """What shall not become an incident, until when, who says so, and why.

    `matchers`: all of them have to fit; shell patterns, `!=` for not. With `schedule` (five fields of crontab, UTC) and
    `lasts_s` it is a maintenance window that comes again.
    """

    matchers: list[Annotated[str, Field(max_length=300)]] = Field(
        min_length=1, max_length=20, examples=[["model=churn", "kind=data_drift"]]
    )
    ends_at: AwareDatetime = Field(examples=["2026-11-23T06:00:00Z"])
    starts_at: AwareDatetime | None = Field(default=None, description="Default: now.")
    schedule: str | None = Field(default=None, max_length=100, examples=["0 2 * * 0"])
    lasts_s: float | None = Field(default=None, gt=0, le=31_622_400, examples=[7200])
    by: Name = Field(examples=["mira"])
    reason: Why = Field(examples=["the campaign of this week"])


class EndIn(Given):
    """Who ends a silence."""

    by: Name = Field(examples=["mira"])


class SilenceOut(BaseModel):
    """A silence. `state` is `waiting`, `in force` or `over`; `holds` says how many alerts it keeps from becoming
    incidents."""

    id: str
    state: Literal["waiting", "in force", "over"]
    matchers: list[str]
    starts_at: datetime | None
    ends_at: datetime | None
    schedule: str | None
    lasts_s: float | None
    author: str
    reason: str
    created_at: datetime | None
    ended_at: datetime | None
    ended_by: str | None
    holds: int
    outcome: Outcome | None = Field(
        default=None,
        description="Of the one that was asked for: `set`, `extended` (one that covers the same lasts longer now), or "
        "`known` (it covers all of this already).",
    )

    @classmethod
    def of(cls, silence: Silence, now_us: int, holds: int) -> "SilenceOut":
        """As it is at `now_us`."""
        return cls(
            id=silence.id,
            state=silence.state(now_us),
            matchers=[str(each) for each in silence.matchers],
            starts_at=moment(silence.starts_us),
            ends_at=moment(silence.ends_us),
            schedule=silence.schedule,
            lasts_s=silence.lasts_s,
            author=silence.author,
            reason=silence.reason,
            created_at=moment(silence.created_us),
            ended_at=moment(silence.ended_us),
            ended_by=silence.ended_by,
            holds=holds,
        )


@router.get("/silences", summary="Silences and maintenance windows, newest first")
def list_silences(
    services: Services,
    over: Annotated[bool, Query(description="Also those that are over.")] = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[SilenceOut]:
    """Those that are in force or wait, and on request those that are over."""
    now_us = services.clock.now_us()
    with services.journal.reading() as unit:
        before = opened(cursor, unit.silence)
        items = unit.silences(not_over_at_us=None if over else now_us, before=before, limit=limit + 1)
        held = [each.silence_id for each in unit.held()]
    shown = [SilenceOut.of(each, now_us, held.count(each.id)) for each in items[:limit]]
    return Page(items=shown, next_cursor=next_cursor(items, limit, lambda each: each.id))


@router.post(
    "/silences",
    summary="Silence alerts for a while",
    status_code=HTTPStatus.CREATED,
    responses={200: {"model": SilenceOut, "description": "One covers the same, and lasts as long now"}},
)
def set_silence(services: Services, acting: Known, asked: SilenceIn, response: Response) -> SilenceOut:
    """Alerts that fit are kept and become no incidents. When the silence is over and they still fire, they do. One that
    covers the same already is answered with, and extended where it would end before."""
    try:
        told = services.set_silence(
            matchers=_parsed(asked.matchers),
            starts_us=None if asked.starts_at is None else microseconds(asked.starts_at),
            ends_us=microseconds(asked.ends_at),
            author=acting(asked.by),
            reason=asked.reason,
            schedule=asked.schedule,
            lasts_s=asked.lasts_s,
        )
    except SilenceRefused as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    if told.outcome != "set":
        response.status_code = HTTPStatus.OK
    with services.journal.reading() as unit:
        holds = sum(each.silence_id == told.silence.id for each in unit.held())
    shown = SilenceOut.of(told.silence, services.clock.now_us(), holds)
    return shown.model_copy(update={"outcome": told.outcome})


@router.get("/silences/{silence_id}", summary="One silence")
def show_silence(services: Services, silence_id: Identifier) -> SilenceOut:
    """The silence, with what it holds."""
    with services.journal.reading() as unit:
        silence = found(unit.silence(silence_id), "silence", silence_id)
        held = [each.silence_id for each in unit.held()]
    return SilenceOut.of(silence, services.clock.now_us(), held.count(silence_id))


@router.post(
    "/silences/{silence_id}/end",
    summary="End a silence",
    responses={409: {"description": "It is over already"}},
)
def end_silence(services: Services, acting: Known, silence_id: Identifier, asked: EndIn) -> SilenceOut:
    """What it held and still fires becomes an incident within a second. A second end changes nothing."""
    try:
        silence = services.end_silence(silence_id=silence_id, by=acting(asked.by))
    except UnknownSilence as error:
        raise Problem(HTTPStatus.NOT_FOUND, str(error)) from error
    except SilenceRefused as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from error
    return SilenceOut.of(silence, services.clock.now_us(), 0)


def _parsed(matchers: list[str]) -> tuple[Matcher, ...]:
    return tuple(parse_matcher(each) for each in matchers)
