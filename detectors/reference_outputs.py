"""What a reference keeps of predictions, scores and labels."""

import numpy as np
from msgspec.structs import replace

from detectors.columns import SCORE_BINS, Column, Flags, Floats, Integers, numbers, score_bins, singles
from detectors.errors import ReferenceInvalid
from detectors.outcome_counts import CLASSES, binned, class_codes, errors_of, regression_sums, usable_scale
from detectors.ranks import plain, rank_counts
from detectors.reference_columns import quantile_edges
from detectors.reference_values import Reference
from detectors.scores import Confusion


def with_outputs(
    reference: Reference, scores: Column | None, predictions: Column | None, labels: Column | None
) -> Reference:
    """The reference with counts of its outputs, as its task counts them; see `build_reference`."""
    values = None if scores is None else numbers(np.asarray(scores))
    if values is not None:
        _check_range("scores", values, (values >= 0) & (values <= 1), "probabilities in [0, 1]")
        reference = replace(reference, scores=_histogram(values[~np.isnan(values)]))
    said = None if predictions is None else numbers(np.asarray(predictions))
    truth = None if labels is None else numbers(np.asarray(labels))
    if reference.task == "multiclass":
        return _multiclass(reference, values, said, truth)
    if reference.task == "regression":
        return _regression(reference, said, truth)
    return _binary(reference, values, said, truth)


def _binary(
    reference: Reference, values: Floats | None, said: Floats | None, truth: Floats | None
) -> Reference:
    if said is not None:
        _check_range("predictions", said, (said == 0) | (said == 1), "0 or 1")
    elif values is not None:
        said = np.where(np.isnan(values), np.nan, (values >= reference.threshold).astype(np.float64))
    else:
        return reference
    predicted = int((~np.isnan(said)).sum())
    reference = replace(reference, predicted=predicted, predicted_positive=int((said == 1).sum()))
    if truth is None:
        return reference
    _check_range("labels", truth, (truth == 0) | (truth == 1), "0 or 1")
    known = ~(np.isnan(said) | np.isnan(truth))
    reference = replace(reference, **Confusion.of(said[known] == 1, truth[known] == 1).as_dict())
    if values is None:
        return reference
    scored = known & ~np.isnan(values)
    return replace(
        reference,
        positive_scores=_histogram(values[scored & (truth == 1)]),
        negative_scores=_histogram(values[scored & (truth == 0)]),
    )


def _multiclass(
    reference: Reference, values: Floats | None, said: Floats | None, truth: Floats | None
) -> Reference:
    names = reference.classes
    if len(names) < 2 or len(set(names)) != len(names):
        raise ReferenceInvalid(f"classes is {names!r}; task multiclass needs at least two different names")
    if said is None:
        return reference
    classes, answered = min(len(names), CLASSES) + 1, said
    said = np.asarray(plain(answered), dtype=np.float64)
    _check_classes("predictions", said, len(names))
    given = singles(said[~np.isnan(said)])
    found = np.bincount(class_codes(given, classes), minlength=classes)
    reference = replace(reference, predicted=len(given), said=_counts(found))
    if truth is None:
        return reference
    _check_classes("labels", truth, len(names))
    known = ~(np.isnan(said) | np.isnan(truth))
    predicted, actual = (class_codes(singles(one[known]), classes) for one in (said, truth))
    pairs = np.bincount(predicted * classes + actual, minlength=classes * classes)
    ranked = rank_counts(answered[known], actual, classes)
    reference = replace(reference, confusion=_counts(pairs), ranks=() if ranked is None else _counts(ranked))
    if values is None:
        return reference
    right, scored = (predicted == actual) & (predicted < classes - 1), ~np.isnan(values[known])
    return replace(
        reference,
        positive_scores=_histogram(values[known][scored & right]),
        negative_scores=_histogram(values[known][scored & ~right]),
    )


def _regression(reference: Reference, said: Floats | None, truth: Floats | None) -> Reference:
    if said is None:
        return reference
    given = singles(said[~np.isnan(said)])
    edges = quantile_edges(given[np.isfinite(given)])
    reference = replace(
        reference,
        predicted=len(given),
        said=_counts(binned(given, edges)),
        said_edges=tuple(float(edge) for edge in edges),
    )
    if truth is None:
        return reference
    known = ~(np.isnan(said) | np.isnan(truth))
    spoken, labels = singles(said[known]), truth[known]
    whole = labels[np.isfinite(singles(labels))]
    if not len(whole):
        return reference
    mean, deviation = float(whole.mean()), float(whole.std())
    errors = errors_of(spoken, labels)
    error_edges = quantile_edges(errors[np.isfinite(errors)])
    sums = regression_sums(spoken, labels, mean, usable_scale(mean, deviation))
    return replace(
        reference,
        errors=_counts(binned(errors, error_edges)),
        error_edges=tuple(float(edge) for edge in error_edges),
        sums=_counts(sums),
        label_mean=mean,
        label_deviation=deviation,
    )


def _counts(values: Integers) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _check_classes(name: str, values: Floats, classes: int) -> None:
    good = (values >= -1) & (values < classes) & (values == np.floor(values))
    _check_range(name, values, good, f"indices of classes, 0 to {classes - 1}, or -1 for none of them")


def _histogram(scores: Floats) -> tuple[int, ...]:
    counts: Integers = np.bincount(score_bins(scores), minlength=SCORE_BINS)
    return tuple(int(count) for count in counts)


def _check_range(name: str, values: Floats, good: Flags, right: str) -> None:
    bad = ~(good | np.isnan(values))
    if bad.any():
        row = int(np.argmax(bad))
        raise ReferenceInvalid(f"{name}[{row}] is {values[row]!r}; {name} must be {right}")
