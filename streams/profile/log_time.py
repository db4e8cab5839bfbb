"""The time of a partition of events, as its broker has dated them."""

import msgspec

from streams.times import MICROSECONDS

_LONGEST_GAP_US = MICROSECONDS
"""While nothing at all comes, nobody is heard: what an outage held back comes at once, and makes nobody silent."""
_PUT_RIGHT_US = 10 * MICROSECONDS
"""Brokers whose clocks are kept differ by less. A record that is dated further back than this shows that the clock was
wrong before, or is now."""


class LogTime(msgspec.Struct, array_like=True):
    """How far the log is, and for how long (`heard_us`) its records were heard in all. `behind_us`: how far it is since
    it was dated so much earlier that a clock must have been changed (0: it was not).

    All follow from the log alone, so that a model that is silent while others speak is found silent at the same record
    again: after a crash, and in a replay.
    """

    now_us: int = 0
    heard_us: int = 0
    behind_us: int = 0

    def pass_to(self, at_us: int) -> bool:
        """A record of this time (0: not known) is read; whether a second of the log has ended with it."""
        ended = self.ends_second(at_us)
        if at_us > self.now_us:
            self.heard_us += min(at_us - self.now_us, _LONGEST_GAP_US) if self.now_us else 0
            self.now_us, self.behind_us = at_us, 0
        elif self._is_behind(at_us):
            passed_us = at_us - self.behind_us
            self.heard_us += max(0, min(passed_us, _LONGEST_GAP_US)) if self.behind_us else 0
            self.behind_us = at_us if passed_us > 0 or passed_us < -_PUT_RIGHT_US else self.behind_us
        return ended

    def ends_second(self, at_us: int) -> bool:
        """Whether a second of the log ends with a record of this time."""
        from_us = self.behind_us if self._is_behind(at_us) else self.now_us
        return from_us > 0 and at_us // MICROSECONDS > from_us // MICROSECONDS

    def _is_behind(self, at_us: int) -> bool:
        return 0 < at_us < self.now_us - _PUT_RIGHT_US
