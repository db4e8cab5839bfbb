"""ONNX models in memory."""

from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper

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


def _identity(kind: int = TensorProto.FLOAT, columns: int = 2, names: str = '["a", "b"]') -> bytes:
    """A model that says back what it is given."""
    ends: list[Any] = [
        helper.make_tensor_value_info(name, kind, [None, columns]) for name in ("features", "probabilities")
    ]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["features"], ["probabilities"])], "g", ends[:1], ends[1:]
    )
    return _finished(graph, names)


def _finished(graph: onnx.GraphProto, names: str) -> bytes:
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=9)
    helper.set_model_props(model, {"homeostat.features": names})
    return model.SerializeToString()


def _zipped() -> bytes:
    """As sklearn-onnx writes probabilities where nobody turns that off."""
    rows = helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 2])
    one = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    said = helper.make_value_info("probabilities", helper.make_sequence_type_proto(one))
    node = helper.make_node(
        "ZipMap", ["features"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]
    )
    return _finished(helper.make_graph([node], "g", [rows], [said]), '["a", "b"]')


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            _identity(kind=TensorProto.DOUBLE),
            "the model cannot answer float32 rows: .*Unexpected input data type",
        ),
        (_identity(columns=1, names='["a"]'), r"'probabilities' of shape \(1, 1\) for 1 rows; .* \[n, 2\]"),
        (_zipped(), r"a list as 'probabilities'.*zipmap"),
        (_identity(names="a,b"), "'homeostat.features' is 'a,b'; it must be the JSON array"),
        (_identity(names='"ab"'), "must be the JSON array"),
        (_identity(names='["a", "a"]'), "must be the JSON array"),
        (_identity(names="[1, 2]"), "must be the JSON array"),
    ],
)
def test_a_model_of_another_kind_is_told_what_it_lacks(content: bytes, told: str) -> None:
    def asked() -> None:
        model = OnnxModel(content)
        model.score(np.zeros((1, len(model.features)), dtype=np.float32))

    with pytest.raises(ModelInvalid, match=told):
        asked()
