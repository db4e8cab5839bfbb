"""The demo's own data: hand-written digits that scikit-learn ships, split before anything else."""

from typing import Any, cast

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

from deploy.demo.parts import Rows, training_set, world
from deploy.demo.scenario import Scenario

NEW_DIGITS = (7, 8, 9)
"""Version 1 has never seen these; later they come."""

TRAIN_ROWS, HEALTHY_ROWS = 450, 450
"""Of the known digits: what version 1 is trained on, and what comes as healthy traffic."""

SHIFTED_SHARE = 0.6
"""Of the new digits: what comes while version 1 still serves; the rest only comes after a retraining is asked for."""

BRIGHTNESS = 255 / 16
"""The fault of version 2: an extract in which ink runs from 0 to 255, where the service sends 0 to 16."""

_MODEL = "odd-or-even"


def digits_scenario(seed: int) -> Scenario:
    """1,797 images of hand-written digits: is the number odd (label 1)? On which side of the street is the house?

    16 features: the mean ink in each 2 x 2 block of the 8 x 8 image. Alpaydin, Kaynak 1998, UCI Machine Learning
    Repository, "Optical Recognition of Handwritten Digits".
    """
    features, digits = _digits()
    labels = digits % 2
    generator = np.random.default_rng(seed)
    is_new = np.isin(digits, NEW_DIGITS)
    known = generator.permutation(np.flatnonzero(~is_new))
    new = generator.permutation(np.flatnonzero(is_new))
    train, healthy = known[:TRAIN_ROWS], known[TRAIN_ROWS : TRAIN_ROWS + HEALTHY_ROWS]
    cut = round(SHIFTED_SHARE * len(new))
    shifted, later = new[:cut], new[cut:]

    return Scenario(
        title="hand-written house numbers, odd or even (scikit-learn, 1,797 images)",
        model=_MODEL,
        unit="images",
        train=training_set(_MODEL, features, labels, train),
        faulty=training_set(_MODEL, features * BRIGHTNESS, labels, train),
        fault="trained on an extract in which ink runs from 0 to 255, where the service sends 0 to 16",
        oracle=training_set(_MODEL, features, labels, np.concatenate([train, healthy, shifted])),
        healthy=world("healthy", features, labels, healthy),
        shifted=world("shifted", features, labels, shifted),
        shift=f"Numbers that end in {', '.join(map(str, NEW_DIGITS))} come; the model has never seen one",
        later=world("later", features, labels, later),
    )


def _digits() -> tuple[pd.DataFrame, Rows]:
    shipped = cast(Any, load_digits())
    blocks = shipped.images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    names = [f"ink_{row}_{column}" for row in range(4) for column in range(4)]
    return pd.DataFrame(blocks, columns=names), shipped.target.astype(np.int64)
