"""The windows of one measure around an incident: few enough to draw, and with its drop however long it lasts."""

from collections.abc import Sequence
from itertools import pairwise

from db.points import SqlRecordStore
from detectors.values import Axis, MetricPoint
from remediation.clock import seconds
from remediation.values import Incident

SHOWN = 200
_BEFORE_S = 900.0
"""Shown before the change, or half as long as the incident where that is more."""
_BEFORE = 20
"""Windows before the change that are shown at least, however long ago they were."""
_READ = 4_000
_SLICES = 50


def around(records: SqlRecordStore, incident: Incident, measure: str, *, now_us: int) -> list[MetricPoint]:
    """At most `SHOWN` windows, oldest first, from before the change to some time after the end, or to now. By the time
    of labels, as the judge decides; by the time of predictions where there is nothing else."""
    return _on("label", records, incident, measure, now_us) or _on(
        "event", records, incident, measure, now_us
    )


def thinned(points: Sequence[MetricPoint], shown: int = SHOWN) -> list[MetricPoint]:
    """One window of each run of neighbours: the newest that crossed its threshold, or else the newest. The last stays
    the last."""
    if len(points) <= shown:
        return list(points)
    edges = [round(place * (len(points) - 1) / (shown - 1)) for place in range(shown)]
    runs = [points[start:end] for start, end in pairwise(edges)]
    return [*(_most(run) for run in runs), points[-1]]


def _most(run: Sequence[MetricPoint]) -> MetricPoint:
    return next((each for each in reversed(run) if each.verdict == "breach"), run[-1])


def _on(
    axis: Axis, records: SqlRecordStore, incident: Incident, measure: str, now_us: int
) -> list[MetricPoint]:
    model, change_us = incident.model, incident.change_us
    end_us = now_us if incident.closed_us is None else incident.closed_us
    beside_us = max(seconds(_BEFORE_S), (end_us - change_us) // 2)
    # A window that has just closed may end after now: it is dated by its rows.
    until_us = end_us + beside_us
    found = _read(records, model, measure, axis, change_us - beside_us, until_us)
    if sum(each.end_us < change_us for each in found) < _BEFORE:
        earlier = records.series(model, measure, axis=axis, until_us=change_us, limit=_BEFORE)
        found = [*earlier, *(each for each in found if each.end_us >= change_us)]
    return thinned(found)


def _read(
    records: SqlRecordStore, model: str, measure: str, axis: Axis, since_us: int, until_us: int
) -> list[MetricPoint]:
    """All of a span; of one with very many windows the newest of each slice of it."""
    found = records.series(model, measure, axis=axis, since_us=since_us, until_us=until_us, limit=_READ)
    if len(found) < _READ:
        return found
    edges = [since_us + (until_us - since_us) * place // _SLICES for place in range(_SLICES + 1)]
    return [
        each
        for start_us, end_us in pairwise(edges)
        for each in records.series(
            model, measure, axis=axis, since_us=start_us, until_us=end_us, limit=_READ // _SLICES
        )
    ]
