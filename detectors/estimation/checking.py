"""What an estimator says about parts of the reference that it had not seen: how far it errs, and how it wanders."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Floats, Integers
from detectors.estimation.expected import Expected
from detectors.estimation.groups import BLOCKS

PIECES: Final = 5
"""Windows that each left-out block is cut into."""

Trial = Callable[[int, Integers], tuple[Expected, Mapping[str, float | None]]]
"""Given a block and some of its rows: what the estimator without that block expects, and what was."""


class Checked(NamedTuple):
    """By measure, both as variances. `excess`: of the estimator's error on rows that it had not seen, beyond that of
    drawn labels. `wander`: of what it expects from one part of the reference to the next, beyond that of drawn rows, as
    far as that is no chance."""

    excess: dict[str, float]
    wander: dict[str, float]


def checked(blocks: Integers, trial: Trial) -> Checked:
    """Try the estimator on contiguous pieces of left-out blocks."""
    over: dict[str, list[float]] = {}
    expected: dict[str, list[tuple[float, float]]] = {}
    for block in range(BLOCKS):
        for piece in np.array_split(np.flatnonzero(blocks == block), PIECES):
            if not len(piece):
                continue
            guess, seen = trial(block, piece)
            for name, value in guess.values.items():
                truth = seen[name]
                if value is not None:
                    expected.setdefault(name, []).append((value, guess.mix[name] ** 2))
                if value is not None and truth is not None:
                    over.setdefault(name, []).append((value - truth) ** 2 - guess.sampling[name] ** 2)
    return Checked(
        {name: max(float(np.mean(found)), 0.0) for name, found in over.items()},
        {name: wander_of(np.array(found)) for name, found in expected.items()},
    )


def wander_of(found: Floats) -> float:
    """The variance of values beyond what drawn rows explain, as far as it is no chance.

    found: values and the variances that drawn rows give them, shape (pieces, 2).
    """
    if len(found) < PIECES:
        return 0.0
    sure = 1 - 2 * np.sqrt(2 / (len(found) - 1))
    return max(float(found[:, 0].var(ddof=1) * max(sure, 0.0) - found[:, 1].mean()), 0.0)
