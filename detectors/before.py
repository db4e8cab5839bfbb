"""What every window asks of the columns of a reference, worked out once."""

from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Floats, Integers
from detectors.reference import MASS_SHARE, FeatureReference, Reference

DISCRETE_SHARE: Final = 0.9
"""Where point masses hold this share of a column it is discrete: a mass that grows is drift, not damage."""
_MEMO_SIZE: Final = 256


class Before(NamedTuple):
    """One column of the reference: counts by bin or category, `present` rows with a value, and the places of the values
    that are tested as point masses with their shares."""

    part: FeatureReference
    counts: Integers
    present: int
    masses: Integers
    shares: Floats

    @classmethod
    def of(cls, part: FeatureReference) -> "Before":
        """Of one column."""
        if part.spec.kind == "categorical":
            counts = np.array([*(count for _, count in part.categories), part.other], dtype=np.int64)
            return cls(part, counts, part.present, np.zeros(0, dtype=np.int64), np.zeros(0))
        masses, present = np.array(point_masses(part), dtype=np.int64), part.present
        shares = np.array([part.top[i][1] for i in masses], dtype=np.float64) / max(present, 1)
        return cls(part, np.array(part.counts, dtype=np.int64), present, masses, shares)


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
        found = _memo[reference.revision] = {part.spec.name: Before.of(part) for part in reference.features}
    return found
