"""A first monitor: what each column is, and that the file that is written says so."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from streams.files.guess import guess
from streams.files.monitor import read_monitor_file
from streams.files.monitor_draft import draft
from streams.files.tables import FileInvalid, TableFile
from streams.replay.backtest import backtest


def loans(rows: int = 2_000) -> pd.DataFrame:
    """A log with names that do not say all: the label only agrees with the prediction."""
    rng = np.random.default_rng(5)
    income = rng.normal(0, 1, rows)
    score = 1 / (1 + np.exp(-3 * income))
    return pd.DataFrame(
        {
            "Request ID": [f"r-{number}" for number in range(rows)],
            "created_at": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(rows), unit="min"),
            "income": income,
            "owns: car?": rng.random(rows) < 0.5,
            "city": rng.choice(["Rome", "Oslo"], rows),
            "region": rng.choice(["north", "south", "west"], rows),
            "note": [f"text {number}" for number in range(rows)],
            "empty": np.nan,
            "always": 7,
            "kids": rng.integers(0, 4, rows),
            "proba": score,
            "y_pred": np.where(score > 0.5, "yes", "no"),
            "paid": np.where(rng.random(rows) < score, "yes", "no"),
        }
    )


def test_roles_are_guessed_and_written(tmp_path: Path) -> None:
    loans().to_csv(tmp_path / "good.csv", index=False)
    found = guess(TableFile(tmp_path / "good.csv"))
    roles = {name: one.role for name, one in found.guesses.items()}
    assert roles == {
        "Request ID": "id",
        "created_at": "time",
        "income": "feature",
        "owns: car?": "feature",
        "city": "feature",
        "region": "feature",
        "note": "left out",
        "empty": "feature",
        "always": "feature",
        "kids": "feature",
        "proba": "score",
        "y_pred": "prediction",
        "paid": "label",
    }
    assert (found.task, found.positive, found.segments) == ("binary", "yes", ["region"])
    (tmp_path / "loans.yaml").write_text(draft(found, "my: loans", "good.csv"))
    file = read_monitor_file(tmp_path / "loans.yaml")
    assert (file.model, file.columns.time, file.columns.label) == ("my: loans", "created_at", "paid")
    assert file.columns.features is not None
    assert "owns: car?" in file.columns.features
    assert "note" not in file.columns.features
    text = (tmp_path / "loans.yaml").read_text()
    assert "kind: categorical} if its 4 values have no order" in text
    assert "# segments: [region]" in text
    told = backtest(tmp_path / "good.csv", file).as_dict()
    assert (told["rows"], told["labels"], told["incidents"]) == (2_000, 2_000, [])


@pytest.mark.parametrize(("good", "bad"), [("yes", "no"), ("repaid", "default")])
def test_a_label_in_words_beside_predictions_in_numbers(tmp_path: Path, good: str, bad: str) -> None:
    data = loans().assign(y_pred=lambda d: (d["y_pred"] == "yes").astype(int))
    data["paid"] = data["paid"].map({"yes": good, "no": bad})
    data.to_csv(tmp_path / "good.csv", index=False)
    found = guess(TableFile(tmp_path / "good.csv"))
    assert (found.of("label"), found.positive) == ("paid", good)
    assert "paid" not in found.all_of("feature")
    (tmp_path / "loans.yaml").write_text(draft(found, "loans", "good.csv"))
    told = backtest(tmp_path / "good.csv", read_monitor_file(tmp_path / "loans.yaml")).as_dict()
    assert (told["labels"], told["incidents"]) == (2_000, [])
    unscored = data.drop(columns=["y_pred"])
    unscored.to_csv(tmp_path / "unscored.csv", index=False)
    found = guess(TableFile(tmp_path / "unscored.csv"))
    assert (found.of("label"), found.positive) == ("paid", good)


def test_columns_that_hold_more_than_a_value_are_left_out(tmp_path: Path) -> None:
    data = loans(200).assign(raw=[b"x"] * 200, parts=[{"a": 1, "b": [2.0]}] * 200, vector=[[1.0, 2.0]] * 200)
    data.to_parquet(tmp_path / "good.parquet")
    found = guess(TableFile(tmp_path / "good.parquet"))
    assert {"raw", "parts", "vector"} <= set(found.all_of("left out"))
    (tmp_path / "loans.yaml").write_text(draft(found, "loans", "good.parquet"))
    told = backtest(tmp_path / "good.parquet", read_monitor_file(tmp_path / "loans.yaml")).as_dict()
    assert told["rows"] == 200


def test_a_regression_by_agreement(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, 1_000)
    data = pd.DataFrame({"x": x, "prediction": 2 * x, "price_paid": 2 * x + rng.normal(0, 0.3, 1_000)})
    data.to_parquet(tmp_path / "good.parquet")
    found = guess(TableFile(tmp_path / "good.parquet"))
    assert (found.task, found.of("label"), found.all_of("feature")) == ("regression", "price_paid", ["x"])


def test_the_outcome_of_a_mediocre_model_is_known_by_its_name(tmp_path: Path) -> None:
    """Beside a feature that agrees with the prediction far better."""
    rng = np.random.default_rng(5)
    score = rng.beta(2, 2, 2_000)
    said = (score > 0.5).astype(int)
    data = pd.DataFrame(
        {
            "tenure": rng.normal(0, 1, 2_000),
            "had_discount": np.where(rng.random(2_000) < 0.9, said, 1 - said),
            "score": score,
            "prediction": said,
            "churned": (rng.random(2_000) < score).astype(int),
        }
    )
    data.to_csv(tmp_path / "good.csv", index=False)
    found = guess(TableFile(tmp_path / "good.csv"))
    assert (found.task, found.of("label")) == ("binary", "churned")
    assert found.all_of("feature") == ["tenure", "had_discount"]


def test_classes_are_listed(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"x": rng.normal(0, 1, 300), "target": rng.choice(["cat", "dog", "owl"], 300)})
    data.to_csv(tmp_path / "good.csv", index=False)
    found = guess(TableFile(tmp_path / "good.csv"))
    assert (found.task, found.classes) == ("multiclass", ["cat", "dog", "owl"])
    assert "classes: [cat, dog, owl]" in draft(found, "pets", "good.csv")


@pytest.mark.parametrize(
    ("content", "words"), [("a,b\n", "no rows"), ("timestamp\n2026-01-01T00:00:00\n", "no column can be")]
)
def test_files_without_a_guess(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "data.csv").write_text(content)
    with pytest.raises(FileInvalid, match=words):
        guess(TableFile(tmp_path / "data.csv"))


def test_a_clock_is_no_feature(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rising = np.sort(rng.random(500))
    pd.DataFrame({"x": rng.normal(size=500), "age": rising, "code": np.repeat([1, 2], 250)}).to_csv(
        tmp_path / "good.csv", index=False
    )
    found = guess(TableFile(tmp_path / "good.csv"))
    assert found.all_of("feature") == ["x", "code"]
    assert "a clock" in found.guesses["age"].why


def scored(rows: int = 1_000) -> pd.DataFrame:
    """Features that are named like outputs of a model, beside its outputs."""
    rng = np.random.default_rng(6)
    chance = rng.beta(2, 2, rows)
    return pd.DataFrame(
        {
            "x": rng.normal(size=rows),
            "y": rng.normal(size=rows),
            "target": rng.choice([0, 1], rows),
            "credit_score": rng.random(rows),
            "p": chance,
            "model_score": chance,
            "prediction": (chance > 0.5).astype(int),
            "repaid": (rng.random(rows) < chance).astype(int),
        }
    )


def test_values_decide_where_names_say_something_else(tmp_path: Path) -> None:
    scored().drop(columns="p").to_csv(tmp_path / "good.csv", index=False)
    found = guess(TableFile(tmp_path / "good.csv"))
    assert (found.of("score"), found.of("label")) == ("model_score", "repaid")
    assert found.all_of("feature") == ["x", "y", "target", "credit_score"]
    assert "'repaid' agrees with what the model said, and this does not" in found.guesses["target"].why
    assert "not higher where 'prediction' is positive" in found.guesses["credit_score"].why
    text = draft(found, "loans", "good.csv")
    assert "- target  # numbers; named like a label, but 'repaid' agrees" in text
    coordinates = scored()[["x", "y", "credit_score"]].assign(target=scored()["repaid"])
    coordinates.to_csv(tmp_path / "plain.csv", index=False)
    found = guess(TableFile(tmp_path / "plain.csv"))
    assert (found.of("label"), found.of("score")) == ("target", None)
    coordinates.drop(columns="target").to_csv(tmp_path / "points.csv", index=False)
    found = guess(TableFile(tmp_path / "points.csv"))
    assert found.of("label") is None
    assert "numbers beside 'x': a coordinate" in found.guesses["y"].why


def test_what_a_person_says_is_not_guessed(tmp_path: Path) -> None:
    scored().to_csv(tmp_path / "good.csv", index=False)
    said_so = {"label": "target", "score": "p"}
    found = guess(TableFile(tmp_path / "good.csv"), said_so)
    assert (found.of("label"), found.of("score")) == ("target", "p")
    assert found.guesses["target"].why == "you said so"
    assert "repaid" in found.all_of("feature")
    for wrong, words in (({"label": "truth"}, "no column"), ({"label": "p", "score": "p"}, "two roles")):
        with pytest.raises(FileInvalid, match=words):
            guess(TableFile(tmp_path / "good.csv"), wrong)


@pytest.mark.parametrize("style", ["p_{}", "{}_prob"])
def test_probabilities_of_classes_are_found_by_name_and_sum(tmp_path: Path, style: str) -> None:
    rng, names = np.random.default_rng(5), ["cat", "dog", "owl"]
    chances = rng.dirichlet(np.ones(3), 500)
    data = pd.DataFrame(chances, columns=[style.format(name) for name in names])
    data = data.assign(x=rng.normal(size=500), label=rng.choice(names, 500))
    data.to_csv(tmp_path / "good.csv", index=False)
    found = guess(TableFile(tmp_path / "good.csv"))
    assert found.all_of("feature") == ["x"]
    (tmp_path / "pets.yaml").write_text(draft(found, "pets", "good.csv"))
    file = read_monitor_file(tmp_path / "pets.yaml")
    assert (file.classes, file.columns.class_scores) == (names, [style.format(name) for name in names])
    data[style.format("owl")] = rng.random(500)
    data.to_csv(tmp_path / "odd.csv", index=False)
    found = guess(TableFile(tmp_path / "odd.csv"))
    assert found.class_scores == []
    assert "do not add up to 1" in found.guesses[style.format("owl")].why


def test_of_two_probabilities_one_is_the_score(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    yes = rng.random(500)
    data = pd.DataFrame({"x": rng.normal(size=500), "proba_no": 1 - yes, "proba_yes": yes})
    data.assign(label=np.where(rng.random(500) < yes, "yes", "no")).to_csv(tmp_path / "good.csv", index=False)
    found = guess(TableFile(tmp_path / "good.csv"))
    assert (found.of("score"), found.positive, found.all_of("feature")) == ("proba_yes", "yes", ["x"])


def test_numbers_with_commas_are_told_and_not_taken_for_categories(tmp_path: Path) -> None:
    data = loans()
    data["few"] = np.where(data["kids"] > 1, 1.5, -1_000.25)
    data.to_csv(tmp_path / "good.csv", index=False, sep=";", decimal=",")
    found = guess(TableFile(tmp_path / "good.csv"))
    for name in ("income", "few"):
        assert found.guesses[name].role == "left out"
        assert "write them like 1234.5" in found.guesses[name].why
    assert found.guesses["city"].role == "feature"
