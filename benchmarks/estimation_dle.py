"""Errors of a regression without labels: ours from profiles, NannyML's DLE from rows, on the same logs.

    uv run python -m benchmarks.estimation_dle --data ../shared/data --peer PYTHON --json

bike: hourly rentals, boosted trees learned from the first 6,000 hours, reference the next 4,000. synthetic: an error
whose spread grows with a feature that wanders. PYTHON: see `benchmarks.estimation`. Run by that interpreter with a FILE
(.npz) this module prints NannyML's estimates.
"""

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MEASURES = ("mae", "rmse")


class Log(NamedTuple):
    """Features, predictions and labels; the first `reference` rows are the reference, then windows of `chunk`."""

    name: str
    features: dict[str, Floats]
    said: Floats
    labels: Floats
    reference: int
    chunk: int


def main() -> int:
    """Run and print."""
    from benchmarks.report import Scenario, parser, show

    options = parser(__doc__ or "")
    options.add_argument("--data", type=Path, required=True, help="folder with bike_sharing")
    options.add_argument("--peer", help="python of an environment that has nannyml")
    chosen = options.parse_args()
    scenarios: list[Scenario] = []
    for log in (_bike(chosen.data), _synthetic()):
        for name, value, peers in _errors(log, chosen.peer):
            scenarios.append(
                Scenario(
                    id=f"estimation.{log.name}.{name}",
                    value=value,
                    unit="mean absolute error of the estimate",
                    higher_is_better=False,
                    peers=peers,
                )
            )
    return show(scenarios, as_json=chosen.json)


def _errors(log: Log, peer: str | None) -> list[tuple[str, float, dict[str, float]]]:
    from detectors.estimation.estimate import estimate
    from detectors.estimation.fit import build_estimator
    from detectors.profile import Profile
    from detectors.reference import build_reference
    from detectors.values import FeatureSpec

    rows = slice(0, log.reference)
    specs = tuple(FeatureSpec(name=name) for name in log.features)
    features = {name: column[rows] for name, column in log.features.items()}
    said, labels = log.said[rows], log.labels[rows]
    reference = build_reference(
        log.name, "1", features, specs, predictions=said, labels=labels, task="regression"
    )
    estimator = build_estimator(reference, features, said, None, labels)
    theirs = _peer(log, peer) if peer else {}
    found: list[tuple[str, float, dict[str, float]]] = []
    starts = range(log.reference, len(log.said) - log.chunk + 1, log.chunk)
    windows = [slice(start, start + log.chunk) for start in starts]
    estimates = []
    for window in windows:
        profile = Profile.empty(reference)
        profile.fold({name: column[window] for name, column in log.features.items()}, log.said[window], None)
        estimates.append({one.measure: one for one in estimate(profile, estimator, withhold=False)})
    for name in MEASURES:
        off = [log.said[window] - log.labels[window] for window in windows]
        truth = [
            float(np.abs(one).mean() if name == "mae" else np.sqrt(np.square(one).mean())) for one in off
        ]
        ours = [one[name] for one in estimates]
        error = float(
            np.mean([abs((one.value or 0.0) - value) for one, value in zip(ours, truth, strict=True)])
        )
        inside = [
            one.low is not None and one.high is not None and one.low <= value <= one.high
            for one, value in zip(ours, truth, strict=True)
        ]
        peers = {
            "sampling floor": float(np.mean([one.sampling for one in ours])) * float(np.sqrt(2 / np.pi)),
            "inside the interval": float(np.mean(inside)),
            "mean of the measure itself": float(np.mean(truth)),
        }
        if theirs:
            peers["nannyml DLE"] = float(np.mean(np.abs(np.array(theirs[name]) - truth)))
        found.append((name, error, peers))
    return found


def _bike(data: Path) -> Log:
    from lightgbm import LGBMRegressor

    with zipfile.ZipFile(data / "bike_sharing" / "bike_sharing_dataset.zip") as archive:
        text = io.TextIOWrapper(archive.open("hour.csv"), encoding="utf-8")
        names, *rows = csv.reader(text)
    names = names[2:]
    table = dict(zip(names, np.array([row[2:] for row in rows], dtype=np.float64).T, strict=True))
    labels = table["cnt"]
    features = {name: table[name] for name in names if name not in ("cnt", "casual", "registered", "yr")}
    matrix = np.column_stack(list(features.values()))
    model = LGBMRegressor(n_estimators=150, num_leaves=15, random_state=7, n_jobs=1, verbose=-1)
    model.fit(matrix[:6_000], labels[:6_000])
    said = np.asarray(model.predict(matrix[6_000:]), dtype=np.float64)
    rest = {name: column[6_000:] for name, column in features.items()}
    return Log("bike", rest, said, labels[6_000:], 4_000, 500)


def _synthetic() -> Log:
    rng = np.random.default_rng(20_263)
    rows, reference = 60_000, 20_000
    drift = np.clip((np.arange(rows) - reference) / (rows - reference), 0, 1)
    features = {"heat": rng.normal(0, 1, rows) + 1.5 * drift, "size": rng.lognormal(0, 0.5, rows)}
    features["noise"] = rng.normal(0, 1, rows)
    said = 100 * features["size"]
    labels = said + rng.normal(0, 5 + 5 * np.exp(0.5 * features["heat"]), rows) * features["size"]
    return Log("synthetic_heat", features, said, labels, reference, 1_000)


def _peer(log: Log, python: str) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.npz"
        columns = {f"x_{name}": column for name, column in log.features.items()}
        settings: dict[str, Any] = {"reference": log.reference, "chunk": log.chunk}
        np.savez(path, said=log.said, labels=log.labels, **settings, **columns)
        command = [python, __file__, str(path)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def peer_main(path: str) -> None:
    """NannyML's DLE on a log that `_peer` wrote."""
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
    import nannyml
    import pandas as pd

    with np.load(path) as file:
        frame = pd.DataFrame({name: file[name] for name in file if file[name].ndim == 1})
        reference, chunk = int(file["reference"]), int(file["chunk"])
    estimator = nannyml.DLE(
        metrics=list(MEASURES),
        y_pred="said",
        y_true="labels",
        feature_column_names=[name for name in frame if name.startswith("x_")],
        chunk_size=chunk,
    )
    estimator.fit(frame.iloc[:reference].reset_index(drop=True))
    last = len(frame) - (len(frame) - reference) % chunk
    found = estimator.estimate(frame.iloc[reference:last].reset_index(drop=True).drop(columns="labels"))
    table = found.filter(period="analysis").to_df()
    print(json.dumps({name: [float(value) for value in table[(name, "value")]] for name in MEASURES}))


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].endswith(".npz"):
        peer_main(sys.argv[1])
    else:
        sys.exit(main())
