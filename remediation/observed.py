"""What the journal knows about how a version did before an illness, during it, and since the action."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from msgspec.structs import replace

from detectors.values import Alert, Axis, MetricPoint, Value
from remediation.clock import seconds
from remediation.config import AgentConfig, VerificationConfig
from remediation.evidence import OUTCOMES
from remediation.lasting import Lines, as_before, lines
from remediation.levels import lost
from remediation.outcomes import MEASURES, Period, period
from remediation.ports import Reader
from remediation.routing import still_firing
from remediation.tenures import began_us, only_scored, shadowed_before
from remediation.values import Arrangement, Desired, Incident
from remediation.verification import Observed, Segment, Signal

_MANY = 50_000
_KEPT = 200


def patience_us(alerts: Sequence[Alert], config: VerificationConfig) -> int:
    """How long a recovery may stay unproven before a person is asked: where windows are long, so is proof. `alerts`:
    of the incident."""
    longest_us = max((each.end_us - each.start_us for each in alerts), default=0)
    return max(seconds(config.limit_s), config.limit_windows * longest_us)


class Past(Value, frozen=True, kw_only=True):
    """How one segment did until the action: fixed once it is decided."""

    name: str
    before: Period
    ill: Period


Remembered = dict[tuple[str, int], tuple[Past, ...]]
"""By incident and epoch."""


class Observer:
    """Reads what a verdict needs; the past once, and then it is `remembered`."""

    def __init__(self, config: AgentConfig, needed: VerificationConfig, remembered: Remembered) -> None:
        self._config = config
        self._needed = needed
        self._remembered = remembered

    def observe(self, unit: Reader, incident: Incident, desired: Desired) -> Observed:
        """What is known now about the version that serves."""
        return self._of_answers(unit, incident, desired, desired.version, desired.epoch)

    def of_share(
        self, unit: Reader, incident: Incident, desired: Desired, version: str, epoch: int
    ) -> Observed:
        """The same of a version that answers a share of the requests since an epoch after `epoch`."""
        return self._of_answers(unit, incident, desired, version, epoch + 1)

    def of_shadow(self, unit: Reader, incident: Incident, desired: Desired, version: str) -> Observed:
        """The same of a version that scores the requests beside the one that answers, since that was decided. Whether
        it is asked before anybody is answered, or a constant is answered instead, makes no difference to it."""
        alone = replace(desired.arrangement, constant=None, paused=False)
        decided = replace(desired, arrangement=alone)
        return self._observe(unit, incident, decided, version, (desired.at_us, "event"))

    def _of_answers(
        self, unit: Reader, incident: Incident, desired: Desired, version: str, epoch: int
    ) -> Observed:
        """Of what it answered since `epoch`. Labels still arrive for what a version said before, to somebody or beside
        somebody else: its new answers are told by window of events."""
        deployments = unit.deployments(incident.model)
        since: tuple[int, Axis] = (_acted_us(incident, desired), "event")
        if not _answered_before(deployments, incident, version, epoch):
            began = began_us(deployments, version, epoch)
            shadowed = began is not None and shadowed_before(deployments, version, epoch)
            since = (began, "event") if shadowed and began is not None else (0, "label")
        return self._observe(unit, incident, desired, version, since)

    def _observe(
        self, unit: Reader, incident: Incident, desired: Desired, version: str, since: tuple[int, Axis]
    ) -> Observed:
        """since: from when on its windows count, of events or of labels."""
        alerts = unit.alerts(incident.id)
        ill = still_firing(alerts, incident.version)
        acted_us = _acted_us(incident, desired)
        since_us, axis = since
        known = lines(
            unit,
            incident,
            unit.deployments(incident.model),
            version,
            acted_us=acted_us,
            history_s=self._config.diagnosis.history_s,
        )
        own = [
            point
            for point in unit.points(
                incident.model,
                version=version,
                measures=MEASURES,
                axis=axis,
                since_us=since_us,
                limit=_MANY,
            )
            if point.start_us >= since_us
        ]
        segments = tuple(
            Segment(name=past.name, before=past.before, ill=past.ill, since=period(own, segment=past.name))
            for past in self._past(unit, incident, (desired.epoch, acted_us), ill)
        )
        return Observed(
            version=version,
            ill_version=incident.version,
            since_us=since_us,
            segments=segments,
            signals=self._signals(unit, desired.arrangement, version, since_us, ill, own, segments, known),
            alerts=tuple(alerts),
            lasting=known,
            arrangement=desired.arrangement,
            by_labels=any(each.kind in OUTCOMES for each in ill),
            named=_measures(ill),
        )

    def _signals(
        self,
        unit: Reader,
        arrangement: Arrangement,
        version: str,
        since_us: int,
        ill: Sequence[Alert],
        own: Sequence[MetricPoint],
        segments: Sequence[Segment],
        known: Lines,
    ) -> tuple[Signal, ...]:
        """Windows by what each alert named; none where labels show a loss, because then labels decide."""
        named = _measures(ill)
        if any(lost(each.before, each.ill, each.since, self._needed, named) for each in segments):
            return ()
        outcomes = any(each.kind in OUTCOMES for each in ill)
        found = [_signal("outcomes", own, since_us)] if outcomes else []
        others = [each for each in ill if each.kind not in OUTCOMES]
        if not others:
            return tuple(found)
        model, imputed = others[0].model, set(arrangement.imputed)
        points = unit.points(model, version=version, axis="event", since_us=since_us, limit=_MANY)
        found += [
            _signal(each.kind.replace("_", " "), _named(each, points, imputed), since_us, known)
            for each in others
            if not _features(each) or _features(each) - imputed
        ]
        return tuple(found)

    def _past(
        self, unit: Reader, incident: Incident, acted: tuple[int, int], ill: Sequence[Alert]
    ) -> tuple[Past, ...]:
        """acted: epoch and time of what was decided."""
        epoch, acted_us = acted
        known = self._remembered.get((incident.id, epoch))
        if known is not None:
            return known
        deployments = unit.deployments(incident.model)
        beside = {version for each in deployments for version in each.arrangement.shadows}
        labels = [
            point
            for point in unit.points(
                incident.model,
                measures=MEASURES,
                axis="label",
                since_us=incident.change_us - seconds(self._config.diagnosis.history_s),
                until_us=acted_us + 1,
                limit=_MANY,
            )
            if point.version not in beside or not only_scored(deployments, point.version, point.end_us)
        ]
        last = self._needed.healthy_windows
        names = ("all", *sorted({each.segment for each in ill if each.kind in OUTCOMES} - {"all"}))
        known = tuple(
            Past(
                name=name,
                before=period(_healthy(labels, incident.change_us, name), segment=name, last=last),
                ill=period(_ill(labels, incident, acted_us), segment=name),
            )
            for name in names
        )
        self._remembered[incident.id, epoch] = known
        while len(self._remembered) > _KEPT:
            self._remembered.pop(next(iter(self._remembered)), None)
        return known


def _acted_us(incident: Incident, desired: Desired) -> int:
    """When the action took effect: what was done outside of serving decided nothing anew."""
    decided_before = desired.at_us < incident.opened_us and desired.version == incident.version
    return incident.acted_us or desired.at_us if decided_before else desired.at_us


def _answered_before(deployments: Sequence[Desired], incident: Incident, version: str, epoch: int) -> bool:
    """Whether the version had answered requests before what was decided in `epoch`."""
    earlier = [each for each in deployments if each.epoch < epoch]
    named = {name for each in earlier for name in (each.version, *each.arrangement.shares)}
    return version in {*named, incident.version}


def _ill(labels: Sequence[MetricPoint], incident: Incident, acted_us: int) -> list[MetricPoint]:
    return [
        point
        for point in labels
        if point.version == incident.version
        and point.start_us >= incident.change_us
        and point.end_us <= acted_us
    ]


def _healthy(labels: Sequence[MetricPoint], change_us: int, segment: str) -> list[MetricPoint]:
    """The windows in order before the change, of the version that had the last one."""
    earlier = [point for point in labels if point.end_us <= change_us and point.segment == segment]
    windows = _by_window(earlier)
    good = [points for points in windows if _in_order(points)]
    if not good:
        return []
    version = good[-1][0].version
    return [point for points in good if points[0].version == version for point in points]


def _by_window(points: Iterable[MetricPoint]) -> list[list[MetricPoint]]:
    def key(point: MetricPoint) -> tuple[int, str, str]:
        return point.end_us, point.version, point.window

    return [list(group) for _, group in groupby(sorted(points, key=key), key=key)]


def _in_order(points: Sequence[MetricPoint], known: Lines | None = None) -> bool:
    return all(point.verdict != "breach" or as_before(point, known or {}) for point in points)


def _measures(alerts: Iterable[Alert]) -> frozenset[str]:
    """What alerts about outcomes showed."""
    return frozenset(found.measure for each in alerts if each.kind in OUTCOMES for found in each.evidence)


def _features(alert: Alert) -> set[str]:
    return {each.feature for each in alert.evidence if each.feature}


def _named(alert: Alert, points: Sequence[MetricPoint], imputed: set[str]) -> list[MetricPoint]:
    """The points that say the same as the alert's evidence; where there are none, all that is not an outcome."""
    features, measures = _features(alert) - imputed, {each.measure for each in alert.evidence}
    mine = [point for point in points if point.segment == alert.segment]
    named = [
        point
        for point in mine
        if point.feature in features or (point.feature is None and point.measure in measures)
    ]
    return named or [each for each in mine if each.measure not in MEASURES and each.feature not in imputed]


def _signal(name: str, points: Sequence[MetricPoint], since_us: int, known: Lines | None = None) -> Signal:
    """Windows side by side; those in which nothing was measured are no evidence. known: what counts as in order of a
    service that was ill before."""
    windows, until_us = list[list[MetricPoint]](), since_us
    for each in _by_window(points):
        if each[0].start_us >= until_us and any(point.verdict != "undefined" for point in each):
            windows.append(each)
            until_us = each[0].end_us
    rows = sum(max(point.rows for point in each) for each in windows)
    return Signal(
        name=name, windows=len(windows), in_order=sum(_in_order(each, known) for each in windows), rows=rows
    )
