"""What measures say beside what others say of the same rows: how far apart at most, over twenty pairs of columns.

    uv run python -m benchmarks.equality --evidently PYTHON --nannyml PYTHON --json

PYTHON is that of an environment that has the package. Distances of shares are compared on the same ten groups, in which
every group has half a row more here; the others within the binning of a profile. The suite compares with SciPy and
scikit-learn in every run.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]
from sklearn import metrics  # pyright: ignore[reportMissingTypeStubs]

from benchmarks.report import Scenario, parser, say, show
from detectors.distances import coarse_groups
from detectors.estimation.estimate import estimate
from detectors.estimation.fit import build_estimator
from detectors.library.standard import compare, seen, standard
from detectors.measures import measure
from detectors.performance import performance
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.values import FeatureSpec, Monitor

Floats = npt.NDArray[Any]
SPECS = (FeatureSpec(name="x"),)
PAIRS = 20
ROWS, WINDOW = 20_000, 5_000
TARGETS = {
    "psi": 0.02,
    "jensen_shannon": 0.005,
    "ks": 2 / 64,
    "wasserstein": 0.02,
    "auc": 0.005,
    "cbpe": 0.02,
}
"""Of a histogram of 64 bins: a KS distance can lie two bins off, an area half the share of pairs in one bin. A PSI
above 1 is compared as a share of it; half a row more in each group matters where one is nearly empty."""
_UNITS = {"jensen_shannon": 1 / math.sqrt(math.log(2))}
"""Evidently takes the natural logarithm, so that its greatest distance is 0.83; here it is 1."""


def main() -> None:
    """Compare, and print."""
    options = parser(__doc__ or "")
    options.add_argument("--evidently", help="python of an environment that has evidently")
    options.add_argument("--nannyml", help="python of an environment that has nannyml")
    chosen = options.parse_args()
    pairs = [_pair(np.random.default_rng((chosen.seed, n))) for n in range(PAIRS)]
    ours = [_ours(*pair) for pair in pairs]
    far: dict[str, dict[str, list[float]]] = {"ks": {"SciPy": []}, "wasserstein": {"SciPy": []}}
    for (before, now), found in zip(pairs, ours, strict=True):
        exact = float(stats.wasserstein_distance(before, now) / before.std())  # pyright: ignore[reportUnknownMemberType]
        far["wasserstein"]["SciPy"].append(abs(found["wasserstein"] - exact))
        statistic = float(stats.ks_2samp(before, now).statistic)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
        far["ks"]["SciPy"].append(abs(found["ks"] - statistic))
    if chosen.evidently:
        theirs = _evidently(chosen.evidently, pairs)
        for name, values in theirs.items():
            unit = _UNITS.get(name, 1.0)
            apart = [
                abs(one[name] - unit * value) / max(value, 1.0)
                for one, value in zip(ours, values, strict=True)
            ]
            far.setdefault(name, {})["Evidently"] = apart
    far["auc"] = {"scikit-learn": [_area(np.random.default_rng((chosen.seed, n))) for n in range(PAIRS)]}
    if chosen.nannyml:
        far["cbpe"] = {"NannyML": _estimates(chosen.nannyml, chosen.seed)}
    scenarios = [_scenario(name, others) for name, others in far.items()]
    sys.exit(show(scenarios, as_json=chosen.json))


def _scenario(name: str, others: Mapping[str, list[float]]) -> Scenario:
    say(f"{name}: {len(next(iter(others.values())))} comparisons")
    worst = {other: max(apart) for other, apart in others.items()}
    return Scenario(
        id=f"equality.{name}",
        value=max(worst.values()),
        unit="greatest difference",
        higher_is_better=False,
        peers=worst,
        target=TARGETS[name],
    )


def _pair(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A column and one that has moved by chance, on scales and with tails of all kinds."""
    shape, shift, scale = (
        float(one) for one in (rng.uniform(0.2, 1.0), rng.normal(0, 0.5), rng.uniform(0.7, 1.5))
    )
    first, second = rng.normal(0, 1, ROWS), rng.normal(0, 1, WINDOW)
    before, now = (np.array(np.sinh(shape * one), np.float64) for one in (first, shift + scale * second))
    return before, now


def _ours(before: Floats, now: Floats) -> dict[str, float]:
    reference = build_reference("m", "1", {"x": before}, SPECS)
    profiles = [Profile.empty(reference) for _ in range(2)]
    for profile, column in zip(profiles, (before, now), strict=True):
        profile.fold({"x": column}, None, None)
    told = [*compare(seen(profiles[0]), seen(profiles[1]), standard())]
    told += measure(profiles[1], reference, Monitor(model="m", features=SPECS))
    return {one.measure: one.value for one in told if one.value is not None}


def _grouped(before: Floats, now: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The group of each row, of those that a profile's bins are joined into."""
    part = build_reference("m", "1", {"x": before}, SPECS).features[0]
    group = coarse_groups(np.array(part.counts))
    edges = np.array(part.edges, dtype=np.float32)
    first, second = (
        group[np.searchsorted(edges, one.astype(np.float32), side="left")] for one in (before, now)
    )
    return first, second


def _evidently(python: str, pairs: list[tuple[Floats, Floats]]) -> dict[str, list[float]]:
    arrays: dict[str, Any] = {}
    for n, (before, now) in enumerate(pairs):
        arrays[f"before_{n}"], arrays[f"now_{n}"] = before, now
        arrays[f"groups_before_{n}"], arrays[f"groups_now_{n}"] = _grouped(before, now)
    return _run(python, "equality_peer.py", arrays)


def _run(python: str, script: str, arrays: Mapping[str, Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npz"
        np.savez(path, **arrays)
        command = [python, str(Path(__file__).with_name(script)), str(path)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def _logged(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    """Scores that are probabilities, and labels."""
    scores = rng.beta(1.5, 2.5, rows)
    return scores, (rng.random(rows) < scores) * 1.0


def _area(rng: np.random.Generator) -> float:
    scores, labels = _logged(rng, ROWS)
    reference = build_reference("m", "1", {"x": scores}, SPECS, scores=scores, labels=labels)
    profile = Profile.empty(reference)
    profile.fold_outcomes((scores >= 0.5) * 1.0, scores, labels)
    found = {one.measure: one.value for one in performance(profile, reference)}
    exact = float(metrics.roc_auc_score(labels, scores))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return abs((found["auc"] or 0.0) - exact)


def _estimates(python: str, seed: int) -> list[float]:
    """Estimates of both for windows whose scores have moved, before labels come."""
    rng = np.random.default_rng(seed)
    scores, labels = _logged(rng, ROWS)
    later = [rng.beta(a, b, WINDOW) for a, b in ((1.5, 2.5), (1.2, 3.0), (2.5, 2.0), (1.0, 1.0))]
    every = np.concatenate([scores, *later])
    truth = np.concatenate([labels, (rng.random(4 * WINDOW) < every[ROWS:]) * 1.0])
    said = (every >= 0.5) * 1.0
    arrays = {"scores": every, "said": said, "labels": truth, "reference": ROWS, "chunk": WINDOW}
    theirs = _run(python, "estimation_peer.py", arrays)["estimates"]
    x = {"x": np.zeros(ROWS)}
    reference = build_reference("m", "1", x, SPECS, scores=scores, predictions=said[:ROWS], labels=labels)
    estimator = build_estimator(reference, x, said[:ROWS], scores, labels)
    apart: list[float] = []
    for n, part in enumerate(later):
        profile = Profile.empty(reference)
        profile.fold({"x": np.zeros(WINDOW)}, (part >= 0.5) * 1.0, part)
        told = {one.measure: one.value for one in estimate(profile, estimator) if one.value is not None}
        apart += [abs(value - theirs[name][n]) for name, value in told.items() if name in theirs]
    return apart


if __name__ == "__main__":
    main()
