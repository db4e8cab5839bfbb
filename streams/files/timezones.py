"""Time zones as a monitor names them: what the clocks of a place show, by the IANA database of this machine."""

from datetime import UTC as HERE
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from detectors.localtime import STEP_S, UTC
from detectors.values import Clocks

_FIRST, _LAST = datetime(1975, 1, 1, tzinfo=HERE), datetime(2100, 1, 1, tzinfo=HERE)
_PROBED: Final = timedelta(days=7)
"""No summer time is shorter, so that a probe falls into each."""


def check_timezone(name: str) -> None:
    """Raises `ValueError` for a name that is none of the IANA database's, with the one that is nearest."""
    if name == UTC.name or name in _names():
        return
    if not _names():
        raise ValueError(
            f"timezone is {name!r}, and this machine has no database of time zones: install tzdata"
        )
    known = {one.rpartition("/")[2].casefold(): one for one in sorted(_names()) if one.count("/") == 1}
    known |= {one.casefold(): one for one in sorted(_names())}
    near = get_close_matches(name.casefold().replace(" ", "_"), known, n=1)
    meant = f"; did you mean {known[near[0]]}?" if near else ""
    raise ValueError(
        f"timezone is {name!r}; it must be a name of the IANA database such as Europe/Berlin{meant}"
    )


@lru_cache(maxsize=64)
def clocks_of(name: str) -> Clocks:
    """The clocks of a zone, with all changes from 1975 to 2100, as far as they are planned; those before and after are
    told by what is shown then. Raises `ValueError` for a name that there is not."""
    check_timezone(name)
    if name == UTC.name:
        return UTC
    zone = ZoneInfo(name)
    first, last = (round(one.timestamp()) // STEP_S for one in (_FIRST, _LAST))
    apart = _PROBED // timedelta(seconds=STEP_S)
    since, ahead_s = list[int](), [_ahead_s(zone, first)]
    for place in range(first, last, apart):
        then_s = _ahead_s(zone, place + apart)
        if then_s != ahead_s[-1]:
            since.append(_change(zone, place, place + apart))
            ahead_s.append(then_s)
    return Clocks(name=name, since=tuple(since), ahead_s=tuple(ahead_s))


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """The first step at which the clocks show what they show after it."""
    then_s = _ahead_s(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if _ahead_s(zone, middle) == then_s else (middle, after)
    return after


def _ahead_s(zone: ZoneInfo, step: int) -> int:
    offset = datetime.fromtimestamp(step * STEP_S, HERE).astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(available_timezones())
