"""A service that was ill before a release is as ill after the rollback: for that neither is to blame.

What a rollback has to bring back is what the release took, and no more; what is left is the service's own illness, and
an incident of its own.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from statistics import median

from detectors.values import Alert, MetricPoint
from remediation.clock import seconds
from remediation.facets import of_operation, of_traffic
from remediation.identity import incident_id
from remediation.incidents import AGENT, opened_by
from remediation.ports import Reader, Unit
from remediation.requests import LEAST_FAILING, LEAST_RISE
from remediation.routing import still_firing
from remediation.tenures import brought
from remediation.values import Desired, Incident

_LATENCY = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")
_FAILURES = ("error_rate", "missing_rate")
_FAMILIES = (_LATENCY, _FAILURES)
_LAST = 5
"""Windows right before a release."""
_WORSE = 1.5
"""Times what a measure was: the window in which the service fell ill is ill in part, and quantiles jump."""
_MANY = 10_000
_PAST = 5

Lines = Mapping[str, float]
"""By measure of the service: below it a window is as those right before the release were."""


def lines(
    unit: Reader,
    incident: Incident,
    deployments: Sequence[Desired],
    version: str,
    *,
    acted_us: int,
    history_s: float,
) -> Lines:
    """Half-way between what a measure was right before the release of the ill version and what it was with it; only of
    what was ill before it by what was told of `version` (by then or since) or by its last windows, and only where that
    is the one that was released over."""
    release = brought(deployments, incident.version)
    if release is None or release.before != version:
        return {}
    released_us = release.by.at_us
    told = _told_before(unit, incident, version, released_us)
    found: dict[str, float] = {}
    for measures in _FAMILIES:
        known = {
            measure: _points(
                unit, incident.model, version, measure, released_us - seconds(history_s), released_us
            )
            for measure in measures
        }
        since_us = min([*_named(told, measures), *_in_breach(known)], default=None)
        if since_us is None:
            continue
        for measure, points in known.items():
            before = [each for each in points[-_LAST:] if each.start_us >= since_us] or points[-1:]
            since = _points(unit, incident.model, incident.version, measure, incident.change_us, acted_us)
            if before and since:
                found[measure] = _half_way(measure, _median(before), _median(since))
    return found


def as_before(point: MetricPoint, known: Lines) -> bool:
    """Whether a point says that the service is as ill as before the release, and not more."""
    line = known.get(point.measure) if point.feature is None else None
    return line is not None and point.value is not None and point.value < line


def is_lasting(alert: Alert, known: Lines) -> bool:
    """Whether an alert is only about what was ill before the release: of slow requests, of failing ones, or of both."""
    ill = [family for family in _FAMILIES if known.keys() & set(family)]
    return bool(alert.evidence) and all(
        each.feature is None and any(each.measure in family for family in ill) for each in alert.evidence
    )


def open_what_remains(unit: Unit, incident: Incident, *, now_us: int, hold_s: float) -> Incident | None:
    """An incident of its own for a service that is still ill when an incident about something else is resolved; None
    where it is not, or where people have been told of it in the last `hold_s` seconds, and it was left to them."""
    desired = unit.desired(incident.model)
    if desired is None:
        return None
    own = still_firing(unit.alerts(incident.id), incident.version)
    if incident.version == desired.version and all(map(of_operation, own)):
        # The service is what was cured: its all clear comes later than the proof.
        return None
    ill = _of_service(unit, incident, desired.version)
    past = unit.incidents(model=incident.model, limit=_PAST)
    left = [
        each
        for each in past
        if each.id != incident.id
        and each.state != "resolved"
        and now_us - (each.closed_us or 0) <= seconds(hold_s)
    ]
    if not ill or any(_was_told(unit, each, desired.version) for each in left):
        return None
    first = min(ill, key=lambda each: (each.change_us, each.id))
    note = f"{incident.id} is resolved, and was about something else"
    opened = opened_by(first, desired.version, incident_id(f"{incident.id}/{first.id}", now_us), now_us, note)
    unit.add_incident(opened, actor=AGENT)
    return opened


def _told_before(unit: Reader, incident: Incident, version: str, released_us: int) -> list[Alert]:
    """What was told of the service of a version that was ill when it was released over, whenever it was told."""
    past = {incident.id, *(each.id for each in unit.incidents(model=incident.model, limit=_PAST))}
    known = [alert for each in sorted(past) for alert in unit.alerts(each) if alert.version == version]
    fired = [each for each in known if each.change_us < released_us and _is_of_service(each)]
    cleared = [each for each in known if each.state == "cleared" and each.end_us <= released_us]
    return still_firing([*fired, *cleared])


def _named(told: Iterable[Alert], measures: Collection[str]) -> Iterator[int]:
    """When what alerts tell of these measures began."""
    for alert in told:
        if any(each.feature is None and each.measure in measures for each in alert.evidence):
            yield alert.change_us


def _in_breach(known: Mapping[str, Sequence[MetricPoint]]) -> Iterator[int]:
    """When the last windows in breach began."""
    for points in known.values():
        ill = [*takewhile(lambda each: each.verdict == "breach", reversed(points))]
        if ill:
            yield ill[-1].start_us


def _of_service(unit: Reader, incident: Incident, version: str) -> list[Alert]:
    return [each for each in still_firing(unit.alerts(incident.id), version) if _is_of_service(each)]


def _was_told(unit: Reader, past: Incident, version: str) -> bool:
    """Whether people were told by an incident that the service of a version is ill; what remained of another one has no
    alerts of its own."""
    same = past.version == version and past.cause == "serving_problem"
    return same or bool(_of_service(unit, past, version))


def _is_of_service(alert: Alert) -> bool:
    return of_operation(alert) and not of_traffic(alert)


def _points(
    unit: Reader, model: str, version: str, measure: str, since_us: int, until_us: int
) -> list[MetricPoint]:
    # Nothing that came later may use up the limit: there is a point of every feature and segment, too.
    found = unit.points(
        model,
        version=version,
        measures=(measure,),
        axis="event",
        since_us=since_us,
        until_us=until_us + 1,
        limit=_MANY,
    )
    return [
        each for each in found if each.feature is None and each.segment == "all" and each.value is not None
    ]


def _median(points: Sequence[MetricPoint]) -> float:
    return median(each.value or 0.0 for each in points)


def _half_way(measure: str, before: float, ill: float) -> float:
    """And never nearer to what was before than what counts as a rise. Of what the release did not plainly make worse
    there is nothing to be had back: it must not have become worse since."""
    if ill < _WORSE * before:
        return _WORSE * max(before, ill)
    if not measure.startswith("latency"):
        return max((before + ill) / 2, before + LEAST_FAILING)
    return max(math.sqrt(max(before, 0.0) * max(ill, 0.0)), before * math.exp(LEAST_RISE))
