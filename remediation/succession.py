"""A version that serves in place of an ill one, and is ill, too, because people released it or it was gone back to: the
incident is its own now."""

from collections.abc import Sequence

from msgspec.structs import replace

from detectors.values import Alert, AlertKind
from remediation import incidents
from remediation.config import DiagnosisConfig
from remediation.diagnosis import summary
from remediation.evidence import Facts, gather
from remediation.facets import of_operation, of_traffic
from remediation.ports import Reader, Unit
from remediation.routing import still_firing
from remediation.values import Desired, Hypothesis, Incident, Plan

Ranked = tuple[Hypothesis, ...]


def of_successor(
    unit: Reader, incident: Incident, desired: Desired, *, now_us: int, config: DiagnosisConfig
) -> Facts | None:
    """The facts of `incident` as one of the version that serves; None where that version is not ill."""
    successor = replace(incident, version=desired.version)
    facts = gather(unit, successor, now_us=now_us, near_s=config.near_change_s)
    return None if desired.version == incident.version or not facts.firing() else facts


def relapsed(unit: Reader, incident: Incident, plan: Plan) -> bool:
    """Whether the version that a rollback went back to is told to be ill of the same kind as the one it replaced, in
    itself or in the service around it: what both have is not the doing of a release."""
    back = plan.to_version
    if plan.action != "rollback" or back is None or back == incident.version:
        return False
    alerts = unit.alerts(incident.id)
    return bool(_ills(alerts, incident.version) & _ills(alerts, back))


def _ills(alerts: Sequence[Alert], version: str) -> set[tuple[AlertKind, bool]]:
    """What a version has, and whether it is the service's; how many ask is no illness of a version."""
    firing = still_firing(alerts, version)
    return {(each.kind, of_operation(each)) for each in firing if not of_traffic(each)}


def taken_over(unit: Unit, incident: Incident, facts: Facts, hypotheses: Ranked, why: str) -> bool:
    """Make `incident` one of a successor, with the `hypotheses` that `facts` lead to; False where somebody moved it."""
    best = hypotheses[0]
    moved = incidents.move(
        unit,
        incident,
        to="diagnosed",
        why=f"{best.cause} ({best.confidence:.2f}), with version {incident.version} and the one after it: {why}",
        version=facts.version,
        cause=best.cause,
        confidence=best.confidence,
        hypotheses=hypotheses,
        summary=summary(facts, best),
        diagnosed_us=facts.now_us,
        acted_us=None,
    )
    return moved is not None
