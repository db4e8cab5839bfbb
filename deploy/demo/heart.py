"""The four hospitals of UCI Heart Disease as a scenario."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from deploy.demo.heart_files import HOSPITALS, read_hospital
from deploy.demo.parts import split, training_set, world
from deploy.demo.scenario import Scenario

TRAIN_SHARE, SHIFTED_SHARE = 0.65, 0.6
"""Of Cleveland: those version 1 is trained on; the rest is healthy traffic. Of the others: those who come while it
still serves; the rest only comes after a retraining is asked for."""

OTHER_CODES = {
    "cp": {1.0: 0.0, 2.0: 1.0, 3.0: 2.0, 4.0: 3.0},
    "slope": {1.0: 0.0, 2.0: 1.0, 3.0: 2.0},
    "thal": {3.0: 0.0, 6.0: 1.0, 7.0: 2.0},
}
"""The fault of version 2 on heart data: an extract that numbers the kinds of three columns from 0."""


def heart_scenario(folder: Path, seed: int) -> Scenario:
    """The four hospitals of UCI Heart Disease, files as published; label 1 is disease (num > 0), `?` is
    missing.

    Version 1 is trained on two thirds of Cleveland. The shift: Switzerland and VA Long Beach, as their files are:
    chol 0 where it was not measured, ca and thal almost never measured. The oracle knows Hungary, too.
    Janosi, Steinbrunn, Pfisterer, Detrano 1988. Raises `UserError` that names file, line, column and value.
    """
    hospitals = {name: read_hospital(folder, name) for name in HOSPITALS}
    table = pd.concat(hospitals.values(), ignore_index=True)
    place = np.repeat(np.array(list(hospitals)), [len(each) for each in hospitals.values()])
    labels = (table["num"] > 0).to_numpy(dtype=np.int64)
    features = table.drop(columns="num")
    generator = np.random.default_rng(seed)
    train, healthy = split(np.flatnonzero(place == "cleveland"), labels, TRAIN_SHARE, generator)
    others = np.flatnonzero((place == "switzerland") | (place == "va"))
    shifted, later = split(others, labels, SHIFTED_SHARE, generator)
    hungary = np.flatnonzero(place == "hungarian")
    model = "heart-disease"
    return Scenario(
        title=f"heart disease (UCI, {len(table)} patients of four hospitals)",
        model=model,
        unit="patients",
        train=training_set(model, features, labels, train),
        faulty=training_set(model, _recoded(features, OTHER_CODES), labels, train),
        fault="trained on an extract that numbers the kinds of cp, slope and thal from 0",
        oracle=training_set(model, features, labels, np.concatenate([train, healthy, shifted, hungary])),
        healthy=world("cleveland", features, labels, healthy),
        shifted=world("switzerland-va", features, labels, shifted),
        shift="Patients of Switzerland and VA Long Beach come: chol is 0, ca and thal hardly ever measured",
        later=world("switzerland-va-later", features, labels, later),
    )


def _recoded(features: pd.DataFrame, codes: Mapping[str, Mapping[float, float]]) -> pd.DataFrame:
    return features.assign(**{name: features[name].replace(code) for name, code in codes.items()})
