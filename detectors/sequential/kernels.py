"""The evidence of all scores for all candidate change points, in one pass."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.columns import Floats, Integers
from detectors.compiled import compiled

GAUSSIAN: Final = 0
COUNT: Final = 1
NARROW: Final = 0.05
WIDE: Final = 0.2
"""Standard deviations of the two normal priors of an effect, in units of the score's own."""
RATIOS: Final = np.array([0.25, 0.5, 0.8, 1.25, 2.0, 4.0, 16.0, 256.0])
"""Ratios of two rates that the evidence for a count averages over."""
LEAST_ROWS: Final = 30.0
"""Effective rows below which the normal approximation of a mean is not used."""
LEAST_Z: Final = 2.0
"""Standardised differences below it are no evidence: their part in the statistic is left out, which is careful and
saves most of the work."""
_CORRECTED_FROM: Final = 2.0
_GREATEST: Final = 600.0
"""Exponent at which a term of the statistic is cut off."""
_RATIOS, _LOG_RATIOS = RATIOS, np.log(RATIOS)
_NARROW2, _WIDE2 = NARROW * NARROW, WIDE * WIDE
_MIXTURE = 1.0 / len(RATIOS)
_ONE_SIDED = 1.0 / int((RATIOS > 1).sum())

Bytes = npt.NDArray[np.int8]


@compiled
def apply_map(counters: Integers, starts: Integers, places: Integers, factors: Floats, out: Floats) -> None:
    """A sparse linear map of the counters of a profile: row k of it is factors[starts[k]:starts[k + 1]]."""
    for row in range(len(out)):
        total = 0.0
        for item in range(starts[row], starts[row + 1]):
            total += factors[item] * counters[places[item]]
        out[row] = total


@compiled
def effective(rows: float, pool: float) -> float:
    """Independent rows in so many of a stream where two rows are the same subject with probability `pool`."""
    return rows / (1.0 + rows * pool)


@compiled
def corrected(z: float, skew: float, kurtosis: float) -> float:
    """A standardised mean brought to the normal by Cornish and Fisher's expansion, within half of its size."""
    if abs(z) <= _CORRECTED_FROM:
        return z
    found = (
        z
        - skew / 6.0 * (z * z - 1.0)
        - kurtosis / 24.0 * (z * z * z - 3.0 * z)
        + skew * skew / 36.0 * (4.0 * z * z * z - 7.0 * z)
    )
    size = found if z > 0 else -found
    size = min(max(size, 0.5 * abs(z)), 1.5 * abs(z))
    return size if z > 0 else -size


@compiled
def log_gaussian(z: float, variance: float, prior: float, freedom: float, side: int) -> float:
    """Log of the Bayes factor of a normal effect of variance `prior` against none, for an estimate of variance
    `variance` at z; Student's form where that variance was estimated with `freedom` degrees. `side`: 1 or -1 where
    only effects of that sign count."""
    r = variance / (variance + prior)
    if freedom > 0.0:
        found = 0.5 * math.log(r) + 0.5 * (freedom + 1.0) * (
            math.log1p(z * z / freedom) - math.log1p(r * z * z / freedom)
        )
    else:
        found = 0.5 * math.log(r) + 0.5 * z * z * (1.0 - r)
    if side != 0:
        tail = math.erfc(-side * z * math.sqrt((1.0 - r) / 2.0))
        found += math.log(max(tail, 1e-300))
    return found


@compiled
def log_count(count: float, before: float, share: float, side: int) -> float:
    """Log of the evidence that a rate has changed, from `count` events where a share `share` of all rows lies and
    `before` events elsewhere: given their sum the count is binomial (Przyborowski and Wilenski 1940), or, where the
    events before were looked for until so many came, negative binomial; both have a mean of at most 1. Rises are
    judged as if one event more had come before."""
    total, greatest = 0.0, -np.inf
    rest = 1.0 - share
    for i in range(len(_RATIOS)):
        if side > 0 and _RATIOS[i] < 1.0:
            continue
        earlier = before + 1.0 if _RATIOS[i] > 1.0 else before
        exponent = count * _LOG_RATIOS[i] - (count + earlier) * math.log(share * _RATIOS[i] + rest)
        if exponent > greatest:
            total = total * math.exp(greatest - exponent) + 1.0
            greatest = exponent
        else:
            total += math.exp(exponent - greatest)
    return greatest + math.log(total * (_ONE_SIDED if side > 0 else _MIXTURE))


@compiled
def count_evidence(
    k: int,
    g: int,
    side: int,
    figures: Floats,
    base_sums: Floats,
    base_rows: Floats,
    sums: Floats,
    rows: Floats,
    total_sums: Floats,
    total_rows: Floats,
    few: Floats,
    many: Floats,
) -> tuple[float, float]:
    """Log evidence for a change of one rate, and the difference of the two rates; strata are taken together."""
    count, before, m, b, m_worth, b_worth = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for s in range(len(sums)):
        m += total_rows[s, g] - rows[s, g]
        b += base_rows[s, g] + rows[s, g]
        count += total_sums[s, k] - sums[s, k]
        before += base_sums[s, k] + sums[s, k]
        m_worth += few[s, g]
        b_worth += many[s, g]
    if m <= 0.0 or b <= 0.0:
        return -np.inf, 0.0
    moved = count / m - before / b
    if abs(moved) < figures[4, k]:
        return -np.inf, moved
    inflation = figures[2, k]
    share = m_worth / (m_worth + b_worth)
    return log_count(count * m_worth / m / inflation, before * b_worth / b / inflation, share, side), moved


@compiled
def mean_evidence(
    k: int, g: int, side: int, figures: Floats, variances: Floats, few: Floats, many: Floats, moved: float
) -> float:
    """Log evidence for a change of one mean that was estimated as `moved`; -inf where it is below its floor. Rows that
    depend on each other are as skewed and heavy in their sum as the fewer independent ones that they are worth."""
    precision, third, fourth, inflation = 0.0, 0.0, 0.0, figures[2, k]
    for s in range(len(few)):
        if few[s, g] > 0.0 and many[s, g] > 0.0:
            m, b = 1.0 / few[s, g], 1.0 / many[s, g]
            p = 1.0 / (variances[s, k] * inflation * (m + b))
            precision += p
            third += p * p * p * (m * m - b * b)
            fourth += p * p * p * p * (m * m * m + b * b * b)
    if abs(moved) < figures[4, k]:
        return -np.inf
    variance = 1.0 / precision
    root = math.sqrt(variance)
    skew = figures[0, k] * inflation * inflation * third * root * root * root
    kurtosis = figures[1, k] * inflation * inflation * inflation * fourth * variance * variance
    z = corrected(moved / root, skew, kurtosis)
    narrow = log_gaussian(z, variance, _NARROW2, figures[3, k], side)
    wide = log_gaussian(z, variance, _WIDE2, figures[3, k], side)
    top = max(narrow, wide)
    return top + math.log(0.5 * (math.exp(narrow - top) + math.exp(wide - top)))


@compiled
def evidence(
    forms: Bytes,
    sides: Bytes,
    groups: Integers,
    figures: Floats,
    base_sums: Floats,
    base_rows: Floats,
    base_known: Floats,
    base_streamed: Floats,
    sums: Floats,
    rows: Floats,
    total_sums: Floats,
    total_rows: Floats,
    pool: float,
    variances: Floats,
    log_weights: Floats,
    log_shares: Floats,
    by_candidate: Floats,
    out: Floats,
    moved: Floats,
) -> float:
    """The statistic: sum over candidates and scores of weight times evidence. `by_candidate`: log of the greatest
    term of each candidate without its own weight, which tells where the change is most likely.

    `out`: log evidence of each score for each candidate, shape (candidates, scores), -inf where it says nothing.
    `moved`: the difference of the two means in units of the score (counts: of the rates), the strata combined by their
    precision. Both are left alone where they have no rows, which saves writing what is read only where it is an alarm.

    figures: shape (5, scores): third and fourth cumulant, inflation of the variance, degrees of freedom (0: known),
    least effect. Sums have shape (candidates, strata, scores) or (strata, scores), rows the same by group.
    base_known: independent rows that the reference is worth; base_streamed: rows of the stream in the baseline.
    """
    candidates, strata, scores = sums.shape
    shape = total_rows.shape
    few, many, weight = np.empty(shape), np.empty(shape), np.empty(shape)
    per_row, per_base = np.empty(shape), np.empty(shape)
    size, per_variance = np.empty(shape[1]), 1.0 / variances[0]
    statistic, is_kept = 0.0, len(out) > 0
    for c in range(candidates):
        best = -np.inf
        for g in range(shape[1]):
            size[g] = 0.0
            for s in range(strata):
                m, b = total_rows[s, g] - rows[c, s, g], base_rows[s, g] + rows[c, s, g]
                few[s, g] = effective(m, pool)
                many[s, g] = base_known[s, g] + effective(base_streamed[s, g] + rows[c, s, g], pool)
                known = m > 0.0 and b > 0.0
                per_row[s, g], per_base[s, g] = (1.0 / m, 1.0 / b) if known else (0.0, 0.0)
                weight[s, g] = 1.0 / (1.0 / few[s, g] + 1.0 / many[s, g]) if known else 0.0
                size[g] += few[s, g] if known else 0.0
        for k in range(scores):
            g = groups[k]
            precision, found = weight[0, g] * per_variance[k], 0.0
            if strata == 1:
                earlier = sums[c, 0, k]
                found = (total_sums[0, k] - earlier) * per_row[0, g]
                found -= (base_sums[0, k] + earlier) * per_base[0, g]
            else:
                precision, difference = 0.0, 0.0
                for s in range(strata):
                    here = (total_sums[s, k] - sums[c, s, k]) * per_row[s, g] - (
                        base_sums[s, k] + sums[c, s, k]
                    ) * per_base[s, g]
                    p = weight[s, g] / variances[s, k]
                    difference += p * here
                    precision += p
                found = difference / precision if precision > 0.0 else 0.0
            log = -np.inf
            if forms[k] == COUNT:
                if strata > 1 or abs(found) >= figures[4, k]:
                    log, found = count_evidence(
                        k,
                        g,
                        sides[k],
                        figures,
                        base_sums,
                        base_rows,
                        sums[c],
                        rows[c],
                        total_sums,
                        total_rows,
                        few,
                        many,
                    )
            elif size[g] >= LEAST_ROWS and found * found * precision > LEAST_Z * LEAST_Z * figures[2, k]:
                log = mean_evidence(k, g, sides[k], figures, variances, few, many, found)
            if is_kept:
                out[c, k], moved[c, k] = log, found
            if log != -np.inf:
                term = log + log_weights[k]
                if term > best:
                    best = term
                statistic += math.exp(min(term + log_shares[c], _GREATEST))
        by_candidate[c] = best
    return statistic
