"""What an alert is an alert of: the name of its series, the same in every window and after every restart."""

import hashlib

from detectors.values import Alert


def fingerprint(alert: Alert) -> str:
    """Names model, version, kind, segment and axis: `fp-` and 12 hex digits of their SHA-256."""
    series = "\x00".join((alert.model, alert.version, alert.kind, alert.segment, alert.axis))
    return "fp-" + hashlib.sha256(series.encode()).hexdigest()[:12]
