"""Whether neighbouring rows of a reference depend on each other, and what that does to the variance of a mean."""

from typing import Final

import numpy as np

from detectors.columns import Floats
from detectors.sequential import families as f
from detectors.sequential.blocks import BlockSums
from detectors.sequential.kernels import COUNT
from detectors.sequential.plan import TrackPlan
from detectors.sequential.values import Dependence

SURE: Final = 3.5
"""Standard errors by which the variance of block means must exceed that of independent rows to show dependence."""
TIMES: Final = 20.0
"""Batches must be so many times longer than the inflation of the variance that is measured with them."""
LEAST_BATCHES: Final = 20
_BATCHES: Final = (1, 2, 5, 10, 20, 50, 100, 200)


def dependence_of(plan: TrackPlan, blocks: BlockSums, size: int) -> dict[str, Dependence]:
    """The scores whose rows depend on each other, by `ScoreName.key`. A column of which one score shows it is
    dependent in all, and so are its pairs.

    The inflation is that of the variance of batch means (Alexopoulos and Seila 2000) with batches long enough for
    it; where the reference is too short for such batches, the scores are refused, with the rows that it takes.
    """
    inflations = {times: _inflation(plan, blocks.joined(times)) for times in _BATCHES}
    shown: set[str] = set()
    for times in (1, 10):
        batches = len(blocks.sums) // times
        if batches < LEAST_BATCHES:
            continue
        kurtosis = np.maximum(plan.figures[1], 0.0) / (size * times)
        limit = 1 + SURE * np.sqrt((2 + kurtosis) / batches)
        shown |= {plan.names[k].column for k in np.flatnonzero(inflations[times] > limit)}
    found: dict[str, Dependence] = {}
    for k, name in enumerate(plan.names):
        other = name.item if name.family == f.PAIR else name.column
        if name.column in shown or other in shown:
            found[name.key] = _of_score(
                {times: float(each[k]) for times, each in inflations.items()}, len(blocks.sums), size
            )
    return found


def _of_score(inflations: dict[int, float], blocks: int, size: int) -> Dependence:
    wanted = 0.0
    for times, inflation in inflations.items():
        batches = blocks // times
        if batches < LEAST_BATCHES:
            break
        if size * times >= TIMES * inflation:
            return Dependence(inflation=max(inflation, 1.0), freedom=float(batches - 1))
        wanted = TIMES * inflation * LEAST_BATCHES
    return Dependence(
        refused=(
            "rows that follow each other depend too much on each other for this reference: "
            f"it has {blocks * size:,} rows and would need about {round(wanted, -3):,.0f}"
        )
    )


def _inflation(plan: TrackPlan, blocks: BlockSums) -> Floats:
    """Variance of the means of blocks beside that of independent rows, phase by phase from its mean."""
    rows = blocks.rows[:, :, plan.groups]
    totals = rows.sum(axis=0)
    means = blocks.sums.sum(axis=0) / np.maximum(totals, 1.0)
    residual = (blocks.sums - rows * means).sum(axis=1)
    count = len(residual)
    variances = np.where(plan.forms == COUNT, np.maximum(means, 0.0), plan.variances)
    expected = (rows * variances).sum(axis=(0, 1))
    found = np.square(residual).sum(axis=0) * count / max(count - 1, 1)
    return np.where(expected > 0, found / np.maximum(expected, 1e-300), 1.0)
