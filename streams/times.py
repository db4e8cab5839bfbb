"""Time as every stage keeps it: whole microseconds since the epoch, UTC."""

import time

MICROSECONDS = 1_000_000
"""In a second."""
NEVER_US = -(2**62)
"""Before every event: the watermark of who has seen none."""
IDLE_US = 2**63 - 1
"""The watermark of a source that is idle: it holds nobody back."""


def in_words(time_us: int) -> str:
    """A moment to the second, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_us / MICROSECONDS))


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1_000
