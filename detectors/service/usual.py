"""What is usual of a service: learned from the first windows of a version, because a reference knows no service.

Latencies have heavy tails and depend on each other (a queue, a pause), so that the rows of a window say less than their
number. How much less is read from how windows differ from each other.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec.structs import replace

from detectors.columns import Floats, Integers
from detectors.layout import LATENCY_BUCKETS, LATENCY_FIRST_OCTAVE, LATENCY_PER_OCTAVE
from detectors.service.measures import QUANTILES, quantile_place
from detectors.values import Value

LEARNED: Final = 16
"""Windows from which the usual is learned."""
SLOWER: Final = 5
"""Eighths of an octave by which a quantile has to rise to be told: to 1.54 times its usual value."""
LEAST_MS: Final = 10.0
"""And by so many milliseconds: below, no caller notices."""
MORE_SLOW: Final = 0.5
"""Requests beyond a quantile that are told at least, as a part of those that are always there."""
LEAST_ERRORS: Final = 0.01
MORE_ERRORS: Final = 0.25
"""A rise of the error rate that is told at least, and as a part of the usual one."""
LASTING: Final = 3
"""Windows in a row in which requests have to be slow: queues and pauses make bursts."""
WARM_UP_US: Final = 120_000_000
"""So long a version may be slow that has just been loaded: caches fill, connections are made, code is compiled."""
UNSETTLED: Final = 4
"""Windows whose spread is not believed yet: the first ones of a change look like spread, too."""
MEASURES: Final = (*QUANTILES, "error_rate")


class Usual(Value, frozen=True, kw_only=True):
    """The usual of a service, by `MEASURES`. `quantiles_ms`: usual latencies; `places`: the bucket from which on a
    request is slow for each of them; `sums`, `rows`: slow or failed requests and all of them in the windows that were
    learned from; `spread`: sum over windows of what Pearson's chi-squared says of their difference, over so many
    `windows`; `runs`: what pairs of neighbours say of the inflation of a variance."""

    quantiles_ms: tuple[float, ...]
    places: tuple[int, ...]
    sums: tuple[float, ...]
    rows: tuple[float, ...]
    spread: tuple[float, ...]
    windows: tuple[int, ...]
    runs: tuple[float, ...]

    @property
    def inflation(self) -> Floats:
        """Of the variance of a count, as it is at most with 95 % confidence; of latencies so much at least that a
        window of the least rise that is told is one event."""
        found = [
            max(1.0, runs, total * _careful(windows - 1) / (windows - 1)) if windows > 1 else 1.0
            for total, windows, runs in zip(self.spread, self.windows, self.runs, strict=True)
        ]
        bursts = np.array(self.rows) / LEARNED * self.floors
        return np.maximum(found, np.append(bursts[:-1], 1.0))

    @property
    def floors(self) -> Floats:
        """The least rise of each share that is told."""
        shares = [total / rows if rows else 0.0 for total, rows in zip(self.sums, self.rows, strict=True)]
        beyond = [1 - level for level in QUANTILES.values()]
        slow = [max(one - share, MORE_SLOW * one) for one, share in zip(beyond, shares, strict=False)]
        return np.array([*slow, max(LEAST_ERRORS, MORE_ERRORS * shares[-1])])

    def counts(self, latencies: Integers, statuses: tuple[int, int]) -> tuple[Floats, Floats]:
        """Slow or failed requests of a window, and all of them."""
        slow = [float(latencies[place:].sum()) for place in self.places]
        timed, (told, failed) = float(latencies.sum()), statuses
        return np.array([*slow, failed]), np.array([*[timed] * len(slow), told], dtype=np.float64)


def latency_ms(place: int) -> float:
    """Where a bucket begins."""
    return float(2.0 ** (LATENCY_FIRST_OCTAVE + place / LATENCY_PER_OCTAVE))


def usual_of(windows: Sequence[tuple[Integers, tuple[int, int]]]) -> Usual:
    """Learn from windows, each with its latencies by bucket and its rows with a status, all and failed."""
    total = np.sum([latencies for latencies, _ in windows], axis=0)
    middles = [quantile_place(total, share) if total.sum() else 0 for share in QUANTILES.values()]
    first = Usual(
        quantiles_ms=tuple(latency_ms(place) * 2 ** (0.5 / LATENCY_PER_OCTAVE) for place in middles),
        places=tuple(_slow_from(place) for place in middles),
        sums=(),
        rows=(),
        spread=(),
        windows=(),
        runs=(),
    )
    each = [first.counts(*one) for one in windows]
    sums, rows = np.array([one for one, _ in each]), np.array([one for _, one in each])
    shares = sums / np.maximum(rows, 1.0)
    sums = np.array(
        [lasting(sums[i], rows[i], shares[max(i - LASTING + 1, 0) : i]) for i in range(len(sums))]
    )
    shares = (sums.sum(axis=0) + 1) / (rows.sum(axis=0) + 2)
    lost, pairs = pearson(sums, rows, shares), len(windows) // 2 * 2
    by_pair = [one[:pairs].reshape(-1, 2, len(MEASURES)).sum(axis=1) for one in (sums, rows)]
    runs = pearson(by_pair[0], by_pair[1], shares).sum(axis=0) / max(pairs // 2 - 1, 1)
    return replace(
        first,
        sums=tuple(sums.sum(axis=0).tolist()),
        rows=tuple(rows.sum(axis=0).tolist()),
        spread=tuple(lost.sum(axis=0).tolist()),
        windows=tuple((rows > 0).sum(axis=0).tolist()),
        runs=tuple(runs.tolist()),
    )


def lasting(sums: Floats, rows: Floats, before: Floats) -> Floats:
    """The slow requests of a window, no more than at the least share of the windows `before` it, shape (windows,
    measures): a burst is no change of the service. Failures count as they are."""
    found = np.minimum(sums, rows * before.min(axis=0, initial=1.0))
    found[-1] = sums[-1]
    return found


def usual_shares(usual: Usual, windows: int) -> Floats:
    """What so many windows of the usual service would have shown, shape (windows, measures)."""
    return np.tile(np.array(usual.sums) / np.maximum(usual.rows, 1.0), (windows, 1))


def with_spread(usual: Usual, lost: Sequence[float], told: Sequence[bool]) -> Usual:
    """With what one more window says of how windows differ, where it had rows."""
    return replace(
        usual,
        spread=tuple(
            old + (new if has else 0.0) for old, new, has in zip(usual.spread, lost, told, strict=True)
        ),
        windows=tuple(old + has for old, has in zip(usual.windows, told, strict=True)),
    )


def pearson(sums: Floats, rows: Floats, shares: Floats) -> Floats:
    """Squared differences of counts from what is expected, over their binomial variance; 0 without rows."""
    variance = rows * shares * (1 - shares)
    return np.where(variance > 0, (sums - rows * shares) ** 2 / np.maximum(variance, 1e-9), 0.0)


def _slow_from(place: int) -> int:
    noticed = math.log2(latency_ms(place + 1) + LEAST_MS) - LATENCY_FIRST_OCTAVE
    return min(max(place + 1 + SLOWER, math.ceil(noticed * LATENCY_PER_OCTAVE)), LATENCY_BUCKETS - 1)


def _careful(freedom: int) -> float:
    """By how much a variance that was estimated with so many degrees of freedom may be larger (95 %; Wilson and
    Hilferty's approximation of chi-squared)."""
    root = 1 - 2 / (9 * freedom) - 1.645 * math.sqrt(2 / (9 * freedom))
    return 1 / max(root, 0.1) ** 3
