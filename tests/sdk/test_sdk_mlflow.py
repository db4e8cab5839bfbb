"""The MLflow wrapper: real pyfunc models, logged calls, unchanged answers."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from homeostat import Client

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of MLflow, about its own type hints
    import mlflow
    from mlflow.pyfunc import PythonModel

    from homeostat.mlflow import Calls, LoggingModel, log_model_calls


class Adds(PythonModel):
    """Says the sum of a row; fails where it is negative."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        total = np.asarray(model_input, dtype=float).sum(axis=1)
        if (total < 0).any():
            raise ValueError("negative")
        return total


class Logged:
    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, model: str, **call: Any) -> None:
        self.calls.append(call)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "adds"
    mlflow.pyfunc.save_model(str(path), python_model=Adds(), pip_requirements=["mlflow"])
    return str(path)


FRAME = pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0]})


def test_calls_of_a_real_pyfunc_model_are_logged(saved: str) -> None:
    log = Logged()
    model = log_model_calls(mlflow.pyfunc.load_model(saved), model="m", version="1", log=log)
    np.testing.assert_array_equal(model.predict(FRAME), [4, 6])
    assert model.metadata is not None
    (call,) = log.calls
    assert (call["version"], call["status"], len(set(call["id"]))) == ("1", "ok", 2)
    assert {name: list(column) for name, column in call["features"].items()} == {"x": [1, 2], "y": [3, 4]}
    assert list(call["prediction"]) == [4, 6]
    assert min(call["latency_ms"]) > 0
    with pytest.raises(Exception, match="negative"):
        model.predict(FRAME * -1)
    assert log.calls[1]["status"] != "ok"
    assert "prediction" not in log.calls[1]


def test_a_packaged_model_logs_wherever_it_is_loaded(
    saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import homeostat

    monkeypatch.setenv("HOMEOSTAT_BROKER", "127.0.0.1:1")
    wrapper = LoggingModel(model="m", version="2", threshold=5.0, output="probability")
    path = str(tmp_path / "packaged")
    mlflow.pyfunc.save_model(
        path, python_model=wrapper, artifacts={"model": saved}, pip_requirements=["mlflow"]
    )
    loaded = mlflow.pyfunc.load_model(path)
    np.testing.assert_array_equal(loaded.predict(FRAME), [4, 6])
    assert homeostat.stats().logged == 2
    homeostat.close(timeout_s=0)


@pytest.mark.parametrize(
    ("options", "given", "output", "expected"),
    [
        ({}, FRAME, pd.Series([0, 1]), {"prediction": [0, 1]}),
        ({}, FRAME, [["a"], ["b"]], {"prediction": ["a", "b"]}),
        (
            {"output": "probability"},
            {"x": [1, 2]},
            np.array([0.2, 0.7]),
            {"prediction": [0, 1], "score": [0.2, 0.7]},
        ),
        (
            {"output": "probability", "threshold": 0.1},
            [{"x": 1}, {"x": 2}],
            np.array([[0.8, 0.2], [0.95, 0.05]]),
            {"prediction": [1, 0], "score": [0.2, 0.05]},
        ),
        (
            {"output": "probability"},
            np.ones((1, 2)),
            np.array([[0.2, 0.5, 0.3]]),
            {"prediction": [1], "score": [0.5], "scores": [[0.2, 0.5, 0.3]]},
        ),
        (
            {"prediction_column": "label", "score_column": "p"},
            FRAME,
            pd.DataFrame({"label": [1, 0], "p": [0.9, 0.2]}),
            {"prediction": [1, 0], "score": [0.9, 0.2]},
        ),
    ],
)
def test_outputs_in_every_shape(options: Any, given: Any, output: Any, expected: dict[str, Any]) -> None:
    log = Logged()
    calls = Calls(model="m", version="1", log=log, **options)
    assert calls.call(lambda: output, given) is output
    found = {
        name: np.asarray(log.calls[0][name]).tolist()
        for name in ("prediction", "score", "scores")
        if name in log.calls[0]
    }
    assert found == expected
    client = Client()
    client.open("127.0.0.1:1", exit_timeout_s=0)
    client.log("m", **log.calls[0])
    assert client.stats().rejected == 0
    client.close(timeout_s=0)


def test_a_column_may_name_the_events() -> None:
    log = Logged()
    calls = Calls(model="m", version="1", id_column="y", log=log)
    calls.call(lambda: np.array([1, 0]), FRAME)
    assert list(log.calls[0]["id"]) == [3.0, 4.0]
    assert list(log.calls[0]["features"]) == ["x"]


def test_what_cannot_be_logged_is_told_once_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    log = Logged()
    calls = Calls(model="m", version="1", log=log)
    for _ in range(3):
        assert calls.call(lambda: [1], FRAME) == [1]
        assert calls.call(lambda: 5, object()) == 5
    assert log.calls == []
    assert sum("1 outputs for 2 rows" in message for message in caplog.messages) == 1


def test_an_input_may_be_changed_by_the_model() -> None:
    log = Logged()
    frame = FRAME.copy()

    def predict() -> Any:
        frame["x"] = -1.0
        return [0, 1]

    Calls(model="m", version="1", log=log).call(predict, frame)
    assert list(log.calls[0]["features"]["x"]) == [1, 2]
