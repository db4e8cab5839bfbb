"""The reference cut into short blocks of rows, each as the sums of its scores: what order and chance do to them."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Column, Floats, Integers
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.sequential.plan import Plan, TrackPlan

LEAST_BLOCK: Final = 10
MOST_BLOCKS: Final = 2_000


class Rows(NamedTuple):
    """The rows of a reference, in order. features: name -> n values; of the others n values, or None.
    phases: the stratum of each row."""

    features: Mapping[str, Column]
    predictions: Column | None = None
    scores: Column | None = None
    labels: Column | None = None
    phases: Integers | None = None

    def __len__(self) -> int:
        return len(next(iter(self.features.values()))) if self.features else 0

    def part(self, places: slice | Integers) -> "Rows":
        """Some of the rows."""
        cut = [None if one is None else one[places] for one in self[1:]]
        return Rows({name: column[places] for name, column in self.features.items()}, *cut)

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
    """Rows of a block: few, so that dependence between neighbours shows; there are at most about 2,000 blocks."""
    return max(LEAST_BLOCK, -(-rows // MOST_BLOCKS))


def block_counters(reference: Reference, rows: Rows, size: int, strata: int) -> Integers:
    """Counters of each block, shape (blocks, strata, counters); rows at the end that fill no block are left out."""
    blocks = len(rows) // size
    found = np.zeros((blocks, strata, Profile.empty(reference).layout.size), dtype=np.int64)
    for i in range(blocks):
        part = rows.part(slice(i * size, (i + 1) * size))
        if part.phases is None or strata == 1:
            found[i, 0] = part.profile(reference).counters
            continue
        for phase in np.unique(part.phases):
            inside = np.flatnonzero(part.phases == phase)
            found[i, phase] = part.part(inside).profile(reference).counters
    return found


class BlockSums(NamedTuple):
    """Of one kind: sums of the scores, shape (blocks, strata, scores), and rows, shape (blocks, strata, groups)."""

    sums: Floats
    rows: Floats

    @classmethod
    def of(cls, plan: TrackPlan, counters: Integers) -> "BlockSums":
        """From the counters of the blocks."""
        blocks, strata = counters.shape[:2]
        sums = np.empty((blocks, strata, len(plan.names)))
        rows = np.empty((blocks, strata, plan.base_rows.shape[1]))
        for i in range(blocks):
            for s in range(strata):
                sums[i, s], rows[i, s] = plan.of_window(counters[i, s])
        return cls(sums, rows)

    def joined(self, blocks: int) -> "BlockSums":
        """So many neighbours as one."""
        whole = len(self.sums) // blocks * blocks
        return BlockSums(
            *(one[:whole].reshape(-1, blocks, *one.shape[1:]).sum(axis=1) for one in (self.sums, self.rows))
        )


def sums_by_kind(plan: Plan, counters: Integers) -> list[BlockSums]:
    """The sums of all kinds of a plan."""
    return [BlockSums.of(track, counters) for track in plan.tracks]
