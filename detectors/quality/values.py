"""Value types of data quality."""

from typing import Literal

from detectors.values import Value

FindingKind = Literal[
    "unit_change",
    "misaligned_columns",
    "constant_column",
    "vanished_category",
]


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


class QualityMemory(Value, frozen=True, kw_only=True):
    """What deciding remembers about findings. `open`: those that were told and have not ended; `calm`: windows in a row
    without any, since `calm_us`."""

    open: tuple[str, ...] = ()
    calm: int = 0
    calm_us: int = 0
