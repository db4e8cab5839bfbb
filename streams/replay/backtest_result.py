"""What a backtest found: incidents and estimates by the rows of the file, as objects and as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from detectors.estimation.estimate import MEASURES_OF
from detectors.reference import Reference
from detectors.values import Accounting, Alert, Evidence, MetricPoint, Monitor
from streams.files.cells import Cell
from streams.judge.seals import Seal
from streams.replay.backtest_feed import RowIndex
from streams.replay.confusions import confusions
from streams.replay.inprocess import Results
from streams.times import MICROSECONDS
from streams.topics import SEALS

ROW_US = 1_000
"""Time of a row in a file without time."""
UNREADABLE_TOLD = 20
_ESTIMATED = "estimated_"
_COMPARED = frozenset(name for names in MEASURES_OF.values() for name in names)


@dataclass
class Found(Results):
    """What a backtest keeps: alerts, points, and how many windows there were."""

    windows: dict[str, int] = field(default_factory=dict[str, int])

    def take(self, topic: str, kind: bytes, value: bytes) -> None:
        """Read one output record."""
        if topic == SEALS:
            seal = msgspec.json.decode(value, type=Seal)
            self.windows[seal.axis] = self.windows.get(seal.axis, 0) + seal.decided
        else:
            super().take(topic, kind, value)


def is_compared(axis: str, measure: str) -> bool:
    """Whether a measure of the rows of a window is an estimate of performance, or what one is compared with."""
    return axis == "event" and (measure.startswith(_ESTIMATED) or measure in _COMPARED)


@dataclass(frozen=True, slots=True)
class Incident:
    """A kind of alert from its beginning to its end. Rows count from 0: `opened_row` is the first one after
    the window that decided, `change_row` the first of the window where the change shows. `further`: one of
    its kind was open, and changed once more."""

    opened: Alert
    closed: Alert | None
    further: bool = False


@dataclass(frozen=True)
class Backtest:
    """The outcome."""

    monitor: Monitor
    references: tuple[Reference, ...]
    rows: int
    labels: int
    elapsed_s: float
    timed: bool
    results: Found
    index: RowIndex
    skipped: dict[str, int]
    ahead: int
    """Rows that are dated later than now. A file does not tell when a row came, so they are measured."""
    labels_unused: int
    unlike: int = 0
    """Rows whose class scores do not add up to 1: no probabilities, and taken for missing."""
    labels_without_outputs: bool = False
    listened: bool = True
    """Whether silence was looked for, as the monitor says."""
    unreadable: tuple[Cell, ...] = ()
    """Of each row that was left out for it, the first cell that is no number where one belongs."""

    @property
    def incidents(self) -> list[Incident]:
        """In order of their beginning."""
        open_at: dict[tuple[str, str, str, str], list[int]] = {}
        found: list[Incident] = []
        for alert in sorted(self.results.alerts, key=lambda alert: (alert.end_us, alert.state == "firing")):
            series = (alert.version, alert.segment, alert.kind, alert.axis)
            if alert.state == "firing":
                places = open_at.setdefault(series, [])
                places.append(len(found))
                found.append(Incident(alert, None, further=len(places) > 1))
                continue
            for place in open_at.pop(series, []):
                found[place] = replace(found[place], closed=alert)
        return found

    @property
    def firing(self) -> bool:
        """Whether an incident is open at the end."""
        return any(incident.closed is None for incident in self.incidents)

    @property
    def accounting(self) -> Accounting | None:
        """Where every row and label went."""
        return self.results.accounting.get((self.monitor.model, 0))

    def as_dict(self) -> dict[str, Any]:
        """For JSON. Times are there only where the file has times."""
        account = self.accounting
        return {
            "model": self.monitor.model,
            "first_row": self.index.total - self.rows,
            "rows": self.rows,
            "labels": self.labels,
            "windows": self.results.windows.get("event", 0),
            "label_windows": self.results.windows.get("label", 0),
            "rows_per_s": round(self.rows / self.elapsed_s) if self.elapsed_s else None,
            "pane_s": self.monitor.pane_s if self.timed else None,
            "pane_rows": None if self.timed else round(self.monitor.pane_s * MICROSECONDS / ROW_US),
            "reference": [
                {"version": one.version, "rows": one.rows, "revision": one.revision, "note": note_of(one)}
                for one in self.references
            ],
            "skipped": self.skipped,
            "unreadable": [cell._asdict() for cell in self.unreadable[:UNREADABLE_TOLD]],
            "rows_ahead": self.ahead,
            "class_scores_unlike": self.unlike,
            "labels_unused": self.labels_unused,
            "labels_without_outputs": self.labels_without_outputs,
            "accounting": msgspec.to_builtins(account) if account else None,
            "incidents": [self._incident(each) for each in self.incidents],
            "estimates": list(self._estimates()),
            "confusion": confusions(self.results.points.values(), self.references),
        }

    def _incident(self, incident: Incident) -> dict[str, Any]:
        opened, closed = incident.opened, incident.closed
        names = [one.feature for one in opened.evidence if one.feature]
        return {
            "opened_row": self.index.row(opened.end_us),
            "opened_time": self._time(opened.end_us),
            "change_row": self.index.row(opened.change_us),
            "change_time": self._time(opened.change_us),
            "kind": opened.kind,
            "further": incident.further,
            "version": opened.version,
            "segment": opened.segment,
            "axis": opened.axis,
            "summary": opened.reason,
            "features": list(dict.fromkeys(names)),
            "attribution": [msgspec.to_builtins(one) for one in opened.attribution],
            "explained": msgspec.to_builtins(opened.explained),
            "parts": [msgspec.to_builtins(one) for one in opened.parts],
            "measures": [_measure(one, opened.segment) for one in opened.evidence],
            "closed_row": self.index.row(closed.end_us) if closed else None,
            "closed_time": self._time(closed.end_us) if closed else None,
        }

    def _estimates(self) -> Iterator[dict[str, Any]]:
        """Each estimate with what turned out, in order of time."""
        points = [one for one in self.results.points.values() if one.axis == "event"]
        known = {_place(one, one.measure): one.value for one in points}
        told = [one for one in points if one.measure.startswith(_ESTIMATED)]
        for one in sorted(told, key=lambda one: (one.start_us, one.measure, one.version, one.segment)):
            measure = one.measure.removeprefix(_ESTIMATED)
            yield {
                "measure": measure,
                "version": one.version,
                "segment": one.segment,
                "start_row": self.index.row(one.start_us),
                "end_row": self.index.row(one.end_us),
                "estimated": one.value,
                "low": one.low,
                "high": one.high,
                "realized": known.get(_place(one, measure)),
                "undefined": one.undefined,
            }

    def _time(self, time_us: int) -> str | None:
        return datetime.fromtimestamp(time_us / MICROSECONDS, UTC).isoformat() if self.timed else None


def note_of(reference: Reference) -> str | None:
    """What a person should know of the reference, if anything."""
    return (reference.baseline.note or None) if reference.baseline is not None else None


def _place(point: MetricPoint, measure: str) -> tuple[str, str, str, str]:
    return point.version, point.segment, point.window, measure


def _measure(one: Evidence, segment: str) -> dict[str, Any]:
    return {
        "name": one.measure,
        "feature": one.feature,
        "segment": segment,
        "value": one.value,
        "reference": one.reference,
        "threshold": one.threshold,
        "n": one.rows,
    }
