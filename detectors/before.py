"""What every window asks of the columns of a reference, worked out once."""

from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Floats, Integers
from detectors.distances import Grouped
from detectors.reference import MASS_SHARE, FeatureReference, Reference

DISCRETE_SHARE: Final = 0.9
"""Where point masses hold this share of a column it is discrete: a mass that grows is drift, not damage."""
_MEMO_SIZE: Final = 256


class Before(NamedTuple):
    """One column of the reference: counts by bin or category, `present` rows with a value, and the places of the values
    that are tested as point masses with their shares. `grouped`: the bins as a PSI joins them; `varied`: whether more
    than one of them holds anything."""

    part: FeatureReference
    counts: Integers
    present: int
    masses: Integers
    shares: Floats
    grouped: Grouped
    varied: bool

    @classmethod
    def of(cls, part: FeatureReference, worth: float) -> "Before":
        """Of one column. worth: independent rows per row of the reference."""
        ordered, present = part.spec.kind != "categorical", part.present
        if ordered:
            counts = np.array(part.counts, dtype=np.int64)
            masses = np.array(point_masses(part), dtype=np.int64)
        else:
            counts = np.array([*(count for _, count in part.categories), part.other], dtype=np.int64)
            masses = np.zeros(0, dtype=np.int64)
        shares = np.array([part.top[i][1] for i in masses], dtype=np.float64) / max(present, 1)
        grouped = Grouped.of((counts * worth).astype(np.float64), ordered=ordered)
        return cls(part, counts, present, masses, shares, grouped, int(np.count_nonzero(counts)) > 1)


def point_masses(part: FeatureReference) -> list[int]:
    """Which of the values counted exactly may be tested: in a discrete column only those that are new."""
    present = part.present
    known = sum(count for _, count in part.top if count >= MASS_SHARE * present)
    discrete = known >= DISCRETE_SHARE * present
    return [i for i, (_, count) in enumerate(part.top) if not discrete or count < MASS_SHARE * present]


_memo: dict[str, dict[str, Before]] = {}


def columns_of(reference: Reference) -> dict[str, Before]:
    """The columns of a reference by name; those of the last references are remembered."""
    found = _memo.get(reference.revision)
    if found is None:
        if len(_memo) >= _MEMO_SIZE:
            _memo.pop(next(iter(_memo)))
        worth = reference.effective_rows / reference.rows
        found = {part.spec.name: Before.of(part, worth) for part in reference.features}
        _memo[reference.revision] = found
    return found
