"""How fast a profile counts a batch: rows per CPU-second of `Profile.fold`, 13 numeric features, scores, predictions
and everything that a profile holds by default.

The peers do less on the same batch in the same run: the numeric part in plain NumPy (binary search and matrix
products), and DataSketches' KLL and HyperLogLog, one of each per feature.

    uv run python -m benchmarks.profile --json
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import datasketches
import numpy as np
import numpy.typing as npt

from benchmarks.plain_profile import plain_fold
from benchmarks.report import Scenario, parser, say, show
from detectors.profile import Profile, warm
from detectors.reference import Reference, build_reference
from detectors.values import FeatureSpec

FEATURES = 13
REFERENCE_ROWS = 20_000
SECONDS = 0.3
REPEATS = 5
FOLD_TARGET_NS = {"float64": 150.0, "float32": 100.0}
SMALL_TARGET_US = 150.0
BYTES_TARGET_US = 100.0

THEIRS: Any = datasketches
"""Its names come from compiled code, without types."""

Batch = dict[str, npt.NDArray[np.float64]]


def columns(rng: np.random.Generator, rows: int) -> Batch:
    """Features as a service sends them: smooth, skewed and discrete ones, a tenth of one missing."""
    found: Batch = {}
    for i in range(FEATURES):
        draw = (
            rng.normal(50, 10, rows),
            rng.lognormal(1, 1.5, rows),
            rng.integers(0, 40, rows).astype(float),
        )
        found[f"feature_{i:02d}"] = draw[i % 3]
    found["feature_00"][rng.random(rows) < 0.1] = np.nan
    return found


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of one call, the best of several stretches."""
    work()
    best = float("inf")
    for _ in range(REPEATS):
        calls, begun = 0, time.process_time()
        while time.process_time() - begun < SECONDS / REPEATS:
            work()
            calls += 1
        best = min(best, (time.process_time() - begun) / calls)
    return best


def sketch_by_others(batch: Batch) -> None:
    """What DataSketches offers for quantiles and distinct values of the same batch."""
    for column in batch.values():
        quantiles = THEIRS.kll_floats_sketch(200)
        quantiles.update(column.astype(np.float32))
        distinct = THEIRS.hll_sketch(9, THEIRS.tgt_hll_type.HLL_8)
        for value in column.tolist():
            distinct.update(value)


def fold_scenario(reference: Reference, rng: np.random.Generator, rows: int, kind: str) -> Scenario:
    """Rows per CPU-second of folding batches of one size and type."""
    drawn, profile = columns(rng, rows), Profile.empty(reference)
    batch = {name: column.astype(kind) for name, column in drawn.items()}
    scores, said = rng.random(rows).astype(np.float32), rng.integers(0, 2, rows).astype(np.float32)
    plain = Profile.empty(reference)
    seconds = cpu_seconds(lambda: profile.fold(batch, said, scores))
    say(f"{rows} rows of {kind}: {seconds / rows * 1e9:.0f} ns a row")
    numpy_seconds = cpu_seconds(lambda: plain_fold(plain.layout, batch, plain.counters, plain.registers))
    return Scenario(
        id=f"profile.fold.{FEATURES}x{rows}.{kind}",
        value=rows / seconds,
        unit="rows per CPU-second",
        higher_is_better=True,
        peers={
            "plain NumPy, numeric part alone": rows / numpy_seconds,
            "DataSketches KLL and HLL alone": rows / cpu_seconds(lambda: sketch_by_others(drawn)),
        },
        target=1e9 / FOLD_TARGET_NS[kind],
    )


def small_scenario(reference: Reference, rng: np.random.Generator, rows: int) -> Scenario:
    """Microseconds of folding a small batch."""
    batch, profile = columns(rng, rows), Profile.empty(reference)
    scores = rng.random(rows)
    return Scenario(
        id=f"profile.fold.{FEATURES}x{rows}.microseconds",
        value=cpu_seconds(lambda: profile.fold(batch, scores, scores)) * 1e6,
        unit="CPU-microseconds a batch",
        higher_is_better=False,
        target=SMALL_TARGET_US,
    )


def bytes_scenarios(reference: Reference, rng: np.random.Generator) -> list[Scenario]:
    """Writing, reading and merging the profile of 1,000 rows."""
    profile, scores = Profile.empty(reference), rng.random(1_000)
    profile.fold(columns(rng, 1_000), scores, scores)
    packed = profile.to_bytes()
    say(f"a profile of 1,000 rows has {len(packed):,} bytes")
    work: dict[str, Callable[[], object]] = {
        "to_bytes": profile.to_bytes,
        "from_bytes": lambda: Profile.from_bytes(reference, packed),
        "merge": lambda: profile.merge(profile),
    }
    return [
        Scenario(
            id=f"profile.{name}.{FEATURES}x1000",
            value=cpu_seconds(call) * 1e6,
            unit="CPU-microseconds",
            higher_is_better=False,
            target=BYTES_TARGET_US if name == "to_bytes" else None,
        )
        for name, call in work.items()
    ]


def main() -> int:
    """Run all scenarios."""
    options = parser(__doc__ or "").parse_args()
    rng = np.random.default_rng(options.seed)
    warm()
    drawn = columns(rng, REFERENCE_ROWS)
    specs = [FeatureSpec(name=name) for name in drawn]
    scores, labels = rng.random(REFERENCE_ROWS), rng.integers(0, 2, REFERENCE_ROWS)
    reference = build_reference("benchmark", "1", drawn, specs, scores=scores, labels=labels)
    scenarios = [fold_scenario(reference, rng, 1_000, kind) for kind in ("float64", "float32")]
    scenarios += [fold_scenario(reference, rng, 2_000, kind) for kind in ("float64", "float32")]
    scenarios += [small_scenario(reference, rng, rows) for rows in (1, 50)]
    scenarios += bytes_scenarios(reference, rng)
    return show(scenarios, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
