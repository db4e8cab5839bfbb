"""The clock of a running system; tests bring their own."""

import time

US_PER_S = 1_000_000


class SystemClock:
    """Wall time."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        return time.time_ns() // 1_000


def seconds(duration_s: float) -> int:
    """A duration in microseconds."""
    return round(duration_s * US_PER_S)
