"""Value types of estimation: what is learned from the reference, and what is said about a window."""

import msgspec

from detectors.values import Task, Value

Numbers = tuple[float, ...]


class Marginals(Value, frozen=True, kw_only=True):
    """How far the mean of some targets moves when the mix of the features moves.

    Additive over groups of each feature's bins: the change of a mean is the sum over all groups of (share in the
    window less share in the reference) times its effect. `shares`: of each group in the reference. `effects`: of
    each group on each target, row by row, first from all rows and then once without each block of them.
    Empty where the features say nothing beyond the model's own output.
    """

    shares: Numbers = ()
    effects: tuple[tuple[Numbers, ...], ...] = ()


class BinaryCells(Value, frozen=True, kw_only=True, tag="binary"):
    """A binary classifier by cell: bin of the score times what was said (cell = 2 bin + said).

    `counts`: reference rows by cell. `chances`: of the positive class, from all rows, and once without each block of
    them. `means`: of the score. `losses`: mean -ln of the score and of its complement, one after the other.
    `said`: share of rows of each bin that are called positive. `concordance`: of each bin, the chance that a positive
    has the greater score of two in it. `map`: how the chances were found.
    """

    counts: Numbers
    chances: tuple[Numbers, ...]
    means: Numbers
    losses: tuple[Numbers, Numbers]
    said: Numbers
    concordance: Numbers
    map: str


class MulticlassCells(Value, frozen=True, kw_only=True, tag="multiclass"):
    """A multiclass classifier by cell: predicted class times group of the top score (cell = class * groups +
    group). `groups`: the group of each of the score's bins. `counts`: reference rows by cell. `chances`: of each true
    class, cell by cell, from all rows, and once without each block of them."""

    groups: tuple[int, ...]
    counts: Numbers
    chances: tuple[Numbers, ...]


class RegressionCells(Value, frozen=True, kw_only=True, tag="regression"):
    """A regression by bin of the prediction: `counts` of reference rows; `means` of the error's size, of the error
    (prediction less label), of its square and of its fourth power, by bin and one after the other; from all rows, and
    once without each block of them."""

    counts: Numbers
    means: tuple[Numbers, ...]


class Estimator(Value, frozen=True, kw_only=True):
    """What is kept of a reference to tell a window's performance without labels; no rows.

    `columns`: those whose bins correct the cells, through `marginals`; at most 24.
    `expected`: what it says about the reference itself. `excess`: by measure, the variance of its own error on
    left-out parts of the reference beyond what sampling explains; `wander`: that of what it expects from part
    to part. `rows`: reference rows with output and label.
    `undefined`: why nothing could be learned.
    """

    reference_revision: str
    task: Task
    rows: int
    cells: BinaryCells | MulticlassCells | RegressionCells | None = None
    columns: tuple[str, ...] = ()
    marginals: Marginals = Marginals()
    expected: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    excess: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    wander: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    undefined: str | None = None


class Estimate(Value, frozen=True, kw_only=True):
    """A measure of a window before its labels: the value that the labels will show is meant to lie within `low` ..
    `high` in 95 of 100 windows. `error`: standard error of the estimate itself; `sampling`: standard deviation of what
    labels show around the truth in a window of this size; `mix`: that of the estimate from window to window while
    nothing changes. `reference`: what the estimator says about the reference.
    `correction`: what labels that have come since have added. `undefined`: why nothing is said; then no value."""

    measure: str
    rows: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    error: float = 0.0
    sampling: float = 0.0
    mix: float = 0.0
    reference: float | None = None
    correction: float = 0.0
    undefined: str | None = None
