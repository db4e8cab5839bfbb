"""The small part of the judge's state, and what of a flush waits for its offsets."""

import msgspec

from streams.judge.carrying import Carried
from streams.judge.model_axis import AxisMemory
from streams.judge.windows import Kept, SeriesMemory, SeriesName


class StageSnapshot(msgspec.Struct, array_like=True):
    """What a checkpoint holds by itself."""

    axes: list[AxisMemory]
    series: list[tuple[SeriesName, SeriesMemory]]
    clock_us: int


class Pending(msgspec.Struct):
    """A flush between `flush` and `snapshot`. `carried`: where the panes are; `told`: states of series that are being
    written and how many records each takes, `kept`: all that are needed."""

    state: bytes
    carried: Carried
    told: list[tuple[Kept, int]]
    kept: list[Kept]
