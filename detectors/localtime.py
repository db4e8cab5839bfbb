"""Local time: what the clocks of a place show, with its summer time."""

import math
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import numpy as np

from detectors.columns import Integers
from detectors.errors import ReferenceInvalid

HOME: Final = "UTC"
_SECOND_US: Final = 1_000_000
_STEP_S: Final = 900
"""Clocks are changed, and differ from each other, by quarters of an hour."""
_FIRST, _LAST = datetime(1975, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_FIRST_STEP, _LAST_STEP = (round(one.timestamp()) // _STEP_S for one in (_FIRST, _LAST))
_PROBED: Final = timedelta(days=14)
"""Summer time lasts longer, so that one probe falls into each."""


def check_timezone(name: str) -> None:
    """Raises `ReferenceInvalid` for a name that is none of the IANA database's, with the one that is nearest."""
    if name == HOME or name in _names():
        return
    if not _names():
        raise ReferenceInvalid(
            f"timezone is {name!r}, and this machine has no database of time zones: install tzdata"
        )
    known = {one.rpartition("/")[2].casefold(): one for one in sorted(_names()) if one.count("/") == 1}
    known |= {one.casefold(): one for one in sorted(_names())}
    near = get_close_matches(name.casefold().replace(" ", "_"), known, n=1)
    meant = f"; did you mean {known[near[0]]}?" if near else ""
    raise ReferenceInvalid(
        f"timezone is {name!r}; it must be a name of the IANA database such as Europe/Berlin{meant}"
    )


def local(timezone: str, times_us: Integers) -> Integers:
    """What the clocks show at each moment, as microseconds since they showed 1970. Moments before 1975 and after 2100
    are told by the clocks of that year."""
    if timezone == HOME:
        return times_us
    steps, place = np.unique(times_us // (_STEP_S * _SECOND_US), return_inverse=True)
    found = np.array([_offset_us(timezone, step) for step in steps.tolist()], dtype=np.int64)
    return times_us + found[place.reshape(times_us.shape)]


def local_one(timezone: str, time_us: int) -> int:
    """The same of one moment."""
    return time_us if timezone == HOME else time_us + _offset_us(timezone, time_us // (_STEP_S * _SECOND_US))


@lru_cache(maxsize=64)
def grain_us(timezone: str) -> int:
    """What all differences from UTC are multiples of, since 1975 and as far as they are planned; 0 for UTC itself."""
    probes = range((_LAST - _FIRST) // _PROBED)
    found = {_offset_us(timezone, round((_FIRST + _PROBED * one).timestamp()) // _STEP_S) for one in probes}
    return math.gcd(*found) if timezone != HOME else 0


@lru_cache(maxsize=65_536)
def _offset_us(timezone: str, step: int) -> int:
    moment = datetime.fromtimestamp(min(max(step, _FIRST_STEP), _LAST_STEP) * _STEP_S, UTC)
    offset = moment.astimezone(_zone(timezone)).utcoffset()
    return 0 if offset is None else round(offset.total_seconds()) * _SECOND_US


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    check_timezone(name)
    return ZoneInfo(name)


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(available_timezones())
