"""Retraining in the campaign: what was logged, a logistic regression, and the comparison on held-out people."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from benchmarks.campaign.population import (
    FEATURES,
    SPECS,
    TRUTH,
    Behaviour,
    Floats,
    People,
    basis,
    of_artifact,
)
from benchmarks.campaign.world import FAILS, Rows
from detectors.reference import Reference, build_reference
from remediation.training_values import TrainedModel, TrainingSet

_REFERENCE_ROWS = 8_000


class LoggedEvents:
    """The archive: every event that was logged, with the label that was told of it."""

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []
        self._labels: dict[str, tuple[float, int]] = {}

    def note(self, ids: list[str], version: str, rows: Rows) -> None:
        """Keep what a version answered."""
        columns: dict[str, Any] = {"id": ids, "time_us": rows.times_us, "version": version}
        columns |= {"prediction": rows.predictions, "score": rows.scores}
        columns |= {"latency_ms": rows.latencies_ms, "failed": rows.failed.astype(np.float64)}
        columns |= {f"f.{name}": rows.features[name] for name in FEATURES}
        self._parts.append(pd.DataFrame(columns))

    def note_labels(self, ids: list[str], values: Floats, times_us: Mapping[str, int] | Any) -> None:
        """Keep what was told of them."""
        self._labels |= {
            one: (float(value), int(time))
            for one, value, time in zip(ids, values, np.asarray(times_us), strict=True)
        }

    def labelled(
        self,
        model: str,
        *,
        since_us: int | None = None,
        until_us: int | None = None,
        known_until_us: int | None = None,
    ) -> pd.DataFrame:
        """See `remediation.ports.Archive`."""
        del model
        frame = pd.concat(self._parts, ignore_index=True)
        told = [self._labels.get(one, (np.nan, 2**62)) for one in frame["id"]]
        frame["label"] = [value for value, _ in told]
        frame["label_time_us"] = [time for _, time in told]
        times_us, known_us = frame["time_us"].to_numpy(), frame["label_time_us"].to_numpy()
        chosen = (times_us >= (since_us or 0)) & (times_us < (until_us or 2**62))
        chosen &= known_us < (known_until_us or 2**62)
        return frame.iloc[np.flatnonzero(chosen)].reset_index(drop=True)

    def requests(self, model: str, *, since_us: int, until_us: int) -> pd.DataFrame:
        """See `remediation.ports.Archive`."""
        del model
        frame = pd.concat(self._parts, ignore_index=True)
        chosen = frame[(frame["time_us"] >= since_us) & (frame["time_us"] < until_us)]
        return chosen.loc[:, ["time_us", "version", "latency_ms", "failed"]].sort_values(
            "time_us", kind="stable"
        )


class Regression:
    """The trainer. `made`: what it has made, by digest."""

    def __init__(self) -> None:
        self.made: dict[str, TrainedModel] = {}

    async def train(self, data: TrainingSet, *, seed: int) -> TrainedModel:
        """See `remediation.ports.Trainer`."""
        features = {name: data.features[name].to_numpy(np.float64) for name in FEATURES}
        labels = data.labels.to_numpy(np.float64)
        weights = None if data.weights is None else data.weights.to_numpy(np.float64)
        fitted = LogisticRegression(C=10.0, max_iter=1_000).fit(basis(features), labels, weights)
        found = Behaviour(
            weights=tuple(round(float(one), 6) for one in fitted.coef_[0]),
            offset=round(float(fitted.intercept_[0]), 6),
        )
        now = np.ones(len(labels), dtype=bool)
        if data.reference_rows is not None:
            now = data.reference_rows.to_numpy(bool)
        recent = {name: column[now] for name, column in features.items()}
        trained = TrainedModel(
            model=data.model,
            algorithm="logistic regression",
            onnx=f"{found.artifact()}\n{seed}".encode(),
            features=FEATURES,
            metrics={},
            candidates={},
            reference=reference_of(data.model, "", found, recent, labels[now], np.random.default_rng(seed)),
            rows=len(labels),
        )
        self.made[trained.digest] = trained
        return trained


class Scorer:
    """Runs an artifact."""

    def score(self, onnx: bytes, features: pd.DataFrame) -> Floats:
        """See `remediation.ports.Scorer`."""
        return of_artifact(onnx).score({name: features[name].to_numpy(np.float64) for name in FEATURES})


def evaluation(intended: Behaviour, rng: np.random.Generator) -> tuple[dict[str, Floats], Floats]:
    """The people on whom a version was evaluated before it was released, and what became of them."""
    law = intended.weights if intended.weights[0] < 1.0 else TRUTH
    who = People(law=law, offset=intended.offset)
    features = who.draw(rng, _REFERENCE_ROWS)
    return features, who.outcomes(rng, features)


def reference_of(
    model: str,
    version: str,
    behaviour: Behaviour,
    features: Mapping[str, Floats],
    labels: Floats,
    rng: np.random.Generator,
) -> Reference:
    """What a version is compared with: a few requests failed there, too."""
    failed = rng.random(len(labels)) < FAILS
    scores = np.where(failed, np.nan, behaviour.score(features))
    return build_reference(model, version, dict(features), SPECS, scores=scores, labels=labels)
