"""One window of one kind of alert: whether an incident begins, goes further, or ends."""

import math
from typing import Final

import numpy as np
from msgspec.structs import replace

from detectors.columns import Floats
from detectors.sequential.beside import is_different
from detectors.sequential.budget import Threshold
from detectors.sequential.explain import change_of
from detectors.sequential.kernels import COUNT
from detectors.sequential.plan import Sums, TrackPlan
from detectors.sequential.track import (
    HEAD_START,
    RESTART,
    TELLING,
    Candidates,
    Weighed,
    calm_since,
    grown,
    is_calm_from,
    opened_at,
    weigh,
)
from detectors.sequential.values import Change, Opened, Step, Track

MOST: Final = 600.0
"""Log evidence above which a score counts as that much."""
UNKNOWN: Final = 1e12
"""The variance of a score whose variance is not known: nothing is evidence of its change."""


def advance(
    plan: TrackPlan, track: Track, window: Sums, start_us: int, limit: Threshold, pool: float
) -> tuple[Track, Step]:
    """Take one window of one kind.

    While an incident is open, the stream is compared with its frozen baseline to see the end, and with itself since
    the change to see further changes, which are told as changes of the same incident.
    """
    track = grown(track, plan, window, start_us, limit.share)
    found = Candidates.of(track, plan)
    kind, threshold, opened = str(plan.kind), limit.value * track.caution, track.opened
    if opened is None:
        variances = None
        if plan.alone:
            variances, track = _of_stream(plan, track, window)
        weighed, change = _watch(plan, track, found, limit, pool, variances)
        if change is not None:
            track = found.packed(_freeze(plan, track, found, weighed, window))
        return track, Step(kind=kind, statistic=weighed.statistic, threshold=threshold, opened=change)
    place = calm_since(found, plan, track, opened, pool)
    if place is not None:
        calm_us = found.at_us[place]
        found.restart(place)
        return found.packed(replace(track, opened=None)), Step(
            kind=kind,
            statistic=0.0,
            threshold=threshold,
            closed_us=calm_us,
            expected=opened.expected,
            reason="the scores that told it are like the baseline again",
        )
    if opened.since_then is None:
        return track, Step(kind=kind, statistic=0.0, threshold=threshold)
    opened, weighed, change = _further(plan, track, opened, found, (window, start_us), limit, pool)
    return replace(track, opened=opened), Step(
        kind=kind,
        statistic=weighed.statistic,
        threshold=threshold,
        opened=None if opened.expected else change,
        further=True,
    )


def _of_stream(plan: TrackPlan, track: Track, window: Sums) -> tuple[Floats, Track]:
    """Variances of the scores in the stream before this window, and the track with what it says of them."""
    taken = np.frombuffer(_spread(window))
    spread = np.frombuffer(track.spread) if track.spread else np.zeros_like(taken)
    return _variances(plan, spread.tobytes()), replace(track, spread=(spread + taken).tobytes())


def _watch(
    plan: TrackPlan,
    track: Track,
    found: Candidates,
    limit: Threshold,
    pool: float,
    variances: Floats | None = None,
) -> tuple[Weighed, Change | None]:
    head = (RESTART if track.incidents else HEAD_START) * limit.whole
    threshold = limit.value * track.caution
    weighed = weigh(found, plan, track, pool, head, variances, by_score=False)
    if weighed.statistic < threshold:
        return weighed, None
    weighed = weigh(found, plan, track, pool, head, variances)
    return weighed, change_of(found, plan, track, weighed, threshold, limit, pool)


def _freeze(plan: TrackPlan, track: Track, found: Candidates, weighed: Weighed, window: Sums) -> Track:
    opened = opened_at(found, plan, weighed, track.windows - 1)
    opened = replace(opened, since_then=_anew(track, found, weighed.likeliest, window))
    found.freeze(weighed.likeliest)
    return replace(track, opened=opened, incidents=track.incidents + 1)


def _anew(track: Track, found: Candidates, place: int, window: Sums) -> Track:
    """A track whose baseline is the windows since a candidate, the last of which is `window`, without the first:
    the change may lie in the middle of it. Where that was the only one, the next window begins the baseline."""
    first = place + 1
    only = first == len(found.at)
    base = Candidates(
        (),
        (),
        (),
        found.at_sums[:0],
        found.at_rows[:0],
        np.zeros_like(found.sums),
        np.zeros_like(found.rows),
        np.zeros_like(found.sums) if only else found.sums - found.at_sums[first],
        np.zeros_like(found.rows) if only else found.rows - found.at_rows[first],
    )
    spread = _spread(window)
    return base.packed(
        Track(
            windows=track.windows,
            has_reference=False,
            caution=track.caution,
            incidents=track.incidents,
            spread=bytes(len(spread)) if only else spread,
        )
    )


def _spread(window: Sums) -> bytes:
    return np.concatenate(
        [one.reshape(-1) for one in (window.squares(), window.scores, window.rows)]
    ).tobytes()


def _variances(plan: TrackPlan, spread: bytes) -> Floats:
    """Variances of the scores in the stream since a change, no less than in the reference."""
    strata, scores = plan.base_sums.shape
    numbers, size = np.frombuffer(spread), strata * scores
    squares, sums = numbers[:size].reshape(strata, scores), numbers[size : 2 * size].reshape(strata, scores)
    rows = np.maximum(numbers[2 * size :].reshape(strata, -1)[:, plan.groups], 1.0)
    known = np.diff(plan.squares.starts) > 0
    found = np.maximum(squares / rows - (sums / rows) ** 2, plan.variances)
    return np.where(known | (plan.forms == COUNT), found, UNKNOWN)


def _further(
    plan: TrackPlan,
    track: Track,
    opened: Opened,
    outer: Candidates,
    taken: tuple[Sums, int],
    limit: Threshold,
    pool: float,
) -> tuple[Opened, Weighed, Change | None]:
    """The stream since the change beside itself; a return to the frozen baseline is no further change."""
    inner = opened.since_then or Track()
    window, start_us = taken
    variances = _variances(plan, inner.spread)
    spread = (np.frombuffer(inner.spread) + np.frombuffer(_spread(window))).tobytes()
    inner = replace(grown(inner, plan, window, start_us, limit.share), spread=spread)
    found = Candidates.of(inner, plan)
    if len(outer.at) == 2 and opened.told == opened.since:
        weighed, change = _after_the_first(plan, track, opened, outer, limit, pool)
        opened = replace(opened, since_then=inner)
        return (opened if change is None else _joined(opened, outer, plan, weighed)), weighed, change
    weighed, change = _watch(plan, inner, found, limit, pool, variances)
    if change is None:
        return replace(opened, since_then=inner), weighed, None
    if is_calm_from(outer, plan, track, opened_at(found, plan, weighed, found.at[-1]), pool):
        return replace(opened, since_then=inner), weighed, None
    opened = replace(
        _joined(opened, found, plan, weighed), since_then=_anew(inner, found, weighed.likeliest, window)
    )
    return opened, weighed, change


def _joined(opened: Opened, found: Candidates, plan: TrackPlan, weighed: Weighed) -> Opened:
    """The incident told by the scores of a further change besides."""
    more = opened_at(found, plan, weighed, found.at[-1])
    new = [(k, moved) for k, moved in zip(more.scores, more.moved, strict=True) if k not in opened.scores]
    new = new[: max(2 * TELLING - len(opened.scores), 0)]
    return replace(
        opened,
        scores=(*opened.scores, *(k for k, _ in new)),
        moved=(*opened.moved, *(moved for _, moved in new)),
    )


def _after_the_first(
    plan: TrackPlan, track: Track, opened: Opened, found: Candidates, limit: Threshold, pool: float
) -> tuple[Weighed, Change | None]:
    """The window after the one in which the incident began, and was told, beside the frozen baseline."""
    threshold = limit.value * track.caution
    weighed = weigh(found, plan, track, pool, 0.0)
    place = len(found.at) - 1
    different = is_different(found, plan, track, opened, pool, math.log(threshold / limit.share))
    weighed.logs[place] = np.where(different, weighed.logs[place], -np.inf)
    terms = np.minimum(weighed.logs[place] + plan.log_weights, MOST)
    weighed = Weighed(float(np.exp(terms).sum()) * limit.share, weighed.logs, weighed.moved, place)
    if weighed.statistic < threshold:
        return weighed, None
    return weighed, change_of(found, plan, track, weighed, threshold, limit, pool)
