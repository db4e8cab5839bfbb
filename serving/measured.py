"""The strongest evidence of an illness, in words."""

from collections.abc import Sequence
from typing import NamedTuple

from detectors.values import Alert
from remediation.values import Incident
from serving import words


class Measured(NamedTuple):
    """One measure as it was seen last: `now`, `threshold` and `reference` are told for people; `reference` may be
    empty."""

    name: str
    now: str
    threshold: str
    reference: str
    rows: int
    start_us: int
    end_us: int


def strongest(incident: Incident, alerts: Sequence[Alert], limit: int) -> list[Measured]:
    """Of the version that is ill, the strongest first, each measure as it was seen last."""
    latest = {
        (found.measure, found.feature): (found, alert)
        for alert in sorted(alerts, key=lambda each: each.end_us)
        if alert.state == "firing" and alert.version == incident.version
        for found in alert.evidence
    }
    ranked = sorted(latest.values(), key=lambda pair: -pair[0].effect)[:limit]
    return [
        Measured(
            words.measure(found.measure) + (f" of {found.feature}" if found.feature else ""),
            words.number(found.measure, found.value),
            words.number(found.measure, found.threshold),
            "" if found.reference is None else words.number(found.measure, found.reference),
            found.rows,
            alert.start_us,
            alert.end_us,
        )
        for found, alert in ranked
    ]
