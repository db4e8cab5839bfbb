"""ONNX models in memory."""

import numpy as np
import pandas as pd
import pytest

from serving.model_errors import ModelInvalid
from serving.runtime import OnnxModel, OnnxScorer

from .conftest import trained


def test_columns_are_taken_by_name() -> None:
    onnx = trained("m").onnx
    frame = pd.DataFrame({"a": [0.0, np.nan], "more": [1.0, 1.0], "b": [3.0, -2.0]})
    scores = OnnxScorer().score(onnx, frame)
    assert scores.dtype == np.float64
    assert scores[0] > 0.9 > 0.1 > scores[1]
    matrix = np.array([[3.0, 0.0], [-2.0, np.nan]], dtype=np.float32)
    assert OnnxModel(onnx).score(matrix).tolist() == scores.tolist()


def test_what_does_not_fit_is_named() -> None:
    onnx = trained("m").onnx
    with pytest.raises(ModelInvalid, match=r"columns \['b'\] are missing; the rows have \['a'\]"):
        OnnxScorer().score(onnx, pd.DataFrame({"a": [1.0]}))
    with pytest.raises(ModelInvalid, match=r"shape \(1, 3\); this model takes \[n, 2\]"):
        OnnxModel(onnx).score(np.zeros((1, 3), dtype=np.float32))
    with pytest.raises(ModelInvalid, match="ONNX Runtime cannot load these 4 bytes"):
        OnnxModel(b"none")
