"""What single requests around a release say of the service: did it become slow, or fail, with the version, or at some
other time?

A window mixes requests from before and after a change; the requests themselves do not. Those of the version before are
cut where they changed last, those of the new one where they changed first (maximum likelihood, Hinkley 1970), and what
served just before the release is compared with what served just after it.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from detectors.values import Value

Floats = npt.NDArray[np.float64]
Blamed = Literal["release", "other"]

LEAST_RISE = math.log(1.3)
"""Of the latency, on its logarithm: less is the jitter of a machine."""
LEAST_FAILING = 0.01
"""Of the requests."""
_LEAST_ROWS = 20
_GAIN = 10.0
"""By how much likelier (logarithm) rows are with a change than without, where there is one."""
_Z = 3.0
"""The moment of a release was not chosen by looking at the rows: no more is asked for than of one test."""
_CUTS = 3


class ServiceSaid(Value, frozen=True, kw_only=True):
    """`blames`: whose doing it is that the service is ill (None: requests do not tell); `sentence` says why."""

    blames: Blamed | None = None
    sentence: str = ""


class _Rate(NamedTuple):
    """How requests are measured: as numbers whose mean is compared, and from which rise on that counts."""

    values: Floats
    least: float
    is_share: bool


def weigh_requests(frame: pd.DataFrame, names: tuple[str, str]) -> ServiceSaid:
    """Weigh requests in order of time (columns version, latency_ms, failed: 1 or 0, missing where not told) around the
    release of `names[1]`, before which `names[0]` served. What the release made worse is its doing, whatever else was
    ill before."""
    old, new = ((frame["version"] == name).to_numpy(bool) for name in names)
    found = [_compared(rate.values[old], rate.values[new], rate, names) for rate in _rates(frame)]
    for blamed in ("release", "other"):
        for each in found:
            if each.blames == blamed:
                return each
    return ServiceSaid()


def _rates(frame: pd.DataFrame) -> tuple[_Rate, _Rate]:
    latency = frame["latency_ms"].to_numpy(np.float64, na_value=np.nan)
    logs = np.log(np.maximum(latency, 1e-6))
    failed = frame["failed"].to_numpy(np.float64, na_value=np.nan)
    return _Rate(logs, LEAST_RISE, False), _Rate(failed, LEAST_FAILING, True)


def _compared(old: Floats, new: Floats, rate: _Rate, names: tuple[str, str]) -> ServiceSaid:
    old, new = old[np.isfinite(old)], new[np.isfinite(new)]
    if min(len(old), len(new)) < 2 * _LEAST_ROWS:
        return ServiceSaid()
    last, first = _last_part(old, rate.is_share), _first_part(new, rate.is_share)
    if _worse(old[last:], new[:first], rate):
        return ServiceSaid(blames="release", sentence=_told(old[last:], new[:first], rate, names))
    if last and _worse(old[:last], old[last:], rate) and not _worse(new[:first], old[last:], rate):
        when = f"{len(old) - last:,} requests before version {names[1]} came"
        return ServiceSaid(
            blames="other", sentence=f"it began {when}: {_means(old[:last], old[last:], rate)}"
        )
    if first < len(new) and _worse(new[:first], new[first:], rate):
        when = f"only after {first:,} requests of version {names[1]}"
        return ServiceSaid(
            blames="other", sentence=f"it began {when}: {_means(new[:first], new[first:], rate)}"
        )
    return ServiceSaid()


def _last_part(values: Floats, is_share: bool) -> int:
    """Where the last part begins in which nothing changes."""
    begin = 0
    for _ in range(_CUTS):
        place = _cut(values[begin:], is_share)
        if place is None:
            break
        begin += place
    return begin


def _first_part(values: Floats, is_share: bool) -> int:
    """Where the first part ends in which nothing changes."""
    end = len(values)
    for _ in range(_CUTS):
        place = _cut(values[:end], is_share)
        if place is None:
            break
        end = place
    return end


def _cut(values: Floats, is_share: bool) -> int | None:
    """Where the mean changed, if it did: the place that is likeliest."""
    count = len(values)
    if count < 2 * _LEAST_ROWS:
        return None
    places = np.arange(_LEAST_ROWS, count - _LEAST_ROWS + 1)
    sums = np.cumsum(values)
    left, whole = sums[places - 1], float(sums[-1])
    if is_share:
        likely = _of_share(left, places) + _of_share(whole - left, count - places)
        gains = likely - _of_share(np.array([whole]), np.array([count]))
    else:
        # Differences of neighbours do not see a change of the mean.
        spread = max(float(np.square(np.diff(values)).mean()) / 2, 1e-12)
        apart = left / places - (whole - left) / (count - places)
        gains = places * (count - places) / count * np.square(apart) / (2 * spread)
    best = int(np.argmax(gains))
    return int(places[best]) if gains[best] > _GAIN else None


def _of_share(hits: Floats, rows: npt.NDArray[np.int64]) -> Floats:
    """The logarithm of the likelihood of so many hits at their own share."""
    share = np.clip(hits / rows, 1e-9, 1 - 1e-9)
    return hits * np.log(share) + (rows - hits) * np.log(1 - share)


def _worse(before: Floats, after: Floats, rate: _Rate) -> bool:
    if min(len(before), len(after)) < _LEAST_ROWS:
        return False
    rise = float(after.mean() - before.mean())
    both = np.concatenate([before - before.mean(), after - after.mean()])
    spread = max(float(both.std()), 0.01)
    return rise >= rate.least and rise >= _Z * spread * math.sqrt(1 / len(before) + 1 / len(after))


def _told(before: Floats, after: Floats, rate: _Rate, names: tuple[str, str]) -> str:
    return (
        f"the first {len(after):,} requests of version {names[1]} beside the last {len(before):,} of version "
        f"{names[0]}: {_means(before, after, rate)}"
    )


def _means(before: Floats, after: Floats, rate: _Rate) -> str:
    was, now = float(before.mean()), float(after.mean())
    if rate.is_share:
        return f"{now:.1%} of the requests failed, and {was:.1%} before"
    return f"a request took {math.exp(now):,.3g} ms, and {math.exp(was):,.3g} ms before"
