"""How often a model answered what, and what was true: of all windows of a backtest together, beside the reference."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from msgspec import UNSET

from detectors.reference import Reference
from detectors.values import MetricPoint

_MEASURE = "accuracy"


def confusions(points: Iterable[MetricPoint], references: Iterable[Reference]) -> list[dict[str, Any]]:
    """For JSON, of each version whose labels are known: `classes`; `rows` that were counted; `counts`, a row for each
    answer with a number for each truth; `reference`, the same of its rows. Windows that overlap are counted once; those
    too small for a measure of performance are not in it."""
    known = [
        one for one in points if one.measure == _MEASURE and one.axis == "event" and one.segment == "all"
    ]
    found: list[dict[str, Any]] = []
    for reference in references:
        mine = [one for one in known if one.version == reference.version]
        total = _sum(sorted(mine, key=lambda one: one.end_us))
        if total is None:
            continue
        binary = reference.task == "binary"
        before = (reference.tp, reference.fp, reference.fn, reference.tn) if binary else reference.confusion
        found.append(
            {
                "version": reference.version,
                "classes": ["positive", "negative"] if binary else [*reference.classes, "other"],
                "rows": int(total.sum()),
                "counts": _matrix(total),
                "reference": _matrix(np.array(before)),
            }
        )
    return found


def _sum(points: Sequence[MetricPoint]) -> Any:
    total, until_us = None, None
    for point in points:
        if point.confusion is UNSET or (until_us is not None and point.start_us < until_us):
            continue
        counts, until_us = np.array(point.confusion), point.end_us
        total = counts if total is None else total + counts
    return total


def _matrix(counts: Any) -> list[list[int]]:
    size = round(len(counts) ** 0.5)
    return counts.reshape(size, size).tolist()
