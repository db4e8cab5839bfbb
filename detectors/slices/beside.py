"""How the segments of a model differ in their last windows of labels: gaps between groups, and the worst slices.

They are told beside the performance of all rows and not decided on: each segment has sequential tests of its own that
keep the budget, and a gap that was always there is no incident.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from detectors.measurement import Measurement, undefined
from detectors.slices.fairness import LEAST_ROWS, Gap, Group, deviates, widest
from detectors.slices.values import Tally
from detectors.values import Task

WORST: Final = 5
"""Slices that are told of a window."""
_EXCESS: Final[dict[Task, str]] = {
    "binary": "excess_error",
    "multiclass": "excess_error",
    "regression": "excess_absolute_error",
}


def between_segments(tallies: Mapping[str, Tally], columns: Sequence[str], task: Task) -> list[Measurement]:
    """Gaps by column, and the slices that err most beyond the rest.

    tallies: of the segments, by name ("column=value"). columns: those that the monitor names. `feature` of what is
    found is the column, or the segment.
    """
    found: list[Measurement] = []
    worst: list[Measurement] = []
    candidates = sum(one.rows >= LEAST_ROWS for one in tallies.values())
    for column in columns:
        start = f"{column}="
        groups = {name.removeprefix(start): one for name, one in tallies.items() if name.startswith(start)}
        if not groups:
            continue
        found += [_measured(gap, column, groups) for gap in _gaps(groups, task)]
        worst += _excess(groups, column, task, deviates(candidates))
    worst.sort(key=lambda one: (-(one.low or 0.0), one.feature or ""))
    return [*found, *worst[:WORST]]


def _gaps(groups: Mapping[str, Tally], task: Task) -> list[Gap]:
    if task != "binary":
        losses = [Group(name, one.loss, one.rows, one.size, one.variance) for name, one in groups.items()]
        return [widest("absolute_error_gap" if task == "regression" else "error_gap", losses)]
    found: dict[str, list[Group]] = {
        name: []
        for name in ("selection_rate_gap", "true_positive_rate_gap", "false_positive_rate_gap", "error_gap")
    }
    for name, one in groups.items():
        tp, fp, fn, tn = one.confusion
        parts = ((tp + fp, one.rows), (tp, tp + fn), (fp, fp + tn), (fp + fn, one.rows))
        for mine, (count, rows) in zip(found.values(), parts, strict=True):
            mine.append(Group.share(name, count, rows, one.size / one.rows))
    return [widest(measure, mine) for measure, mine in found.items()]


def _measured(gap: Gap, column: str, groups: Mapping[str, Tally]) -> Measurement:
    rows = sum(one.rows for one in groups.values())
    if gap.value is None:
        return undefined(gap.measure, column, rows, gap.undefined or "it has no value")
    words = f"highest where {column} is {gap.highest}, lowest where it is {gap.lowest}"
    return Measurement(
        measure=gap.measure,
        feature=column,
        value=gap.value,
        low=gap.low,
        high=gap.high,
        rows=rows,
        detail=words,
    )


def _excess(groups: Mapping[str, Tally], column: str, task: Task, reach: float) -> list[Measurement]:
    """Each group's mean loss less that of the column's other groups."""
    every = _Sum(*(sum(each) for each in zip(*map(_Sum.of, groups.values()), strict=True)))
    found: list[Measurement] = []
    for name, one in groups.items():
        mine = _Sum.of(one)
        rest = _Sum(*(whole - part for whole, part in zip(every, mine, strict=True)))
        if min(mine.rows, rest.rows) < LEAST_ROWS:
            continue
        apart = mine.mean - rest.mean
        error = math.sqrt(mine.variance(every) / mine.size + rest.variance(every) / rest.size)
        found.append(
            Measurement(
                measure=_EXCESS[task],
                feature=f"{column}={name}",
                value=apart,
                low=apart - reach * error,
                high=apart + reach * error,
                rows=one.rows,
                detail=f"{mine.mean:.4g} here, {rest.mean:.4g} in the other values of {column}",
            )
        )
    return found


class _Sum(NamedTuple):
    """Of rows, what they are worth, and sums of losses and of their squares."""

    rows: float
    size: float
    losses: float
    squares: float

    @classmethod
    def of(cls, one: Tally) -> "_Sum":
        return cls(one.rows, one.size, one.rows * one.loss, one.rows * (one.variance + one.loss**2))

    @property
    def mean(self) -> float:
        return self.losses / self.rows

    def variance(self, every: "_Sum") -> float:
        """With one more row that varies as all do, so that rows without any error do not seem to be sure of it."""
        mine, all_rows = (max(one.squares / one.rows - one.mean**2, 0.0) for one in (self, every))
        return (mine * self.rows + all_rows) / (self.rows + 1)
