"""Verdicts in words for a person who was woken by them."""

from collections.abc import Sequence

from detectors.judgement import Decision
from detectors.measurement import Measurement
from detectors.values import AlertKind

KIND_NAMES: dict[AlertKind, str] = {
    "volume": "Volume",
    "data_quality": "Data quality",
    "data_drift": "Data drift",
    "prediction_drift": "Prediction drift",
    "estimated_performance": "Estimated performance",
    "concept_drift": "Concept drift",
    "performance": "Performance",
}

ENOUGH = 1e6
"""Times the threshold beyond which no number is told."""
_SHOWN = 3
_ESTIMATED_SHARES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "auc": "area under the ROC curve",
    "macro_f1": "mean F1 of the classes",
}
_ESTIMATED_NUMBERS = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "bias": "mean error",
}


def _estimated(names: dict[str, str]) -> dict[str, str]:
    return {f"estimated_{name}": f"the estimated {words} is {{value}}" for name, words in names.items()}


_SHARES = _estimated(_ESTIMATED_SHARES) | {
    "missing_rate": "{who} is missing in {value} of the rows",
    "out_of_range_rate": "{value} of the values of {who} lie outside the range known from the reference",
    "point_mass": "{who} has {detail} in {value} of its rows",
    "new_category_rate": "{value} of the values of {who} are categories that the reference does not know",
    "error_rate": "{value} of the requests failed",
    "positive_rate": "the model says positive in {value} of the rows",
    "accuracy": "accuracy is {value}",
    "balanced_accuracy": "balanced accuracy is {value}",
    "precision": "precision is {value}",
    "recall": "recall is {value}",
    "f1": "F1 is {value}",
    "auc": "the area under the ROC curve is {value}",
    "macro_f1": "the mean F1 of the classes is {value}",
}
_NUMBERS = _estimated(_ESTIMATED_NUMBERS) | {
    "latency_p50_ms": "half of the requests take up to {value} ms",
    "latency_p95_ms": "95 % of the requests take up to {value} ms",
    "latency_p99_ms": "99 % of the requests take up to {value} ms",
    "estimation_error": "the labels show {value} more than was estimated",
    "mae": "the mean absolute error is {value}",
    "bias": "the mean error, prediction less label, is {value}",
    "rmse": "the root mean squared error is {value}",
    "r2": "R2 is {value}",
    "brier": "the Brier score is {value}",
    "log_loss": "the log loss is {value}",
    "calibration_error": "the scores are wrong as probabilities by {value} on average",
    "calibration_slope": "the calibration slope is {value}, where 1 is calibrated and less is too sure",
    "calibration_intercept": "the calibration intercept is {value}, where 0 is calibrated",
    "quantile_loss_0.1": "the loss of the quantile 0.1 is {value}",
    "quantile_loss_0.9": "the loss of the quantile 0.9 is {value}",
}
_DISTANCES = {
    "psi": "the distribution of {who} moved by a PSI of {value}",
    "ks": "the distribution of {who} moved by a KS distance of {value}",
    "score_psi": "the distribution of the scores moved by a PSI of {value}",
    "score_ks": "the distribution of the scores moved by a KS distance of {value}",
    "class_psi": "the shares of the predicted classes moved by a PSI of {value}",
    "prediction_psi": "the distribution of the predictions moved by a PSI of {value}",
    "prediction_ks": "the distribution of the predictions moved by a KS distance of {value}",
}


def sentence(found: Measurement, threshold: float | None) -> str:
    """One measure in words: what it is, what it was, where the alarm begins, on how many rows."""
    who = found.feature or "the model"
    if found.value is None:
        return f"{found.measure} of {who} is undefined, because {found.undefined}"
    if found.measure in _DISTANCES:
        text = _DISTANCES[found.measure].format(who=who, value=f"{found.value:.2f}")
        return f"{text} (alarm above {threshold:.2f}; {found.rows} rows)" if threshold is not None else text
    told = _number if found.measure in _NUMBERS else percent
    words = _NUMBERS.get(found.measure) or _SHARES[found.measure]
    text = words.format(who=who, value=told(found.value), detail=found.detail)
    parts = [f"reference {told(found.reference)}"] if found.reference is not None else []
    if threshold is not None and found.reference is not None:
        side = "below" if threshold < found.reference else "above"
        parts.append(f"alarm {side} {told(threshold)}")
    return f"{text} ({', '.join(parts)}; {found.rows} rows)"


def firing(kind: AlertKind, breaches: Sequence[Decision]) -> str:
    """Why an alert of this kind begins: the strongest breach of each feature, strongest first."""
    strongest: dict[str, str] = {}
    for decision in breaches:
        strongest.setdefault(decision.feature or decision.measure, decision.reason)
    text = "; ".join(list(strongest.values())[:_SHOWN])
    more = len(strongest) - _SHOWN
    return f"{KIND_NAMES[kind]}: {text}{f'; and {more} more' if more > 0 else ''}."


def cleared(kind: AlertKind, windows: int) -> str:
    """Why an alert of this kind ends."""
    return f"{KIND_NAMES[kind]}: nothing beyond its threshold for {windows} windows in a row."


def untold(kind: AlertKind, because: str) -> str:
    """Why an alert of this kind ends of which no window tells any more."""
    return f"{KIND_NAMES[kind]}: nothing is told of it any more, for {because}."


def latency_words(measure: str, value_ms: float) -> str:
    """A quantile of the latency in words."""
    return _NUMBERS[measure].format(value=f"{value_ms:,.3g}")


def times(statistic: float, threshold: float) -> str:
    """A statistic that grows as odds do, beside its threshold: nobody reads 1.03e+22."""
    ratio = statistic / threshold if threshold else 0.0
    if ratio >= ENOUGH:
        return "more than a million times"
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.2g} times"


def _number(value: float) -> str:
    return f"{value:.4g}"


def percent(share: float) -> str:
    """A share as a person reads it."""
    digits = 0 if 0.1 <= share <= 0.9 or share in (0.0, 1.0) else 1
    return f"{100 * share:.{digits}f} %"
