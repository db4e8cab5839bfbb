"""Logs what an MLflow model is asked and says, without touching the model's code.

In a process that loads the model:

    model = log_model_calls(mlflow.pyfunc.load_model(uri), model="churn", version="7")
    model.predict(frame)

Inside the model, so that every MLflow server of it logs (the packaged model needs `homeostat` installed, and
HOMEOSTAT_BROKER set):

    mlflow.pyfunc.save_model(path, python_model=LoggingModel(model="churn", version="7"), artifacts={"model": uri})
"""

import logging
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from mlflow.pyfunc import PyFuncModel, PythonModel, PythonModelContext, load_model  # pyright: ignore

import homeostat

logger = logging.getLogger("homeostat")

_MAX_TOLD_REASONS = 100
_told: set[str] = set()
_flushing: list[Any] = []

Output: TypeAlias = Literal["prediction", "probability"]


@dataclass(frozen=True, kw_only=True)
class Calls:
    """How calls of `predict` are logged.

    `output`: what the model returns: predictions, or probabilities (of class 1, one a row; or of each class, where the
    most probable is the prediction). A DataFrame may have both: `prediction_column`, `score_column`. `threshold`:
    from which probability of class 1 the prediction is 1. `id_column`: a column of the input that names the
    event, and is no feature; without it, ids are made up. `feature_names`: for inputs that are arrays.
    """

    model: str
    version: str
    output: Output = "prediction"
    threshold: float = 0.5
    id_column: str | None = None
    prediction_column: str | None = None
    score_column: str | None = None
    feature_names: Sequence[str] | None = None
    log: Callable[..., None] = homeostat.log

    def call(self, predict: Callable[[], Any], given: Any) -> Any:
        """What `predict` returns or raises, logged."""
        started_s = time.perf_counter()
        features = _read(lambda: _columns_of(given, self.feature_names))
        try:
            output = predict()
        except Exception as error:
            self._tell(features, started_s, type(error).__name__, None)
            raise
        self._tell(features, started_s, "ok", output)
        return output

    def _tell(self, features: Mapping[str, Any] | None, started_s: float, status: str, output: Any) -> None:
        latency_ms = (time.perf_counter() - started_s) * 1e3
        if features is not None:
            _read(lambda: self._log(dict(features), latency_ms, status, output))

    def _log(self, features: dict[str, Any], latency_ms: float, status: str, output: Any) -> None:
        ids = features.pop(self.id_column, None) if self.id_column else None
        rows = len(next(iter(features.values())))
        if ids is None:
            call = uuid.uuid4().hex
            ids = [f"{call}-{i}" for i in range(rows)]
        self.log(
            self.model,
            version=self.version,
            id=ids,
            features=features,
            latency_ms=[latency_ms] * rows,
            status=status,
            **({} if output is None else self._answers(output, rows)),
        )

    def _answers(self, output: Any, rows: int) -> dict[str, Any]:
        """Prediction, score and scores of a model's output of so many rows."""
        if hasattr(output, "columns"):
            prediction, score = self.prediction_column, self.score_column
            if prediction or score:
                found = {"prediction": output[prediction] if prediction else None}
                return found | ({"score": output[score]} if score else {})
        values = np.asarray(output)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if len(values) != rows:
            raise ValueError(f"{len(values)} outputs for {rows} rows")
        if self.output == "prediction":
            return {"prediction": values}
        if values.ndim == 1:
            return {"prediction": (values >= self.threshold).astype(np.float64), "score": values}
        if values.shape[1] == 2:
            return {"prediction": (values[:, 1] >= self.threshold).astype(np.float64), "score": values[:, 1]}
        best = values.argmax(axis=1)
        return {"prediction": best.astype(np.float64), "score": values.max(axis=1), "scores": values}


class LoggedModel:
    """A pyfunc model that logs its calls; all but `predict` is the model's own."""

    def __init__(self, wrapped: PyFuncModel, calls: Calls) -> None:
        self._wrapped = wrapped
        self._calls = calls

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """What the model says of the data."""
        return self._calls.call(lambda: self._wrapped.predict(data, params), data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


def log_model_calls(wrapped: PyFuncModel, *, model: str, version: str, **options: Any) -> LoggedModel:
    """The model, logging its calls; `options` are those of `Calls`."""
    return LoggedModel(wrapped, Calls(model=model, version=version, **options))


class LoggingModel(PythonModel):
    """An MLflow model around another one (its artifact `model`), that logs; `options` are those of `Calls`."""

    def __init__(self, *, model: str, version: str, **options: Any) -> None:
        # Checked where the model is made, built where it is loaded: a client is not for a pickle.
        Calls(model=model, version=version, **options)
        self._options: dict[str, Any] = {"model": model, "version": version, **options}

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model inside, and begin to send, unless the host does already, with settings of its own."""
        if not homeostat.is_open():
            homeostat.init()
        _flush_with_uvicorn()
        self._inner = log_model_calls(load_model(context.artifacts["model"]), **self._options)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> Any:
        """What the model inside says. MLflow warns of every other type hint, and of none; arrays do as well."""
        return self._inner.predict(model_input, params)


def _flush_with_uvicorn() -> None:
    """Where uvicorn serves, as in MLflow's servers, flush when it has answered its last request: it then ends by the
    signal that it was stopped with, and no exit handler runs."""
    server: Any = getattr(sys.modules.get("uvicorn.server"), "Server", None)
    shutdown = getattr(server, "shutdown", None)
    if shutdown is None or shutdown in _flushing:
        return

    @wraps(shutdown)
    async def flushing(*args: Any, **kwargs: Any) -> None:
        try:
            await shutdown(*args, **kwargs)
        finally:
            await homeostat.aflush(None)

    _flushing.append(flushing)
    server.shutdown = flushing


def _columns_of(given: Any, names: Sequence[str] | None) -> dict[str, Any]:
    """A model's input in columns; copies are made by `log`."""
    if hasattr(given, "columns"):
        return {str(name): given[name].to_numpy(copy=True) for name in given.columns}
    if isinstance(given, Mapping):
        columns: Mapping[str, Any] = given
        return {name: np.array(column, copy=True) for name, column in columns.items()}
    if isinstance(given, list) and given and isinstance(given[0], Mapping):
        rows: list[Mapping[str, Any]] = given
        return {
            name: [row.get(name) for row in rows] for name in dict.fromkeys(k for row in rows for k in row)
        }
    values = np.array(given, copy=True)
    table = values.reshape(len(values), -1) if values.ndim else values.reshape(1, 1)
    found = names or [f"x{i}" for i in range(table.shape[1])]
    return dict(zip(found, table.T, strict=True))


def _read(step: Callable[[], Any]) -> Any:
    """What the step returns; None, told to the log once, where it fails: nothing here may stop a prediction."""
    try:
        return step()
    except Exception as error:  # noqa: BLE001 - the border to the host: nothing may pass it
        reason = repr(error)
        if reason not in _told and len(_told) < _MAX_TOLD_REASONS:
            _told.add(reason)
            logger.warning("homeostat: a call of predict was not logged: %s (told once)", reason)
        return None
