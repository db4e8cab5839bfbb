"""Performance without labels: mean absolute error of our estimates and of NannyML's CBPE, from the same logs.

    uv run python -m benchmarks.estimation --data ../shared/data --peer PYTHON --json

PYTHON is the interpreter of an environment that has nannyml (and statsmodels); without it only our own errors are
told. Ours see profiles, never rows. The sampling floor is what an estimator that knew every chance would
still err by, because the labels of a window are a sample. The log `bank_frozen` is told apart: a model that meets a
world it has never seen, where the estimates should be withdrawn; it is not in the ratios. Errors and ratios are of
all windows, also of those whose estimate is withdrawn.
"""

import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.estimation_logs import LOGS, Log
from benchmarks.report import Scenario, parser, say, show
from detectors.estimation.estimate import estimate
from detectors.estimation.fit import build_estimator
from detectors.estimation.trust import Trust, reconcile, reconciled
from detectors.estimation.values import Estimate, Estimator
from detectors.profile import Profile
from detectors.reference import Reference, build_reference
from detectors.scores import Confusion

MEASURES = ("auc", "f1", "precision", "recall", "accuracy")
LABEL_DELAY = 2
"""Windows after which the labels come in the reconciled variant."""
HALF_NORMAL = math.sqrt(2 / math.pi)
"""Mean absolute value of a standard normal variable."""
APART = "bank_frozen"

Windows = list[dict[str, Estimate]]


def main() -> int:
    """Run and print."""
    options = parser(__doc__ or "")
    options.add_argument(
        "--data", type=Path, required=True, help="folder with car_loan, bank_marketing, elec2"
    )
    options.add_argument("--peer", help="python of an environment that has nannyml")
    options.add_argument("--logs", nargs="*", help="only these logs")
    chosen = options.parse_args()
    scenarios: list[Scenario] = []
    ratios: list[float] = []
    for make in LOGS:
        if chosen.logs and make.__name__ not in chosen.logs:
            continue
        log = make(chosen.data)
        found, ours = _of_log(log, chosen.peer)
        scenarios += found
        ratios += ours if log.name != APART else []
    if ratios:
        scenarios += [
            _scenario("estimation.ratio.median", float(np.median(ratios)), "of the peer's error", target=1.0),
            _scenario("estimation.ratio.worst", max(ratios), "of the peer's error", target=1.2),
        ]
    return show(scenarios, as_json=chosen.json)


def _scenario(name: str, value: float, unit: str, **more: Any) -> Scenario:
    return Scenario(id=name, value=value, unit=unit, higher_is_better=False, **more)


def _of_log(log: Log, peer: str | None) -> tuple[list[Scenario], list[float]]:
    reference, estimator = _learn(log)
    profiles = [_profile(log, reference, chunk) for chunk in log.chunks]
    started = time.process_time()
    found: Windows = [{one.measure: one for one in estimate(profile, estimator)} for profile in profiles]
    per_window_ms = (time.process_time() - started) / len(profiles) * 1e3
    truth = [_realized(log, chunk) for chunk in log.chunks]
    late = _with_labels(found, truth)
    told = [
        {one.measure: one for one in estimate(profile, estimator, withhold=False)} for profile in profiles
    ]
    theirs = _peer(log, peer) if peer else {}
    scenarios = [_scenario(f"estimation.{log.name}.cost", per_window_ms, "ms per window")]
    ratios: list[float] = []
    for name in MEASURES:
        both = [
            place
            for place, one in enumerate(truth)
            if np.isfinite(one[name]) and told[place][name].value is not None
        ]
        errors = _errors(told, truth, name, both)
        kept = [place for place in both if found[place][name].value is not None]
        left = [place for place in both if late[place][name].value is not None]
        peers = {
            "sampling floor": float(np.mean([told[i][name].sampling for i in both])) * HALF_NORMAL,
            "inside the interval": float(np.mean([_inside(told[i][name], truth[i][name]) for i in both])),
            "share of windows not withdrawn": len(kept) / len(both),
            "share not withdrawn, with late labels": len(left) / len(both),
        }
        if theirs:
            far = np.array([abs(theirs[name][i] - truth[i][name]) for i in both])
            comparable = np.isfinite(far)
            peers["nannyml CBPE"] = float(far[comparable].mean())
            ratios.append(float(errors[comparable].mean() / far[comparable].mean()))
            apart = [abs(theirs[name][i] - (told[i][name].value or 0.0)) for i in both]
            peers["mean distance from the peer's estimate"] = float(np.nanmean(apart))
        if kept:
            peers["mean absolute error where not withdrawn"] = float(_errors(found, truth, name, kept).mean())
        if left:
            peers["mean absolute error with late labels"] = float(_errors(late, truth, name, left).mean())
        title = f"estimation.{log.name}.{name}"
        scenarios.append(_scenario(title, float(errors.mean()), "mean absolute error", peers=peers))
    return scenarios, ratios


def _learn(log: Log) -> tuple[Reference, Estimator]:
    rows = slice(0, log.reference)
    features = {name: column[rows] for name, column in log.features.items()}
    reference = build_reference(
        log.name,
        "1",
        features,
        log.specs,
        scores=log.scores[rows],
        predictions=log.said[rows],
        labels=log.labels[rows],
        threshold=log.threshold,
    )
    estimator = build_estimator(reference, features, log.said[rows], log.scores[rows], log.labels[rows])
    size = len(msgspec.json.encode(estimator))
    say(f"{log.name}: {estimator.cells and getattr(estimator.cells, 'map', '')}, {size} bytes")
    return reference, estimator


def _profile(log: Log, reference: Reference, rows: slice) -> Profile:
    profile = Profile.empty(reference)
    features = {name: column[rows] for name, column in log.features.items()}
    profile.fold(features, log.said[rows].astype(np.float64), log.scores[rows])
    return profile


def _realized(log: Log, rows: slice) -> dict[str, float]:
    said, labels = log.said[rows] == 1, log.labels[rows] == 1
    found = {
        name: np.nan if value is None else value
        for name, value in Confusion.of(said, labels).measures().items()
    }
    both = 0 < labels.sum() < len(labels)
    return found | {"auc": float(roc_auc_score(labels, log.scores[rows])) if both else np.nan}


def _with_labels(found: Windows, truth: list[dict[str, float]]) -> Windows:
    """The estimates when labels come `LABEL_DELAY` windows later."""
    trust, late = Trust(), list[dict[str, Estimate]]()
    for place, window in enumerate(found):
        if place >= LABEL_DELAY:
            known = truth[place - LABEL_DELAY]
            realized = {name: value if np.isfinite(value) else None for name, value in known.items()}
            trust = reconcile(trust, list(found[place - LABEL_DELAY].values()), realized)
        late.append({one.measure: one for one in reconciled(trust, list(window.values()))})
    return late


def _errors(
    windows: Windows, truth: list[dict[str, float]], name: str, places: list[int]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([abs((windows[i][name].value or 0.0) - truth[i][name]) for i in places])


def _inside(one: Estimate, truth: float) -> bool:
    return one.low is not None and one.high is not None and one.low <= truth <= one.high


def _peer(log: Log, python: str) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.npz"
        np.savez(
            path,
            scores=log.scores,
            said=log.said,
            labels=log.labels,
            reference=log.reference,
            chunk=log.chunk,
        )
        script = Path(__file__).with_name("estimation_peer.py")
        done = subprocess.run([python, str(script), str(path)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)["estimates"]


if __name__ == "__main__":
    sys.exit(main())
