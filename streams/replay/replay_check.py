"""Where a replay and the live run differ, and what of it cannot be compared."""

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from detectors.sequential.verdicts import EVIDENCE_SUFFIX
from detectors.values import Alert, MetricPoint
from streams.judge.arrivals import NAME as ARRIVED
from streams.judge.windows import SeriesName
from streams.replay.replay import Replayed

_TOLERANCE = 1e-9
_MOST_SHOWN = 50
_SAME = ("measure", "feature", "rows", "verdict", "undefined", "start_us", "end_us", "reference_revision")
_NUMBERS = ("value", "low", "high", "reference", "threshold")


@dataclass(frozen=True, slots=True)
class Difference:
    """One point, alert or window that is not the same. `kind`: point, alert or window."""

    kind: str
    what: str
    live: str
    replayed: str


@dataclass
class Check:
    """The outcome of a comparison. `left_out`: what could not be compared, by reason."""

    points: int = 0
    alerts: int = 0
    windows: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])
    left_out: Counter[str] = field(default_factory=Counter[str])

    @property
    def holds(self) -> bool:
        """Whether all that could be compared is the same."""
        return not self.differences

    def as_dict(self) -> dict[str, Any]:
        """For JSON; of many differences the first ones."""
        shown = [dataclasses.asdict(one) for one in self.differences[:_MOST_SHOWN]]
        return {
            "same": self.holds,
            "points": self.points,
            "alerts": self.alerts,
            "windows": self.windows,
            "differences": len(self.differences),
            "first_differences": shown,
            "left_out": dict(self.left_out),
        }


def check(replayed: Replayed) -> Check:
    """Compare final revisions of points, alerts, and the rows of windows as sealed.

    Left out: windows that begin before all events of their model are there (windows of label arrival: within
    the label horizon after that, for their predictions may be gone), and the alerts of such series, whose
    memory of deciding began before.
    """
    found = Check()
    results, logged = replayed.results, replayed.logged
    partial = {name for name, plan in logged.plans.items() if plan and not replayed.is_covered(plan[0])}

    def comparable(one: MetricPoint | Alert) -> bool:
        if not replayed.is_covered(one):
            found.left_out[f"{_kind(one)}s of windows that begin before the events that are left"] += 1
            return False
        decided = isinstance(one, Alert) or one.measure.endswith(EVIDENCE_SUFFIX)
        if decided and SeriesName(one.model, one.version, one.segment, one.axis) in partial:
            found.left_out[
                f"{_kind(one)}s of deciding of series that began before the events that are left"
            ] += 1
            return False
        return True

    for name in sorted(logged.points.keys() | results.points.keys()):
        live, again = logged.points.get(name), results.points.get(name)
        if comparable(live or results.points[name]):
            found.points += 1
            _compare_points(found, live, again)
    if not replayed.in_order:
        found.left_out["alerts, for events in order of time and not of arrival are sealed otherwise"] += len(
            logged.alerts
        )
        return found
    alerts = {alert.id: alert for alert in results.alerts}
    for name in sorted(logged.alerts.keys() | alerts.keys()):
        live_alert, again_alert = logged.alerts.get(name), alerts.get(name)
        if again_alert is None and live_alert is not None and live_alert.kind == "volume":
            found.left_out["alerts about silence that the clock has told, and no later event"] += 1
            continue
        if again_alert is None and live_alert is not None and live_alert.window.startswith(ARRIVED):
            found.left_out[
                "alerts about the arrival of events whose slot the clock has ended, and no event"
            ] += 1
            continue
        if comparable(live_alert or alerts[name]):
            found.alerts += 1
            _compare_alerts(found, live_alert, again_alert)
    _compare_windows(found, replayed)
    return found


def _compare_points(found: Check, live: MetricPoint | None, again: MetricPoint | None) -> None:
    if live is None or again is None:
        found.differences.append(Difference("point", _point(live or again), _there(live), _there(again)))
        return
    for name in (*_SAME, *_NUMBERS):
        one, other = getattr(live, name), getattr(again, name)
        if one != other and not (name in _NUMBERS and _close(one, other)):
            found.differences.append(Difference("point", f"{_point(live)}: {name}", str(one), str(other)))


def _compare_alerts(found: Check, live: Alert | None, again: Alert | None) -> None:
    if live is None or again is None:
        found.differences.append(Difference("alert", _alert(live or again), _there(live), _there(again)))
        return
    for name in Alert.__struct_fields__:
        one, other = getattr(live, name), getattr(again, name)
        if name == "evidence":
            one, other = (tuple(msgspec.structs.astuple(each) for each in side) for side in (one, other))
            one, other = (tuple(tuple(map(_rounded, each)) for each in side) for side in (one, other))
        if one != other:
            found.differences.append(Difference("alert", f"{_alert(live)}: {name}", str(one), str(other)))


def _compare_windows(found: Check, replayed: Replayed) -> None:
    """A window is the logged one; its rows as sealed may differ where silence sealed a pane too early."""
    logged = {
        (name, seal.window, seal.monitor_revision, seal.reference_revision): seal
        for name, plan in replayed.logged.plans.items()
        for seal in plan
    }
    for seal in replayed.results.seals:
        name = SeriesName(
            seal.model, seal.version, seal.segment, "event" if seal.axis == "event" else "label"
        )
        if not replayed.is_covered(seal):
            found.left_out["windows that begin before the events that are left"] += 1
            continue
        found.windows += 1
        live = logged[name, seal.window, seal.monitor_revision, seal.reference_revision]
        if live.rows != seal.rows:
            what = f"{seal.model} {seal.version} {seal.segment} {seal.axis} {seal.window}: rows as sealed"
            found.differences.append(Difference("window", what, str(live.rows), str(seal.rows)))


def _kind(one: MetricPoint | Alert) -> str:
    return "alert" if isinstance(one, Alert) else "point"


def _there(one: object) -> str:
    return "there" if one is not None else "not there"


def _point(one: MetricPoint | None) -> str:
    if one is None:
        raise AssertionError("a difference needs one side at least")
    return f"{one.model} {one.version} {one.segment} {one.axis} {one.window} {one.measure} {one.feature or ''}".rstrip()


def _alert(one: Alert | None) -> str:
    if one is None:
        raise AssertionError("a difference needs one side at least")
    return f"{one.model} {one.version} {one.segment} {one.axis} {one.window} {one.kind} {one.state}"


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _rounded(value: object) -> object:
    return float(f"{value:.9g}") if isinstance(value, float) else value
