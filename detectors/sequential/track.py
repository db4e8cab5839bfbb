"""The detector of one kind of alert: candidates for a change point, the statistic, freezing and closing.

A two-sample Shiryaev-Roberts statistic with a baseline that grows with the stream. For each candidate v the rows
since v are compared with the reference and all rows up to v, by a mixture of Bayes factors whose mean is at most 1
where nothing has changed, whatever the truth is; their sum over candidates less their number is then a
supermartingale, so an alarm at A comes at most (W + `HEAD_START` A) / A times in W windows on average.
Sources: Shiryaev (1963), Roberts (1966); Pollak and Siegmund, Sequential detection of a change in a normal mean when
the initial value is unknown (1991); Shin, Ramdas and Rinaldo, E-detectors (2022).
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from detectors.columns import Floats
from detectors.sequential.kernels import evidence
from detectors.sequential.plan import Sums, TrackPlan
from detectors.sequential.values import Opened, Track

HEAD_START: Final = 1 / 20
"""Share of the whole budget's threshold that the candidate "it was never like the reference" has at the start."""
RESTART: Final = 1 / 100
"""The same after an incident."""
RECENT: Final = 16
"""The last candidates are all kept, older ones ever more sparsely: 8 for each doubling of their age."""
LEAST_CLOSING: Final = 2
"""Windows that must be like the baseline again, each by itself, before an incident ends."""
OVER: Final = math.log(1e4)
"""Log-likelihood ratio of "as before" over "as since the change" that ends an incident."""
CALM_Z: Final = 2.0
CALM_SHARE: Final = 0.5
"""Of the change that was told: less than it is an end, too, however many rows prove it."""
TELLING: Final = 5
"""Scores that decide on the end of an incident: the strongest ones."""


@dataclass
class Candidates:
    """The sums of a track as arrays: (candidates, strata, scores) and (candidates, strata, groups)."""

    at: tuple[int, ...]
    at_us: tuple[int, ...]
    shares: tuple[float, ...]
    at_sums: Floats
    at_rows: Floats
    sums: Floats
    rows: Floats
    base_sums: Floats
    base_rows: Floats

    @classmethod
    def of(cls, track: Track, plan: TrackPlan) -> "Candidates":
        """Unpack; a new track begins with the reference as its baseline."""
        strata, scores = plan.base_sums.shape
        groups = plan.base_rows.shape[1]
        if not track.base_sums:
            sums, rows = np.zeros((strata, scores)), np.zeros((strata, groups))
            empty = np.zeros((0, strata, scores)), np.zeros((0, strata, groups))
            return cls((), (), (), *empty, sums, rows, plan.base_sums, plan.base_rows)
        return cls(
            track.at,
            track.at_us,
            track.shares,
            np.frombuffer(track.at_sums).reshape(-1, strata, scores),
            np.frombuffer(track.at_rows).reshape(-1, strata, groups),
            np.frombuffer(track.sums).reshape(strata, scores),
            np.frombuffer(track.rows).reshape(strata, groups),
            np.frombuffer(track.base_sums).reshape(strata, scores),
            np.frombuffer(track.base_rows).reshape(strata, groups),
        )

    def packed(self, track: Track) -> Track:
        """The track with these sums."""
        return replace(
            track,
            at=self.at,
            at_us=self.at_us,
            shares=self.shares,
            at_sums=self.at_sums.tobytes(),
            at_rows=self.at_rows.tobytes(),
            sums=self.sums.tobytes(),
            rows=self.rows.tobytes(),
            base_sums=self.base_sums.tobytes(),
            base_rows=self.base_rows.tobytes(),
        )

    def freeze(self, place: int) -> None:
        """The baseline ends with this candidate; what came before it is no candidate any more."""
        self.base_sums = self.base_sums + self.at_sums[place]
        self.base_rows = self.base_rows + self.at_rows[place]
        self.sums, self.rows = self.sums - self.at_sums[place], self.rows - self.at_rows[place]
        self.at_sums = self.at_sums[place:] - self.at_sums[place]
        self.at_rows = self.at_rows[place:] - self.at_rows[place]
        self.at, self.at_us, self.shares = self.at[place:], self.at_us[place:], self.shares[place:]

    def of_baseline(self, plan: TrackPlan, track: Track) -> tuple[Floats, Floats]:
        """What the reference in the baseline is worth in independent rows, and its rows of the stream."""
        if not track.has_reference:
            return np.zeros_like(self.base_rows), self.base_rows
        return plan.base_worth, self.base_rows - plan.base_rows

    def baseline_worth(self, plan: TrackPlan, track: Track, pool: float, place: int) -> Floats:
        """Independent rows of the baseline and the windows up to a candidate."""
        known, streamed = self.of_baseline(plan, track)
        rows = streamed + self.at_rows[place]
        return known + rows / (1 + rows * pool)

    def restart(self, place: int) -> None:
        """The windows since a candidate join the baseline, those between are forgotten."""
        self.base_sums = self.base_sums + self.sums - self.at_sums[place]
        self.base_rows = self.base_rows + self.rows - self.at_rows[place]
        self.at, self.at_us, self.shares = (), (), ()
        self.at_sums, self.at_rows = self.at_sums[:0], self.at_rows[:0]
        self.sums, self.rows = np.zeros_like(self.sums), np.zeros_like(self.rows)


def grown(track: Track, plan: TrackPlan, window: Sums, start_us: int, share: float) -> Track:
    """The track after a window that begins at `start_us`: with a candidate before it, and old ones thinned."""
    if not track.base_sums:
        track = Candidates.of(track, plan).packed(track)
    after = _grown(track.at, track.at_us, track.shares, track.windows, start_us, share)
    return replace(
        track,
        windows=track.windows + 1,
        at=after.at,
        at_us=after.at_us,
        shares=after.shares,
        at_sums=after.of(track.at_sums, track.sums),
        at_rows=after.of(track.at_rows, track.rows),
        sums=(np.frombuffer(track.sums) + window.scores.reshape(-1)).tobytes(),
        rows=(np.frombuffer(track.rows) + window.rows.reshape(-1)).tobytes(),
    )


@dataclass
class Weighed:
    """What the windows say: the statistic, log evidence and change by candidate and score (no rows where they were not
    asked for), the likeliest candidate's place."""

    statistic: float
    logs: Floats
    moved: Floats
    likeliest: int


def weigh(
    found: Candidates,
    plan: TrackPlan,
    track: Track,
    pool: float,
    head: float,
    variances: Floats | None = None,
    *,
    by_score: bool = True,
) -> Weighed:
    """The statistic of all candidates. head: further share of the first one. pool: see `kernels.effective`.
    variances: of the scores, where they are not those of the reference. by_score: whether it is asked which scores it
    is made of."""
    log_shares = _log_shares(found.shares, head)
    known, streamed = found.of_baseline(plan, track)
    best = np.empty(len(log_shares))
    logs = np.empty((len(log_shares) if by_score else 0, len(plan.names)))
    moved = np.empty_like(logs)
    statistic = evidence(
        plan.forms,
        plan.sides,
        plan.groups,
        plan.figures,
        found.base_sums,
        found.base_rows,
        known,
        streamed,
        found.at_sums,
        found.at_rows,
        found.sums,
        found.rows,
        pool,
        plan.variances if variances is None else variances,
        plan.log_weights,
        log_shares,
        best,
        logs,
        moved,
    )
    return Weighed(statistic, logs, moved, int(best.argmax()))


def opened_at(found: Candidates, plan: TrackPlan, weighed: Weighed, window: int) -> Opened:
    """The incident: since when, and the scores that tell it."""
    place = weighed.likeliest
    terms = weighed.logs[place] + plan.log_weights
    order = np.argsort(-terms, kind="stable")[:TELLING]
    telling = tuple(int(k) for k in order if terms[k] > terms[order[0]] / 4 and math.isfinite(terms[k]))
    return Opened(
        since_us=found.at_us[place],
        since=found.at[place],
        told=window,
        scores=telling,
        moved=tuple(float(weighed.moved[place, k]) for k in telling),
    )


def calm_since(found: Candidates, plan: TrackPlan, track: Track, opened: Opened, pool: float) -> int | None:
    """Where the last windows are like the frozen baseline in all scores that told the incident, the place of the
    candidate before the first of them; None while they are not.

    They are those since the candidate since which they speak most for the baseline and against the change that was
    told, by `OVER` at least: what took long to tell takes as long to pass. All of them together are near the baseline,
    and the last ones each by itself."""
    last = len(found.at) - LEAST_CLOSING
    if last < 0:
        return None
    told = list(zip(opened.scores, opened.moved, strict=True))
    evidence = np.zeros(last + 1)
    for k, moved in told:
        evidence += _against(found, plan, track, pool, k, moved)[: last + 1]
    place = int(np.argmax(evidence))
    if evidence[place] < OVER:
        return None
    spans = [(place, len(found.at)), *((i, i + 1) for i in range(last, len(found.at)))]
    for k, moved in told:
        least = max(abs(moved) * CALM_SHARE, float(plan.figures[4, k]))
        if not all(apart(found, plan, track, pool, span, k).is_near(least) for span in spans):
            return None
    return place


def _against(
    found: Candidates, plan: TrackPlan, track: Track, pool: float, score: int, moved: float
) -> Floats:
    """For every candidate the logarithm of how much likelier a score of the windows since it is without a change than
    with one of `moved`."""
    group = plan.groups[score]
    precision, difference = np.zeros(len(found.at)), np.zeros(len(found.at))
    known, streamed = found.of_baseline(plan, track)
    worth = known + streamed / (1 + streamed * pool)
    for s in range(len(found.sums)):
        before = found.base_rows[s, group]
        if before <= 0:
            continue
        there = found.rows[s, group] - found.at_rows[:, s, group]
        rows = np.maximum(there, 1.0)
        mean = (found.sums[s, score] - found.at_sums[:, s, score]) / rows
        base = found.base_sums[s, score] / before
        spread = plan.variances[s, score] * plan.figures[2, score] * (1 / rows + pool + 1 / worth[s, group])
        if plan.forms[score] == 1:
            spread = spread * (mean * rows + base * before + 1) / (rows + before + 1)
        precision += (there > 0) / spread
        difference += np.where(there > 0, mean - base, 0.0) / spread
    return moved * (precision * moved - 2 * difference) / 2


def is_calm_from(found: Candidates, plan: TrackPlan, track: Track, opened: Opened, pool: float) -> bool:
    """Whether the windows since a further change are like the frozen baseline in the scores that tell it: then it
    is a return."""
    place = next((i for i, at in enumerate(found.at) if at >= opened.since), None)
    return place is not None and all(
        apart(found, plan, track, pool, (place, len(found.at)), k).is_near(
            max(abs(moved) * CALM_SHARE, float(plan.figures[4, k]))
        )
        for k, moved in zip(opened.scores, opened.moved, strict=True)
    )


class Apart(NamedTuple):
    """One score of some windows beside the baseline: the difference of the means, one over its variance (0: not
    known)."""

    change: float
    precision: float

    def is_near(self, least: float) -> bool:
        """Whether it is within `CALM_Z` standard errors, or within `least`; what is not known is."""
        return not self.precision or abs(self.change) < max(CALM_Z / math.sqrt(self.precision), least)


def apart(
    found: Candidates, plan: TrackPlan, track: Track, pool: float, span: tuple[int, int], score: int
) -> Apart:
    """One score of the windows between two candidates (the end of all is behind the last one)."""
    first, last = span
    end_sums = found.at_sums[last] if last < len(found.at) else found.sums
    end_rows = found.at_rows[last] if last < len(found.at) else found.rows
    group = plan.groups[score]
    precision, difference = 0.0, 0.0
    known, streamed = found.of_baseline(plan, track)
    worth = known + streamed / (1 + streamed * pool)
    for s in range(len(found.sums)):
        rows = end_rows[s, group] - found.at_rows[first, s, group]
        before = found.base_rows[s, group]
        if rows <= 0 or before <= 0:
            continue
        mean = (end_sums[s, score] - found.at_sums[first, s, score]) / rows
        base = found.base_sums[s, score] / before
        few, many = rows / (1 + rows * pool), float(worth[s, group])
        spread = plan.variances[s, score] * plan.figures[2, score] * (1 / few + 1 / many)
        if plan.forms[score] == 1:
            spread *= (mean * rows + base * before + 1) / (rows + before + 1)
        precision += 1 / spread
        difference += (mean - base) / spread
    return Apart(difference / precision if precision else 0.0, precision)


class _Grown(NamedTuple):
    """The candidates once there is a new one. `runs`: those that are kept, as spans of the places that they had."""

    at: tuple[int, ...]
    at_us: tuple[int, ...]
    shares: tuple[float, ...]
    runs: tuple[tuple[int, int], ...]

    def of(self, known: bytes, last: bytes) -> bytes:
        """Numbers of those that are kept, and of the new one."""
        view, width = memoryview(known), len(last)
        return b"".join([*(view[first * width : end * width] for first, end in self.runs), last])


@lru_cache(maxsize=16)
def _grown(
    at: tuple[int, ...],
    at_us: tuple[int, ...],
    shares: tuple[float, ...],
    window: int,
    start_us: int,
    share: float,
) -> _Grown:
    """With a candidate before this window. Remembered, because all kinds of a series have the same candidates."""
    runs = _runs(at, window + 1)
    parts = [slice(first, end) for first, end in runs]
    return _Grown(
        (*chain.from_iterable(at[part] for part in parts), window),
        (*chain.from_iterable(at_us[part] for part in parts), start_us),
        (*chain.from_iterable(shares[part] for part in parts), share),
        runs,
    )


@lru_cache(maxsize=1_024)
def _runs(at: tuple[int, ...], now: int) -> tuple[tuple[int, int], ...]:
    """Spans of the places of the candidates that are kept: the first one, the recent ones, and of age 17 x 2^j and more
    every 2^(j + 1)-th. Remembered, because most series have the same."""
    recent = bisect_left(at, now - RECENT)
    runs, first = list[tuple[int, int]](), 0
    for place in range(1, recent):
        octave = ((now - at[place]) // (RECENT + 1)).bit_length()
        if octave and at[place] % (1 << octave):
            if first < place:
                runs.append((first, place))
            first = place + 1
    if first < len(at):
        runs.append((first, len(at)))
    return tuple(runs)


@lru_cache(maxsize=16)
def _log_shares(shares: tuple[float, ...], head: float) -> Floats:
    """Logarithms of the shares of the candidates, the first of which has `head` besides."""
    found = np.array(shares)
    found[0] += head
    return np.log(found)
