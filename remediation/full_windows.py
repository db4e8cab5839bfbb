"""A world that moved is not answered before a whole window of it was judged.

The window in which an illness begins holds healthy rows, too. That something moved is told of it; that columns hold
each other's values, or another unit, shows in the next one only, and explains the drift (`remediation.inhibition`);
labels may tell a drop before either. A busy system judges that window late, so that waiting by the clock is not enough.
"""

from detectors.values import MetricPoint
from remediation.clock import seconds
from remediation.config import DiagnosisConfig
from remediation.diagnosis import LONGEST_WAIT_S, longest_us
from remediation.evidence import ARRIVALS, CERTAIN_BREAKS, OUTCOMES, Facts
from remediation.ports import Reader
from remediation.values import Cause

_OF_THE_WORLD: frozenset[Cause] = frozenset({"population_shift", "concept_shift"})
"""Causes that a model is trained anew for: on rows that were broken it would learn that."""
_FINDINGS = CERTAIN_BREAKS - ARRIVALS


def to_be_judged(unit: Reader, facts: Facts, cause: Cause, config: DiagnosisConfig) -> bool:
    """Whether a drift or a drop whose best explanation is `cause` had better wait: for the first window of events that
    began after it was told, or for the alert of a finding that this window has. Where none comes it is told at last."""
    told = facts.firing("data_drift", *OUTCOMES)
    if not told or cause not in _OF_THE_WORLD:
        return False
    patience_us = min(longest_us(facts.span_us, config), seconds(LONGEST_WAIT_S))
    if facts.now_us - facts.incident.opened_us >= patience_us:
        return False
    told_us = min(each.end_us for each in told)
    points = unit.points(
        facts.incident.model, version=facts.version, axis="event", since_us=told_us, limit=50_000
    )
    whole = [each for each in points if each.start_us >= told_us and each.verdict != "undefined"]
    return not whole or any(_unheard(each, facts) for each in whole)


def _unheard(point: MetricPoint, facts: Facts) -> bool:
    """A finding of which no alert has come: points and alerts take different ways."""
    if point.measure not in _FINDINGS or point.verdict != "breach":
        return False
    heard = {(one.measure, one.feature) for alert in facts.alerts for one in alert.evidence}
    return (point.measure, point.feature) not in heard
