"""How long to wait before a dead part is started again."""

from dataclasses import dataclass

FIRST_S = 0.5
FACTOR = 2.0
LONGEST_S = 15.0
FORGIVEN_AFTER_S = 30.0


@dataclass(slots=True)
class Backoff:
    """Doubling waits, so that a part that cannot start does not occupy the machine; a long healthy run starts
    over.

    >>> waits = Backoff()
    >>> [waits.next_s(healthy_s=0) for _ in range(7)]
    [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    >>> waits.next_s(healthy_s=31)
    0.5
    """

    _following_s: float = FIRST_S

    def next_s(self, healthy_s: float) -> float:
        """Seconds to wait now; `healthy_s` is how long the part had been healthy before it died."""
        if healthy_s >= FORGIVEN_AFTER_S:
            self._following_s = FIRST_S
        wait_s = self._following_s
        self._following_s = min(LONGEST_S, wait_s * FACTOR)
        return wait_s
