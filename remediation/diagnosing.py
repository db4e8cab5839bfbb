"""open -> diagnosed, verifying, resolved: what is wrong, as soon as the evidence is enough.

Judged from one consistent view, beside all writers; what was found is written only where nothing has come meanwhile.
"""

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from remediation import incidents
from remediation.config import DiagnosisConfig
from remediation.diagnosis import diagnose, more_may_come, needs_testimony, ready, summary
from remediation.evidence import Facts, gather, still_so, with_points
from remediation.facets import of_traffic
from remediation.full_windows import to_be_judged
from remediation.hearings import Hearings
from remediation.ports import Clock, Journal, Reader
from remediation.routing import still_firing
from remediation.values import IncidentState


@dataclass(frozen=True, slots=True)
class _Finding:
    """What follows from facts: the state that an incident shall have, and why."""

    facts: Facts
    to: Literal["diagnosed", "verifying", "resolved"]
    why: str
    changes: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Diagnosing:
    """Takes an incident from its first alerts to a diagnosis. Harmless when repeated."""

    journal: Journal
    clock: Clock
    config: DiagnosisConfig
    hearings: Hearings

    def step(self, incident_id: str) -> None:
        """Diagnose an open incident, or end it, if the time has come."""
        found = self._diagnosed(incident_id)
        if isinstance(found, Facts):
            # What the rows say takes a while to read: nobody's transaction waits for it.
            self.hearings.hear(found)
            found = self._diagnosed(incident_id, heard=True)
        if isinstance(found, _Finding):
            self._write(found)

    def _diagnosed(self, incident_id: str, *, heard: bool = False) -> Facts | _Finding | None:
        """Diagnose, if the time has come; the facts, where the rows around a release have to be heard first (again).
        heard: they were, just now."""
        with self.journal.reading() as unit:
            facts = self.facts(unit, incident_id, "open")
            if facts is None:
                return None
            over = _ended_by_itself(facts) or _replaced_by_people(facts)
            if over is not None:
                return over
            why = ready(facts, self.config)
            if why is None:
                return None
            if not needs_testimony(facts, self.config):
                facts = msgspec.structs.replace(facts, testimony=None)
                self.hearings.forget(incident_id)
            elif not heard and self.hearings.outdated(facts):
                return facts
            facts = with_points(unit, facts, self.config)
            hypotheses = diagnose(facts, self.config)
            best = hypotheses[0]
            if best.cause != "bad_release" and more_may_come(facts, self.config):
                return None
            if to_be_judged(unit, facts, best.cause, self.config):
                return None
        changes: dict[str, object] = {
            "cause": best.cause,
            "confidence": best.confidence,
            "hypotheses": hypotheses,
            "summary": summary(facts, best),
            "diagnosed_us": facts.now_us,
        }
        return _Finding(facts, "diagnosed", f"{best.cause} ({best.confidence:.2f}): {why}", changes)

    def _write(self, found: _Finding) -> None:
        """Write what was found, where the facts are still those that it was found from; else it is looked at again."""
        with self.journal.transaction() as unit:
            if not still_so(unit, found.facts):
                return
            incident, now_us = found.facts.incident, found.facts.now_us
            if found.to == "resolved":
                incidents.close(unit, incident, to=found.to, outcome=found.why, now_us=now_us)
            else:
                incidents.move(unit, incident, to=found.to, why=found.why, **found.changes)

    def facts(self, unit: Reader, incident_id: str, state: IncidentState) -> Facts | None:
        """What is known of an incident in `state`, but for the points; None where it has another one."""
        incident = unit.incident(incident_id)
        if incident is None or incident.state != state:
            return None
        facts = gather(unit, incident, now_us=self.clock.now_us(), near_s=self.config.near_change_s)
        return msgspec.structs.replace(facts, testimony=self.hearings.of(incident.id))


def _ended_by_itself(facts: Facts) -> _Finding | None:
    if still_firing(facts.alerts, facts.version):
        return None
    outcome = f"Every alert of version {facts.version} was cleared before anything was done."
    return _Finding(facts, "resolved", outcome)


def _replaced_by_people(facts: Facts) -> _Finding | None:
    """Somebody made another version serve in the meantime: what is left is to see whether that helped."""
    desired = facts.desired
    if desired is None or facts.version in (desired.version, *desired.arrangement.shares):
        return None
    if all(map(of_traffic, facts.firing())):
        # No version brings events: what serves in the meantime is as silent, and proves nothing.
        return None
    why = f"{desired.decided_by} made version {desired.version} serve: {desired.reason}"
    return _Finding(facts, "verifying", why, {"acted_us": desired.at_us})
