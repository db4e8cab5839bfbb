"""The application: routes, errors, protection, description."""

from typing import Any

from fastapi import Depends, FastAPI

from serving.api import (
    actions,
    agent,
    approvals,
    audit,
    changes,
    incidents,
    models,
    playbooks,
    silences,
    system,
)
from serving.api.access import no_strangers
from serving.api.problems import MEDIA_TYPE, add_problems
from serving.api.protection import add_protection
from serving.api.requests import add_request_metrics
from serving.api.schemas import ProblemOut
from serving.api.services import ApiServices
from serving.costs import Costs

_DESCRIPTION = (
    "Incidents, approvals, actions, models and the audit log of Homeostat. Lists are newest first and paged by an "
    "opaque cursor. Errors are problem details (RFC 9457). Times are RFC 3339 in UTC."
)
_REFERENCE: dict[str, Any] = {
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "The request cannot be fulfilled; `detail` says what would be right",
        **_REFERENCE,
    },
    "5XX": {"description": "A part of Homeostat is away or broken", **_REFERENCE},
}


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The description, with the schema that every error refers to."""
        if self.openapi_schema is None:
            described = super().openapi()
            described["components"]["schemas"]["ProblemOut"] = ProblemOut.model_json_schema()
        return super().openapi()


def create_api(services: ApiServices) -> FastAPI:
    """The REST API under `/api/v1`, with `/healthz`, `/metrics` and its description at `/openapi.json`."""
    app = _Api(
        title="Homeostat",
        version="1",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        responses=_ERRORS,
    )
    app.state.services = services
    app.state.costs = Costs(services.journal, services.clock)
    add_protection(app, services)
    add_problems(app)
    add_request_metrics(app)
    for room in (incidents, actions, approvals, agent, silences, changes, playbooks, models, audit, system):
        app.include_router(room.router, prefix="/api/v1", dependencies=[Depends(no_strangers)])
    app.include_router(system.probes)
    return app
