"""People who ask for a loan: what they are like, what becomes of them, and what a model says of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from detectors.values import FeatureSpec

Floats = npt.NDArray[np.float64]

FEATURES = ("income", "debt", "age", "tenure")
SPECS = tuple(FeatureSpec(name=name) for name in FEATURES)
USUAL: Mapping[str, tuple[float, float]] = {
    "income": (3_400.0, 1_800.0),
    "debt": (1_000.0, 700.0),
    "age": (45.0, 12.0),
    "tenure": (5.0, 5.0),
}
"""Mean and standard deviation by which a feature is standardised."""
OLD = 1.2
"""Standard deviations of age beyond which another law holds: few people, until the population moves there."""

TRUTH = (2.4, -2.0, 1.1, 0.8, -4.5)
"""Weights of the standardised features and of being old; a model is five such weights, too."""


@dataclass(frozen=True)
class People:
    """What they are like: by how many standard deviations features are moved, and weights of the world's law."""

    moved: Mapping[str, float] = field(default_factory=dict[str, float])
    law: tuple[float, ...] = TRUTH
    offset: float = 0.0

    def draw(self, rng: np.random.Generator, rows: int) -> dict[str, Floats]:
        """So many people, by feature."""
        drawn = {
            "income": rng.lognormal(8.0, 0.5, rows),
            "debt": rng.gamma(2.0, 500.0, rows),
            "age": rng.normal(45.0, 12.0, rows),
            "tenure": rng.exponential(5.0, rows),
        }
        return {name: values + self.moved.get(name, 0.0) * USUAL[name][1] for name, values in drawn.items()}

    def outcomes(self, rng: np.random.Generator, features: Mapping[str, Floats]) -> Floats:
        """Who pays back (1) and who does not (0)."""
        chance = probability(basis(features) @ np.array(self.law) + self.offset)
        return (rng.random(len(chance)) < chance).astype(np.float64)


def basis(features: Mapping[str, Floats]) -> Floats:
    """What the law and every model weigh, shape (rows, 5); a missing value is an average one."""
    scaled = [(features[name] - mean) / spread for name, (mean, spread) in USUAL.items()]
    columns = [np.clip(np.where(np.isfinite(one), one, 0.0), -8.0, 8.0) for one in scaled]
    return np.column_stack([*columns, np.maximum(columns[2] - OLD, 0.0)])


def probability(logits: Floats) -> Floats:
    """The logistic function."""
    return 1 / (1 + np.exp(-np.clip(logits, -30.0, 30.0)))


@dataclass(frozen=True)
class Behaviour:
    """A version as it runs: its weights, and by which factor it is slower and how often it fails."""

    weights: tuple[float, ...]
    offset: float = 0.0
    slower: float = 1.0
    fails: float = 0.0
    reads: Mapping[str, float] = field(default_factory=dict[str, float])
    """Factors by which this version reads features wrongly: a fault of its own code, which it logs, too."""

    def score(self, features: Mapping[str, Floats]) -> Floats:
        """P(1) by row."""
        return probability(basis(features) @ np.array(self.weights) + self.offset)

    def artifact(self) -> str:
        """The model as text, from which `of_artifact` makes it again."""
        return json.dumps({"weights": self.weights, "offset": self.offset}, sort_keys=True)


def of_artifact(artifact: bytes) -> Behaviour:
    """See `Behaviour.artifact`; what follows a line break only makes the bytes differ."""
    found = json.loads(artifact.decode().split("\n")[0])
    return Behaviour(weights=tuple(found["weights"]), offset=found["offset"])
