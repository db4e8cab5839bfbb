"""Hypotheses and their sentences."""

from detectors.values import Evidence
from remediation.values import Cause, Hypothesis


def hypothesis(cause: Cause, confidence: float, reasons: list[str]) -> Hypothesis:
    """A hypothesis with a confidence within its bounds."""
    return Hypothesis(
        cause=cause, confidence=round(min(max(confidence, 0.0), 1.0), 3), reasons=tuple(reasons)
    )


def scaled(found: Hypothesis, factor: float) -> Hypothesis:
    """The same hypothesis, believed so much less (or more)."""
    return hypothesis(found.cause, found.confidence * factor, list(found.reasons))


def told(evidence: Evidence) -> str:
    """One measure beside what it was and what it may be."""
    subject = f"{evidence.measure} of {evidence.feature}" if evidence.feature else evidence.measure
    usual = f"reference {evidence.reference:.3g}, " if evidence.reference is not None else ""
    limits = f"{usual}threshold {evidence.threshold:.3g}, {evidence.rows:,} rows"
    return f"{subject} is {evidence.value:.3g} ({limits})"


def count(number: int, noun: str) -> str:
    """`3 windows`, `1 window`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def ago(age_s: float) -> str:
    """How long before a change something was."""
    if abs(age_s) < 1:
        return "just when the change began"
    return f"{age_s:.0f} s before the change" if age_s > 0 else f"{-age_s:.0f} s after the estimated change"
