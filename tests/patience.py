"""How long a test waits for something real before it calls that a failure."""

PATIENCE_S = 120.0
"""For what takes moments on a free machine. Only a test that fails waits so long, so it is far more than a slow and
busy machine needs."""


def patient_s(seconds: float) -> float:
    """For what may take so many seconds on a free machine."""
    return max(PATIENCE_S, 4 * seconds)
