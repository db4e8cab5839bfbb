"""An alarm in figures and in words: what moved, by how much, since when, on how many rows."""

import math
from collections import defaultdict
from typing import Final

import numpy as np

from detectors.sequential import families as f
from detectors.sequential.budget import Threshold
from detectors.sequential.kernels import NARROW, WIDE
from detectors.sequential.plan import TrackPlan
from detectors.sequential.track import Candidates, Weighed
from detectors.sequential.values import Change, Moved, ScoreName, Track

MOST_MOVED: Final = 20
_FAINT: Final = 3.0
"""Log evidence, with its share of the budget, that a score must reach to be told besides the strongest one."""


def change_of(
    found: Candidates,
    plan: TrackPlan,
    track: Track,
    weighed: Weighed,
    threshold: float,
    limit: Threshold,
    pool: float,
) -> Change:
    """The alarm that the statistic has reached, at the likeliest candidate."""
    place = weighed.likeliest
    terms = weighed.logs[place] + plan.log_weights
    order = [int(k) for k in np.argsort(-terms, kind="stable") if math.isfinite(terms[k])]
    told = order[:1] + [k for k in order[1:MOST_MOVED] if weighed.logs[place, k] > _FAINT]
    log_limit = math.log(threshold / found.shares[place])
    moved = tuple(
        _moved(found, plan, track, weighed, k, log_limit - float(plan.log_weights[k]), pool) for k in told
    )
    return Change(
        kind=str(plan.kind),
        statistic=weighed.statistic,
        threshold=threshold,
        since_us=found.at_us[place],
        windows=found.at[-1] + 1 - found.at[place],
        in_force=limit.in_force,
        moved=moved,
        columns=_ranked(moved),
    )


def _moved(
    found: Candidates, plan: TrackPlan, track: Track, weighed: Weighed, k: int, log_limit: float, pool: float
) -> Moved:
    place, group = weighed.likeliest, int(plan.groups[k])
    since = found.rows[:, group] - found.at_rows[place, :, group]
    earlier = found.base_rows[:, group] + found.at_rows[place, :, group]
    rows, before_rows = float(since.sum()), float(earlier.sum())
    unit, center = float(plan.units[k]), float(plan.centers[k])
    now = float((found.sums[:, k] - found.at_sums[place, :, k]).sum()) / max(rows, 1.0)
    before = float((found.base_sums[:, k] + found.at_sums[place, :, k]).sum()) / max(before_rows, 1.0)
    few = rows / (1 + rows * pool)
    many = float(found.baseline_worth(plan, track, pool, place)[:, group].sum())
    spread = float(plan.figures[2, k]) * (1 / max(few, 1.0) + 1 / max(many, 1.0))
    if plan.forms[k] == 1:
        spread *= (now * rows + before * before_rows + 1) / (rows + before_rows + 1)
    return Moved(
        name=plan.names[k],
        change=float(weighed.moved[place, k]) * (unit or 1.0),
        least=max(_least(spread, log_limit), float(plan.figures[4, k])) * (abs(unit) or 1.0),
        now=center + unit * now if unit else None,
        before=center + unit * before if unit else None,
        rows=round(rows),
        weight=float(weighed.logs[place, k] + plan.log_weights[k]),
    )


def _least(variance: float, log_limit: float) -> float:
    """The change at which the evidence of one score alone, of an estimate of this variance, reaches the limit."""
    found = math.inf
    for prior in (NARROW * NARROW, WIDE * WIDE):
        r = variance / (variance + prior)
        squared = 2 * (log_limit + math.log(2) - 0.5 * math.log(r)) / (1 - r)
        found = min(found, math.sqrt(max(squared, 0.0) * variance))
    return found


def _ranked(moved: tuple[Moved, ...]) -> tuple[str, ...]:
    """Columns by all that speaks for them; both columns of a pair have its evidence."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for one in moved:
        if one.name.column:
            found[one.name.column].append(one.weight)
        if one.name.family == f.PAIR:
            found[one.name.item].append(one.weight)
    strength = {
        column: max(weights) + math.log(sum(math.exp(w - max(weights)) for w in weights))
        for column, weights in found.items()
    }
    return tuple(sorted(strength, key=lambda column: (-strength[column], column)))


def sentence(moved: Moved) -> str:
    """One score in words."""
    name = moved.name
    if moved.now is not None and moved.before is not None:
        return f"{_rate(name)} {_percent(moved.now)} of {moved.rows:,} rows (before {_percent(moved.before)})"
    words = _SHAPES.get(name.family, "{who}: {family} changed by {change:+.2f} standard deviations")
    text = words.format(
        who=name.column, item=name.item, family=name.family.replace("_", " "), change=moved.change
    )
    alone = "" if abs(moved.change) >= moved.least else "alone "
    return f"{text} over {moved.rows:,} rows ({alone}told from {moved.least:.2f})"


_SHAPES = {
    f.LOCATION: "{who} moved by {change:+.2f} standard deviations",
    f.SCALE: "the spread of {who} changed (score {change:+.2f})",
    f.SKEW: "the skewness of {who} changed (score {change:+.2f})",
    f.TAILS: "the tails of {who} changed (score {change:+.2f})",
    f.PAIR: "{who} and {item} are related differently (score {change:+.2f})",
    f.LOSS: "the squared error of the scores grew by {change:+.2f} standard deviations",
    f.LOWER: "the scores of the positives moved by {change:+.2f} standard deviations",
    f.HIGHER: "the scores of the negatives moved by {change:+.2f} standard deviations",
    f.ABSOLUTE: "the errors of the predictions grew by {change:+.2f} standard deviations",
    f.BIAS: "the errors of the predictions moved to one side by {change:+.2f} standard deviations",
}
_RATES = {
    f.MISSING: "{who} is missing in",
    f.OUTSIDE: "{who} lies outside of the range known from the reference in",
    f.MASS: "{who} has the value {item} in",
    f.NEW: "{who} has a category that the reference does not know in",
    f.CATEGORY: "{who} is {item} in",
    f.RATE: "the model says positive in",
    f.CLASS: "the model says {item} in",
    f.ERROR: "the model is wrong in",
    f.MISS: "the model misses the class {item} in",
    f.FALSE_ALARM: "what the model calls positive is negative in",
}


def _rate(name: ScoreName) -> str:
    words = _RATES.get(name.family, "{family} of {who} in")
    if name.column == f.SCORE:
        words = words.replace("{who} is", "{who} are")
    item = name.item or "positive"
    return words.format(who=name.column, item=item, family=name.family.replace("_", " "))


def _percent(share: float) -> str:
    return f"{abs(round(100 * share, 1)):.1f} %"
