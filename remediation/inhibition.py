"""Which alert explains which: broken data move a distribution, and a moved distribution makes answers wrong.

The idea of Alertmanager's inhibition, with one difference: what is explained is never lost and never muted as a fact.
It is attached, the page says by what it is explained, and only nobody is called a second time.
"""

from collections.abc import Iterable, Sequence

from detectors.values import Alert, AlertKind
from remediation.facets import of_operation

_BROKEN: tuple[AlertKind, ...] = (
    "data_drift",
    "prediction_drift",
    "estimated_performance",
    "concept_drift",
    "performance",
)
EXPLAINS: dict[AlertKind, tuple[AlertKind, ...]] = {
    "data_quality": _BROKEN,
    "data_drift": ("prediction_drift", "estimated_performance", "performance"),
    "prediction_drift": ("estimated_performance",),
}
"""What each kind can be the reason of. That the world behaves otherwise (concept drift) is explained by no drift."""


def explaining(alert: Alert, told: Iterable[Alert]) -> Alert | None:
    """The alert that explains `alert`: of the same version and of its segment or of all, told no later, of a kind that
    causes such things, and of a change at the same time: that of `alert` lies between one window before the other
    change and the end of the window that told it. Of several the one furthest upstream, then the earliest."""
    found = [each for each in told if _explains(each, alert)]
    return min(found, key=lambda each: (_depth(each), each.end_us, each.id), default=None)


def explanations(alerts: Sequence[Alert]) -> dict[str, Alert]:
    """For each alert that another one explains, by id: the one that explains it."""
    firing = [each for each in alerts if each.state == "firing"]
    return {each.id: found for each in firing if (found := explaining(each, firing)) is not None}


def _explains(cause: Alert, alert: Alert) -> bool:
    if alert.kind not in EXPLAINS.get(cause.kind, ()) or cause.state != "firing" or alert.state != "firing":
        return False
    if of_operation(cause):
        return False
    if (cause.model, cause.version) != (alert.model, alert.version) or cause.segment not in (
        "all",
        alert.segment,
    ):
        return False
    length_us = cause.end_us - cause.start_us
    return cause.end_us <= alert.end_us and cause.change_us - length_us <= alert.change_us <= cause.end_us


def _depth(alert: Alert) -> int:
    return tuple(EXPLAINS).index(alert.kind)
