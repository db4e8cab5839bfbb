"""Input that says little or nothing: stated as undefined, because ...; never NaN, never a trace."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from detectors.errors import DetectorError
from streams.control import monitor_build
from streams.control.schema_infer import infer_schema
from streams.files import tables
from streams.files.monitor import MonitorFile
from streams.files.tables import FileInvalid, TableFile
from streams.replay.backtest import backtest
from streams.replay.backtest_result import Backtest


@pytest.fixture(autouse=True)
def little_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_build, "CALIBRATION", 60)


Change = Callable[[pd.DataFrame], pd.DataFrame]
TASKS = ("binary", "regression", "multiclass")


def frame(rows: int, seed: int, task: str) -> pd.DataFrame:
    """A log of a model for a task, with a number and a category."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, rows)
    city = rng.choice(["Rome", "Oslo", "Bern"], rows)
    data = pd.DataFrame({"x": x, "z": rng.normal(0, 1, rows), "city": city})
    if task == "regression":
        return data.assign(said=2 * x, truth=2 * x + rng.normal(0, 0.3, rows))
    chance = 1 / (1 + np.exp(-2 * x))
    truth = (rng.random(rows) < chance).astype(int)
    if task == "binary":
        return data.assign(score=chance, said=(chance > 0.5).astype(int), truth=truth)
    names = np.array(["cat", "dog", "owl"])
    said = rng.integers(0, 3, rows)
    right = rng.random(rows) < 0.8
    return data.assign(
        said=names[said],
        truth=names[np.where(right, said, (said + 1) % 3)],
        score=rng.uniform(0.4, 1.0, rows),
    )


def constant(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(x=1.5, city="Rome")


def all_missing(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(x=np.nan, city=None)


def one_class(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(truth=data["truth"].iloc[0])


def one_answer(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(said=data["said"].iloc[0])


def ten_rows(data: pd.DataFrame) -> pd.DataFrame:
    return data.iloc[:10]


def no_scores(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(score=np.nan) if "score" in data else data


def some_scores(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(score=data["score"].where(data.index % 2 == 0)) if "score" in data else data


def no_labels(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(truth=None)


def few_labels(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(truth=data["truth"].where(data.index % 10 == 0))


def infinite(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(x=np.where(data.index % 3 == 0, np.inf, data["x"]))


def huge(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(x=data["x"] * 1e300)


CHANGES: list[Change] = [
    constant,
    all_missing,
    one_class,
    one_answer,
    ten_rows,
    no_scores,
    some_scores,
    no_labels,
    few_labels,
    infinite,
    huge,
]


def run(folder: Path, task: str, reference: Change | None, data: Change | None) -> Backtest:
    """Backtest 1,500 rows against 1,000, either changed."""
    good, log = frame(1_000, 3, task), frame(1_500, 4, task)
    (reference(good) if reference else good).to_parquet(folder / "good.parquet")
    (data(log) if data else log).to_parquet(folder / "data.parquet")
    columns = {"prediction": "said", "label": "truth", "features": ["x", "z", "city"]}
    if task != "regression":
        columns["score"] = "score"
    fields: dict[str, Any] = {"model": "bad", "task": task, "columns": columns, "window": {"rows": 300}}
    fields |= {"label_window": {"rows": 300}, "reference": {"file": folder / "good.parquet"}}
    if task == "multiclass":
        fields["classes"] = ["cat", "dog", "owl"]
    return backtest(folder / "data.parquet", MonitorFile.model_validate(fields), keep_points=True)


def is_stated(found: Backtest) -> None:
    """No number is NaN or infinite, and what has no value says why."""
    json.dumps(found.as_dict(), allow_nan=False)
    for point in found.results.points.values():
        for number in (point.value, point.reference, point.threshold, point.low, point.high):
            assert number is None or math.isfinite(number), point
        assert (point.value is None) == (point.verdict == "undefined"), point
        if point.value is None:
            assert point.undefined, point
            assert "nan" not in point.undefined.split(), point
    for alert in found.results.alerts:
        assert alert.reason
        assert "nan" not in alert.reason.split(), alert.reason


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_data_that_say_little(tmp_path: Path, task: str, change: Change) -> None:
    is_stated(run(tmp_path, task, None, change))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_reference_that_says_little(tmp_path: Path, task: str, change: Change) -> None:
    """It may be refused, in words."""
    try:
        found = run(tmp_path, task, change, None)
    except (DetectorError, FileInvalid) as error:
        refused = str(error)
    else:
        is_stated(found)
        return
    assert len(refused) > 20


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("change", [constant, all_missing, no_labels, no_scores], ids=lambda c: c.__name__)
def test_both_say_little(tmp_path: Path, task: str, change: Change) -> None:
    found = run(tmp_path, task, change, change)
    is_stated(found)
    assert found.as_dict()["incidents"] == []


@pytest.mark.parametrize(
    ("encoding", "told"), [("latin-1", "column 'city' is no UTF-8"), ("utf-16", "UTF-16")]
)
def test_text_in_another_encoding_is_said_to_be_so(tmp_path: Path, encoding: str, told: str) -> None:
    frame(50, 1, "binary").assign(city="Köln").to_csv(tmp_path / "data.csv", index=False, encoding=encoding)
    with pytest.raises(FileInvalid, match=told):
        TableFile(tmp_path / "data.csv")


@pytest.mark.parametrize("usually", [0.0, 0.3])
def test_scores_that_stay_away_are_told(tmp_path: Path, usually: float) -> None:
    def missing(data: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
        return data.assign(score=data["score"].mask(np.random.default_rng(seed).random(len(data)) < share))

    missing(frame(2_000, 1, "binary"), usually, 2).to_csv(tmp_path / "good.csv", index=False)
    quiet, mute = missing(frame(2_000, 3, "binary"), usually, 4), missing(frame(1_000, 5, "binary"), 1.0, 6)
    pd.concat([quiet, mute]).to_csv(tmp_path / "data.csv", index=False)
    columns = {"prediction": "said", "score": "score", "label": "truth", "features": ["x", "z", "city"]}
    reference = {"file": str(tmp_path / "good.csv")}
    file = MonitorFile(model="m", columns=columns, reference=reference, window={"rows": 500})
    (found,) = [
        one
        for one in backtest(tmp_path / "data.csv", file).as_dict()["incidents"]
        if one["kind"] == "data_quality"
    ]
    assert found["change_row"] == 2_000
    assert found["opened_row"] == 2_500
    assert "the scores are missing in 100.0 %" in found["summary"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_text_among_numbers_costs_its_row_and_is_told(tmp_path: Path, ending: str) -> None:
    good, log = frame(1_000, 3, "binary"), frame(40_000, 4, "binary").astype({"x": object, "score": object})
    log.loc[[7, 39_000], "x"] = "abc"
    log.loc[39_500, "score"] = "high"
    good.loc[20, "z"] = None
    good.astype({"z": object}).fillna({"z": "oops"}).to_csv(tmp_path / "good.csv", index=False)
    if ending == "csv":
        log.to_csv(tmp_path / "data.csv", index=False)
    else:
        log.astype({"x": str, "score": str}).to_parquet(tmp_path / "data.parquet")
    columns = {"prediction": "said", "label": "truth", "score": "score", "features": ["x", "z", "city"]}
    fields: dict[str, Any] = {"model": "bad", "columns": columns, "window": {"rows": 300}}
    file = MonitorFile.model_validate(fields | {"reference": {"file": tmp_path / "good.csv"}})
    found = backtest(tmp_path / f"data.{ending}", file)
    assert found.references[0].rows == 999
    assert found.rows == 40_000
    assert found.skipped["number"] == 3
    told = [{"row": 7, "column": "x", "value": "abc"}, {"row": 39_000, "column": "x", "value": "abc"}]
    assert found.as_dict()["unreadable"] == [*told, {"row": 39_500, "column": "score", "value": "high"}]
    assert found.accounting is not None
    assert found.accounting.profiled == 39_997


def test_a_column_of_text_where_numbers_belong_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MOST", 100)
    frame(1_000, 3, "binary").to_csv(tmp_path / "good.csv", index=False)
    frame(1_500, 4, "binary").assign(x="word").to_csv(tmp_path / "data.csv", index=False)
    columns = {"prediction": "said", "label": "truth", "features": ["x", "z", "city"]}
    fields: dict[str, Any] = {"model": "bad", "columns": columns, "window": {"rows": 300}}
    file = MonitorFile.model_validate(fields | {"reference": {"file": tmp_path / "good.csv"}})
    with pytest.raises(FileInvalid, match=r"column 'x' shall hold numbers, .* x is 'word' in row 1,499"):
        backtest(tmp_path / "data.csv", file)


def test_numbers_with_a_comma_are_told_where_a_file_is_read(tmp_path: Path) -> None:
    data, written = frame(1_000, 3, "binary"), tmp_path / "data.csv"
    comma = [f"{value:.2f}".replace(".", ",") for value in data["x"]]
    data.assign(x=comma).to_csv(written, sep=";", index=False)
    with pytest.raises(
        FileInvalid, match=r"column 'x' holds numbers with a comma, such as '-?\d+,\d\d'; write"
    ):
        TableFile(written).table({"x"})
    with pytest.raises(FileInvalid, match="column 'x' holds numbers with a comma"):
        infer_schema(TableFile(written), "bad", "1")
    assert TableFile(written, texts={"x"}).table().num_rows == 1_000
    assert TableFile(written).table({"z", "truth"}).num_rows == 1_000, "nobody reads the column"
    data.assign(city=[f"{number % 3},{number % 4}" for number in range(1_000)]).to_csv(written, index=False)
    TableFile(written).table({"city"})
    comma[1:] = data["x"].astype(str)[1:]
    data.assign(x=comma).to_csv(written, sep=";", index=False)
    table = TableFile(written)
    table.table()
    (cell,) = table.unreadable.values()
    assert cell.told == f"x is {comma[0]!r} in row 0 (a comma stands where a point belongs)"
