"""What the rows around a release have said, by incident: they are read again only when they can say something else."""

from collections.abc import Set
from typing import NamedTuple

from remediation.clock import seconds
from remediation.evidence import Facts
from remediation.testimony import Testimony
from remediation.witness import Witness

_PART = 10
_LEAST_S, _MOST_S = 1.0, 30.0
"""Rows that come in a tenth of a window, within these bounds, are too few to say something else."""


class _Heard(NamedTuple):
    testimony: Testimony
    version: str
    alerts: int
    at_us: int


class Hearings:
    """Keeps what a `Witness` said until alerts or enough labelled rows are new, or the incident is over."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._heard: dict[str, _Heard] = {}

    def of(self, incident_id: str) -> Testimony | None:
        """What was heard last; None: nothing was."""
        found = self._heard.get(incident_id)
        return found.testimony if found is not None else None

    def told_since(self, facts: Facts) -> bool:
        """Whether alerts have come since rows were read, or another version is ill by now, or none were read at all."""
        found = self._heard.get(facts.incident.id)
        return found is None or (found.version, found.alerts) != (facts.version, len(facts.alerts))

    def outdated(self, facts: Facts) -> bool:
        """Whether alerts, or rows that count, have come since then."""
        found = self._heard.get(facts.incident.id)
        if found is None or self.told_since(facts):
            return True
        patience_us = min(max(facts.span_us // _PART, seconds(_LEAST_S)), seconds(_MOST_S))
        return facts.now_us - found.at_us >= patience_us

    def hear(self, facts: Facts, *, near: bool = True) -> Testimony:
        """Read the rows now and keep what they say. near: there is a release that they can speak of."""
        said = self._witness.heard(facts) if near else Testimony()
        self._heard[facts.incident.id] = _Heard(said, facts.version, len(facts.alerts), facts.now_us)
        return said

    def forget(self, incident_id: str) -> None:
        """Of an incident to which nothing applies any more."""
        self._heard.pop(incident_id, None)

    def keep(self, incident_ids: Set[str]) -> None:
        """Forget all other incidents: they are over."""
        for one in [*self._heard]:
            if one not in incident_ids:
                self.forget(one)
