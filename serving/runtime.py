"""An ONNX model in memory."""

import json
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnxruntime
import pandas as pd
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from serving.model_errors import ModelInvalid

FEATURES_KEY = "homeostat.features"
"""Metadata of the ONNX file: the names of its columns in order, as a JSON array."""


class OnnxModel:
    """One model on one thread. Takes float32 [n, k] as `features` (NaN = missing), gives `probabilities` [n,
    2].

    Raises `ModelInvalid` when `onnx` is no such model.
    """

    def __init__(self, onnx: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                onnx, options, providers=["CPUExecutionProvider"]
            )
        # ONNX Runtime's exceptions share no base class but this one.
        except Exception as error:
            raise ModelInvalid(f"ONNX Runtime cannot load these {len(onnx)} bytes: {error}") from error
        self.features = self._names()

    def score(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probability of class 1, [n], for the rows of `matrix` [n, k]; columns in the order of
        `features`."""
        if matrix.ndim != 2 or matrix.shape[1] != len(self.features):
            raise ModelInvalid(f"matrix of shape {matrix.shape}; this model takes [n, {len(self.features)}]")
        try:
            (probabilities,) = self._session.run(["probabilities"], {"features": matrix})
        except InvalidArgument as error:
            raise ModelInvalid(f"the model cannot answer float32 rows: {error}") from error
        if not isinstance(probabilities, np.ndarray):
            raise ModelInvalid(
                f"the model gives a {type(probabilities).__name__} as 'probabilities'; it needs an array [n, 2] (with "
                "sklearn-onnx: options={'zipmap': False})"
            )
        if probabilities.shape != (len(matrix), 2):
            raise ModelInvalid(
                f"the model gives 'probabilities' of shape {probabilities.shape} for {len(matrix)} rows; it needs "
                "[n, 2]: of class 0 and of class 1"
            )
        return probabilities[:, 1].astype(np.float64)

    def _names(self) -> tuple[str, ...]:
        inputs = [each.name for each in self._session.get_inputs()]
        outputs = [each.name for each in self._session.get_outputs()]
        if inputs != ["features"] or "probabilities" not in outputs:
            raise ModelInvalid(
                f"the model has inputs {inputs} and outputs {outputs}; "
                "it needs one input 'features' and an output 'probabilities'"
            )
        text = self._session.get_modelmeta().custom_metadata_map.get(FEATURES_KEY)
        if text is None:
            raise ModelInvalid(
                f"the model's metadata lack {FEATURES_KEY!r}: the JSON array of its columns' names"
            )
        names = _parsed(text)
        width = self._session.get_inputs()[0].shape[1]
        if width != len(names):
            raise ModelInvalid(f"the model takes {width} columns, its metadata name {len(names)}")
        return names


def _parsed(text: str) -> tuple[str, ...]:
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, list):
        names = cast("list[object]", found)
        if names and all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names):
            return tuple(map(str, names))
    raise ModelInvalid(
        f"the model's {FEATURES_KEY!r} is {text[:200]!r}; it must be the JSON array of its columns' names, each once"
    )


class OnnxScorer:
    """Runs a model that is not loaded anywhere (fulfils `remediation.ports.Scorer`)."""

    def score(self, onnx: bytes, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """P(class 1) per row; columns by name in any order, more than needed are ignored, NaN = missing.

        Raises `ModelInvalid` when a column is not there.
        """
        model = OnnxModel(onnx)
        absent = [name for name in model.features if name not in features.columns]
        if absent:
            raise ModelInvalid(f"columns {absent} are missing; the rows have {list(features.columns)}")
        return model.score(features[list(model.features)].to_numpy(dtype=np.float32))
