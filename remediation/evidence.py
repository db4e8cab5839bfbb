"""What is known about one incident, as a value, and the comparisons that a diagnosis is made of."""

import math
from collections.abc import Iterable, Sequence

import msgspec

from detectors.values import Alert, AlertKind, Axis, Evidence, MetricPoint, Value
from remediation.causes.telling import count
from remediation.changes import Change, near
from remediation.clock import seconds
from remediation.config import DiagnosisConfig
from remediation.experience import Precedent, precedents
from remediation.facets import concerns, is_of_service, of_operation
from remediation.ports import Reader
from remediation.tenures import brought
from remediation.testimony import Testimony
from remediation.values import Desired, Incident

RATES = ("accuracy", "balanced_accuracy", "f1")
"""Performance measures that are (near enough) shares of rows, the first that is there is compared."""

OUTCOMES: tuple[AlertKind, ...] = ("performance", "concept_drift")
"""Kinds of alert that labels speak in."""

_ANSWERS = ("positive_rate",)
_WINDOWS = 20
_PLAIN = 1.5
"""Times its threshold."""
_AGAIN_Z = 2.5

BREAK_MEASURES = frozenset({"missing_rate", "point_mass"})
"""Data-quality measures that the world does not produce by moving: something upstream is broken."""

ARRIVALS = frozenset({"clock_ahead_share", "late_share", "event_age_s", "duplicate_share", "refused_share"})
"""How events arrive: clocks that are wrong, data that are late, come again or do not fit. Nothing that a model could
learn."""

CERTAIN_BREAKS = frozenset({"misaligned_columns", "unit_change", "constant_column"}) | ARRIVALS
"""Findings that say what is broken; their value is no share of the rows that broke."""


class Facts(Value, frozen=True, kw_only=True):
    """Everything a diagnosis may look at. `points` are those of the ill version and of its predecessor;
    `deployments` every version that was made to serve, oldest first; `blamed` the versions that were found to
    be bad releases; `changes` what else happened around the onset, the nearest first; `precedents` past incidents that
    showed the same; `gone` features without a value in today's traffic; `unsound` versions whose files
    cannot be used, with the reason; `testimony` what the rows around the release say (None: nobody asked)."""

    incident: Incident
    alerts: tuple[Alert, ...]
    points: tuple[MetricPoint, ...]
    deployments: tuple[Desired, ...]
    desired: Desired | None
    blamed: frozenset[str]
    now_us: int
    changes: tuple[Change, ...] = ()
    precedents: tuple[Precedent, ...] = ()
    gone: frozenset[str] = frozenset()
    unsound: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    testimony: Testimony | None = None

    @property
    def version(self) -> str:
        """The ill version."""
        return self.incident.version

    def firing(self, *kinds: AlertKind, version: str | None = None) -> list[Alert]:
        """Alerts of the ill version (or of `version`) that fire, of these kinds (none given: all), in order of time: in
        each series all that were told since its last all clear, for what was told first still holds."""
        found = [
            each for each in _burning(self.alerts, version or self.version) if not kinds or each.kind in kinds
        ]
        return sorted(found, key=lambda each: (each.end_us, each.id))

    def quality(self, measures: frozenset[str] | None = None) -> list[Evidence]:
        """What is wrong with the data that come (not with the service), of these measures if given, greatest effect
        first."""
        found = strongest(self.firing("data_quality"), measures)
        return [each for each in found if not is_of_service(each)]

    def service(self) -> list[Evidence]:
        """Slow or failing requests, greatest effect first; a request without an answer has failed."""
        found = strongest(self.firing("data_quality"))
        return [each for each in found if is_of_service(each)]

    @property
    def span_us(self) -> int:
        """The longest window that an alert is about: how long the next one may take."""
        return max((each.end_us - each.start_us for each in self.firing()), default=0)

    def arrivals(self) -> list[Alert]:
        """Those of the firing alerts that say how events arrive."""
        return [
            each
            for each in self.firing("data_quality")
            if each.evidence and all(one.measure in ARRIVALS for one in each.evidence)
        ]

    def release(self) -> Desired | None:
        """The deployment that brought the ill version, if another version served before it."""
        found = brought(self.deployments, self.version)
        return found.by if found is not None else None

    def predecessor(self) -> str | None:
        """The version that served before the ill one was released."""
        found = brought(self.deployments, self.version)
        return found.before if found is not None else None

    def windows(self, version: str, axis: Axis, *, until_us: int | None = None) -> list["Window"]:
        """The windows of a version in order of time; `until_us` keeps those that ended by then."""
        return windows(
            point
            for point in self.points
            if point.version == version
            and point.axis == axis
            and (until_us is None or point.end_us <= until_us)
        )


class Window(Value, frozen=True, kw_only=True):
    """All measures of one window of one version."""

    name: str
    start_us: int
    end_us: int
    points: tuple[MetricPoint, ...]

    @property
    def measured(self) -> bool:
        """At least one measure could be computed."""
        return any(point.verdict != "undefined" for point in self.points)

    @property
    def in_breach(self) -> bool:
        """At least one measure is beyond its threshold."""
        return any(point.verdict == "breach" for point in self.points)


class Rate(Value, frozen=True, kw_only=True):
    """A share over the rows of some windows."""

    measure: str
    value: float
    rows: int


def gather(unit: Reader, incident: Incident, *, now_us: int, near_s: float) -> Facts:
    """Read what can be read often: everything but the points. `near_s`: how long before the onset a change can have
    begun that has to do with it."""
    onset_us = incident.change_us
    changes = unit.changes(since_us=onset_us - seconds(near_s), until_us=onset_us + seconds(near_s))
    return Facts(
        incident=incident,
        alerts=alerts_of(unit, incident),
        points=(),
        deployments=tuple(unit.deployments(incident.model)),
        desired=unit.desired(incident.model),
        blamed=_blamed(unit, incident),
        now_us=now_us,
        changes=near(changes, incident.model, onset_us, near_s),
    )


def alerts_of(unit: Reader, incident: Incident) -> tuple[Alert, ...]:
    """Those that hold still though they came to the incident before, and its own."""
    own = unit.alerts(incident.id)
    return (*_carried_over(unit, incident, own), *own)


def still_so(unit: Reader, facts: Facts) -> bool:
    """Whether nothing has come since the facts were gathered that could say otherwise: no alert, no decision about what
    serves, and no change of the incident."""
    incident = facts.incident
    known = {each.id for each in facts.alerts}
    return (
        unit.incident(incident.id) == incident
        and unit.desired(incident.model) == facts.desired
        and all(each.id in known for each in unit.alerts(incident.id))
    )


def with_points(unit: Reader, facts: Facts, config: DiagnosisConfig) -> Facts:
    """Add past incidents that showed the same, and points: on the label axis of every version that ever served, on the
    event axis (many more, one per feature) the answers of the ill version, and all of those around the release that
    brought it. Where windows are long, so is the history."""
    model = facts.incident.model
    since_us = facts.incident.change_us - max(seconds(config.history_s), _WINDOWS * facts.span_us)
    versions = sorted({facts.version, *(each.version for each in facts.deployments)})
    points = [
        point
        for version in versions
        for point in unit.points(model, version=version, axis="label", since_us=since_us, limit=50_000)
    ]
    release, before = facts.release(), facts.predecessor()
    if release is None or before is None:
        points += unit.points(
            model, version=facts.version, measures=_ANSWERS, axis="event", since_us=since_us, limit=50_000
        )
    else:
        span = max(seconds(config.release_span_s), _WINDOWS * facts.span_us)
        for version in (before, facts.version):
            points += unit.points(
                model,
                version=version,
                axis="event",
                since_us=release.at_us - span,
                until_us=release.at_us + span,
                limit=50_000,
            )
        if release.at_us + span < facts.now_us:
            points += unit.points(
                model,
                version=facts.version,
                measures=_ANSWERS,
                axis="event",
                since_us=max(since_us, release.at_us + span),
                limit=50_000,
            )
    known = precedents(unit, facts.incident, facts.firing())
    return msgspec.structs.replace(facts, points=tuple(points), precedents=known)


def windows(points: Iterable[MetricPoint]) -> list[Window]:
    """Points grouped by window, in order of time."""
    grouped: dict[tuple[int, int, str], list[MetricPoint]] = {}
    for point in points:
        if point.segment == "all":
            grouped.setdefault((point.end_us, point.start_us, point.window), []).append(point)
    return [
        Window(name=name, start_us=start_us, end_us=end_us, points=tuple(grouped[end_us, start_us, name]))
        for end_us, start_us, name in sorted(grouped)
    ]


def rate(found: Sequence[Window], measure: str) -> Rate | None:
    """The row-weighted mean of a measure over windows; None where it was never computed."""
    points = [
        (point.value, point.rows)
        for window in found
        for point in window.points
        if point.measure == measure and point.feature is None and point.value is not None and point.rows > 0
    ]
    rows = sum(count for _, count in points)
    if rows == 0:
        return None
    return Rate(measure=measure, value=sum(value * count for value, count in points) / rows, rows=rows)


def drop_z(before: Rate, after: Rate) -> float:
    """By how many standard errors the share fell between two samples (two-proportion z, pooled;
    Laplace-smoothed so that a share of exactly 0 or 1 has an error)."""
    pooled = (before.value * before.rows + after.value * after.rows + 1) / (before.rows + after.rows + 2)
    error = math.sqrt(pooled * (1 - pooled) * (1 / before.rows + 1 / after.rows))
    return (before.value - after.value) / error


def _burning(alerts: Iterable[Alert], version: str) -> list[Alert]:
    found: dict[tuple[str, str, str], list[Alert]] = {}
    for alert in sorted(alerts, key=lambda each: (each.end_us, each.state == "firing", each.id)):
        if concerns(alert, version):
            told = found.setdefault((alert.segment, alert.kind, alert.axis), [])
            if alert.state == "firing":
                told.append(alert)
            else:
                told.clear()
    return [alert for told in found.values() for alert in told]


def not_seen_again(facts: Facts) -> str | None:
    """An alert that is hardly beyond its threshold was chosen from many windows: part of what it shows is chance.
    Windows since then were not chosen: a sentence where they do not show a drop; None where the alert is plain, or
    they do, or there are none, or inputs are ill, too."""
    performance = facts.firing(*OUTCOMES)
    others = [each for each in facts.firing() if each.kind not in OUTCOMES and not of_operation(each)]
    if not performance or others or is_plain(performance):
        return None
    told_us = max(each.end_us for each in performance)
    since = [each for each in facts.windows(facts.version, "label") if each.start_us >= told_us]
    drops = [drop for name in RATES if (drop := _below_reference(since, name)) is not None]
    if not drops or max(drops) >= _AGAIN_Z:
        return None
    verb = "is" if len(since) == 1 else "are"
    told = count(len(since), "window")
    return f"but {told} of labels since then {verb} no worse than the reference beyond chance"


def is_plain(alerts: Iterable[Alert]) -> bool:
    """Whether something is beyond its threshold by so much that it is no chance."""
    return any(one.effect >= _PLAIN for alert in alerts for one in alert.evidence)


def _below_reference(found: Sequence[Window], measure: str) -> float | None:
    """By how many standard errors a share is below its reference."""
    known = [
        point.reference
        for window in found
        for point in window.points
        if point.measure == measure and point.reference is not None
    ]
    now = rate(found, measure)
    if not known or now is None:
        return None
    usual = known[-1]
    return (usual - now.value) / math.sqrt(max(usual * (1 - usual), 0.01) / now.rows)


def strongest(alerts: Iterable[Alert], measures: frozenset[str] | None = None) -> list[Evidence]:
    """The evidence of alerts, of these measures if given, greatest effect first."""
    found = [
        each for alert in alerts for each in alert.evidence if measures is None or each.measure in measures
    ]
    return sorted(found, key=lambda each: (-each.effect, each.measure, each.feature or ""))


def of_model(facts: Facts) -> bool:
    """Whether the ill version is ill itself, its inputs or its answers, and not only the service around it."""
    return bool(facts.firing("data_drift", "prediction_drift", *OUTCOMES) or facts.quality())


def broken_inputs(found: Sequence[Evidence]) -> str | None:
    """The inputs of which it is sure that they are broken, in words; None where no finding says so."""
    sure = [each for each in found if each.measure in CERTAIN_BREAKS - ARRIVALS and not is_of_service(each)]
    names = sorted({each.feature or "an input" for each in sure})
    return f"{', '.join(names)} is broken ({sure[0].measure.replace('_', ' ')})" if sure else None


def broken_by_now(unit: Reader, model: str, version: str) -> str | None:
    """`broken_inputs` of what a version is sent, by every alert that has come until now."""
    alerts = [alert for each in unit.incidents(model=model, limit=2) for alert in unit.alerts(each.id)]
    burning = [each for each in _burning(alerts, version) if each.kind == "data_quality"]
    return broken_inputs(strongest(burning))


def _carried_over(unit: Reader, incident: Incident, own: Sequence[Alert]) -> list[Alert]:
    """Alerts of the same version that came while another incident was open and hold still: the judge tells each once.
    A feature that people were told is broken is so until it is told to be in order."""
    past = [
        alert
        for other in unit.incidents(model=incident.model, limit=2)
        if other.id != incident.id
        for alert in unit.alerts(other.id)
    ]
    known = {each.id for each in own}
    return [each for each in _burning([*past, *own], incident.version) if each.id not in known]


def _blamed(unit: Reader, incident: Incident) -> frozenset[str]:
    past = unit.incidents(model=incident.model, cause="bad_release")
    return frozenset(each.version for each in past if each.id != incident.id and each.state == "resolved")
