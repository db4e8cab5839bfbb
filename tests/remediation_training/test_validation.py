"""Rows that must not be learned from are named: column, row, value, and what would be right."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remediation.training.validation import TrainingError, validated
from remediation.training_values import TrainingSet


def data(**changes: Any) -> TrainingSet:
    rng = np.random.default_rng(3)
    parts: dict[str, Any] = {
        "features": pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60)}),
        "labels": pd.Series(np.arange(60) % 2),
        "groups": pd.Series(np.arange(60) // 2),
    }
    return TrainingSet(model="m", **{**parts, **changes})


def with_value(value: Any) -> pd.DataFrame:
    features = data().features.astype(object)
    features.loc[7, "b"] = value
    return features


def few() -> pd.Series:
    return pd.Series(([1] * 9) + [0] * 51)


Change = Callable[[], dict[str, Any]]

WRONG: list[tuple[Change, str]] = [
    (lambda: {"features": with_value("?")}, r"feature 'b', row 7: '\?' is no number \(1 such rows\)"),
    (lambda: {"features": with_value(np.inf)}, r"feature 'b', row 7: inf is infinite"),
    (lambda: {"features": with_value(1e39)}, r"feature 'b', row 7: 1e\+39 is infinite in float32"),
    (lambda: {"features": data().features.assign(b=np.nan)}, "feature 'b': all 60 values are missing"),
    (lambda: {"features": data().features.set_axis(["a", "a"], axis=1)}, r"\['a'\] appear more than once"),
    (lambda: {"features": data().features.astype({"a": "category"})}, "feature 'a' is categorical"),
    (lambda: {"features": data().features[[]]}, "60 rows and 0 columns"),
    (lambda: {"labels": pd.Series(np.ones(60))}, "label is 1 in all 60 rows; give rows of both classes"),
    (lambda: {"labels": pd.Series([2] + [0, 1] * 30)[:60]}, "label, row 0: .*2.* is neither 0 nor 1"),
    (lambda: {"labels": pd.Series([None] + [0, 1] * 30)[:60]}, r"label, row 0: .* is neither 0 nor 1"),
    (lambda: {"labels": few()}, r"label 1: 9 rows \(label 0: 51\); give at least 10 of each"),
    (lambda: {"labels": pd.Series([0, 1])}, "labels: 2 rows whose index is not that of the 60 rows"),
    (lambda: {"groups": pd.Series([None] + ["p"] * 59)}, "groups, row 0: missing"),
    (lambda: {"labels": few().replace({9: 1}), "groups": few()}, "label 1: 9 rows"),
    (lambda: {"groups": pd.Series(np.arange(60) % 2)}, "label 0: 1 group; give at least 2"),
    (lambda: {"weights": pd.Series([0.0] + [1.0] * 59)}, r"weights, row 0: .*0\.0.* give a number above 0"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_rows_are_named(change: Change, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        validated(data(**change()))


def test_good_rows_become_arrays() -> None:
    rows = validated(data(features=with_value(None), weights=pd.Series(np.arange(60) + 1)))
    assert rows.names == ("a", "b")
    assert rows.matrix.dtype == np.float32
    assert np.isnan(rows.matrix[7, 1])
    assert np.isnan(rows.matrix).sum() == 1
    assert rows.weights.mean() == pytest.approx(1.0)
    assert rows.folds == 5


def test_folds_are_as_many_as_the_scarcest_class_has_groups() -> None:
    groups = pd.Series(np.where(np.arange(60) % 2, np.arange(60) % 3, 100 + np.arange(60)))
    assert validated(data(groups=groups)).folds == 3
