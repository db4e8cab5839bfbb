"""How well a classifier with several classes, or a regression, did on rows whose labels are known."""

from typing import Final

from msgspec import UNSET

from detectors.measurement import MINIMUM_ROWS, Measurement, undefined
from detectors.outcome_slots import MulticlassSlots, RegressionSlots
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.task_scores import ClassCounts, ErrorSums

MOST_PAIRED: Final = 20
"""Classes of which every window tells all pairs of answer and truth; of more that would be many numbers."""


def multiclass_performance(
    profile: Profile, slots: MulticlassSlots, reference: Reference, worth: float
) -> list[Measurement]:
    """accuracy and balanced_accuracy (the mean recall of the classes), which are decided on; macro_f1, whose standard
    error is not known from counts, and class_recall, of each class that there are labels of, which are shown only:
    the sequential tests decide on the classes."""
    now, before = ClassCounts.of(profile.counters[slots.confusion]), ClassCounts.of(reference.confusion)
    values, references = now.measures(), before.measures()
    because, paired = unmeasured(now.rows, before.rows), slots.classes <= MOST_PAIRED + 1
    ratio = reference.effective_rows / reference.rows
    found: list[Measurement] = []
    for name, value in values.items():
        expected = references[name]
        if because or value is None or expected is None:
            found.append(undefined(name, None, now.rows, because or "no label is of a known class"))
            continue
        balanced = name == "balanced_accuracy"
        found.append(
            Measurement(
                measure=name,
                value=value,
                reference=expected,
                rows=now.rows,
                size=now.rows * worth,
                reference_size=before.rows * ratio,
                error=now.balanced_error(worth) if balanced else 0.0,
                reference_error=before.balanced_error(ratio) if balanced else 0.0,
                confusion=tuple(now.pairs.ravel().tolist()) if name == "accuracy" and paired else UNSET,
            )
        )
    return found if because else [*found, *_class_recalls(now, before, reference, worth)]


def _class_recalls(
    now: ClassCounts, before: ClassCounts, reference: Reference, worth: float
) -> list[Measurement]:
    """Of which share of its labels each known class is found; `rows` are its labels. The class is the `feature`."""
    labels, usual = now.labels.tolist(), before.labels.tolist()
    right, found_before = now.right.tolist(), before.right.tolist()
    ratio = reference.effective_rows / reference.rows
    return [
        Measurement(
            measure="class_recall",
            feature=name,
            value=right[i] / labels[i],
            reference=found_before[i] / usual[i],
            rows=labels[i],
            size=labels[i] * worth,
            reference_size=usual[i] * ratio,
        )
        for i, name in enumerate(reference.classes[: len(labels) - 1])
        if labels[i] and usual[i]
    ]


def regression_performance(
    profile: Profile, slots: RegressionSlots, reference: Reference, worth: float
) -> list[Measurement]:
    """mae and bias, which are decided on with their standard errors, and rmse and r2, which are shown only: one outlier
    moves them. `unit` is the standard deviation of the reference's labels."""
    rows, ratio = profile.labelled, reference.effective_rows / reference.rows
    scale = (reference.label_mean, reference.label_deviation)
    now = ErrorSums.of(profile.counters[slots.sums], rows, *scale)
    before = ErrorSums.of(reference.sums, reference.labelled, *scale)
    values, references = now.measures(), before.measures()
    errors, reference_errors = now.errors(worth), before.errors(ratio)
    because = unmeasured(rows, before.rows)
    found: list[Measurement] = []
    for name, value in values.items():
        expected = references[name]
        if because or value is None or expected is None:
            found.append(undefined(name, None, rows, because or "the labels are constant"))
            continue
        found.append(
            Measurement(
                measure=name,
                value=value,
                reference=expected,
                rows=rows,
                size=rows * worth,
                reference_size=before.rows * ratio,
                error=errors.get(name, 0.0),
                reference_error=reference_errors.get(name, 0.0),
                unit=slots.scale,
            )
        )
    return found


def unmeasured(rows: int, reference_rows: int) -> str | None:
    """Why nothing is said about the performance, or None."""
    if reference_rows == 0:
        return "the reference has no labels"
    if rows == 0:
        return "no labels have arrived"
    if rows < MINIMUM_ROWS:
        return f"there are only {rows} labelled rows; it takes {MINIMUM_ROWS}"
    return None
