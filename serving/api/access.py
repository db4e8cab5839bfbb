"""What every route needs: the services, and pages."""

import base64
import binascii
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Annotated, TypeVar, cast

from fastapi import Depends, Path, Query, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query as QueryInfo
from fastapi.routing import APIRoute

from remediation.names import taken
from serving.api.problems import Problem
from serving.api.services import ApiServices

T = TypeVar("T")


def _services(request: Request) -> ApiServices:
    return cast("ApiServices", request.app.state.services)


def _acting(request: Request) -> Callable[[str], str]:
    person: str | None = getattr(request.state, "person", None)

    def name(by: str) -> str:
        if (why := taken(by)) is not None:
            raise Problem(HTTPStatus.FORBIDDEN, f"{why}. Nothing was changed.")
        if person is not None and by != person:
            raise Problem(
                HTTPStatus.FORBIDDEN, f"The token is {person}'s; it cannot act in the name of {by!r}."
            )
        return by

    return name


def _known(request: Request) -> Callable[[str], str]:
    acting, policy = _acting(request), _services(request).policy

    def name(by: str) -> str:
        acting(by)
        found = policy.who(by, "rest") if policy.knows_people else by
        if found is None:
            detail = f"{by} is nobody whom the policy knows. Nothing was changed."
            raise Problem(HTTPStatus.FORBIDDEN, detail)
        return found

    return name


Known = Annotated[Callable[[str], str], Depends(_known)]
"""The same for what people do and programs do not: where the policy knows people, it takes one of them; gives their
name."""
Acting = Annotated[Callable[[str], str], Depends(_acting)]
"""Checks the name that a request acts in against the person whose token it carries."""
Services = Annotated[ApiServices, Depends(_services)]
_PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
Identifier = Annotated[str, Path(max_length=200, pattern=_PRINTABLE, examples=["churn"])]
Filter = Annotated[str | None, Query(max_length=200, pattern=_PRINTABLE)]
Limit = Annotated[int, Query(ge=1, le=500, description="Entries per page.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.", max_length=300)]


def no_strangers(request: Request) -> None:
    """Refuse query parameters that the route does not know: a filter with a spelling mistake filters nothing, and the
    answer would look right. Raises `Problem` 422."""
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    known = sorted(
        each.alias for each in get_flat_params(route.dependant) if isinstance(each.field_info, QueryInfo)
    )
    strangers = sorted(set(request.query_params) - set(known))
    if strangers:
        there = f"it takes {', '.join(known)}" if known else "it takes none"
        detail = f"{request.url.path} knows no query parameter {', '.join(map(repr, strangers))}; {there}."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def opened(cursor: str | None, look_up: Callable[[str], object]) -> str | None:
    """The id inside a cursor. Raises `Problem` 422 for one that this API has not given, or whose entry
    `look_up` does not find."""
    if cursor is None:
        return None
    try:
        identifier = base64.urlsafe_b64decode(cursor.encode("ascii")).decode()
    except (binascii.Error, ValueError):
        identifier = ""
    if not identifier.isprintable() or look_up(identifier) is None:
        detail = f"cursor is {cursor!r}; it must be the next_cursor of an earlier answer."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    return identifier


def next_cursor(items: Sequence[T], limit: int, identify: Callable[[T], object]) -> str | None:
    """The cursor of the next page: `items` were asked for with one more than `limit`."""
    if len(items) <= limit:
        return None
    return base64.urlsafe_b64encode(str(identify(items[limit - 1])).encode()).decode()


def found(value: T | None, what: str, identifier: str) -> T:
    """The value, or a 404 that says what is not there."""
    if value is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"There is no {what} {identifier!r}.")
    return value
