"""Scores of a regression."""

import math

from detectors.scorecard.intervals import NO_LABELS, Score, around, missing
from detectors.task_scores import ErrorSums

CUT_OFF = "no interval: errors or labels lie so far out that their fourth powers are cut off"


def number_scores(sums: ErrorSums, worth: float, quantiles: tuple[float, ...]) -> list[Score]:
    """mae, rmse, bias, r2, mape, and the quantile loss of each quantile. worth: independent rows per row.

    The quantile loss follows from mae and bias alone: its two halves are the mean errors above and below zero, whose
    difference is the bias and whose sum is the mae. `naive` of rmse is the standard deviation of the labels, which
    is what predicting their mean would score.
    """
    names = ("mae", "rmse", "bias", "r2", "mape", *(f"quantile_loss_{share:g}" for share in quantiles))
    if sums.rows == 0:
        return [missing(name, 0, NO_LABELS) for name in names]
    size = max(sums.rows * worth, 1.0)
    values, errors = sums.measures(), sums.errors(worth)
    found = [
        _plain("mae", sums, sums.absolute_error, errors["mae"], 0.0),
        _root(sums, size),
        _plain("bias", sums, sums.error, errors["bias"], -math.inf),
        _explained(sums, values["r2"], size),
        _relative(sums, worth),
    ]
    for share in quantiles:
        mean, variance = sums.quantile_loss(share)
        found.append(_plain(f"quantile_loss_{share:g}", sums, mean, math.sqrt(variance / size), 0.0))
    return found


def _plain(name: str, sums: ErrorSums, value: float, error: float, least: float) -> Score:
    low, high = around(value, error, least)
    return Score(measure=name, value=value, low=low, high=high, rows=sums.rows, error=error)


def _root(sums: ErrorSums, size: float) -> Score:
    """The interval is that of the mean squared error, at its root."""
    value, naive, variance = math.sqrt(sums.squared_error), math.sqrt(sums.spread), sums.squared_variance
    if variance is None:
        return Score(measure="rmse", value=value, rows=sums.rows, naive=naive, detail=CUT_OFF)
    error = math.sqrt(variance / size)
    low, high = (math.sqrt(end) for end in around(sums.squared_error, error, 0.0))
    return Score(
        measure="rmse",
        value=value,
        low=low,
        high=high,
        rows=sums.rows,
        error=error / (2 * value) if value > 0 else 0.0,
        naive=naive,
    )


def _explained(sums: ErrorSums, value: float | None, size: float) -> Score:
    if value is None:
        return missing("r2", sums.rows, "the labels are constant")
    variance = sums.r2_variance(1 - value)
    if variance is None:
        return Score(measure="r2", value=value, rows=sums.rows, naive=0.0, detail=CUT_OFF)
    error = math.sqrt(variance / size)
    low, high = around(value, error, -math.inf, 1.0)
    return Score(measure="r2", value=value, low=low, high=high, rows=sums.rows, error=error, naive=0.0)


def _relative(sums: ErrorSums, worth: float) -> Score:
    """Of the rows whose label is not 0: of the others the size of the error is no share of anything."""
    rows = round(sums.nonzero * sums.rows)
    if rows == 0:
        return missing("mape", sums.rows, "every label is 0")
    value, second = sums.relative / sums.nonzero, sums.relative_squared / sums.nonzero
    error = math.sqrt(max(second - value * value, 0.0) / max(rows * worth, 1.0))
    low, high = around(value, error, 0.0)
    left = f"{sums.rows - rows} rows whose label is 0 are left out" if rows < sums.rows else ""
    return Score(measure="mape", value=value, low=low, high=high, rows=rows, error=error, detail=left)
