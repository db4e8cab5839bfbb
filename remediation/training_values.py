"""What a training takes and what it makes."""

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detectors.reference_values import Reference

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """Labelled rows. `features`: one column per feature (NaN = missing); `labels`: 0/1; `groups`: rows with
    the same value describe the same person or thing and never stand on both sides of a split; `weights`: rows
    per line; `segments`: one column of texts per column of segments, None where a line is in none: the reference keeps
    what is usual of each.

    `reference_rows` (bool per line) restricts the reference profile to the lines of the world as it is now;
    None: all lines. `held_out` are lines that must never be fitted on, but belong to that world: the
    reference (features, and the scores of the finished model) describes them too.
    """

    model: str
    features: "pd.DataFrame"
    labels: "pd.Series"
    groups: "pd.Series"
    weights: "pd.Series | None" = None
    segments: "pd.DataFrame | None" = None
    reference_rows: "pd.Series | None" = None
    held_out: "TrainingSet | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """What a training run made: the ONNX model, how good it was by cross-validation, and its reference
    profile."""

    model: str
    algorithm: str
    onnx: bytes
    features: tuple[str, ...]
    metrics: dict[str, float]
    candidates: dict[str, float]
    reference: Reference
    rows: int
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """`sha256:` and the hex digest of the ONNX bytes: the identity that serving acknowledges."""
        return "sha256:" + hashlib.sha256(self.onnx).hexdigest()
