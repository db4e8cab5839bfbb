"""What the numbers mean: a light for each area of a model, one sentence for all, and what is asked of the reader."""

from collections.abc import Sequence

from db.audit.verify import VerifyReport
from detectors.values import Alert, AlertKind, MetricPoint
from remediation.routing import still_firing
from remediation.values import Desired, Incident
from reporting import words
from reporting.measures import effect, of_kind
from reporting.values import Accounts, Check, IncidentStory, Light, ModelHealth, Waiting

AREAS: dict[AlertKind, str] = {
    "performance": "Performance",
    "estimated_performance": "Estimated performance",
    "concept_drift": "Concept drift",
    "data_drift": "Input drift",
    "prediction_drift": "Output drift",
    "data_quality": "Data quality",
    "volume": "Volume",
}
_SILENT: dict[AlertKind, str] = {
    "performance": "No labels have come back for the version that serves in this period.",
    "data_drift": "No input was measured for the version that serves in this period.",
    "prediction_drift": "No answer was measured for the version that serves in this period.",
    "data_quality": "No input was measured for the version that serves in this period.",
}
"""Of the areas that always have a line; the others have one where they were measured, or have an alarm."""
_LEADING = ("accuracy", "f1", "auc", "mae")
_ORDER: tuple[Light, ...] = ("act", "watch", "ok", "none")
_ENDED_BADLY = {
    "escalated": "could not be cured automatically",
    "rejected": "was left alone because its plan was rejected",
    "expired": "was left alone because nobody decided in time",
}


def worst(lights: Sequence[Light]) -> Light:
    """The light that needs the reader most."""
    for light in _ORDER:
        if light in lights:
            return light
    return "none"


def checks(
    points: Sequence[MetricPoint],
    alerts: Sequence[Alert],
    accounts: Accounts,
    serving: Desired | None,
) -> tuple[Check, ...]:
    """The traffic-light table of one model: the version that serves, in its newest window."""
    version = serving.version if serving else None
    own = [point for point in points if version is None or point.version == version]
    firing = {alert.kind: alert for alert in still_firing(alerts, version) if alert.segment == "all"}
    found = [_check(kind, of_kind(own, kind), firing.get(kind)) for kind in AREAS]
    return (*(check for check in found if check is not None), _books(accounts))


def _check(kind: AlertKind, points: Sequence[MetricPoint], alert: Alert | None) -> Check | None:
    area = AREAS[kind]
    if alert is not None:
        return Check(
            area=area, light="act", told=f"Alarm since {words.moment(alert.change_us)}: {alert.reason}"
        )
    if kind == "estimated_performance":
        points = _newest_estimates(points)
    known = [point for point in points if point.value is not None]
    if not known and kind in _SILENT:
        return Check(area=area, light="none", told=_SILENT[kind])
    if not known:
        because = points[-1].undefined if points else None
        return Check(area=area, light="none", told=f"Not told, because {because}.") if because else None
    newest_us = max(point.end_us for point in known)
    latest = [point for point in known if point.end_us == newest_us]
    breaches = sorted((one for one in latest if one.verdict == "breach"), key=effect, reverse=True)
    if breaches:
        told = "; ".join(_point(point) for point in breaches[:2])
        return Check(area=area, light="watch", told=f"Beyond its threshold in the newest window: {told}.")
    if kind in ("performance", "estimated_performance"):
        told = "; ".join(_point(one) for one in latest if one.measure.removeprefix("estimated_") in _LEADING)
        return Check(area=area, light="ok", told=f"{told}." if told else "All within their thresholds.")
    if kind == "concept_drift":
        return Check(area=area, light="ok", told="The labels show no other concept than the reference.")
    columns = len({point.feature for point in latest if point.feature})
    what = words.count(columns, "feature") if columns else words.count(len(latest), "measure")
    return Check(area=area, light="ok", told=f"All within their thresholds: {what} in the newest window.")


def _newest_estimates(points: Sequence[MetricPoint]) -> list[MetricPoint]:
    """Those of the newest window of events: an estimate that was withdrawn is not told as it was before."""
    events = [point for point in points if point.axis == "event"]
    newest_us = max((point.end_us for point in events), default=0)
    return [point for point in events if point.end_us == newest_us]


def _point(point: MetricPoint) -> str:
    name = words.measure(point.measure) + (f" of {point.feature}" if point.feature else "")
    text = f"{name} {words.number(point.measure, point.value)}"
    if point.low is not None and point.high is not None:
        low, high = (words.number(point.measure, one) for one in (point.low, point.high))
        text = f"{text}, {low} to {high}"
    if point.threshold is None:
        return text
    side = "below" if point.reference is not None and point.threshold < point.reference else "above"
    return f"{text} (alarm {side} {words.number(point.measure, point.threshold)})"


def _books(accounts: Accounts) -> Check:
    received, labels = accounts.predictions["received"], accounts.labels["label_received"]
    if not received and not labels:
        return Check(area="Accounting", light="none", told="No event has been counted yet.")
    if not accounts.closes:
        told = f"{words.count(accounts.missing, 'event')} without an account: on the way, or lost."
        return Check(area="Accounting", light="watch", told=told)
    told = (
        f"Every event has an account: {words.count(received, 'prediction')}, {words.count(labels, 'label')}."
    )
    return Check(area="Accounting", light="ok", told=told)


def conclude(
    models: Sequence[ModelHealth],
    incidents: Sequence[IncidentStory],
    waiting: Sequence[Waiting],
    audit: VerifyReport,
) -> tuple[Light, str, tuple[str, ...]]:
    """The verdict's light, its sentence, and what is asked of the reader (never empty)."""
    asks = [*_decisions(waiting), *_looks(incidents), *_examinations(audit, models)]
    light = _overall(models, incidents, waiting, audit)
    sentence = " ".join((_state(models, light), _past(incidents), _proof(audit))).strip()
    return light, sentence, tuple(asks) or ("Nothing: this report is for your information.",)


def _overall(
    models: Sequence[ModelHealth],
    incidents: Sequence[IncidentStory],
    waiting: Sequence[Waiting],
    audit: VerifyReport,
) -> Light:
    lights: list[Light] = [model.light for model in models]
    if waiting or not audit.ok:
        lights.append("act")
    if any(story.incident.closed_us is None for story in incidents):
        lights.append("watch")
    if any(story.incident.state in _ENDED_BADLY for story in incidents):
        lights.append("watch")
    return worst(lights)


def _state(models: Sequence[ModelHealth], light: Light) -> str:
    ill = [model.model for model in models if model.light == "act"]
    doubtful = [model.model for model in models if model.light == "watch"]
    if ill:
        return f"{', '.join(ill)} {'needs' if len(ill) == 1 else 'need'} attention now."
    if doubtful:
        return f"{', '.join(doubtful)} should be watched; no alarm is on."
    if light == "none":
        return "Nothing was measured in this period."
    if any(model.light == "ok" for model in models):
        names = [model.model for model in models if model.light == "ok"]
        return (
            f"{names[0]} is healthy." if len(names) == 1 else f"All {len(names)} measured models are healthy."
        )
    return "No model is measured now."


def _past(incidents: Sequence[IncidentStory]) -> str:
    if not incidents:
        return "No incident in this period."
    states = [story.incident.state for story in incidents]
    cured, bad = states.count("resolved"), sum(state in _ENDED_BADLY for state in states)
    still = len(states) - cured - bad
    if cured == len(states):
        return f"{words.count(cured, 'incident')} in this period, {'resolved' if cured == 1 else 'all resolved'}."
    parts = [
        f"{many} {how}"
        for many, how in ((cured, "resolved"), (still, "still open"), (bad, "left to people"))
        if many
    ]
    return f"{words.count(len(states), 'incident')} in this period: {', '.join(parts)}."


def _proof(audit: VerifyReport) -> str:
    if not audit.ok:
        return "The audit log is NOT intact."
    return (
        f"The audit log is intact ({words.count(audit.entries, 'entry', 'entries')})."
        if audit.entries
        else ""
    )


def _decisions(waiting: Sequence[Waiting]) -> list[str]:
    return [
        f"Decide on ticket {one.approval.id} before {words.moment(one.approval.expires_us)}: {deed(one)}."
        for one in waiting
    ]


def deed(one: Waiting) -> str:
    """What a ticket asks for, in words."""
    target = f" to version {one.plan.to_version}" if one.plan.to_version else ""
    return f"{one.plan.action} {one.plan.model} from version {one.plan.from_version}{target}"


def _looks(incidents: Sequence[IncidentStory]) -> list[str]:
    return [
        f"Look at {_named(story.incident)}." for story in incidents if story.incident.state in _ENDED_BADLY
    ]


def _named(incident: Incident) -> str:
    told = f": {incident.outcome.rstrip('.')}" if incident.outcome else ""
    return f"incident {incident.id} of {incident.model}, which {_ENDED_BADLY[incident.state]}{told}"


def _examinations(audit: VerifyReport, models: Sequence[ModelHealth]) -> list[str]:
    asks = (
        []
        if audit.ok
        else [f"Have the audit log examined: {audit.problems[0] if audit.problems else 'it differs'}"]
    )
    for model in models:
        if not model.accounts.closes:
            many = words.count(model.accounts.missing, "event")
            asks.append(
                f"If this stays so once the traffic is through: find out where {many} of {model.model} went."
            )
    return asks
