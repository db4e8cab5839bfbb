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
        before_us, ended = self.now_us, self.ends_second(at_us)
        if at_us > before_us:
            self.now_us = at_us
            self.heard_us += min(at_us - before_us, _LONGEST_GAP_US) if before_us else 0
        return ended

    def ends_second(self, at_us: int) -> bool:
        """Whether a second of the log ends with a record of this time."""
        return self.now_us > 0 and at_us // MICROSECONDS > self.now_us // MICROSECONDS
