"""In which order the rows of one transaction go on: in columns their order of arrival is lost between tables.

What a prediction or a label counts for depends on how far its model's time has come: an event is late, and a pane
beyond correction, behind the newest event seen before. While the gate catches up, one transaction holds hours of event
time; written table by table, the second version's events, or the labels, would all come late. So the tables of one
model take turns: in no round does its time go on by more than a small part of its lateness, as if the gate had been
there when the events came.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from streams.control.configuration import Configuration
from streams.gate.clock import MAX_TIME_US, times_of
from streams.gate.reader import Table

_NEWEST_US = 2**62
_SECOND_US = 1e6
_SHARE_OF_LATENESS = 20
_NEVER_US = -np.inf

Turn = tuple[Table, int, int]
"""Rows from the first number to before the second."""


def rounds(tables: Sequence[Table], marks: Sequence[Sequence[int]], models: Configuration) -> Iterator[Turn]:
    """All rows of the tables, in the order in which they are to be written. `marks`: how many rows each table had, now
    and then while they were read."""
    numbers: dict[str, list[int]] = {}
    for number, table in enumerate(tables):
        numbers.setdefault(table.model, []).append(number)
    for model, own in numbers.items():
        if len(own) == 1:
            yield tables[own[0]], 0, len(tables[own[0]].rows)
            continue
        lengths = [[mark[number] if number < len(mark) else 0 for number in own] for mark in marks]
        bound_us = stretch_us(models, model)
        done = [0] * len(own)
        for ends in _ends([tables[number] for number in own], lengths, bound_us):
            for number, start, end in zip(own, done, ends, strict=True):
                if end > start:
                    yield tables[number], start, end
            done = ends


def stretch_us(models: Configuration, model: str) -> float:
    """By how much a model's time may go on within a round."""
    lateness_s = models.monitor(model, _NEWEST_US).lateness_s
    return max(1.0, lateness_s / _SHARE_OF_LATENESS) * _SECOND_US


def _ends(tables: Sequence[Table], lengths: Sequence[list[int]], bound_us: float) -> Iterator[list[int]]:
    """Where the rounds end, as numbers of rows of each table."""
    clocks = [_clock_us(table) for table in tables]
    axes = [int(table.version is None) for table in tables]
    whole = [len(table.rows) for table in tables]
    since_us, now_us = [_NEVER_US, _NEVER_US], [_NEVER_US, _NEVER_US]
    before = [0] * len(tables)
    for ends in (*lengths, whole):
        then_us = list(now_us)
        for axis, clock_us, start, end in zip(axes, clocks, before, ends, strict=True):
            if end > start:
                now_us[axis] = max(now_us[axis], float(clock_us[start:end].max()))
        if any(
            now - since > bound_us for now, since in zip(now_us, since_us, strict=True) if since > _NEVER_US
        ):
            yield before
            since_us = then_us
        since_us = [now if since == _NEVER_US else since for now, since in zip(now_us, since_us, strict=True)]
        before = ends
    yield whole


def _clock_us(table: Table) -> npt.NDArray[np.float64]:
    """The time of each row; one that is refused moves no clock."""
    times_us = times_of([row.time for row in table.rows])
    return np.where((times_us >= 0) & (times_us < MAX_TIME_US), times_us, _NEVER_US)
