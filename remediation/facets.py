"""What an alert is about: the model and its data, or only the operation around it."""

from detectors.values import Alert, Evidence

SERVICE = frozenset({"latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "error_rate"})
"""How the service does that the model runs in."""


def is_of_service(evidence: Evidence) -> bool:
    """Of a data-quality alert: slow or failing requests. One without an answer, and so without a score, has failed."""
    return evidence.measure in SERVICE or (evidence.measure == "missing_rate" and evidence.feature is None)


def of_traffic(alert: Alert) -> bool:
    """How many events come is the matter of the model: the alert names the version that had the newest ones, and
    another may serve by now."""
    return alert.kind == "volume"


def concerns(alert: Alert, version: str) -> bool:
    """Whether an alert is about a version, or about the traffic of its model."""
    return alert.version == version or of_traffic(alert)


def of_operation(alert: Alert) -> bool:
    """Whether an alert is only about the service or the traffic: it explains nothing about the model and its data."""
    if of_traffic(alert):
        return True
    return alert.kind == "data_quality" and bool(alert.evidence) and all(map(is_of_service, alert.evidence))
