"""What a reference keeps of its rows to estimate, to explain and to doubt a window: numbers, not rows."""

from typing import Final

import msgspec
from msgspec.structs import replace

from detectors.attribution.values import Influence
from detectors.estimation.values import Estimator
from detectors.values import Value


class Learned(Value, frozen=True, kw_only=True):
    """Learned from the rows of a reference; see `detectors.learning.with_learned`.

    `estimator`: what an output was worth. `influence`: what each feature means to the model. `worth`: independent rows
    per row of each column, where that is less than 1; `runs`: of columns that had one value for long, the most rows of
    it one after the other. `correlations`: of the numeric columns in the layout's order, row by row below the
    diagonal; empty where they are too many or too few; `waves`: means of random features of these columns (see
    `Profile.random_features`). In `estimator` and `influence` the revision
    of the reference is empty, for it names the content of all of this; `bound` puts it there.
    """

    estimator: Estimator
    influence: Influence
    worth: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    runs: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    correlations: tuple[float, ...] = ()
    waves: tuple[float, ...] = ()


_MEMO_SIZE: Final = 256
_memo: dict[str, Learned] = {}


def bound(learned: Learned, revision: str) -> Learned:
    """The same as part of the reference of this revision; remembered, because every window asks for it."""
    found = _memo.get(revision)
    if found is None:
        found = replace(
            learned,
            estimator=replace(learned.estimator, reference_revision=revision),
            influence=replace(learned.influence, reference_revision=revision),
        )
        while len(_memo) >= _MEMO_SIZE:
            _memo.pop(next(iter(_memo)))
        _memo[revision] = found
    return found
