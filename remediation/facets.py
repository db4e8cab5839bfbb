"""What an alert is about: the model and its data, or only the operation around it."""

from detectors.values import Alert, Evidence

SERVICE = frozenset({"latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "error_rate"})
"""How the service does that the model runs in."""


def is_of_service(evidence: Evidence) -> bool:
    """Of a data-quality alert: slow or failing requests. One without an answer, and so without a score, has failed."""
    return evidence.measure in SERVICE or (evidence.measure == "missing_rate" and evidence.feature is None)


def of_operation(alert: Alert) -> bool:
    """Whether an alert is only about the service or the traffic: it explains nothing about the model and its data."""
    if alert.kind == "volume":
        return True
    return alert.kind == "data_quality" and bool(alert.evidence) and all(map(is_of_service, alert.evidence))
