"""What training data must be, checked before anything is fitted, so that a wrong extract is named and not
learned."""

from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from remediation.training_values import TrainingSet

FOLDS = 5
MIN_ROWS_PER_CLASS = 10
"""Below that, an F1 of five folds rests on one or two rows of the class."""

Matrix = NDArray[np.float32]


class TrainingError(ValueError):
    """The rows cannot be trained on, or no candidate can be exported. The message names column, row and
    value."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Training rows as arrays: `matrix` [n, k] float32 with NaN = missing (what serving will feed the model),
    `labels` [n] of 0/1, `groups` [n] of codes, `weights` [n] with mean 1 (repeats of a row are no new
    information, so they must not weaken the regularisation), and the number of folds that the groups
    allow."""

    names: tuple[str, ...]
    matrix: Matrix
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    weights: NDArray[np.float64]
    folds: int


def validated(data: TrainingSet) -> Rows:
    """The rows of `data` as arrays.

    Raises `TrainingError` for duplicated or non-numeric columns, infinite values, columns without any value,
    labels other than 0/1 or all the same, fewer than `MIN_ROWS_PER_CLASS` rows or two groups in a class, and
    series whose rows are not those of the features.
    """
    names = _names(data.features)
    for part, series in (("labels", data.labels), ("groups", data.groups), ("weights", data.weights)):
        if series is not None and not series.index.equals(data.features.index):
            raise TrainingError(
                f"{part}: {len(series)} rows whose index is not that of the {len(data.features)} rows of "
                "features; give one value per row, in the same order and with the same index"
            )
    matrix = feature_matrix(data.features, names)
    for position, name in enumerate(names):
        if np.isnan(matrix[:, position]).all():
            raise TrainingError(
                f"feature {name!r}: all {len(matrix)} values are missing; leave the column out or give values"
            )
    labels = _labels(data.labels)
    groups = _groups(data.groups)
    return Rows(names, matrix, labels, groups, _weights(data.weights, len(labels)), _folds(labels, groups))


def feature_matrix(frame: pd.DataFrame, names: tuple[str, ...]) -> Matrix:
    """The columns `names` of `frame` as float32 [n, k], NaN = missing. Raises `TrainingError` for a column
    that is not there, a value that is no number, and one that is infinite (also: beyond what float32
    holds)."""
    absent = [name for name in names if name not in frame.columns]
    if absent:
        raise TrainingError(
            f"features {absent} are not among the columns {[str(name) for name in frame.columns]}"
        )
    matrix = np.empty((len(frame), len(names)), dtype=np.float32)
    for position, name in enumerate(names):
        matrix[:, position] = _column(name, cast(pd.Series, frame[name]))
    return matrix


def _names(features: pd.DataFrame) -> tuple[str, ...]:
    names = tuple(str(name) for name in features.columns)
    if not names or features.empty:
        raise TrainingError(
            f"features: {len(features)} rows and {len(names)} columns; give at least one of each"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TrainingError(f"features {twice} appear more than once; give each column its own name, once")
    return names


def _column(name: str, column: pd.Series) -> NDArray[np.float32]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        raise TrainingError(
            f"feature {name!r} is categorical; encode it as numbers, categories are not supported yet"
        )
    numbers = _numbers(column)
    wrong = np.flatnonzero(np.isnan(numbers) & column.notna().to_numpy())
    if len(wrong):
        row = int(wrong[0])
        raise TrainingError(
            f"feature {name!r}, row {row}: {column.iloc[row]!r} is no number ({len(wrong)} such rows); "
            "give a number, or NaN where it is missing"
        )
    with np.errstate(over="ignore"):
        values = numbers.astype(np.float32)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        row = int(infinite[0])
        raise TrainingError(
            f"feature {name!r}, row {row}: {column.iloc[row]!r} is infinite in float32 "
            f"({len(infinite)} such rows); give a finite number, or NaN where it is missing"
        )
    return values


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    """NaN for what is missing and for what is no number."""
    found = cast(pd.Series, pd.to_numeric(column, errors="coerce"))
    return found.to_numpy(dtype=np.float64, na_value=np.nan)


def _labels(labels: pd.Series) -> NDArray[np.int64]:
    numbers = _numbers(labels)
    wrong = np.flatnonzero(~np.isin(numbers, (0.0, 1.0)))
    if len(wrong):
        row = int(wrong[0])
        raise TrainingError(
            f"label, row {row}: {labels.iloc[row]!r} is neither 0 nor 1 ({len(wrong)} such rows)"
        )
    values = numbers.astype(np.int64)
    counts = np.bincount(values, minlength=2)
    if 0 in counts:
        raise TrainingError(f"label is {int(values[0])} in all {len(values)} rows; give rows of both classes")
    scarce = int(counts.argmin())
    if counts[scarce] < MIN_ROWS_PER_CLASS:
        raise TrainingError(
            f"label {scarce}: {counts[scarce]} rows (label {1 - scarce}: {counts[1 - scarce]}); "
            f"give at least {MIN_ROWS_PER_CLASS} of each"
        )
    return values


def _groups(groups: pd.Series) -> NDArray[np.int64]:
    codes, _ = pd.factorize(groups)
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        raise TrainingError(
            f"groups, row {missing[0]}: missing ({len(missing)} such rows); give each row its group"
        )
    return codes.astype(np.int64)


def _weights(weights: pd.Series | None, rows: int) -> NDArray[np.float64]:
    if weights is None:
        return np.ones(rows)
    values = _numbers(weights)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(wrong):
        row = int(wrong[0])
        raise TrainingError(
            f"weights, row {row}: {weights.iloc[row]!r} ({len(wrong)} such rows); give a number above 0"
        )
    return values / values.mean()


def _folds(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> int:
    per_class = [len(np.unique(groups[labels == label])) for label in (0, 1)]
    if min(per_class) < 2:
        scarce = per_class.index(min(per_class))
        raise TrainingError(
            f"label {scarce}: {min(per_class)} group; give at least 2, so that training and test share none"
        )
    return min(FOLDS, *per_class)
