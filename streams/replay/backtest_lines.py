"""Measures of a backtest as lines over the rows of the file: what a page draws."""

from collections.abc import Sequence
from typing import NamedTuple

from detectors.thresholds import KINDS
from detectors.values import AlertKind, MetricPoint
from streams.replay.backtest_result import Backtest

EVIDENCE = "_evidence"
_ALWAYS = frozenset({"accuracy", "auc", "f1", "mae", "rmse", "positive_rate", "psi", "score_psi"})
_MOST = 40
_MOST_POINTS = 600
"""Of a line; of more, each stretch is told by its least and its greatest."""


class Sample(NamedTuple):
    """A measure at a window. `row`: the first one after the window."""

    row: int
    value: float
    threshold: float | None
    breach: bool


class Line(NamedTuple):
    """A measure of all windows; `effect` is its greatest distance from the reference, in thresholds."""

    measure: str
    feature: str | None
    kind: AlertKind | None
    axis: str
    effect: float
    samples: tuple[Sample, ...]


def lines_of(found: Backtest) -> list[Line]:
    """The lines worth looking at, of all rows together: those that decide, performance, and the features that came
    furthest from their reference, at most 40. The backtest must have kept its points."""
    by_name: dict[tuple[str, str | None, str], list[MetricPoint]] = {}
    for point in found.results.points.values():
        if point.segment == "all" and point.value is not None:
            by_name.setdefault((point.measure, point.feature, point.axis), []).append(point)
    lines = [_line(found, *name, points) for name, points in by_name.items() if _is_shown(name[0], name[2])]
    lines.sort(
        key=lambda one: (not one.measure.endswith(EVIDENCE), -one.effect, one.measure, one.feature or "")
    )
    return lines[:_MOST]


def _is_shown(measure: str, axis: str) -> bool:
    """Performance once only: by the time of prediction. Estimates have drawings of their own."""
    kind = KINDS.get(measure)
    if measure.endswith(EVIDENCE):
        return True
    if kind is None or kind == "estimated_performance" or axis != "event":
        return False
    return kind != "performance" or measure in _ALWAYS


def _line(
    found: Backtest, measure: str, feature: str | None, axis: str, points: Sequence[MetricPoint]
) -> Line:
    samples = [
        Sample(found.index.row(one.end_us), one.value, one.threshold, one.verdict == "breach")
        for one in sorted(points, key=lambda one: one.end_us)
        if one.value is not None
    ]
    kind = KINDS.get(measure)
    return Line(
        measure, feature, kind, axis, max(map(_effect, points), default=0.0), tuple(_thinned(samples))
    )


def _effect(point: MetricPoint) -> float:
    if point.value is None or point.threshold is None:
        return 0.0
    start = point.reference or 0.0
    return (point.value - start) / (point.threshold - start) if point.threshold != start else 0.0


def _thinned(samples: list[Sample]) -> list[Sample]:
    if len(samples) <= _MOST_POINTS:
        return samples
    size = -(-len(samples) * 2 // _MOST_POINTS)
    kept: list[Sample] = []
    for start in range(0, len(samples), size):
        part = samples[start : start + size]
        ends = {min(part, key=lambda one: one.value), max(part, key=lambda one: one.value)}
        kept += sorted(ends)
    return kept
