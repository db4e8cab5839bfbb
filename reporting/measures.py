"""From metric points to what a report shows of them: series, deltas, the worst drift, the worst damage."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from detectors.thresholds import KINDS
from detectors.values import AlertKind, MetricPoint
from reporting.values import Delta, Drift, Quality, Sample, Series

SHOWN = ("accuracy", "balanced_accuracy", "f1", "auc")
"""The performance measures that a report tells; all are in the CSV file."""
_CONCEPT = "concept_drift_evidence"
ENDS = 3
"""Windows at each end of the period that a delta compares: one alone is mostly noise."""


def kind_of(measure: str) -> AlertKind | None:
    """The kind of alert that a measure belongs to; None where it is only shown."""
    return "concept_drift" if measure == _CONCEPT else KINDS.get(measure)


def measures_of(kind: AlertKind) -> list[str]:
    """The names of the measures of a kind."""
    return [name for name in (*KINDS, _CONCEPT) if kind_of(name) == kind]


def of_kind(points: Iterable[MetricPoint], kind: AlertKind) -> list[MetricPoint]:
    """Points over all rows (segments are in the CSV file only) of one kind."""
    return [point for point in points if point.segment == "all" and kind_of(point.measure) == kind]


def series(points: Iterable[MetricPoint]) -> tuple[Series, ...]:
    """The shown performance measures per version, in the order of `SHOWN` and of the first window."""
    found: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for point in of_kind(points, "performance"):
        if point.measure in SHOWN and point.value is not None:
            found[point.measure, point.version].append(_sample(point, point.value))
    ordered = {key: sorted(samples, key=lambda one: one.at_us) for key, samples in found.items()}
    keys = sorted(ordered, key=lambda key: (SHOWN.index(key[0]), ordered[key][0].at_us, key[1]))
    return tuple(
        Series(measure=measure, version=version, samples=tuple(ordered[measure, version]))
        for measure, version in keys
    )


def deltas(found: Iterable[Series]) -> tuple[Delta, ...]:
    """Start, worst and end of each measure over whatever versions served."""
    together: dict[str, list[Sample]] = defaultdict(list)
    for one in found:
        together[one.measure] += one.samples
    told: list[Delta] = []
    for measure, samples in together.items():
        samples.sort(key=lambda one: one.at_us)
        first, last = samples[:ENDS], samples[-ENDS:]
        told.append(
            Delta(
                measure=measure,
                start=mean(first),
                worst=min(one.value for one in samples),
                now=mean(last),
                rows_start=sum(one.rows for one in first),
                rows_now=sum(one.rows for one in last),
                threshold=samples[-1].threshold,
                low=samples[-1].low,
                high=samples[-1].high,
            )
        )
    return tuple(told)


def mean(samples: Sequence[Sample]) -> float:
    """The mean weighted by rows."""
    rows = sum(one.rows for one in samples)
    if rows == 0:
        return sum(one.value for one in samples) / len(samples)
    return sum(one.value * one.rows for one in samples) / rows


def drifts(points: Iterable[MetricPoint], serving: str | None) -> tuple[Drift, ...]:
    """The worst window of each feature, the furthest first."""
    worst: dict[str, MetricPoint] = {}
    latest: dict[tuple[str, str], MetricPoint] = {}
    for point in of_kind(points, "data_drift"):
        if point.feature is None or point.value is None or not point.threshold:
            continue
        if point.feature not in worst or effect(point) > effect(worst[point.feature]):
            worst[point.feature] = point
        if point.version == serving:
            key = (point.feature, point.measure)
            if key not in latest or point.end_us >= latest[key].end_us:
                latest[key] = point
    now: dict[str, float] = {}
    for (feature, _), point in latest.items():
        now[feature] = max(effect(point), now.get(feature, 0.0))
    found = [
        Drift(
            feature=feature,
            measure=point.measure,
            version=point.version,
            value=point.value or 0.0,
            threshold=point.threshold or 0.0,
            effect=effect(point),
            at_us=point.end_us,
            latest_effect=now.get(feature),
        )
        for feature, point in worst.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.effect, one.feature)))


def quality(points: Iterable[MetricPoint]) -> tuple[Quality, ...]:
    """The worst window of each column and measure that ever crossed its threshold, the most often ill first."""
    groups: dict[tuple[str, str], list[MetricPoint]] = defaultdict(list)
    for point in of_kind(points, "data_quality"):
        if point.feature is not None and point.value is not None and point.threshold is not None:
            groups[point.feature, point.measure].append(point)
    found: list[Quality] = []
    for (feature, measure), group in groups.items():
        breaches = sum(point.verdict == "breach" for point in group)
        if not breaches:
            continue
        point = max(group, key=effect)
        found.append(
            Quality(
                feature=feature,
                measure=measure,
                version=point.version,
                value=point.value or 0.0,
                reference=point.reference,
                threshold=point.threshold or 0.0,
                at_us=point.end_us,
                windows=len(group),
                breaches=breaches,
            )
        )
    return tuple(sorted(found, key=lambda one: (-one.breaches, one.feature, one.measure)))


def undefined(points: Iterable[MetricPoint]) -> dict[str, int]:
    """How many points have no value, by reason, the most frequent first."""
    reasons = Counter(point.undefined or "no reason was told" for point in points if point.value is None)
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


def effect(point: MetricPoint) -> float:
    """Distance from the reference in units of the distance to the threshold: above 1 is a breach."""
    if point.value is None or point.threshold is None:
        return 0.0
    start = point.reference or 0.0
    reach = point.threshold - start
    return max(0.0, (point.value - start) / reach) if reach else 0.0


def _sample(point: MetricPoint, value: float) -> Sample:
    return Sample(
        at_us=point.end_us,
        value=value,
        threshold=point.threshold,
        reference=point.reference,
        rows=point.rows,
        breach=point.verdict == "breach",
        low=point.low,
        high=point.high,
    )
