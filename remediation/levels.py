"""What an illness took, and the line that parts a version that is well again from one that is not."""

import math
from collections.abc import Collection
from statistics import NormalDist

from detectors.values import Value
from remediation import betting
from remediation.config import VerificationConfig
from remediation.outcomes import ERROR, MEANS, SHARES, Period, Tally, form, of_class

_INSIDE = 1e-3
"""How near a line may be to a share of 0 or 1: beyond it nothing could ever be proven."""


class Level(Value, frozen=True, kw_only=True):
    """`healthy` and `ill`: what a measure was; `line`: between the two. The line is a number that is fixed before the
    rows since the action are looked at, and what is proven is on which side of it they are."""

    measure: str
    healthy: float
    ill: float
    line: float

    def evidence(self, now: Tally) -> tuple[float, float]:
        """Log evidence that the rows since are better than the line, and that they are worse."""
        if form(self.measure) == "share":
            line = min(max(self.line, _INSIDE), 1 - _INSIDE)
            return (
                betting.share_above(now.total, now.rows, line),
                betting.share_below(now.total, now.rows, line),
            )
        by, of = abs(self.healthy - self.line), (now.mean, now.variance, now.rows, self.line)
        below, above = betting.mean_below(*of, by=by), betting.mean_above(*of, by=by)
        return (below, above) if form(self.measure) == "error" else (above, below)


def lost(
    before: Period,
    ill: Period,
    since: Period,
    config: VerificationConfig,
    named: Collection[str] = (),
) -> dict[str, Level]:
    """The measures that the illness made worse, beyond chance and by enough to matter. Precision moves with how common
    positives are, so it counts only where no other share was lost; of the means that are no shares count those that
    alerts have `named`. Of several classes each that is found less often was lost, beyond what chance does to one of
    so many."""
    found: dict[str, Level] = {}
    classes = [each for each in before.tallies if of_class(each)]
    surer = _among(config.sure_z, len(classes))
    for measure in (*SHARES, ERROR, *(each for each in MEANS if each in named), *classes):
        healthy, now = before.tallies.get(measure), ill.tallies.get(measure)
        if healthy is None or now is None or (measure == "precision" and found):
            continue
        sure_z = surer if of_class(measure) else config.sure_z
        if _worse(measure, healthy, now, config, sure_z):
            found[measure] = _between(
                measure, healthy.mean, now.mean, since.expected.get(measure), config.regained
            )
    return found


def expectation(before: Period, since: Period, config: VerificationConfig) -> tuple[str, Level] | None:
    """How well the version should do where nothing is known to be lost: as its own reference says, or as was done
    before, whichever is less; and the line below it by `tolerance` (of an error: by that part of it)."""
    measure = ERROR if ERROR in since.tallies else SHARES[0]
    known = [each for each in (since.expected.get(measure), _mean(before, measure)) if each is not None]
    if not known or measure not in since.tallies:
        return None
    if form(measure) == "error":
        healthy = max(known)
        return measure, _level(measure, healthy, healthy * (1 + config.tolerance), 1.0)
    healthy = min(known)
    return measure, _level(measure, healthy, healthy - config.tolerance, 1.0)


def _between(measure: str, healthy: float, ill: float, expected: float | None, regained: float) -> Level:
    """The world may have become harder: of a version whose reference promises less than the one before did, and still
    more than what the ill one does, no more than that is asked."""
    low, high = sorted((healthy, ill))
    if expected is not None and low < expected < high:
        healthy = expected
    return _level(measure, healthy, ill, regained)


def _level(measure: str, healthy: float, ill: float, regained: float) -> Level:
    line = ill + regained * (healthy - ill) if regained < 1 else ill
    return Level(measure=measure, healthy=healthy, ill=ill, line=line)


def _mean(period: Period, measure: str) -> float | None:
    tally = period.tallies.get(measure)
    return tally.mean if tally else None


def _among(sure_z: float, count: int) -> float:
    """Standard errors by which the greatest of `count` differences is as rare as one of `sure_z` (Bonferroni)."""
    rare = 0.5 * math.erfc(sure_z / math.sqrt(2)) / max(count, 1)
    return NormalDist().inv_cdf(1 - rare)


def _worse(measure: str, healthy: Tally, ill: Tally, config: VerificationConfig, sure_z: float) -> bool:
    drop = healthy.mean - ill.mean
    least = config.least_loss
    if form(measure) != "share":
        error = math.sqrt(healthy.variance / healthy.rows + ill.variance / ill.rows)
        if form(measure) == "error":
            drop, least = -drop, least * healthy.mean
    else:
        pooled = (healthy.total + ill.total + 1) / (healthy.rows + ill.rows + 2)
        error = math.sqrt(pooled * (1 - pooled) * (1 / healthy.rows + 1 / ill.rows))
    return drop >= least and drop >= sure_z * error
