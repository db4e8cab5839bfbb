"""A different change in the window right after the one in which an incident began.

The stream since a change is compared with itself, and its first window cannot be the baseline of that: the change may
have begun in the middle of it. Then every score of that window has moved by the same share of what the next window
shows, because scores are means over rows. A score that has not is of another change.
"""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.sequential.kernels import COUNT
from detectors.sequential.plan import TrackPlan
from detectors.sequential.track import Apart, Candidates, apart
from detectors.sequential.values import Opened, Track

Flags = npt.NDArray[np.bool_]

STILL_THERE: Final = 9.0
"""Sum of the squares of the standard errors by which the scores that told an incident must still be away in the next
window for it to tell how much of the first window had changed."""


class _Share(NamedTuple):
    """The share of the first window that had changed, and its variance."""

    value: float
    variance: float


def is_different(
    found: Candidates, plan: TrackPlan, track: Track, opened: Opened, pool: float, log_threshold: float
) -> Flags:
    """For every score whether the newest window shows a change of it that is not the rest of the change that the window
    before told; shape (scores,), of booleans. log_threshold: that of the statistic.

    False for the scores that told the incident, and for those whose variance after the change is not known."""
    last = len(found.at)
    known = np.zeros(len(plan.names), dtype=np.bool_)
    spans = (last - 2, last - 1), (last - 1, last)
    share = _share_of(
        [tuple(apart(found, plan, track, pool, span, k) for span in spans) for k in opened.scores]
    )
    for k in range(len(plan.names)):
        if k in opened.scores or not _is_comparable(plan, k):
            continue
        first, then = (apart(found, plan, track, pool, span, k) for span in spans)
        if first.precision <= 0 or then.precision <= 0 or abs(then.change) < plan.figures[4, k]:
            continue
        unsure = [1 / first.precision, 1 / then.precision]
        if plan.forms[k] == COUNT:
            counted = [_counted(found, plan, span, k) for span in spans]
            rate = max(count / rows for count, rows in counted)
            unsure = [
                max(one, rate * plan.figures[2, k] * (1 / rows + pool))
                for one, (_, rows) in zip(unsure, counted, strict=True)
            ]
        variance = unsure[0] + share.value**2 * unsure[1] + then.change**2 * share.variance
        z = (first.change - share.value * then.change) / math.sqrt(variance)
        known[k] = z * z / 2 > log_threshold - plan.log_weights[k]
    return known


def _counted(found: Candidates, plan: TrackPlan, span: tuple[int, int], score: int) -> tuple[float, float]:
    """The count of a score between two candidates, and the rows (at least one). A rate that was rare in the baseline
    and is not any more varies from window to window by what it is now."""
    first, last = span
    group = plan.groups[score]
    end_sums = found.at_sums[last] if last < len(found.at) else found.sums
    end_rows = found.at_rows[last] if last < len(found.at) else found.rows
    rows = float(np.sum(end_rows[:, group] - found.at_rows[first, :, group]))
    return float(np.sum(end_sums[:, score] - found.at_sums[first, :, score])), max(rows, 1.0)


def _share_of(told: list[tuple[Apart, ...]]) -> _Share:
    """By least squares over the scores that told the incident; all of the window where they are back already."""
    products = [one.change * other.change * other.precision for one, other in told]
    squares = sum(other.change**2 * other.precision for _, other in told)
    if squares < STILL_THERE:
        return _Share(1.0, 0.0)
    value = min(max(sum(products) / squares, 0.0), 1.0)
    return _Share(value, (1 + value**2) / squares)


def _is_comparable(plan: TrackPlan, score: int) -> bool:
    """Whether the counters tell the spread of a score in a window, as they do not of a product of two columns."""
    return bool(plan.forms[score] == COUNT or np.diff(plan.squares.starts)[score] > 0)
