"""How long an incident took, phase by phase, and what it cost."""

from collections.abc import Iterable
from typing import Literal, get_args

from detectors.values import MetricPoint, Value
from remediation.clock import US_PER_S
from remediation.values import Approval, Incident

Phase = Literal["detect", "diagnose", "approve", "act", "recover"]
PHASES: tuple[Phase, ...] = get_args(Phase)


class Cost(Value, frozen=True, kw_only=True):
    """What an incident cost: `rows` predictions of the ill version in windows since the onset, `labelled` of them in
    windows with labels, and `errors` more mistakes among these than the reference would have made. Of a regression
    `error_rise`: by how much their mean absolute error was above the reference's (None: none is known)."""

    rows: int
    labelled: int
    errors: float
    error_rise: float | None = None


def phases(incident: Incident, approvals: Iterable[Approval] = ()) -> dict[Phase, float]:
    """Seconds of each phase that is over. Detection counts from the estimated onset, approval from the question
    (from the diagnosis where none is known), recovery from the moment that the good version served.

    Phases that did not happen, such as an approval in an incident that ended by itself, are left out.
    """
    asked = [each.requested_us for each in approvals]
    asked_us = min(asked) if asked else incident.diagnosed_us
    marks: dict[Phase, tuple[int | None, int | None]] = {
        "detect": (incident.change_us, incident.opened_us),
        "diagnose": (incident.opened_us, incident.diagnosed_us),
        "approve": (asked_us, incident.approved_us),
        "act": (incident.approved_us, incident.acted_us),
        "recover": (incident.acted_us, incident.closed_us),
    }
    return {
        phase: max(0.0, (end - start) / US_PER_S)
        for phase, (start, end) in marks.items()
        if start is not None and end is not None
    }


def cost(incident: Incident, points: Iterable[MetricPoint]) -> Cost:
    """From the points of the ill version over all segments. The mistakes are those that `accuracy` tells, the errors of
    a regression those of `mae`; without a reference of it they are taken as none."""
    until_us = incident.acted_us or incident.closed_us
    own = [
        each
        for each in points
        if each.version == incident.version
        and each.segment == "all"
        and each.end_us > incident.change_us
        and (until_us is None or each.start_us < until_us)
    ]
    windows: dict[tuple[int, int], int] = {}
    for each in own:
        if each.axis == "event":
            windows[each.start_us, each.end_us] = max(each.rows, windows.get((each.start_us, each.end_us), 0))
    labels = [each for each in own if each.axis == "label"]
    outcomes = [each for each in labels if each.measure == "accuracy"]
    sizes = [each for each in labels if each.measure == "mae"]
    errors = sum(
        each.rows * (each.reference - each.value)
        for each in outcomes
        if each.value is not None and each.reference is not None
    )
    return Cost(
        rows=sum(windows.values()),
        labelled=sum(each.rows for each in outcomes or sizes),
        errors=max(0.0, errors),
        error_rise=_rise(sizes),
    )


def _rise(sizes: list[MetricPoint]) -> float | None:
    known = [
        (each.rows, each.value - each.reference)
        for each in sizes
        if each.value is not None and each.reference is not None and each.rows
    ]
    rows = sum(of for of, _ in known)
    return sum(of * more for of, more in known) / rows if rows else None
