"""How the rows of a model arrive in a partition, by slot of the broker's time: the age of events, wrong clocks, what
comes again or does not fit."""

import math
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec.structs import replace

from detectors.values import ArrivalSlot, PaneSnapshot
from streams.profile.intake import Batch, Taken
from streams.times import MICROSECONDS

SLOT_US: Final = 300 * MICROSECONDS
SETTLED_US: Final = 30 * MICROSECONDS
"""So long after a slot a partition that is silent has told all of it."""
PER_OCTAVE: Final = 4
_OLDEST: Final = 26 * PER_OCTAVE


class OpenSlot(msgspec.Struct, array_like=True):
    """The slot that is not complete, as `ArrivalSlot`; `ages`: rows by age of the newest row of their batch, in
    quarters of an octave of seconds. `done`: complete slots that the judge has not been told of."""

    start_us: int = 0
    rows: int = 0
    ahead: int = 0
    ahead_s: float = 0.0
    late: int = 0
    late_s: float = 0.0
    version: str = ""
    ages: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    done: list[ArrivalSlot] = msgspec.field(default_factory=list[ArrivalSlot])
    twice: int = 0
    refused: int = 0


class ArrivalSlots:
    """The slots of one model in one partition."""

    def __init__(self) -> None:
        self.open = OpenSlot()

    def pass_time(self, now_us: int) -> bool:
        """The log's time is `now_us` (0: not known); whether a slot is complete by it that has rows."""
        one = self.open
        if now_us <= 0 or now_us < one.start_us + SLOT_US:
            return False
        done = [*one.done, _complete(one)] if one.rows else one.done
        self.open = OpenSlot(start_us=now_us // SLOT_US * SLOT_US, version=one.version, done=done)
        return one.rows > 0

    def holds(self, now_us: int) -> bool:
        """Whether no slot is complete by this time of the log."""
        return 0 < now_us < self.open.start_us + SLOT_US

    def take(self, batch: Batch, taken: Taken, arrived_us: int) -> None:
        """A batch of predictions came at the broker's time `arrived_us` (0: not known, and nothing is noted)."""
        if arrived_us <= 0:
            return
        one, kept = self.open, 0 if taken.batch is None else taken.batch.rows
        one.rows += kept + taken.refused
        one.refused += taken.refused - taken.future
        if taken.future:
            one.ahead += taken.future
            one.ahead_s = max(one.ahead_s, (batch.span_us[1] - arrived_us) / MICROSECONDS)
        if taken.batch is not None:
            age_s = (arrived_us - taken.batch.span_us[1]) / MICROSECONDS
            bucket = min(max(0, round(math.log2(max(age_s, 1.0)) * PER_OCTAVE)), _OLDEST)
            one.ages[bucket] = one.ages.get(bucket, 0) + kept

    def late(self, rows: int, watermark_us: int, oldest_us: int) -> None:
        """So many of the rows are too old to be measured; the oldest one's time, and the newest one so far."""
        self.open.late += rows
        self.open.late_s = max(self.open.late_s, (watermark_us - oldest_us) / MICROSECONDS)

    def again(self, rows: int) -> None:
        """So many of the rows have the id of an earlier one."""
        self.open.twice += rows

    def with_snapshots(self, send: Callable[[PaneSnapshot], None]) -> Callable[[PaneSnapshot], None]:
        """Sends snapshots with the complete slots, each once."""

        def send_with(snapshot: PaneSnapshot) -> None:
            done = tuple(self.open.done)
            self.open.done = []
            send(replace(snapshot, arrivals=done) if done else snapshot)

        return send_with

    def copy(self) -> OpenSlot:
        """As it is now."""
        return replace(self.open, ages=dict(self.open.ages), done=list(self.open.done))


def _complete(one: OpenSlot) -> ArrivalSlot:
    measured, seen, age_s = sum(one.ages.values()), 0, 0.0
    for bucket, rows in sorted(one.ages.items()):
        seen, age_s = seen + rows, 2.0 ** (bucket / PER_OCTAVE)
        if 2 * seen >= measured:
            break
    return ArrivalSlot(
        start_us=one.start_us,
        length_us=SLOT_US,
        version=one.version,
        rows=one.rows,
        measured=measured,
        lag_s=age_s,
        ahead=one.ahead,
        ahead_s=one.ahead_s,
        late=one.late,
        late_s=one.late_s,
        twice=one.twice,
        refused=one.refused,
    )
