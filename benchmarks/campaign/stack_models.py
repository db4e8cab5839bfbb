"""Versions of the campaign as artifacts that a real registry keeps and a real inference server runs."""

import json
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.campaign.learning import evaluation
from benchmarks.campaign.population import FEATURES, OLD, USUAL, Behaviour
from benchmarks.campaign.world import FAILS
from detectors.reference import build_reference
from detectors.values import FeatureSpec
from remediation.training_values import TrainedModel
from serving.runtime import FEATURES_KEY

_OPSET, _IR = 18, 9
_AGE = FEATURES.index("age")


def trained(
    model: str, names: tuple[str, ...], runs: Behaviour, intended: Behaviour, seed: int
) -> TrainedModel:
    """A version that runs as `runs`, with the reference of what was evaluated before its release. `names`: what the
    model calls `FEATURES`."""
    rng = np.random.default_rng(seed)
    features, labels = evaluation(intended, rng)
    scores = np.where(rng.random(len(labels)) < FAILS, np.nan, intended.score(features))
    right = float(np.mean((intended.score(features) >= 0.5) == labels))
    reference = build_reference(
        model,
        "",
        {name: features[known] for name, known in zip(names, FEATURES, strict=True)},
        specs(names),
        scores=scores,
        labels=labels,
    )
    return TrainedModel(
        model=model,
        algorithm="logistic regression",
        onnx=onnx_of(runs, names),
        features=names,
        metrics={"accuracy": right},
        candidates={},
        reference=reference,
        rows=len(labels),
    )


def specs(names: tuple[str, ...]) -> tuple[FeatureSpec, ...]:
    """The features as a monitor names them."""
    return tuple(FeatureSpec(name=name) for name in names)


def onnx_of(behaviour: Behaviour, names: tuple[str, ...]) -> bytes:
    """`Behaviour.score` as a graph of ONNX."""
    means, spreads = np.array(list(USUAL.values())).T
    reads = [behaviour.reads.get(name, 1.0) for name in FEATURES]
    constants = {
        "reads": reads,
        "means": means,
        "spreads": spreads,
        "zero": 0.0,
        "one": 1.0,
        "low": -8.0,
        "high": 8.0,
        "old": OLD,
        "weights": np.array(behaviour.weights).reshape(-1, 1),
        "offset": behaviour.offset,
    }
    node: Any = helper.make_node
    nodes = [
        node("Mul", ["features", "reads"], ["read"]),
        node("Sub", ["read", "means"], ["centred"]),
        node("Div", ["centred", "spreads"], ["scaled"]),
        node("IsNaN", ["scaled"], ["missing"]),
        node("Where", ["missing", "zero", "scaled"], ["there"]),
        node("Clip", ["there", "low", "high"], ["clipped"]),
        node("Gather", ["clipped", "age_place"], ["age"], axis=1),
        node("Sub", ["age", "old"], ["beyond"]),
        node("Relu", ["beyond"], ["is_old"]),
        node("Concat", ["clipped", "is_old"], ["basis"], axis=1),
        node("MatMul", ["basis", "weights"], ["weighed"]),
        node("Add", ["weighed", "offset"], ["logit"]),
        node("Sigmoid", ["logit"], ["positive"]),
        node("Sub", ["one", "positive"], ["negative"]),
        node("Concat", ["negative", "positive"], ["probabilities"], axis=1),
    ]
    tensors = [
        numpy_helper.from_array(np.asarray(value, dtype=np.float32), name)
        for name, value in constants.items()
    ]
    tensors.append(numpy_helper.from_array(np.array([_AGE], dtype=np.int64), "age_place"))
    graph = helper.make_graph(
        nodes,
        "campaign",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(names)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        tensors,
    )
    made: Any = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    made.metadata_props.add(key=FEATURES_KEY, value=json.dumps(names))
    return bytes(made.SerializeToString())
