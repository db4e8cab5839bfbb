"""A fitted pipeline as ONNX: one input `features` [n, k] float32 (NaN = missing), outputs `label` [n] and
`probabilities` [n, 2]; imputation and scaling are inside."""

import json
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import onnxruntime
from lightgbm import LGBMClassifier
from numpy.typing import NDArray
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from skl2onnx.operator_converters.random_forest import convert_sklearn_random_forest_classifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline

from remediation.training.selection import THRESHOLD, probabilities
from remediation.training.validation import Matrix, TrainingError

OPSET = {"": 18, "ai.onnx.ml": 3}

FEATURES_KEY = "homeostat.features"
"""Metadata of the ONNX file: the names of its columns in order, as a JSON array. Serving reads it."""

PARITY_TOLERANCE = 1e-4
"""Largest difference of a probability: above float32's noise over 80 boosted trees (1e-5), below one tree
of 80 in a forest (1e-2)."""


class _Integers:
    """A converter's container that writes booleans as integers: ONNX knows no boolean attribute, and the
    converter of histogram boosting hands over NumPy's."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def add_node(self, *args: Any, **attributes: Any) -> Any:
        tracks = attributes.get("nodes_missing_value_tracks_true")
        if tracks is not None:
            attributes["nodes_missing_value_tracks_true"] = [int(track) for track in tracks]
        return self._container.add_node(*args, **attributes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)


def _convert_hist_gradient_boosting(scope: Any, operator: Any, container: Any) -> None:
    convert: Callable[..., None] = convert_sklearn_random_forest_classifier
    convert(scope, operator, _Integers(container))


def _register_converters() -> None:
    options = {"zipmap": [True, False, "columns"], "nocl": [True, False]}
    update_registered_converter(
        LGBMClassifier,
        "LightGbmLGBMClassifier",
        calculate_linear_classifier_output_shapes,
        convert_lightgbm,
        options=options,
    )
    update_registered_converter(
        HistGradientBoostingClassifier,
        "HomeostatHistGradientBoostingClassifier",
        calculate_linear_classifier_output_shapes,
        _convert_hist_gradient_boosting,
        options={**options, "raw_scores": [True, False], "output_class_labels": [False, True]},
    )


_register_converters()


def exported(pipeline: Pipeline, names: tuple[str, ...]) -> bytes:
    """The pipeline as ONNX bytes for the columns `names`, which its metadata tell in order.

    Raises `TrainingError` when it cannot be converted.
    """
    inputs: Any = [("features", FloatTensorType([None, len(names)]))]
    try:
        model = cast(
            Any,
            to_onnx(
                pipeline,
                initial_types=inputs,
                options={id(pipeline): {"zipmap": False}},
                target_opset=OPSET,
            ),
        )
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise TrainingError(f"the fitted model cannot be written as ONNX: {str(error)[:300]}") from error
    model.metadata_props.add(key=FEATURES_KEY, value=json.dumps(names))
    return bytes(model.SerializeToString())


def parity(onnx: bytes, pipeline: Pipeline, matrix: Matrix) -> float:
    """The largest difference [0, 1] between the probabilities of the ONNX model and of the fitted pipeline.

    Raises `TrainingError` when it is above `PARITY_TOLERANCE`, or when a row gets another label: then the
    model that would serve is not the one that was measured.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    (both,) = session.run(["probabilities"], {"features": matrix})
    scores = np.asarray(both, dtype=np.float64)[:, 1]
    return difference(scores, probabilities(pipeline, matrix))


def difference(scores: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """See `parity`."""
    largest = float(np.abs(scores - expected).max())
    flipped = int(((scores >= THRESHOLD) != (expected >= THRESHOLD)).sum())
    if not largest <= PARITY_TOLERANCE or flipped:
        raise TrainingError(
            f"the ONNX model differs from the fitted one: {flipped} of {len(scores)} labels, "
            f"probabilities by up to {largest:.2g} (allowed: none, {PARITY_TOLERANCE:g})"
        )
    return largest
