"""What the pages show, gathered from the journal and the measurements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from db.points import SqlRecordStore
from detectors.values import UNKNOWN_MODEL, Alert, Evidence, MetricPoint
from remediation.actions import RUNNING, cancelled
from remediation.incidents import OPEN_STATES
from remediation.inhibition import explanations
from remediation.ports import Reader
from remediation.routing import still_firing
from remediation.silences import told
from remediation.switches import PAUSE
from remediation.values import Action, Approval, Desired, Incident, IncidentState, Plan, Step
from serving import story, words
from serving.api.services import ApiServices
from serving.console.charts import LARGE, SPARK, Chart, draw
from serving.console.history import around

MEASURES = ("accuracy", "f1", "auc")
_WINDOWS = 40
_MOMENTS = 40
_DECIDED = 3
_EVIDENCE = 6
_SILENCES = 200
_ALERTS = 1_000
_LEFT: Final[dict[IncidentState, str]] = {
    "rejected": "left so",
    "expired": "left so, because nobody decided",
    "escalated": "handed to people",
}


@dataclass(frozen=True, slots=True)
class Left:
    """An incident that ended without a cure, of a version that serves and still is ill. `by`: who decided that."""

    incident: Incident
    how: str
    by: str | None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model at a glance. `left`: what it is ill of while nothing is done about it; `undefined`: why its newest
    window is compared with nothing."""

    name: str
    desired: Desired | None
    status: words.Status
    charts: Sequence[Chart]
    incidents: Sequence[Incident]
    left: Left | None
    undefined: str | None


@dataclass(frozen=True, slots=True)
class Ticket:
    """An approval with everything that a person needs to decide."""

    approval: Approval
    plan: Plan
    incident: Incident
    evidence: Sequence[tuple[Alert, Evidence]]


@dataclass(frozen=True, slots=True)
class SilenceLine:
    """One silence; `again` tells when a maintenance window comes."""

    id: str
    covers: str
    status: words.Status
    again: str
    until_us: int
    holds: int
    author: str
    reason: str
    can_end: bool
    ended_by: str | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The first page. `decided`: with what keeps a decision from being carried out."""

    models: Sequence[ModelCard]
    tickets: Sequence[Ticket]
    decided: Sequence[tuple[Approval, str | None]]
    incidents: Sequence[Incident]
    moments: Sequence[story.Moment]
    last_index: int


@dataclass(frozen=True, slots=True)
class IncidentView:
    """Everything about one incident. `explained`: for the id of an alert, the one that explains it; `running`: actions
    under way, with the step in which a person asked to stop them; `delays`: by the id of a ticket, what its
    decision waits for."""

    incident: Incident
    alerts: Sequence[Alert]
    explained: Mapping[str, Alert]
    plans: Sequence[tuple[Plan, Sequence[Approval], Sequence[Action]]]
    running: Sequence[tuple[Action, Step | None]]
    tickets: Sequence[Ticket]
    charts: Sequence[Chart]
    moments: Sequence[story.Moment]
    delays: Mapping[str, str | None]


def silences(services: ApiServices) -> list[SilenceLine]:
    """Silences, those that are not over first, then the newest first."""
    now_us = services.clock.now_us()
    with services.journal.reading() as unit:
        found = unit.silences(limit=_SILENCES)
        held = [each.silence_id for each in unit.held()]
    tones = {"in force": "ask", "waiting": "busy", "over": "still"}
    lines: list[SilenceLine] = []
    for each in found:
        state = each.state(now_us)
        again = f"{each.lasts_s / 3_600:g} h from `{each.schedule}`" if each.schedule and each.lasts_s else ""
        lines.append(
            SilenceLine(
                id=each.id,
                covers=told(each.matchers),
                status=words.toned(state.capitalize(), tones[state]),
                again=again,
                until_us=each.until_us,
                holds=held.count(each.id),
                author=each.author,
                reason=each.reason,
                can_end=state != "over",
                ended_by=each.ended_by,
            )
        )
    return sorted(lines, key=lambda line: not line.can_end)


def overview(services: ApiServices) -> Overview:
    """Models, what waits for a decision, recent incidents, and what happened last."""
    measured = services.records.models()
    with services.journal.reading() as unit:
        names = sorted({*measured, *unit.deployed_models()} - {UNKNOWN_MODEL})
        entries = unit.audit_entries(limit=_MOMENTS)
        waiting = unit.approvals(state="pending", limit=50)
        decided = [each for each in unit.approvals(limit=20) if each.state != "pending"][:_DECIDED]
        return Overview(
            models=[_model_card(services.records, unit, name) for name in names],
            tickets=[ticket for each in waiting if (ticket := _ticket(unit, each)) is not None],
            decided=[(each, services.delay(unit, unit.plan(each.plan_id), each)) for each in decided],
            incidents=unit.incidents(limit=8),
            moments=story.told(entries, services.records.alerts(limit=_MOMENTS))[:_MOMENTS],
            last_index=max((entry.index or 0 for entry in entries), default=-1),
        )


def incident_view(services: ApiServices, incident_id: str) -> IncidentView | None:
    """The incident, or None when there is none."""
    with services.journal.reading() as unit:
        incident = unit.incident(incident_id)
        if incident is None:
            return None
        alerts, plans = unit.alerts(incident_id), unit.plans(incident_id)
        approvals, actions = unit.approvals(incident_id=incident_id), unit.actions(incident_id=incident_id)
        entries = story.entries(unit, incident, plans, approvals, actions)
        tickets = [_ticket(unit, each) for each in approvals if each.state == "pending"]
        planned = {each.id: each for each in plans}
        delays = {each.id: services.delay(unit, planned.get(each.plan_id), each) for each in approvals}
    return IncidentView(
        incident=incident,
        alerts=alerts,
        explained=explanations(alerts),
        plans=[
            (
                plan,
                [each for each in approvals if each.plan_id == plan.id],
                [each for each in actions if each.plan_id == plan.id],
            )
            for plan in plans
        ],
        running=[(each, cancelled(each)) for each in actions if each.state in RUNNING],
        tickets=[ticket for ticket in tickets if ticket is not None],
        charts=_incident_charts(services, incident),
        moments=story.told(entries, alerts)[::-1],
        delays=delays,
    )


def moments_after(services: ApiServices, index: int) -> list[story.Moment]:
    """What the audit log and the judge told after `index`, oldest first. Alerts have no index: the newest ones
    come every time, and the reader knows by their keys which are new."""
    alerts = services.records.alerts(limit=20)
    with services.journal.reading() as unit:
        entries = unit.audit_entries(after=index, limit=200, newest_first=False)
    return story.told(entries, alerts)[::-1]


def fingerprint(services: ApiServices) -> str:
    """Changes when a page would look different."""
    with services.journal.reading() as unit:
        pending = [each.id for each in unit.approvals(state="pending", limit=50)]
        incidents = [(each.id, each.state) for each in unit.incidents(limit=8)]
        actions = [(each.id, each.state, len(each.steps)) for each in unit.actions(limit=3)]
        paused = unit.switch(PAUSE)
        served = {name: unit.desired(name) for name in unit.deployed_models()}
        epochs = [(name, desired.epoch if desired else 0) for name, desired in served.items()]
    newest = [
        (name, [point.id for point in services.records.series(name, "accuracy", limit=1)])
        for name in services.records.models()
    ]
    unmeasured = [services.records.without_reference(name) for name in services.records.models()]
    return repr((pending, incidents, actions, paused, epochs, newest, unmeasured))


def _model_card(records: SqlRecordStore, unit: Reader, name: str) -> ModelCard:
    desired, open_ones = unit.desired(name), unit.incidents(model=name, states=OPEN_STATES, limit=5)
    charts, left = _charts(records, name), None if open_ones else _left(records, unit, name, desired)
    if open_ones:
        state = words.status(open_ones[0].state)
    elif left is not None:
        state = words.toned("Ill, and left so", "bad")
    elif not charts:
        state = words.toned("No labelled window yet", "still")
    elif any(chart.breach for chart in charts):
        state = words.toned("Below its threshold, no incident open", "busy")
    else:
        state = words.toned("Healthy", "good")
    return ModelCard(name, desired, state, charts, open_ones, left, records.without_reference(name))


def _left(records: SqlRecordStore, unit: Reader, name: str, desired: Desired | None) -> Left | None:
    """None where the model is well again, where another version serves now, or where nobody left it so."""
    incident = next(iter(unit.incidents(model=name, limit=1)), None)
    if incident is None or incident.state not in _LEFT:
        return None
    if desired is not None and desired.version != incident.version:
        return None
    since = records.alerts(name, since_us=incident.change_us, limit=_ALERTS)
    if not still_firing([*unit.alerts(incident.id), *since], incident.version):
        return None
    decided = [each for each in unit.approvals(incident_id=incident.id) if each.state == "rejected"]
    return Left(incident, _LEFT[incident.state], decided[0].decided_by if decided else None)


def _charts(records: SqlRecordStore, model: str) -> list[Chart]:
    drawn = (draw(name, _points(records, model, name, _WINDOWS), SPARK) for name in MEASURES)
    return [chart for chart in drawn if chart is not None]


def _incident_charts(services: ApiServices, incident: Incident) -> list[Chart]:
    now_us, marks = services.clock.now_us(), _marks(incident)
    found = ((name, around(services.records, incident, name, now_us=now_us)) for name in MEASURES)
    drawn = (draw(name, points, LARGE, marks) for name, points in found)
    return [chart for chart in drawn if chart is not None]


def _points(records: SqlRecordStore, model: str, measure: str, windows: int) -> list[MetricPoint]:
    """By the time of labels, as the judge decides; by the time of predictions where there is nothing else."""
    by_label = records.series(model, measure, axis="label", limit=windows)
    return by_label or records.series(model, measure, axis="event", limit=windows)


def _marks(incident: Incident) -> list[tuple[int, str]]:
    named = (
        (incident.change_us, "change"),
        (incident.opened_us, "detected"),
        (incident.acted_us, "acted"),
        (incident.closed_us, "closed"),
    )
    return [(at_us, name) for at_us, name in named if at_us]


def _ticket(unit: Reader, approval: Approval) -> Ticket | None:
    plan, incident = unit.plan(approval.plan_id), unit.incident(approval.incident_id)
    if plan is None or incident is None:
        return None
    crossed = [(alert, each) for alert in unit.alerts(incident.id) for each in alert.evidence]
    crossed.sort(key=lambda pair: -pair[1].effect)
    return Ticket(approval, plan, incident, crossed[:_EVIDENCE])
