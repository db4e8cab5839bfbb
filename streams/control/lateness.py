"""How long what comes late still counts: in whole panes, so that a label and one that revises it are judged alike by
the panes in which they lie."""

from collections.abc import Callable
from itertools import pairwise

from detectors.values import Monitor
from streams.control.configuration import Configuration
from streams.times import MICROSECONDS


def lateness_us(monitor: Monitor) -> int:
    """How long after its end a pane takes in what became known then, in microseconds of event time."""
    pane_us = max(1, round(monitor.pane_s * MICROSECONDS))
    return -(-round((monitor.lateness_s - monitor.behind_s) * MICROSECONDS) // pane_us) * pane_us


def correctable_us(monitor: Monitor) -> int:
    """How long after its end a pane of events is kept for that, in microseconds of event time: for longer where the
    order of the input is behind its times."""
    return lateness_us(monitor) + round(monitor.behind_s * MICROSECONDS)


def hot_us(monitor: Monitor) -> int:
    """How far back duplicates are told: whatever is older must be late, whatever pane it is in."""
    late_us = _us(monitor.lateness_s + monitor.pane_s)
    return min(_us(monitor.label_horizon_s), max(_us(monitor.hot_horizon_s), late_us))


def horizon_us(monitor: Monitor) -> int:
    """How long a prediction waits for its label."""
    return _us(monitor.label_horizon_s)


def longest_us(
    configuration: Configuration, model: str, mark_us: int, length_us: Callable[[Monitor], int]
) -> int:
    """How far back from `mark_us` rows may still ask, which each do by the length of time of their own monitor: of the
    one in force then, and of those before it whose last rows are not that old."""
    found = length_us(configuration.monitor(model, mark_us))
    for _, end_us in pairwise(configuration.monitors_from_us(model)):
        asked = length_us(configuration.monitor(model, end_us - 1))
        if mark_us - asked < end_us <= mark_us:
            found = max(found, asked)
    return found


def _us(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
