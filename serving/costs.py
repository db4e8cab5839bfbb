"""What incidents cost, from the points on record."""

import threading
from collections.abc import Iterable, Iterator
from typing import Final

from detectors.values import Axis, MetricPoint
from remediation.clock import seconds
from remediation.durations import Cost, cost
from remediation.ports import Clock, Journal, Reader
from remediation.values import Incident

_PAGE = 20_000
_COUNTED: Final[dict[Axis, tuple[str, ...]]] = {
    "event": ("positive_rate", "class_psi", "prediction_psi", "rows", "reference"),
    "label": ("accuracy", "mae"),
}
"""What the cost is made of. Every window of events has at least one of its five, whatever the task, by rows or by
time, with a reference or without; all the others would be read in vain, one per feature."""
_AT_ONCE = 5
_GOOD_FOR_S = 3_600.0


def cost_of(unit: Reader, incident: Incident) -> Cost:
    """What the incident has cost as far as labels have come."""
    return cost(incident, _points(unit, incident))


class Costs:
    """The costs of many incidents, for whoever asks every few seconds: a few are counted each time, and again after an
    hour, for labels may have come."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._known: dict[str, tuple[int, Cost]] = {}
        self._lock = threading.Lock()

    def of(self, incidents: Iterable[Incident]) -> dict[str, Cost]:
        """By incident; those that were not counted yet are left out. What is not asked about any more is forgotten."""
        wanted = {each.id: each for each in incidents}
        now_us = self._clock.now_us()
        with self._lock:
            self._known = {name: found for name, found in self._known.items() if name in wanted}
            due = [
                each for each in wanted.values() if self._counted_us(each) <= now_us - seconds(_GOOD_FOR_S)
            ]
            due.sort(key=self._counted_us)
            with self._journal.reading() as unit:
                for each in due[:_AT_ONCE]:
                    self._known[each.id] = (now_us, cost_of(unit, each))
            return {name: found for name, (_, found) in self._known.items()}

    def _counted_us(self, incident: Incident) -> int:
        return self._known[incident.id][0] if incident.id in self._known else -1


def _points(unit: Reader, incident: Incident) -> Iterator[MetricPoint]:
    """All that the cost is made of since the onset, page by page from the newest on."""
    for axis, measures in _COUNTED.items():
        until_us: int | None = None
        known: set[str] = set()
        while True:
            page = unit.points(
                incident.model,
                version=incident.version,
                measures=measures,
                axis=axis,
                since_us=incident.change_us,
                until_us=until_us,
                limit=_PAGE,
            )
            new = [each for each in page if each.id not in known]
            yield from new
            if len(page) < _PAGE or not new:
                break
            # The oldest moment is read again: the page may have ended between two points of it.
            until_us, known = page[0].end_us + 1, {each.id for each in page if each.end_us == page[0].end_us}
