"""Where each count of a profile stands in its one vector of integers, derived from the reference alone."""

import math
from dataclasses import dataclass, field

import numpy as np

from detectors.columns import SCORE_BINS, SKETCH_CELLS, Singles
from detectors.errors import ReferenceInvalid
from detectors.reference import FeatureReference, Reference

_MEMO_SIZE = 256


@dataclass(frozen=True)
class NumericSlots:
    """Slots of a numeric column, with what is needed to fill them.

    `moments`: sums of u and u^2 of the standardised value u, each as whole parts and as 2^-30ths, so that
    the sums are integers and the order of the rows does not show.
    """

    name: str
    bins: slice
    missing: int
    below: int
    above: int
    exact: slice
    moments: slice
    edges: Singles
    minimum: np.float32
    maximum: np.float32
    values: Singles
    center: float
    scale: float


@dataclass(frozen=True)
class CategoricalSlots:
    """Slots of a categorical column: the reference's categories, all others together, and missing."""

    name: str
    categories: slice
    other: int
    missing: int
    index: dict[str, int]


@dataclass
class Layout:
    """The slots of a profile. Without a reference there are no columns, only what the model said."""

    size: int = 0
    numeric: list[NumericSlots] = field(default_factory=list[NumericSlots])
    categorical: list[CategoricalSlots] = field(default_factory=list[CategoricalSlots])
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.rows = self._one()
        self.unknown = self._one()
        self.predicted = self._one()
        self.predicted_positive = self._one()
        self.scores = self._many(SCORE_BINS)
        self.repeats = self._many(SKETCH_CELLS)
        self.confusion = self._many(4)
        self.positive_scores = self._many(SCORE_BINS)
        self.negative_scores = self._many(SCORE_BINS)
        self.label_repeats = self._many(SKETCH_CELLS)

    def _one(self) -> int:
        self.size += 1
        return self.size - 1

    def _many(self, count: int) -> slice:
        self.size += count
        return slice(self.size - count, self.size)

    def add(self, feature: FeatureReference) -> None:
        """Room for one more column."""
        name = feature.spec.name
        if feature.spec.kind == "categorical":
            index = {category: i for i, (category, _) in enumerate(feature.categories)}
            room = self._many(len(index))
            self.categorical.append(CategoricalSlots(name, room, self._one(), self._one(), index))
            return
        deviation = math.sqrt(feature.variance or 0.0)
        center = feature.mean or 0.0
        self.numeric.append(
            NumericSlots(
                name=name,
                bins=self._many(len(feature.edges) + 1),
                missing=self._one(),
                below=self._one(),
                above=self._one(),
                exact=self._many(len(feature.top)),
                moments=self._many(4),
                edges=np.array(feature.edges, dtype=np.float32),
                minimum=np.float32(-np.inf if feature.minimum is None else feature.minimum),
                maximum=np.float32(np.inf if feature.maximum is None else feature.maximum),
                values=np.array([value for value, _ in feature.top], dtype=np.float32),
                center=center,
                scale=deviation if deviation > 1e-12 * max(abs(center), 1e-300) else max(abs(center), 1.0),
            )
        )


_memo: dict[str, Layout] = {}


def layout_of(reference: Reference | None) -> Layout:
    """The layout of a reference; the last ones are remembered by the reference's revision."""
    if reference is not None and not reference.revision:
        raise ReferenceInvalid(
            f"reference of {reference.model!r} has no revision; make references with build_reference"
        )
    key = "" if reference is None else reference.revision
    found = _memo.get(key)
    if found is None:
        found = Layout(names=tuple(part.spec.name for part in reference.features) if reference else ())
        for part in reference.features if reference else ():
            found.add(part)
        if len(_memo) >= _MEMO_SIZE:
            _memo.pop(next(iter(_memo)))
        _memo[key] = found
    return found
