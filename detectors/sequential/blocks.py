"""The reference cut into short blocks of rows, each as the sums of its scores: what order and chance do to them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Block, Column, Floats, Integers, numeric_matrix
from detectors.layout import Layout, layout_of
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.sequential.plan import TrackPlan

LEAST_BLOCK: Final = 10
MOST_BLOCKS: Final = 1_000


@dataclass(frozen=True)
class Rows:
    """The rows of a reference, in order. features: name -> n values; of the others n values, or None.
    phases: the stratum of each row. segments: by column of segments n texts, None where a row is in none."""

    features: Mapping[str, Column]
    predictions: Column | None = None
    scores: Column | None = None
    labels: Column | None = None
    phases: Integers | None = None
    segments: Mapping[str, Sequence[str | None]] = field(default_factory=dict[str, Sequence[str | None]])

    def __len__(self) -> int:
        return len(next(iter(self.features.values()))) if self.features else 0

    def part(self, places: slice | Integers) -> "Rows":
        """Some of the rows, without their segments."""
        rest = (self.predictions, self.scores, self.labels, self.phases)
        predictions, scores, labels, phases = [None if one is None else one[places] for one in rest]
        block = self.features
        if isinstance(block, Block) and isinstance(places, slice):
            first, end, _ = places.indices(len(self))
            features = block.part(first, end)
        else:
            features = {name: column[places] for name, column in self.features.items()}
        return Rows(features, predictions, scores, labels, phases)

    def side_by_side(self, layout: Layout) -> "Rows":
        """The same, the columns in one matrix where they are nothing but numbers: short parts are then counted fast."""
        if not layout.only_numbers or set(self.features) != set(layout.numeric_names):
            return self
        matrix = numeric_matrix(self.features, layout.numeric_names, len(self))
        return replace(self, features=Block(layout.numeric_names, matrix, 0, len(self)))

    def unlabelled(self) -> "Rows":
        """The same without labels."""
        return replace(self, labels=None)

    def as_one(self) -> "Rows":
        """The same without phases."""
        return replace(self, phases=None)

    def profile(self, reference: Reference) -> Profile:
        """Counted against the reference, labels too."""
        found = Profile.empty(reference)
        said, scores = self.predictions, self.scores
        if said is None and scores is not None and reference.task == "binary":
            said = (np.asarray(scores, dtype=np.float64) >= reference.threshold).astype(np.float64)
        cells = found.fold(self.features, said, scores)
        if said is not None and self.labels is not None:
            found.fold_outcomes(said, scores, self.labels, cells)
        return found


def block_size(rows: int) -> int:
    """Rows of a block: few, so that dependence between neighbours shows; there are at most about 1,000 blocks."""
    return max(LEAST_BLOCK, -(-rows // MOST_BLOCKS))


class BlockSums(NamedTuple):
    """Of one kind: sums of the scores, shape (blocks, strata, scores), and rows, shape (blocks, strata, groups)."""

    sums: Floats
    rows: Floats

    def joined(self, blocks: int) -> "BlockSums":
        """So many neighbours as one."""
        whole = len(self.sums) // blocks * blocks
        return BlockSums(
            *(one[:whole].reshape(-1, blocks, *one.shape[1:]).sum(axis=1) for one in (self.sums, self.rows))
        )


def block_sums(reference: Reference, rows: Rows, size: int, tracks: Sequence[TrackPlan]) -> list[BlockSums]:
    """The sums of the tracks' scores in each block; rows at the end that fill no block are left out."""
    blocks, rows = len(rows) // size, rows.side_by_side(layout_of(reference))
    found = [
        BlockSums(np.zeros((blocks, *one.base_sums.shape)), np.zeros((blocks, *one.base_rows.shape)))
        for one in tracks
    ]
    for i in range(blocks):
        for phase, part in _by_phase(rows.part(slice(i * size, (i + 1) * size))):
            counters = part.profile(reference).counters
            for track, (sums, counts) in zip(tracks, found, strict=True):
                sums[i, phase], counts[i, phase] = track.of_window(counters)
    return found


def _by_phase(rows: Rows) -> Iterator[tuple[int, Rows]]:
    if rows.phases is None:
        yield 0, rows
        return
    for phase in np.unique(rows.phases):
        yield int(phase), rows.part(np.flatnonzero(rows.phases == phase))
