"""Times as rows give them: RFC 3339, or numbers since the epoch."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

import numpy as np
import numpy.typing as npt

MAX_TIME_US = 253_402_300_800_000_000  # the year 10000

_MILLISECONDS_FROM = 1e11
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def times_of(values: Sequence[datetime | float]) -> npt.NDArray[np.float64]:
    """Whole microseconds since the epoch, of whatever age; NaN where there is no such number."""
    if datetime in set(map(type, values)):
        values = [_seconds(value) if isinstance(value, datetime) else value for value in values]
    seconds = cast("Sequence[float]", values)
    try:
        given = np.array(seconds, dtype=np.float64)
    except OverflowError:
        given = np.array([_float(value) for value in seconds])
    with np.errstate(over="ignore", invalid="ignore"):
        return np.rint(given * np.where(np.abs(given) < _MILLISECONDS_FROM, 1e6, 1e3))


def _seconds(value: datetime) -> float:
    return (value - _EPOCH) / timedelta(seconds=1)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("nan")
