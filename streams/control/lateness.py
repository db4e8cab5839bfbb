"""How long what comes late still counts: in whole panes, so that a label and one that revises it are judged alike by
the panes in which they lie."""

from detectors.values import Monitor
from streams.times import MICROSECONDS


def lateness_us(monitor: Monitor) -> int:
    """How long after its end a pane takes in what became known then, in microseconds of event time."""
    pane_us = max(1, round(monitor.pane_s * MICROSECONDS))
    return -(-round((monitor.lateness_s - monitor.behind_s) * MICROSECONDS) // pane_us) * pane_us


def correctable_us(monitor: Monitor) -> int:
    """How long after its end a pane of events is kept for that, in microseconds of event time: for longer where the
    order of the input is behind its times."""
    return lateness_us(monitor) + round(monitor.behind_s * MICROSECONDS)
