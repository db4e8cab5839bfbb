"""Evidence that may be looked at after every window: test martingales for a mean.

Each number is the log of an e-value: what a gambler owns who began with 1 and bets on every row that the mean is on the
other side of a line, at odds that are fair when it lies on the line. Were the mean on the near side, the gambler would
ever own 1/alpha with probability alpha at most, however often one looks and whenever one stops (Ville 1939; Robbins
1970; Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting"). It takes no independent
rows: only that the expected value of each, given those before it, is on the near side.
"""

import math

from scipy.special import betaincc, log_ndtr  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]


def share_above(right: float, rows: float, line: float) -> float:
    """Log evidence that the share of `right` rows among `rows` is above `line`, in (0, 1).

    The bets are those of the likelihood ratios of every share above the line, in equal parts; all that is needed of the
    rows is how many there are.
    """
    more, less = right + 1.0, rows - right + 1.0
    above = float(betaincc(more, less, line))  # pyright: ignore[reportUnknownArgumentType]
    if above <= 0:
        return -math.inf
    whole = math.lgamma(more) + math.lgamma(less) - math.lgamma(more + less)
    fair = right * math.log(line) + (rows - right) * math.log1p(-line)
    return whole + math.log(above) - math.log1p(-line) - fair


def share_below(right: float, rows: float, line: float) -> float:
    """Log evidence that the share is below `line`."""
    return share_above(rows - right, rows, 1.0 - line)


def mean_below(mean: float, variance: float, rows: float, line: float, *, by: float) -> float:
    """Log evidence that the mean of `rows` numbers without bounds is below `line`; `mean` and `variance` are what they
    show, `by` is how far below it is looked for (the bets are a half-normal mixture of the best one for that).

    Holds where there are many rows (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit
    theory"). 0 where nothing varies.
    """
    if rows <= 0 or variance <= 0 or by <= 0:
        return 0.0
    width = by / variance
    spread = 1.0 + width * width * rows * variance
    reached = (line - mean) * rows * width / math.sqrt(spread)
    upper = float(log_ndtr(reached))  # pyright: ignore[reportUnknownArgumentType]
    return math.log(2.0) - 0.5 * math.log(spread) + 0.5 * reached * reached + upper


def mean_above(mean: float, variance: float, rows: float, line: float, *, by: float) -> float:
    """Log evidence that the mean is above `line`."""
    return mean_below(-mean, variance, rows, -line, by=by)
