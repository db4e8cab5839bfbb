"""What the demo measures itself, from the answers that came back."""

from typing import Any

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from deploy.demo.traffic import Answer, World
from serving.runtime import OnnxScorer


def accuracy(answers: list[Answer]) -> float | None:
    """Share of right answers."""
    return float(np.mean([each.prediction == each.label for each in answers])) if answers else None


def balanced_accuracy_once_each(onnx: bytes, world: World) -> float:
    """Balanced accuracy on the subjects of a world, each counted once."""
    scores = OnnxScorer().score(onnx, world.features)
    return float(balanced_accuracy_score(world.labels, scores >= 0.5))


def seconds_between(earlier: Any, later: Any) -> float | None:
    """Between two RFC 3339 times of the API; None where one is missing."""
    from datetime import datetime

    if not earlier or not later:
        return None
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
