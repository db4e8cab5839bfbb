"""Parts of a data set, as training sets and worlds."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deploy.demo.traffic import World
from remediation.training_values import TrainingSet

Rows = NDArray[np.int64]
"""Positions of rows, or a label 0/1 per row."""


def split(rows: Rows, labels: Rows, share: float, generator: np.random.Generator) -> tuple[Rows, Rows]:
    """`share` of the rows of each label, and the rest."""
    first: list[Rows] = []
    rest: list[Rows] = []
    for label in (0, 1):
        drawn = generator.permutation(rows[labels[rows] == label])
        count = round(share * len(drawn))
        first.append(drawn[:count])
        rest.append(drawn[count:])
    return np.concatenate(first), np.concatenate(rest)


def training_set(model: str, features: pd.DataFrame, labels: Rows, rows: Rows) -> TrainingSet:
    """The rows to learn from; every row is a subject of its own."""
    return TrainingSet(
        model=model,
        features=features.iloc[rows].reset_index(drop=True),
        labels=pd.Series(labels[rows]),
        groups=pd.Series(rows),
    )


def world(name: str, features: pd.DataFrame, labels: Rows, rows: Rows) -> World:
    """The rows that come as traffic."""
    return World(name=name, features=features.iloc[rows].reset_index(drop=True), labels=labels[rows])
