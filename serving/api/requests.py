"""Counting requests by route, for Prometheus."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter


def add_request_metrics(app: FastAPI) -> None:
    """Count every answer under its route's template (never its path: ids would be labels without end).

    The counts are in `app.state.request_metrics`, a registry of this application alone.
    """
    registry = CollectorRegistry()
    counter = Counter(
        "homeostat_api_requests",
        "Requests by what was answered",
        ["method", "route", "status"],
        registry=registry,
    )
    app.state.request_metrics = registry

    @app.middleware("http")
    async def count(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        route = getattr(request.scope.get("route"), "path", "none")
        counter.labels(request.method, route, str(response.status_code)).inc()
        return response
