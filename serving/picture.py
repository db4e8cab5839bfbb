"""A small chart of the measure that fell ill, as PNG for messages, with words for who does not see it."""

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from detectors.values import Alert, MetricPoint
from remediation.causes.telling import count
from remediation.clock import seconds
from remediation.ports import Journal
from remediation.values import Incident
from serving import words

log = structlog.get_logger()

_BEFORE_S = 3_600.0
"""How much of the time before the change is shown; more where that holds too few windows."""
_POINTS = 60
_LEAST = 2
_STYLES = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#aa4499", "D"))
"""Okabe and Ito's colours, each with a mark of its own: versions are told apart without colour too."""
_LOCK = threading.Lock()
"""matplotlib's text layout is not safe between threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One measure over time. `change_us` is marked."""

    title: str
    alt: str
    points: Sequence[MetricPoint] = field(repr=False)
    change_us: int

    def draw(self) -> "Drawn":
        """As PNG."""
        return Drawn(png=_draw(self.title, self.points, self.change_us), alt=self.alt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What is sent: the picture, and words for who does not see it."""

    png: bytes = field(repr=False)
    alt: str


def drawn_of(journal: Journal, incident: Incident, alerts: Sequence[Alert], *, until_us: int) -> Drawn | None:
    """The chart that goes with a question; None where there is nothing to draw, or it cannot be drawn."""
    try:
        picture = picture_of(journal, incident, alerts, until_us=until_us)
        return picture.draw() if picture is not None else None
    except Exception:
        # Drawing is a library's work on whatever was measured; people are asked all the same.
        log.exception("A chart could not be drawn", incident=incident.id)
        return None


def picture_of(
    journal: Journal, incident: Incident, alerts: Sequence[Alert], *, until_us: int
) -> Picture | None:
    """The measure with the strongest evidence, over the versions; None where there is nothing to draw."""
    measure = _measure(alerts)
    if measure is None:
        return None
    with journal.reading() as unit:
        points = unit.points(
            incident.model,
            measures=[measure],
            since_us=incident.change_us - seconds(_BEFORE_S),
            until_us=until_us,
        )
        if len(points) < _POINTS:
            points = unit.points(incident.model, measures=[measure], until_us=until_us, limit=_POINTS)
    shown = [
        each for each in points if each.value is not None and each.feature is None and each.segment == "all"
    ]
    shown = shown[-_POINTS:]
    if len(shown) < _LEAST:
        return None
    title = f"{words.measure(measure)} of {incident.model}"
    alt = _alt(title, measure, shown)
    return Picture(title=title, alt=alt, points=shown, change_us=incident.change_us)


def _measure(alerts: Sequence[Alert]) -> str | None:
    found = [
        (evidence.effect, evidence.measure)
        for alert in alerts
        if alert.state == "firing"
        for evidence in alert.evidence
        if evidence.feature is None
    ]
    return max(found, key=lambda each: each[0])[1] if found else None


def _alt(title: str, measure: str, points: Sequence[MetricPoint]) -> str:
    first, last = points[0], points[-1]
    values = [each.value for each in points if each.value is not None]
    told = [
        f"{title}, {count(len(points), 'window')} from {words.moment(first.end_us)} to "
        f"{words.moment(last.end_us)} UTC.",
        f"It went from {words.number(measure, first.value)} (version {first.version}) to "
        f"{words.number(measure, last.value)} (version {last.version}), between "
        f"{words.number(measure, min(values))} and {words.number(measure, max(values))}.",
    ]
    if last.threshold is not None:
        told.append(f"The threshold is {words.number(measure, last.threshold)}.")
    return " ".join(told)


def _draw(title: str, points: Sequence[MetricPoint], change_us: int) -> bytes:
    # Imported here: most processes of this room never draw.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _LOCK:
        # What matplotlib takes for a coordinate (dates, gaps) is wider than its annotations say.
        figure = Figure(figsize=(6.4, 2.4), dpi=110, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axis: Any = figure.add_subplot()
        for number, version in enumerate(dict.fromkeys(each.version for each in points)):
            colour, mark = _STYLES[number % len(_STYLES)]
            mine = [each for each in points if each.version == version]
            axis.plot(
                [_at(each.end_us) for each in mine],
                [each.value for each in mine],
                color=colour,
                marker=mark,
                markersize=4,
                label=f"version {version}",
            )
        threshold = points[-1].threshold
        if threshold is not None:
            axis.axhline(threshold, color="#b3261e", linestyle="--", linewidth=1, label="threshold")
        if _at(points[0].end_us) <= _at(change_us) <= _at(points[-1].end_us):
            axis.axvline(_at(change_us), color="#5f6b7a", linestyle=":", linewidth=1, label="change")
        axis.set_title(title, fontsize=10)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
        axis.legend(fontsize=8, loc="best")
        out = io.BytesIO()
        canvas.print_png(out)
        return out.getvalue()


def _at(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us / 1e6, UTC)
