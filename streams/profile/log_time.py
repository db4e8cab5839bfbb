"""The time of a partition of events, as its broker has dated them."""

import msgspec

from streams.times import MICROSECONDS

_LONGEST_GAP_US = MICROSECONDS
"""While nothing at all comes, nobody is heard: what an outage held back comes at once, and makes nobody silent."""


class LogTime(msgspec.Struct, array_like=True):
    """How far the log is, and for how long (`heard_us`) its records were heard in all.

    Both follow from the log alone, so that a model that is silent while others speak is found silent at the same record
    again: after a crash, and in a replay.
    """

    now_us: int = 0
    heard_us: int = 0

    def pass_to(self, at_us: int) -> bool:
        """A record of this time (0: not known) is read; whether a second of the log has ended with it."""
        before_us = self.now_us
        if at_us <= before_us:
            return False
        self.now_us = at_us
        if not before_us:
            return False
        self.heard_us += min(at_us - before_us, _LONGEST_GAP_US)
        return at_us // MICROSECONDS > before_us // MICROSECONDS
