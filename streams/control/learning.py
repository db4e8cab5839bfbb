"""References that are learned from the first rows of a live version: what is asked for, and from when it counts.

The judge says which rows they are: the first sealed panes of the version that hold enough. `streams.control.learner`
builds the reference of them, and publishes it. Both are functions of the log alone.
"""

from typing import Final, Self
from urllib.parse import quote

import msgspec

from detectors.values import Value
from streams.times import MICROSECONDS

ORDERS: Final = "learn/"
IN_FORCE: Final = "in-force/"
GRACE_US: Final = 30 * MICROSECONDS
"""Between the last pane that is learned from and the first that is measured, in event time: until then the reference
is built, and every worker has read it."""

Stretch = tuple[int, int, int]
"""A partition of the events, and the first and the last offset of it, both included."""


class LearningOrder(Value, frozen=True, kw_only=True):
    """Learn the reference of a version from its rows whose time is in [start_us, end_us) and that stand in these
    stretches of the events topic; labels that stand there are theirs. `rows`: at least so many, as they were sealed.
    It is in force for panes that begin at or after `effective_us`."""

    model: str
    version: str
    monitor_revision: int
    rows: int
    start_us: int
    end_us: int
    effective_us: int
    stretches: tuple[Stretch, ...]

    @property
    def key(self) -> bytes:
        """Of its record on the control topic."""
        return f"{ORDERS}{quote(self.model, safe='')}/{quote(self.version, safe='')}".encode()

    def to_json(self) -> bytes:
        """The value of the record."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read `to_json`; raises msgspec's `DecodeError`, a `ValueError`."""
        return msgspec.json.decode(text, type=cls)


class InForce(Value, frozen=True, kw_only=True):
    """From which event time on a revision of a reference counts; without it, for all panes that begin from now on."""

    model: str
    version: str
    revision: str
    effective_us: int

    @property
    def key(self) -> bytes:
        """Of its record on the control topic, which stands before that of the reference."""
        names = (self.model, self.version, self.revision)
        return (IN_FORCE + "/".join(quote(name, safe="") for name in names)).encode()
