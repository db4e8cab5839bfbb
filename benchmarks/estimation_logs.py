"""Inference logs with scores and labels: three public data sets and two fixed synthetic ones."""

import csv
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lightgbm import LGBMClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detectors.values import FeatureSpec

Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Log:
    """A log: the first `reference` rows are the reference, the others come after it. `chunk`: rows of a window."""

    name: str
    features: Columns
    specs: tuple[FeatureSpec, ...]
    scores: npt.NDArray[np.float64]
    said: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    reference: int
    chunk: int
    threshold: float = 0.5

    @property
    def chunks(self) -> list[slice]:
        """The whole windows after the reference."""
        starts = range(self.reference, len(self.labels) - self.chunk + 1, self.chunk)
        return [slice(start, start + self.chunk) for start in starts]


def _table(path: Path, delimiter: str = ",") -> dict[str, list[str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = csv.reader(file, delimiter=delimiter)
        names = next(rows)
        return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _column(texts: list[str]) -> npt.NDArray[Any]:
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return np.array(texts, dtype=object)


def _specs(features: Columns) -> tuple[FeatureSpec, ...]:
    return tuple(
        FeatureSpec(name=name, kind="categorical" if column.dtype == object else "numeric")
        for name, column in features.items()
    )


def _one_hot(features: Columns) -> npt.NDArray[np.float64]:
    parts: list[npt.NDArray[np.float64]] = []
    for column in features.values():
        if column.dtype == object:
            parts += [(column == value).astype(float) for value in sorted(set(column.tolist()))]
        else:
            parts.append(column)
    return np.column_stack(parts)


def car_loan(data: Path) -> Log:
    """Scores as published; one abrupt shift in the middle of the analysis period."""
    folder = data / "car_loan"
    before = _table(folder / "synthetic_car_loan_reference.csv.gz")
    after = _table(folder / "synthetic_car_loan_analysis.csv.gz")
    after["repaid"] = _table(folder / "synthetic_car_loan_analysis_target.csv.gz")["repaid"]
    columns = {name: _column([*before[name], *after[name]]) for name in before}
    names = [name for name in before if name not in ("id", "repaid", "timestamp", "y_pred_proba", "y_pred")]
    features = {name: columns[name] for name in names}
    return Log(
        name="car_loan",
        features=features,
        specs=_specs(features),
        scores=columns["y_pred_proba"],
        said=columns["y_pred"].astype(np.int64),
        labels=columns["repaid"].astype(np.int64),
        reference=len(before["id"]),
        chunk=2_500,
    )


def bank_marketing(data: Path) -> Log:
    """A logistic regression that has seen every second call of all years, on the other calls in their order; it says
    yes to a tenth of those it has learned from."""
    features, labels = _bank(data)
    scores, threshold = _bank_scores(features, labels, np.arange(len(labels)) % 2 == 0)
    odd = slice(1, None, 2)
    rest = {key: column[odd] for key, column in features.items()}
    said = (scores[odd] >= threshold).astype(np.int64)
    return Log("bank_marketing", rest, _specs(rest), scores[odd], said, labels[odd], 8_000, 1_000, threshold)


def bank_frozen(data: Path) -> Log:
    """The same model learned from the first 10,000 calls alone: the next 10,000 are the reference, and what comes
    then it has never seen. No estimate can hold here; it should be withdrawn."""
    features, labels = _bank(data)
    scores, threshold = _bank_scores(features, labels, np.arange(len(labels)) < 10_000)
    return _held_out("bank_frozen", features, scores, labels, threshold)


def _bank(data: Path) -> tuple[Columns, npt.NDArray[np.int64]]:
    table = _table(data / "bank_marketing" / "bank-additional-full.csv.gz", ";")
    labels = (np.array(table.pop("y")) == "yes").astype(np.int64)
    del table["duration"]
    return {name: _column(texts) for name, texts in table.items()}, labels


def _bank_scores(
    features: Columns, labels: npt.NDArray[np.int64], seen: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], float]:
    matrix = _one_hot(features)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1_000))
    model.fit(matrix[seen], labels[seen])
    scores = model.predict_proba(matrix)[:, 1]
    return scores, float(np.quantile(scores[seen], 0.9))


def elec2(data: Path) -> Log:
    """Boosted trees on the first 10,000 half hours; the reference are the next 10,000."""
    table = _table(data / "elec2" / "electricity.csv.gz")
    labels = (np.array(table.pop("class")) == "UP").astype(np.int64)
    del table["date"]
    features = {name: _column(texts) for name, texts in table.items()}
    matrix = _one_hot(features)
    model = LGBMClassifier(n_estimators=100, num_leaves=15, random_state=7, n_jobs=1, verbose=-1)
    model.fit(matrix[:10_000], labels[:10_000])
    scores = np.asarray(model.predict_proba(matrix))[:, 1]
    return _held_out("elec2", features, scores, labels, 0.5)


def _held_out(
    name: str, features: Columns, scores: npt.NDArray[Any], labels: npt.NDArray[Any], threshold: float
) -> Log:
    rest = {key: column[10_000:] for key, column in features.items()}
    scores, labels = scores[10_000:], labels[10_000:]
    said = (scores >= threshold).astype(np.int64)
    return Log(name, rest, _specs(features), scores, said, labels, 10_000, 1_000, threshold)


def synthetic_shift(data: Path) -> Log:
    """A linear model of a curved truth: what a score is worth depends on where in the space a row lies, and the rows
    wander."""
    del data
    rng = np.random.default_rng(20_261)
    rows, reference = 80_000, 30_000
    drift = np.clip((np.arange(rows) - reference) / (rows - reference), 0, 1)
    matrix = rng.normal(0, 1, (rows, 6))
    matrix[:, 0] += 1.2 * drift
    matrix[:, 1] -= 0.8 * np.sin(6 * drift)
    logit = matrix[:, 0] - 0.8 * matrix[:, 1] + 0.5 * matrix[:, 2] * matrix[:, 3] - 0.4 * matrix[:, 0] ** 2
    labels = (rng.random(rows) < 1 / (1 + np.exp(-1.5 * logit))).astype(np.int64)
    train = rng.normal(0, 1, (20_000, 6))
    truth = train[:, 0] - 0.8 * train[:, 1] + 0.5 * train[:, 2] * train[:, 3] - 0.4 * train[:, 0] ** 2
    model = LogisticRegression().fit(train, rng.random(20_000) < 1 / (1 + np.exp(-1.5 * truth)))
    scores = model.predict_proba(matrix)[:, 1]
    features = {f"x{place}": matrix[:, place] for place in range(6)}
    said = (scores >= 0.5).astype(np.int64)
    return Log("synthetic_shift", features, _specs(features), scores, said, labels, reference, 1_000)


def synthetic_rare(data: Path) -> Log:
    """A rare class, an overconfident model and a mix of two populations that changes step by step."""
    del data
    rng = np.random.default_rng(20_262)
    rows, reference = 100_000, 40_000
    share = np.choose(
        np.minimum(np.maximum(np.arange(rows) - reference, 0) // 15_000, 3), (0.2, 0.3, 0.5, 0.7)
    )
    share[:reference] = 0.2
    region = rng.random(rows) < share
    amount = rng.lognormal(0.5 * region, 0.6)
    signal = rng.normal(0, 1, rows) + 0.6 * region
    logit = -3.6 + 1.3 * signal + 0.8 * np.log(amount)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    scores = 1 / (1 + np.exp(-(1.8 * (logit + 3.0) - 2.6 + rng.normal(0, 0.5, rows))))
    features: Columns = {
        "amount": amount,
        "signal": signal,
        "region": np.where(region, "north", "south").astype(object),
    }
    said = (scores >= 0.5).astype(np.int64)
    return Log("synthetic_rare", features, _specs(features), scores, said, labels, reference, 2_500)


LOGS: tuple[Callable[[Path], Log], ...] = (
    car_loan,
    bank_marketing,
    elec2,
    synthetic_shift,
    synthetic_rare,
    bank_frozen,
)
