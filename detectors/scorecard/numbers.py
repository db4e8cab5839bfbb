"""Scores of a regression."""

import math

from detectors.scorecard.intervals import NO_LABELS, Score, around, missing
from detectors.task_scores import ErrorSums

FOURTH = "its interval takes the sum of the errors' fourth powers, which a profile does not hold"


def number_scores(sums: ErrorSums, worth: float, quantiles: tuple[float, ...]) -> list[Score]:
    """mae, rmse, bias, r2, and the quantile loss of each quantile. worth: independent rows per row.

    The quantile loss follows from mae and bias alone: its two halves are the mean errors above and below zero, whose
    difference is the bias and whose sum is the mae. `naive` of rmse is the standard deviation of the labels, which
    is what predicting their mean would score.
    """
    names = ("mae", "rmse", "bias", "r2", *(f"quantile_loss_{share:g}" for share in quantiles))
    if sums.rows == 0:
        return [missing(name, 0, NO_LABELS) for name in names]
    errors, values, found = sums.errors(worth), sums.measures(), list[Score]()
    spread = math.sqrt(max(sums.label_squared - sums.label * sums.label, 0.0))
    for name, value in values.items():
        if value is None:
            found.append(missing(name, sums.rows, "the labels are constant"))
        elif name in errors:
            low, high = around(value, errors[name], 0.0 if name == "mae" else -math.inf)
            found.append(
                Score(measure=name, value=value, low=low, high=high, rows=sums.rows, error=errors[name])
            )
        else:
            naive = spread if name == "rmse" else 0.0
            found.append(Score(measure=name, value=value, rows=sums.rows, naive=naive, detail=FOURTH))
    return [*found, *(_quantile_loss(sums, share, worth) for share in quantiles)]


def _quantile_loss(sums: ErrorSums, share: float, worth: float) -> Score:
    """Koenker and Bassett's loss (1978). Its standard error is an upper bound: the squares of either sign are not told
    apart."""
    above, below = (sums.absolute_error + sums.error) / 2, (sums.absolute_error - sums.error) / 2
    value = share * below + (1 - share) * above
    second = max(share, 1 - share) ** 2 * sums.squared_error
    error = math.sqrt(max(second - value * value, 0.0) / max(sums.rows * worth, 1.0))
    low, high = around(value, error, 0.0)
    return Score(
        measure=f"quantile_loss_{share:g}",
        value=value,
        low=low,
        high=high,
        rows=sums.rows,
        error=error,
        detail="its interval is wide: squared errors above and below zero are not told apart",
    )
