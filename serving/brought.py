"""A model that was trained elsewhere, checked as far as it can be before it is registered."""

import numpy as np

from detectors.reference_values import Reference
from remediation.training_values import TrainedModel
from serving.model_errors import ModelInvalid
from serving.runtime import OnnxModel


def brought(model: str, onnx: bytes, reference: Reference, *, algorithm: str) -> TrainedModel:
    """The model as a training here would have made it: it loads, answers a row without values, and its reference knows
    each of its features. Raises `ModelInvalid`.

    algorithm: what it is, for people. How good it was is not known; its reference says over how many rows.
    """
    session = OnnxModel(onnx)
    session.score(np.full((1, len(session.features)), np.nan, dtype=np.float32))
    known = [column.spec.name for column in reference.features]
    lacking = [name for name in session.features if name not in known]
    if lacking:
        raise ModelInvalid(
            f"the model takes {', '.join(lacking)}, which the reference does not have; it has {', '.join(known)}"
        )
    return TrainedModel(
        model=model,
        algorithm=algorithm,
        onnx=onnx,
        features=session.features,
        metrics={},
        candidates={},
        reference=reference,
        rows=reference.rows,
    )
