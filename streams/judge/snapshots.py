"""The small part of the judge's state, and what of a flush waits for its offsets."""

import msgspec

from streams.judge.model_axis import AxisMemory
from streams.judge.windows import Entry, Kept, SeriesMemory, SeriesName


class StageSnapshot(msgspec.Struct, array_like=True):
    """What a checkpoint holds by itself."""

    axes: list[AxisMemory]
    series: list[tuple[SeriesName, SeriesMemory]]
    clock_us: int


class Pending(msgspec.Struct):
    """A flush between `flush` and `snapshot`. `made`: merged panes that are being written, `merged`: all that
    are needed; `told`: states of series that are being written and their records, `kept`: all that are needed."""

    state: bytes
    panes: list[int]
    made: list[Entry]
    merged: list[Entry]
    told: list[tuple[Kept, int]]
    kept: list[Kept]
