"""The models that are tried, simplest first: at equal F1 the simpler one wins."""

from collections.abc import Callable
from dataclasses import dataclass

from lightgbm import LGBMClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler


@dataclass(frozen=True, slots=True)
class Candidate:
    """A named recipe. `build(seed)` gives an unfitted pipeline whose last step is `model`; NaN is missing."""

    name: str
    build: Callable[[int], Pipeline]


def _impute() -> SimpleImputer:
    return SimpleImputer(strategy="median", keep_empty_features=True)


def _logistic_regression(seed: int) -> Pipeline:
    model = LogisticRegression(max_iter=2_000, random_state=seed)
    return Pipeline([("impute", _impute()), ("scale", StandardScaler()), ("model", model)])


def _random_forest(seed: int) -> Pipeline:
    model = RandomForestClassifier(n_estimators=80, min_samples_leaf=2, n_jobs=1, random_state=seed)
    return Pipeline([("impute", _impute()), ("model", model)])


def _hist_gradient_boosting(seed: int) -> Pipeline:
    # Weighted binning costs in proportion to the bins: 32 keep a fit of 400 weighted rows below .3 s.
    model = HistGradientBoostingClassifier(
        max_iter=60,
        max_leaf_nodes=15,
        min_samples_leaf=10,
        max_bins=32,
        random_state=seed,
    )
    return Pipeline([("model", model)])


def _lightgbm(seed: int) -> Pipeline:
    model = LGBMClassifier(
        n_estimators=80,
        num_leaves=15,
        min_child_samples=10,
        n_jobs=1,
        random_state=seed,
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
    )
    return Pipeline([("model", model)])


CANDIDATES: tuple[Candidate, ...] = (
    Candidate("LogisticRegression", _logistic_regression),
    Candidate("RandomForest", _random_forest),
    Candidate("HistGradientBoosting", _hist_gradient_boosting),
    Candidate("LightGBM", _lightgbm),
)
