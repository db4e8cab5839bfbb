"""How the service behaves that the model runs in: latency quantiles and the share of failed requests, from counts."""

from typing import Final

import numpy as np

from detectors.columns import Flags, Floats, Integers, Singles
from detectors.layout import LATENCY_BUCKETS, LATENCY_FIRST_OCTAVE, LATENCY_PER_OCTAVE
from detectors.measurement import MINIMUM_ROWS, Measurement, undefined
from detectors.profile import Profile

QUANTILES: Final = {"latency_p50_ms": 0.50, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}


def count_latencies(profile: Profile, latencies_ms: Singles | Floats) -> None:
    """Count latencies, shape (rows,), NaN where none was given. A bucket is an eighth of an octave: 4.5 % each way."""
    known = latencies_ms[np.isfinite(latencies_ms)]
    if not len(known):
        return
    octaves = np.log2(np.maximum(known, 1e-9)) - LATENCY_FIRST_OCTAVE
    places = np.clip((octaves * LATENCY_PER_OCTAVE).astype(np.int64), 0, LATENCY_BUCKETS - 1)
    profile.counters[profile.layout.latencies] += np.bincount(places, minlength=LATENCY_BUCKETS)


def count_statuses(profile: Profile, failed: Flags) -> None:
    """Count rows that have a status: whether each request failed."""
    profile.counters[profile.layout.statuses] += (len(failed), int(failed.sum()))


def tells_service(profile: Profile) -> bool:
    """Whether these events say anything of the service."""
    layout = profile.layout
    return bool(profile.counters[layout.latencies].any() or profile.counters[layout.statuses][0])


def service_measures(profile: Profile) -> list[Measurement]:
    """`latency_p50_ms`, `latency_p95_ms`, `latency_p99_ms` and `error_rate` of a window; of what the events do not
    tell, nothing. See `service.judging` for what is usual of them."""
    counts: Integers = profile.counters[profile.layout.latencies]
    told, failed = (int(one) for one in profile.counters[profile.layout.statuses])
    rows, found = int(counts.sum()), list[Measurement]()
    for name, share in QUANTILES.items() if rows else ():
        least = max(MINIMUM_ROWS, round(1 / (1 - share)))
        if rows < least:
            found.append(undefined(name, None, rows, f"there are only {rows} latencies; it takes {least}"))
        else:
            found.append(Measurement(measure=name, value=_quantile(counts, share), rows=rows))
    if told and told < MINIMUM_ROWS:
        because = f"there are only {told} rows with a status; it takes {MINIMUM_ROWS}"
        found.append(undefined("error_rate", None, told, because))
    elif told:
        found.append(Measurement(measure="error_rate", value=failed / told, rows=told))
    return found


def quantile_place(counts: Integers, share: float) -> int:
    """The bucket that holds a quantile."""
    return int(np.searchsorted(np.cumsum(counts), share * counts.sum()))


def _quantile(counts: Integers, share: float) -> float:
    """The middle of the bucket that holds the quantile, on the logarithm."""
    place = quantile_place(counts, share)
    return float(2.0 ** (LATENCY_FIRST_OCTAVE + (place + 0.5) / LATENCY_PER_OCTAVE))
