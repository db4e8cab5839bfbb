"""Where a measure stops looking like chance: two-sample thresholds from a budget of false incidents.

The reference is a sample too, so every threshold counts its rows beside the window's (1/n + 1/m). All are
bounds with an exponential tail: they keep their promise for rare events and small samples, and cost
little power elsewhere.
"""

import math
from functools import lru_cache
from typing import Final

from detectors.before import columns_of
from detectors.errors import MonitorInvalid
from detectors.measurement import Measurement
from detectors.reference import Reference
from detectors.remembered import Remembered
from detectors.sequential.budget import SEGMENTS, SEGMENTS_SHARE
from detectors.values import AlertKind, Monitor, Task

KINDS: dict[str, AlertKind] = {
    "missing_rate": "data_quality",
    "out_of_range_rate": "data_quality",
    "point_mass": "data_quality",
    "new_category_rate": "data_quality",
    "latency_p50_ms": "data_quality",
    "latency_p95_ms": "data_quality",
    "latency_p99_ms": "data_quality",
    "error_rate": "data_quality",
    "misaligned_columns": "data_quality",
    "unit_change": "data_quality",
    "constant_column": "data_quality",
    "vanished_category": "data_quality",
    "psi": "data_drift",
    "ks": "data_drift",
    "positive_rate": "prediction_drift",
    "score_psi": "prediction_drift",
    "score_ks": "prediction_drift",
    "class_psi": "prediction_drift",
    "prediction_psi": "prediction_drift",
    "prediction_ks": "prediction_drift",
    "accuracy": "performance",
    "balanced_accuracy": "performance",
    "precision": "performance",
    "recall": "performance",
    "f1": "performance",
    "auc": "performance",
    "macro_f1": "performance",
    "class_recall": "performance",
    "mae": "performance",
    "bias": "performance",
    "rmse": "performance",
    "r2": "performance",
    "mape": "performance",
    "top_2_accuracy": "performance",
    "top_3_accuracy": "performance",
    "brier": "performance",
    "log_loss": "performance",
    "calibration_error": "performance",
    "calibration_slope": "performance",
    "calibration_intercept": "performance",
    "quantile_loss_0.1": "performance",
    "quantile_loss_0.9": "performance",
    "selection_rate_gap": "performance",
    "true_positive_rate_gap": "performance",
    "false_positive_rate_gap": "performance",
    "error_gap": "performance",
    "absolute_error_gap": "performance",
    "excess_error": "performance",
    "excess_absolute_error": "performance",
    "estimated_accuracy": "estimated_performance",
    "estimated_balanced_accuracy": "estimated_performance",
    "estimated_precision": "estimated_performance",
    "estimated_recall": "estimated_performance",
    "estimated_f1": "estimated_performance",
    "estimated_auc": "estimated_performance",
    "estimated_macro_f1": "estimated_performance",
    "estimated_log_loss": "estimated_performance",
    "estimated_brier": "estimated_performance",
    "estimated_mae": "estimated_performance",
    "estimated_rmse": "estimated_performance",
    "estimated_bias": "estimated_performance",
    "estimation_error": "estimated_performance",
}

FLOORS: dict[str, float] = {
    "missing_rate": 0.02,
    "out_of_range_rate": 0.02,
    "point_mass": 0.05,
    "new_category_rate": 0.01,
    "psi": 0.20,
    "ks": 0.10,
    "positive_rate": 0.10,
    "score_psi": 0.20,
    "score_ks": 0.10,
    "class_psi": 0.20,
    "prediction_psi": 0.20,
    "prediction_ks": 0.10,
    "accuracy": 0.05,
    "balanced_accuracy": 0.05,
    "f1": 0.05,
    "auc": 0.05,
    "mae": 0.05,
    "bias": 0.05,
    "estimated_accuracy": 0.05,
    "estimated_balanced_accuracy": 0.05,
    "estimated_f1": 0.05,
    "estimated_auc": 0.05,
    "estimated_mae": 0.05,
}
"""The least change worth a person's time, however many rows prove it, in units of the measurement. What has no
floor is not decided on."""

_TWO_SIDED = {"missing_rate", "point_mass", "positive_rate", "bias"}
_ERRORS = {"mae", "bias", "estimated_mae"}
"""Measures of performance that are no shares; more of them is worse."""
_OUTPUT_TESTS: dict[Task, tuple[int, int]] = {"binary": (3, 4), "multiclass": (3, 2), "regression": (2, 2)}
"""Tests of prediction drift and of performance by task."""
_ESTIMATE_TESTS: dict[Task, int] = {"binary": 4, "multiclass": 2, "regression": 1}
_PERFORMANCE: frozenset[AlertKind] = frozenset({"performance", "estimated_performance"})
WITHIN = 0.999
"""Of a floor: nearer to it rounding would decide."""
_TINY = 1e-300
_HALVINGS = 24
"""Bisection steps: shares to 1e-7, well below one row."""


def false_alarm_shares(
    monitor: Monitor, reference: Reference, *, is_segment: bool = False
) -> dict[AlertKind, float]:
    """The chance of a false breach per test and window, by kind of alert.

    The budget (incidents per windows) is split equally among the kinds, then among the tests of a kind
    (Bonferroni: holds whatever the columns have to do with each other). With segments half of it is for all of them
    together. Raises `MonitorInvalid` when there is no budget to split.
    """
    budget = monitor.budget
    if budget.windows <= 0 or not 0 < budget.incidents / budget.windows < 1:
        raise MonitorInvalid(
            f"budget of model {monitor.model!r} is {budget.incidents} incidents in {budget.windows} windows; "
            "it must be more than none and less than one per window"
        )
    tests = _TESTS.of(reference)
    each = budget.incidents / budget.windows / len(tests)
    if monitor.segments:
        each *= SEGMENTS_SHARE / (SEGMENTS * len(monitor.segments)) if is_segment else 1 - SEGMENTS_SHARE
    return {kind: each / count for kind, count in tests.items()}


def _tests(reference: Reference) -> dict[AlertKind, int]:
    """How many tests a window against this reference has, by kind of alert."""
    drift, performance = _OUTPUT_TESTS[reference.task]
    tests: dict[AlertKind, int] = {
        "data_quality": 0,
        "data_drift": 0,
        "prediction_drift": drift,
        "performance": performance,
    }
    if reference.learned is not None:
        tests["estimated_performance"] = _ESTIMATE_TESTS[reference.task]
    known = columns_of(reference)
    for part in reference.features:
        numeric = part.spec.kind != "categorical"
        tests["data_quality"] += 2 + (len(known[part.spec.name].masses) if numeric else 0)
        tests["data_drift"] += 2 if numeric else 1
    return tests


_TESTS: Final = Remembered(_tests)


def threshold(measurement: Measurement, chance: float) -> float | None:
    """The value beyond which this measure breaches, on the side to which it moved; None where none is.

    chance: accepted chance of a false breach in one test of one window.
    """
    floor = FLOORS.get(measurement.measure)
    if floor is None or measurement.value is None:
        return None
    surprise = -math.log(chance / (2 if measurement.measure in _TWO_SIDED else 1) / measurement.tests)
    if measurement.measure.endswith("ks"):
        return max(floor, _ks_bound(measurement, surprise))
    if measurement.measure.endswith("psi"):
        return max(floor, _psi_bound(measurement, surprise))
    if measurement.reference is None:
        return None
    if KINDS[measurement.measure] not in _PERFORMANCE:
        return _share_bound(measurement, measurement.reference, surprise, floor)
    if measurement.error > 0 or measurement.measure in _ERRORS:
        spread = math.hypot(measurement.error, measurement.reference_error)
        change = max(floor * measurement.unit, math.sqrt(2 * surprise) * spread)
        two_sided = measurement.measure in _TWO_SIDED
        upwards = measurement.value >= measurement.reference if two_sided else measurement.measure in _ERRORS
        return measurement.reference + (change if upwards else -change)
    if measurement.measure == "f1":
        return min(
            measurement.reference - floor, _f1(_lower(_jaccard(measurement.reference), measurement, surprise))
        )
    return min(measurement.reference - floor, _lower(measurement.reference, measurement, surprise))


def is_small(measurement: Measurement) -> bool:
    """Whether what was measured is no breach whatever the chance: it has no threshold, or lies within its floor, which
    no threshold is below."""
    floor, value, reference = FLOORS.get(measurement.measure), measurement.value, measurement.reference
    if floor is None or value is None:
        return True
    if measurement.measure.endswith(("ks", "psi")):
        return value <= floor
    if reference is None:
        return True
    if measurement.error > 0 or measurement.measure in _ERRORS:
        floor *= measurement.unit
    return abs(value - reference) <= WITHIN * floor


def _spread(measurement: Measurement) -> float:
    return 1 / measurement.size + 1 / measurement.reference_size


def _ks_bound(measurement: Measurement, surprise: float) -> float:
    """Smirnov's two-sample tail 2 exp(-2 d^2 / (1/n + 1/m))."""
    return math.sqrt((surprise + math.log(2)) / 2 * _spread(measurement))


def _psi_bound(measurement: Measurement, surprise: float) -> float:
    """(1/n + 1/m) times what chi-squared does not exceed: d + 2 sqrt(d x) + 2 x at surprise x (Laurent and
    Massart 2000). Above its exact quantile, because the tail of a PSI is heavier than that of chi-squared."""
    freedom = max(measurement.groups - 1, 1)
    return _spread(measurement) * (freedom + 2 * math.sqrt(freedom * surprise) + 2 * surprise)


def _share_bound(measurement: Measurement, reference: float, surprise: float, floor: float) -> float:
    """The bound on the side to which the share moved; the upper one where no lower share is a surprise."""
    value = measurement.value
    if value is not None and value < reference and measurement.measure in _TWO_SIDED:
        lower = min(reference - floor, _lower(reference, measurement, surprise))
        if lower > 0:
            return lower
    upper = _edge(reference, 1.0, measurement.size, measurement.reference_size, surprise)
    return min(1.0, max(reference + floor, upper))


def _lower(reference: float, measurement: Measurement, surprise: float) -> float:
    return _edge(reference, 0.0, measurement.size, measurement.reference_size, surprise)


@lru_cache(maxsize=4_096)
def _edge(reference: float, end: float, size: float, reference_size: float, surprise: float) -> float:
    """The share between `reference` and `end` at which half the deviance of two samples reaches the surprise.

    Remembered, because most columns of a window ask the same question.
    """
    near, far = reference, end
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        pooled = (middle * size + reference * reference_size) / (size + reference_size)
        lost = size * _divergence(middle, pooled) + reference_size * _divergence(reference, pooled)
        near, far = (near, middle) if lost > surprise else (middle, far)
    return far


def _divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence of two Bernoulli distributions, 0 ln 0 = 0."""
    low = p * math.log(p / max(q, _TINY)) if p > 0 else 0.0
    high = (1 - p) * math.log((1 - p) / max(1 - q, _TINY)) if p < 1 else 0.0
    return low + high


def _jaccard(f1: float) -> float:
    return f1 / (2 - f1)


def _f1(jaccard: float) -> float:
    return 2 * jaccard / (1 + jaccard)
