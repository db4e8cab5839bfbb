"""How far an estimator erred on parts of the reference that it had not seen, beyond what chance explains."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from detectors.columns import Integers
from detectors.estimation.expected import Expected
from detectors.estimation.groups import BLOCKS

PIECES: Final = 5
"""Windows that each left-out block is cut into."""

Trial = Callable[[int, Integers], tuple[Expected, Mapping[str, float | None]]]
"""Given a block and some of its rows: what the estimator without that block expects, and what was."""


def excess(blocks: Integers, trial: Trial) -> dict[str, float]:
    """By measure: mean squared error on contiguous pieces of left-out blocks, less the variance of drawn labels."""
    over: dict[str, list[float]] = {}
    for block in range(BLOCKS):
        for piece in np.array_split(np.flatnonzero(blocks == block), PIECES):
            if not len(piece):
                continue
            guess, seen = trial(block, piece)
            for name, value in guess.values.items():
                truth = seen[name]
                if value is not None and truth is not None:
                    over.setdefault(name, []).append((value - truth) ** 2 - guess.sampling[name] ** 2)
    return {name: max(float(np.mean(found)), 0.0) for name, found in over.items()}
