"""Routes about the system itself: accounting, health, metrics."""

from typing import Any, cast

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, Summary, generate_latest
from pydantic import BaseModel

from remediation.clock import US_PER_S
from remediation.durations import phases
from remediation.incidents import OPEN_STATES
from remediation.switches import PAUSE
from remediation.values import CLOSED_INCIDENTS
from serving.api.access import Services
from serving.api.schemas import Health
from serving.costs import Costs

_CLOSED = 50

router = APIRouter(tags=["system"])
probes = APIRouter(tags=["system"])


class Accounts(BaseModel):
    """Both equations of every model: where each event went, and whether the sums close."""

    models: dict[str, dict[str, Any]]
    closes: bool


@router.get("/accounting", summary="Where every event went")
def accounting(services: Services) -> Accounts:
    """Both equations of each model; `closes` when nothing is missing anywhere."""
    models = {model: services.records.accounting_totals(model) for model in _accounted(services)}
    return Accounts(models=models, closes=all(each["closes"] for each in models.values()))


@router.get("/health", summary="Each part's state")
def health(services: Services) -> Health:
    """Answers 503 when the database does not. `parts` says also when each agent last looked at its incidents, and who
    has paused all actions."""
    now_us = services.clock.now_us()
    with services.journal.reading() as unit:
        unit.incidents(limit=1)
        beats, switch = unit.heartbeats(), unit.switch(PAUSE)
    worked = {name: f"worked {max(0, now_us - at_us) / US_PER_S:.0f} s ago" for name, at_us in beats.items()}
    paused = {"actions": f"paused by {switch.by}: {switch.reason}"} if switch and switch.on else {}
    return Health(status="ok", parts=services.health() | worked | paused)


@probes.get("/healthz", summary="Alive")
def healthz(services: Services) -> Health:
    """For probes: the process answers and the database too."""
    return health(services)


@probes.get("/metrics", summary="Prometheus metrics", response_class=Response)
def metrics(services: Services, request: Request) -> Response:
    """Requests, open incidents, pending approvals, and the accounting of every model."""
    registry = CollectorRegistry()
    incidents = Gauge(
        "homeostat_open_incidents", "Incidents that have not ended", ["model"], registry=registry
    )
    pending = Gauge("homeostat_pending_approvals", "Tickets that wait for a person", registry=registry)
    events = Gauge(
        "homeostat_events", "Events by what became of them", ["model", "account"], registry=registry
    )
    lasted = Summary(
        "homeostat_incident_phase_seconds",
        f"Time of each phase of the last {_CLOSED} incidents that ended",
        ["phase"],
        registry=registry,
    )
    costs = _cost_summaries(registry)
    missing = Gauge("homeostat_events_missing", "Events without an account", ["model"], registry=registry)
    stuck = Gauge(
        "homeostat_overdue_steps",
        "Steps of incidents that should have been taken minutes ago",
        registry=registry,
    )
    heard = Gauge(
        "homeostat_agent_heartbeat_seconds",
        "When an agent last looked at its incidents, as seconds since the epoch",
        ["agent"],
        registry=registry,
    )
    with services.journal.reading() as unit:
        stuck.set(len(services.stuck(unit, now_us=services.clock.now_us())))
        for name, at_us in unit.heartbeats().items():
            heard.labels(name).set(at_us / US_PER_S)
        pending.set(len(unit.approvals(state="pending", limit=500)))
        for incident in unit.incidents(states=OPEN_STATES, limit=500):
            incidents.labels(incident.model).inc()
        closed = unit.incidents(states=sorted(CLOSED_INCIDENTS), limit=_CLOSED)
        for incident in closed:
            for phase, duration_s in phases(incident, unit.approvals(incident_id=incident.id)).items():
                lasted.labels(phase).observe(duration_s)
    counted = cast("Costs", request.app.state.costs).of(closed)
    for incident in closed:
        if incident.id in counted:
            for name, summary in costs.items():
                value = getattr(counted[incident.id], name)
                if value is not None:
                    summary.labels(incident.model).observe(value)
    for model in _accounted(services):
        totals = services.records.accounting_totals(model)
        for side in ("predictions", "labels"):
            for account, count in totals[side].items():
                if account != "missing":
                    events.labels(model, account).set(count)
        missing.labels(model).set(totals["predictions"]["missing"] + totals["labels"]["missing"])
    text = generate_latest(registry) + generate_latest(request.app.state.request_metrics)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _cost_summaries(registry: CollectorRegistry) -> dict[str, Summary]:
    """By the field of `Cost` that each is of."""
    told = {
        "rows": ("ill_predictions", "Predictions of the ill version from the onset until something was done"),
        "errors": ("excess_errors", "Labels of that time that were wrong beyond what the reference expects"),
        "error_rise": ("excess_absolute_error", "Mean absolute error of that time above the reference's"),
    }
    return {
        field: Summary(
            f"homeostat_incident_{name}",
            f"{help_text}, per incident of the last {_CLOSED} that ended",
            ["model"],
            registry=registry,
        )
        for field, (name, help_text) in told.items()
    }


def _accounted(services: Services) -> list[str]:
    return sorted({count.model for count in services.records.accounting()})
