"""Where each count of a profile stands in its vectors, derived from the reference alone."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from detectors.columns import SCORE_BINS, SKETCH_CELLS, Floats, Singles
from detectors.errors import ReferenceInvalid
from detectors.kernels import NumericTables
from detectors.kernels_rows import MANTISSA_BITS, REGISTER_BITS, WAVE_UNIT, Places
from detectors.outcome_counts import usable_scale
from detectors.outcome_slots import BinarySlots, MulticlassSlots, OutcomeSlots, RegressionSlots
from detectors.reference import FeatureReference, Reference
from detectors.tables import WAVES, numeric_tables, wave_weights

CROSS_COLUMNS: Final = 64
"""Most numeric columns whose products are counted pair by pair."""
OCTAVES: Final = 32
"""Octaves of magnitude that logarithmic buckets tell apart, on both sides of zero."""
BUCKETS: Final = OCTAVES * 2**MANTISSA_BITS
HEADROOM: Final = 4
"""Octaves above that of the reference's greatest magnitude that are still told apart."""
LATENCY_FIRST_OCTAVE: Final = -4
LATENCY_PER_OCTAVE: Final = 8
LATENCY_BUCKETS: Final = 24 * LATENCY_PER_OCTAVE
"""Latencies from a sixteenth of a millisecond to 17 minutes, in eighths of an octave; what is beyond counts in the
outer ones. Where no event tells one they are a run of zeros: two bytes of a packed profile."""
REGISTERS: Final = 2**REGISTER_BITS

_MEMO_SIZE = 256
_LARGEST = np.finfo(np.float32).max
_EXPONENT_BIAS = 127


@dataclass(frozen=True)
class NumericSlots:
    """Slots of a numeric column, with what is needed to fill them.

    `moments`: sums of u and u^2 of the standardised value u, each as whole parts and as 2^-30ths, so that
    the sums are integers and the order of the rows does not show. `buckets`: counts by logarithmic bucket,
    the middle one around zero; `bucket_first`: bits of the magnitude where the first one begins, less the
    lower mantissa. `registers`: of the distinct count, in the profile's second vector.
    """

    name: str
    bins: slice
    missing: int
    below: int
    above: int
    exact: slice
    moments: slice
    buckets: slice
    registers: slice
    edges: Singles
    minimum: np.float32
    maximum: np.float32
    values: Singles
    center: float
    scale: float
    bucket_first: int
    bucket_count: int = BUCKETS


@dataclass(frozen=True)
class CategoricalSlots:
    """Slots of a categorical column: the reference's categories, all others together, and missing."""

    name: str
    categories: slice
    other: int
    missing: int
    registers: slice
    index: dict[str, int]


@dataclass(frozen=True)
class EmbeddingSlots:
    """Slots of the random features of a column of vectors; its norm is a numeric column of the same name."""

    name: str
    size: int
    waves: slice
    centers: Floats
    per_scales: Floats

    @cached_property
    def weights(self) -> Singles:
        """Weights of the projections."""
        return wave_weights([f"{self.name}[{place}]" for place in range(self.size)])


@dataclass
class Layout:
    """The slots of a profile. Without a reference there are no columns, only what the model said, and its task
    is taken for binary."""

    reference: Reference | None = None
    size: int = 0
    registers: int = 0
    numeric: list[NumericSlots] = field(default_factory=list[NumericSlots])
    categorical: list[CategoricalSlots] = field(default_factory=list[CategoricalSlots])
    embeddings: list[EmbeddingSlots] = field(default_factory=list[EmbeddingSlots])
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.rows = self._one()
        self.unknown = self._one()
        self.predicted = self._one()
        self.scores = self._many(SCORE_BINS)
        self.repeats = self._many(SKETCH_CELLS)
        self.outcomes: OutcomeSlots = self._outcomes()
        self.label_repeats = self._many(SKETCH_CELLS)
        self.latencies = self._many(LATENCY_BUCKETS)
        self.statuses = self._many(2)
        self.cross = self._many(0)
        self.cross_sums = self._many(0)
        self.waves = self._many(0)
        self._places: dict[tuple[str, ...], tuple[Places, int]] = {}

    def _outcomes(self) -> OutcomeSlots:
        if self.reference is None or self.reference.task == "binary":
            return BinarySlots.of(self._many)
        if self.reference.task == "multiclass":
            return MulticlassSlots.of(self.reference, self._many)
        return RegressionSlots.of(self.reference, self._many)

    @cached_property
    def known(self) -> frozenset[str]:
        """The names of the columns."""
        return frozenset(self.names)

    @cached_property
    def numeric_names(self) -> tuple[str, ...]:
        """The names of the numeric columns, in order."""
        return tuple(slots.name for slots in self.numeric)

    def places_in(self, names: tuple[str, ...]) -> tuple[Places, int]:
        """Where each numeric column is among these names (-1: nowhere), and how many of the names are not known."""
        found = self._places.get(names)
        if found is None:
            if len(self._places) >= _MEMO_SIZE:
                self._places.clear()
            index = {name: place for place, name in enumerate(names)}
            places = np.array([index.get(name, -1) for name in self.numeric_names], dtype=np.int32)
            found = self._places[names] = places, len(index.keys() - self.known)
        return found

    @cached_property
    def tables(self) -> NumericTables:
        """What the kernel needs to fill the slots of the numeric columns."""
        crossed = len(range(self.size)[self.cross]) > 0
        cross, sums = (self.cross.start, self.cross_sums.start) if crossed else (-1, -1)
        return numeric_tables(self.numeric, cross, sums, self.waves.start)

    @cached_property
    def binary_outcomes(self) -> tuple[int, int, int, int] | None:
        """Where the outcomes of a binary task are counted: confusion, scores of both classes, cells."""
        slots = self.outcomes
        if not isinstance(slots, BinarySlots):
            return None
        places = slots.confusion, slots.positive_scores, slots.negative_scores, self.label_repeats
        return places[0].start, places[1].start, places[2].start, places[3].start

    @cached_property
    def texts(self) -> dict[str, frozenset[int]]:
        """The vocabulary of each column of free text."""
        features = self.reference.features if self.reference is not None else ()
        return {part.spec.name: frozenset(part.words) for part in features if part.spec.text}

    @cached_property
    def sampled(self) -> tuple[str, ...]:
        """The columns of which rows are drawn: the numeric ones, where the reference asks for a sample."""
        if self.reference is None or not self.reference.sample:
            return ()
        vectors = {slots.name for slots in self.embeddings}
        return tuple(name for name in self.numeric_names if name not in vectors)

    @cached_property
    def by_name(self) -> dict[str, NumericSlots | CategoricalSlots]:
        """The slots of columns that hold one number or category a row."""
        return {slots.name: slots for slots in (*self.numeric, *self.categorical)}

    @property
    def only_numbers(self) -> bool:
        """Whether there are columns, and all of them hold single numbers."""
        return bool(self.numeric) and not (self.categorical or self.embeddings)

    def _one(self) -> int:
        self.size += 1
        return self.size - 1

    def _many(self, count: int) -> slice:
        self.size += count
        return slice(self.size - count, self.size)

    def _registers(self) -> slice:
        self.registers += REGISTERS
        return slice(self.registers - REGISTERS, self.registers)

    def add(self, feature: FeatureReference) -> None:
        """Room for one more column."""
        name = feature.spec.name
        if feature.spec.kind == "categorical":
            index = {category: i for i, (category, _) in enumerate(feature.categories)}
            room = self._many(len(index))
            self.categorical.append(
                CategoricalSlots(name, room, self._one(), self._one(), self._registers(), index)
            )
            return
        if feature.spec.kind == "embedding":
            self._add_embedding(feature)
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
                buckets=self._many(2 * BUCKETS + 1),
                registers=self._registers(),
                edges=np.array(feature.edges, dtype=np.float32),
                minimum=np.float32(-_LARGEST if feature.minimum is None else feature.minimum),
                maximum=np.float32(_LARGEST if feature.maximum is None else feature.maximum),
                values=np.array([value for value, _ in feature.top], dtype=np.float32),
                center=center,
                scale=usable_scale(center, math.sqrt(feature.variance or 0.0)),
                bucket_first=_first_bucket(feature),
            )
        )

    def _add_embedding(self, feature: FeatureReference) -> None:
        scales = [usable_scale(*pair) for pair in zip(feature.centers, feature.deviations, strict=True)]
        self.embeddings.append(
            EmbeddingSlots(
                name=feature.spec.name,
                size=len(feature.centers),
                waves=self._many(WAVES),
                centers=np.array(feature.centers, dtype=np.float64),
                per_scales=WAVE_UNIT / np.array(scales, dtype=np.float64),
            )
        )

    def close(self) -> None:
        """Room for what is counted across the numeric columns, once they are all there."""
        count = len(self.numeric)
        if not count:
            return
        if count <= CROSS_COLUMNS:
            self.cross = self._many(count * (count + 1) // 2)
            self.cross_sums = self._many(count)
        self.waves = self._many(WAVES)


def _first_bucket(feature: FeatureReference) -> int:
    """Buckets end `HEADROOM` octaves above the greatest magnitude of the reference, and begin `OCTAVES` lower."""
    greatest = max(abs(feature.minimum or 0.0), abs(feature.maximum or 0.0)) or 1.0
    octave = math.frexp(greatest)[1] - 1 + _EXPONENT_BIAS
    lowest = octave + 1 + HEADROOM - OCTAVES
    return (min(max(lowest, 1), 255 - OCTAVES) << MANTISSA_BITS) - 1


_memo: dict[str, Layout] = {}


def layout_of(reference: Reference | None) -> Layout:
    """The layout of a reference; the last ones are remembered by the reference's revision. Parts and mixtures of a
    reference, which have its revision and more behind a hyphen, are counted alike."""
    if reference is not None and not reference.revision:
        raise ReferenceInvalid(
            f"reference of {reference.model!r} has no revision; make references with build_reference"
        )
    key = "" if reference is None else reference.revision.partition("-")[0]
    found = _memo.get(key)
    if found is None:
        found = Layout(
            reference, names=tuple(part.spec.name for part in reference.features) if reference else ()
        )
        for part in reference.features if reference else ():
            found.add(part)
        found.close()
        if len(_memo) >= _MEMO_SIZE:
            _memo.pop(next(iter(_memo)))
        _memo[key] = found
    return found
