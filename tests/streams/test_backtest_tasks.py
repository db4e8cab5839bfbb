"""A backtest of a regression, and of several classes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from streams.files.monitor import MonitorFile
from streams.replay.backtest import backtest
from tests.streams.test_backtest import values


def test_a_regression(tmp_path: Path) -> None:
    """Errors of a window as NumPy has them."""
    rng = np.random.default_rng(3)
    x = rng.normal(0, 1, 4_000)
    data = pd.DataFrame({"x": x, "said": 2 * x, "truth": 2 * x + rng.normal(0, 0.5, 4_000)})
    data.iloc[:2_000].to_csv(tmp_path / "good.csv", index=False)
    data.iloc[2_000:].to_csv(tmp_path / "data.csv", index=False)
    columns = {"prediction": "said", "label": "truth"}
    fields = {"model": "price", "task": "regression", "columns": columns, "window": {"rows": 500}}
    file = MonitorFile.model_validate(fields | {"reference": {"file": tmp_path / "good.csv"}})
    found = backtest(tmp_path / "data.csv", file, keep_points=True)
    error = (data["said"] - data["truth"]).iloc[2_000:].abs().groupby(np.arange(2_000) // 500).mean()
    assert values(found, "mae") == pytest.approx(error.to_list(), rel=1e-3)


def test_classes(tmp_path: Path) -> None:
    """Three classes by name; what is right is counted as pandas counts it."""
    rng = np.random.default_rng(3)
    names = np.array(["cat", "dog", "owl"])
    truth = rng.integers(0, 3, 4_000)
    said = np.where(rng.random(4_000) < 0.2, (truth + 1) % 3, truth)
    data = pd.DataFrame({"x": rng.normal(truth, 1.0), "said": names[said], "truth": names[truth]})
    data.iloc[:2_000].to_csv(tmp_path / "good.csv", index=False)
    data.iloc[2_000:].to_csv(tmp_path / "data.csv", index=False)
    columns = {"prediction": "said", "label": "truth"}
    fields = {"model": "pets", "task": "multiclass", "columns": columns, "window": {"rows": 500}}
    classes = {"classes": names.tolist(), "reference": {"file": tmp_path / "good.csv"}}
    found = backtest(tmp_path / "data.csv", MonitorFile.model_validate(fields | classes), keep_points=True)
    right = (said == truth)[2_000:].reshape(4, 500).mean(axis=1)
    assert values(found, "accuracy") == pytest.approx(right)
    (told,) = found.as_dict()["confusion"]
    assert (told["classes"], told["rows"]) == ([*names, "other"], 2_000)
    for key, part in (("counts", slice(2_000, None)), ("reference", slice(2_000))):
        crossed = pd.crosstab(said[part], truth[part]).to_numpy().tolist()
        assert told[key] == [*([*line, 0] for line in crossed), [0, 0, 0, 0]]


@pytest.mark.parametrize("window", [{"rows": 500}, {"rows": 500, "slide": 250}])
def test_answers_and_truths_of_two_classes_are_counted_once(tmp_path: Path, window: dict[str, int]) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, 4_000)
    data = pd.DataFrame({"x": x, "said": x > 0.3, "truth": x + rng.normal(0, 0.6, 4_000) > 0}).astype(float)
    data.iloc[:2_000].to_csv(tmp_path / "good.csv", index=False)
    data.iloc[2_000:].to_csv(tmp_path / "data.csv", index=False)
    fields = {"model": "churn", "columns": {"prediction": "said", "label": "truth"}, "window": window}
    file = MonitorFile.model_validate(fields | {"reference": {"file": tmp_path / "good.csv"}})
    (told,) = backtest(tmp_path / "data.csv", file).as_dict()["confusion"]
    assert (told["classes"], told["rows"]) == (["positive", "negative"], 2_000)
    for key, part in (("counts", data.iloc[2_000:]), ("reference", data.iloc[:2_000])):
        crossed = pd.crosstab(part["said"], part["truth"]).to_numpy()[::-1, ::-1]
        assert told[key] == crossed.tolist()


def test_classes_with_a_probability_each(tmp_path: Path) -> None:
    """Without a column of predictions the most probable class was said, and top-k accuracy is told."""
    rng, names = np.random.default_rng(4), ["cat", "dog", "owl", "emu"]
    truth = rng.integers(0, 4, 4_000)
    chances = rng.dirichlet(np.ones(4), 4_000) * 0.6 + 0.4 * np.eye(4)[truth]
    chances[7] = np.nan
    data = pd.DataFrame({"x": rng.normal(truth, 1.0), "truth": np.array(names)[truth]})
    data[[f"p_{name}" for name in names]] = chances
    data.iloc[:2_000].to_csv(tmp_path / "good.csv", index=False)
    data.iloc[2_000:].to_csv(tmp_path / "data.csv", index=False)
    columns = {"label": "truth", "class_scores": [f"p_{name}" for name in names]}
    fields = {
        "model": "pets",
        "task": "multiclass",
        "columns": columns,
        "window": {"rows": 500},
        "classes": names,
    }
    fields |= {"reference": {"file": tmp_path / "good.csv"}}
    found = backtest(tmp_path / "data.csv", MonitorFile.model_validate(fields), keep_points=True)
    rank = (chances > chances[np.arange(4_000), truth][:, None]).sum(axis=1)[2_000:].reshape(4, 500)
    for measure, places in (("accuracy", 1), ("top_2_accuracy", 2), ("top_3_accuracy", 3)):
        assert values(found, measure) == pytest.approx((rank < places).mean(axis=1)), measure
    assert values(found, "brier")
    with pytest.raises(ValidationError, match="3 columns for 4 classes"):
        MonitorFile.model_validate(fields | {"columns": {"class_scores": list("abc")}})


def test_class_scores_that_are_no_probabilities_are_told_and_taken_for_missing(tmp_path: Path) -> None:
    rng, names = np.random.default_rng(4), ["cat", "dog", "owl"]
    truth = rng.integers(0, 3, 2_000)
    chances = rng.dirichlet(np.ones(3), 2_000) * 0.6 + 0.4 * np.eye(3)[truth]
    chances[1_000:] = 1 - (1 - chances[1_000:]) ** 2
    data = pd.DataFrame({"x": rng.normal(truth, 1.0), "truth": np.array(names)[truth]})
    data[[f"p_{name}" for name in names]] = chances
    data.iloc[:1_000].to_csv(tmp_path / "good.csv", index=False)
    data.iloc[1_000:].to_csv(tmp_path / "data.csv", index=False)
    columns = {"label": "truth", "class_scores": [f"p_{name}" for name in names]}
    fields = {"model": "pets", "task": "multiclass", "columns": columns, "classes": names}
    fields |= {"reference": {"file": tmp_path / "good.csv"}, "window": {"rows": 500}}
    found = backtest(tmp_path / "data.csv", MonitorFile.model_validate(fields), keep_points=True)
    told = found.as_dict()
    assert told["rows"] == 1_000 >= told["class_scores_unlike"] > 990
    assert values(found, "accuracy") == pytest.approx(
        (chances.argmax(axis=1) == truth)[1_000:].reshape(2, 500).mean(axis=1)
    )
    assert values(found, "top_2_accuracy") in ([], [None, None])
    assert [one["kind"] for one in told["incidents"]] == ["data_quality"]
    assert "score" in told["incidents"][0]["summary"]
