"""How long a test waits for a real process before it calls it a failure."""

import os


def patient_s(seconds: float) -> float:
    """So many seconds on a free machine; in proportion more where others use it, too."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
