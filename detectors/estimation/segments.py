"""What is usual of a segment's estimates: a reference is that of all rows, so a segment is its own.

A segment may always be harder than the others. The estimates of its first windows are what later ones are compared
with, and how they differ among themselves is how far chance moves them.
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from detectors.measurement import Measurement
from detectors.values import Value

LEARNED: Final = 8
"""Windows from which the usual is learned."""
CAREFUL: Final = 1.8
"""By which a standard deviation of so many windows may be larger (95 %: chi-squared with 7 degrees of freedom)."""
_PREFIX: Final = "estimated_"


class Usual(Value, frozen=True, kw_only=True):
    """Of one measure: windows, mean, and sum of the squared differences from it."""

    windows: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def with_one(self, value: float) -> "Usual":
        """With one more window (Welford 1962)."""
        windows, away = self.windows + 1, value - self.mean
        mean = self.mean + away / windows
        return Usual(windows=windows, mean=mean, squares=self.squares + away * (value - mean))


class SegmentMemory(Value, frozen=True, kw_only=True):
    """The usual estimates of a segment under a reference, by measure."""

    reference: str = ""
    usual: dict[str, Usual] = msgspec.field(default_factory=dict[str, Usual])


def beside_own(
    measurements: Sequence[Measurement], reference_revision: str, memory: SegmentMemory | None
) -> tuple[list[Measurement], SegmentMemory]:
    """The measures of a segment's window, its estimates beside what is usual of the segment, and what is known next.
    The first `LEARNED` windows are compared with nothing."""
    if memory is None or memory.reference != reference_revision:
        memory = SegmentMemory(reference=reference_revision)
    usual, found = dict(memory.usual), list[Measurement]()
    for one in measurements:
        if not one.measure.startswith(_PREFIX) or one.value is None:
            found.append(one)
            continue
        known = usual.get(one.measure, Usual())
        if known.windows < LEARNED:
            usual[one.measure] = known.with_one(one.value)
            found.append(one)
            continue
        deviation = CAREFUL * math.sqrt(known.squares / (known.windows - 1))
        error = max(one.error, deviation, 1e-6)
        found.append(
            replace(one, reference=known.mean, error=error, reference_error=error / math.sqrt(known.windows))
        )
    return found, replace(memory, usual=usual)
