"""What a measure is: a distance of two samples, and what it promises of itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from detectors.errors import DetectorError
from detectors.library.samples import ColumnSample, RowsSample
from detectors.values import FeatureKind


class MeasureInvalid(DetectorError):
    """A measure breaks a law, or takes the name of another."""


class Found(NamedTuple):
    """What a measure says of two samples: a number, or `because` of what there is none.

    `error`: how far the exact number may be, where places within a bin decide. `detail`: what a person should know
    besides, such as the pair of columns.
    """

    value: float | None
    error: float = 0.0
    detail: str = ""
    because: str | None = None


def absent(because: str) -> Found:
    """No number, and the reason."""
    return Found(None, because=because)


ColumnMeasure = Callable[[ColumnSample, ColumnSample], Found]
RowsMeasure = Callable[[RowsSample, RowsSample], Found]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A distance between a reference (or an earlier window) and a window; first argument the reference.

    One of `column` and `rows` computes it. `kinds`: of columns that it has a meaning for. `least`, `greatest`: bounds
    that no sample breaks. `symmetric`: the same when the samples change places. `of_shares`: depends on shares
    alone, not on how many rows there are. `unit`: what the number counts.
    """

    name: str
    column: ColumnMeasure | None = None
    rows: RowsMeasure | None = None
    kinds: tuple[FeatureKind, ...] = ("numeric", "embedding", "categorical")
    least: float = 0.0
    greatest: float = math.inf
    symmetric: bool = False
    of_shares: bool = True
    unit: str = ""
