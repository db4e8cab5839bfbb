"""Value types of data quality."""

import math
from typing import Final, Literal

from detectors.values import Value

FindingKind = Literal[
    "unit_change",
    "misaligned_columns",
    "constant_column",
    "vanished_category",
]


SURPRISE: Final = math.log(1e6)
"""Odds against chance that each finding has at least: a million to one."""


class Finding(Value, frozen=True, kw_only=True):
    """Something that is wrong with a window's data, in words and numbers.

    `columns`: the columns it is about. `value` beyond `threshold` made it a finding; in which unit says `message`.
    `rows`: rows it rests on. `sources`: of misaligned columns, the one whose values each of `columns` now holds.
    """

    kind: FindingKind
    columns: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    value: float
    threshold: float
    rows: int
    message: str


class QualityFeedback(Value, frozen=True, kw_only=True):
    """What a person said about findings: the statement's name, and what was open, accepted and silent before it."""

    id: str
    open: tuple[str, ...]
    accepted: tuple[str, ...]
    silent: tuple[str, ...]


class QualityMemory(Value, frozen=True, kw_only=True):
    """What deciding remembers about findings. `open`: those that were told and have not ended; `calm`: windows in a row
    without any, since `calm_us`. By what a person has said: `accepted` are not told again while the reference is
    `reference`, `silent` not before they have been `away` for as many windows as it takes to end. Of a segment:
    what was there in the window `before`."""

    open: tuple[str, ...] = ()
    calm: int = 0
    calm_us: int = 0
    reference: str = ""
    accepted: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    away: int = 0
    before: tuple[str, ...] = ()
    feedback: tuple[QualityFeedback, ...] = ()
