"""Routes of the console, and the headers that keep a page to itself."""

from collections.abc import Callable
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, cast, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined

from db.errors import StoreError
from remediation.clock import SystemClock
from remediation.switches import PAUSE, Switch
from remediation.values import IncidentState
from serving import story, words
from serving.api.protection import needs_token
from serving.api.services import ApiServices
from serving.console import events, views

_STATIC = Path(__file__).parent / "static"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_AUDIT_PAGE = 100

_Field = Annotated[str, Query(max_length=200)]

Render = Callable[..., Response]


def add_console(app: FastAPI, services: ApiServices) -> None:
    """Serve the console at `/` of `app`: pages, their static files and the stream of events."""
    render = _renderer(services)
    app.mount("/console/static", StaticFiles(directory=_STATIC), name="console-static")
    app.include_router(events.create_events(services, render_moment=_moment_renderer()))
    app.include_router(_pages(services, render))


def _pages(services: ApiServices, render: Render) -> APIRouter:
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @router.get("/")
    def overview() -> Response:
        return _guarded(render, lambda: render("overview.html", view=views.overview(services)))

    @router.get("/incidents")
    def incidents(state: _Field = "", model: _Field = "") -> Response:
        def page() -> Response:
            states = [each for each in get_args(IncidentState) if each == state] or None
            with services.journal.reading() as unit:
                found = unit.incidents(model=_typed(model), states=states, limit=100)
            return render("incidents.html", incidents=found, state=state, model=model)

        return _guarded(render, page)

    @router.get("/incidents/{incident_id}")
    def incident(incident_id: str) -> Response:
        def page() -> Response:
            view = views.incident_view(services, incident_id) if incident_id.isprintable() else None
            if view is None:
                return _sorry(render, HTTPStatus.NOT_FOUND, f"There is no incident {incident_id}.")
            return render("incident.html", view=view)

        return _guarded(render, page)

    @router.get("/silences")
    def silences() -> Response:
        return _guarded(render, lambda: render("silences.html", view=views.silences(services)))

    @router.get("/audit")
    def audit(
        request: Request,
        actor: _Field = "",
        action: _Field = "",
        subject: _Field = "",
        before: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    ) -> Response:
        def page() -> Response:
            with services.journal.reading() as unit:
                entries = unit.audit_entries(
                    actor=_typed(actor),
                    action=_typed(action),
                    subject=_typed(subject),
                    before=before,
                    limit=_AUDIT_PAGE + 1,
                )
            shown, more = entries[:_AUDIT_PAGE], len(entries) > _AUDIT_PAGE
            filters = {"actor": actor, "action": action, "subject": subject}
            given = {name: value for name, value in filters.items() if value}
            older = request.url.include_query_params(before=shown[-1].index) if more else None
            return render("audit.html", entries=shown, filters=given, older=older, query=urlencode(given))

        return _guarded(render, page)

    return router


def _needs_token(services: ApiServices) -> bool:
    """While the database is away nothing can be changed anyway."""
    try:
        return needs_token(services)
    except StoreError:
        return False


def _paused(services: ApiServices) -> Switch | None:
    """Who has paused all actions, if somebody has."""
    try:
        with services.journal.reading() as unit:
            switch = unit.switch(PAUSE)
    except StoreError:
        return None
    return switch if switch is not None and switch.on else None


def _typed(value: str) -> str | None:
    """What a person typed into a filter; an empty field filters nothing, and what cannot be typed is left out."""
    return value if value and value.isprintable() else None


def _guarded(render: Render, page: Callable[[], Response]) -> Response:
    try:
        return page()
    except StoreError as error:
        return _sorry(render, HTTPStatus.SERVICE_UNAVAILABLE, str(error))


def _sorry(render: Render, status: HTTPStatus, detail: str) -> Response:
    response = render("sorry.html", title=status.phrase, detail=detail)
    response.status_code = status
    return response


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("serving.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    _known(environment).update(words=words, asset=_asset)
    return environment


def _known(environment: Environment) -> dict[str, Any]:
    """The names that every template knows."""
    return cast("dict[str, Any]", environment.globals)


def _renderer(services: ApiServices) -> Render:
    environment, clock = _environment(), SystemClock()
    _known(environment)["installation"] = services.environment

    def render(template: str, **content: Any) -> Response:
        text = environment.get_template(template).render(
            now_us=clock.now_us(),
            token_needed=_needs_token(services),
            paused=_paused(services),
            **content,
        )
        return HTMLResponse(text, headers=_HEADERS)

    return render


def _moment_renderer() -> Callable[[story.Moment], str]:
    template = _environment().get_template("_moment.html")
    return lambda moment: template.render(moment=moment)


def _asset(name: str) -> str:
    """The address of a static file, with its content in it, so that no browser keeps an old one."""
    digest = sha256((_STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/console/static/{name}?v={digest}"
