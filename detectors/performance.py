"""How well the model did on rows whose labels are known, beside the reference."""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from detectors.measurement import MINIMUM_ROWS, Measurement, undefined
from detectors.outcome_slots import BinarySlots, MulticlassSlots, RegressionSlots
from detectors.performance_tasks import multiclass_performance, regression_performance, unmeasured
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.remembered import Remembered
from detectors.scorecard.shown import with_scores
from detectors.scores import Auc, Confusion, auc_error, binned_auc

MINIMUM_CLASS_ROWS = 5
"""Below so many rows of a class nothing is said about that class."""


def performance(
    profile: Profile, reference: Reference, told: Callable[[str], bool] | None = None
) -> list[Measurement]:
    """The measures of a window of labelled rows by the task of the reference; undefined "because ..." when labels
    or a class are missing.

    Binary: accuracy, balanced_accuracy, precision, recall, f1 and auc; multiclass and regression: see
    `detectors.performance_tasks`. Besides, what `detectors.scorecard` knows: intervals, and scores that are shown;
    told: which measures are read (default: all), for where none of these is, the card is not looked at.
    """
    return with_scores(_decided_on(profile, reference), profile, reference, told)


def _decided_on(profile: Profile, reference: Reference) -> list[Measurement]:
    worth, slots = _worth(profile), profile.layout.outcomes
    if isinstance(slots, MulticlassSlots):
        return multiclass_performance(profile, slots, reference, worth)
    if isinstance(slots, RegressionSlots):
        return regression_performance(profile, slots, reference, worth)
    return _binary(profile, slots, reference, worth)


def _binary(profile: Profile, slots: BinarySlots, reference: Reference, worth: float) -> list[Measurement]:
    """Sizes count independent rows; f1 rests on the rows that are positive in prediction or label (F1 = 2J /
    (1 + J) with J the share of true ones among them), which makes it a share like the others. auc is read
    from 64 score bins; `detail` says how far the exact one may be.
    """
    ratio = reference.effective_rows / reference.rows
    now, known = profile.confusion, _KNOWN.of(reference)
    before = known.counts
    because = unmeasured(now.rows, before.rows)
    if because:
        return [undefined(name, None, now.rows, because) for name in (*now.measures(), "auc")]
    values, references, bases = now.measures(), known.measures, now.bases()
    found: list[Measurement] = []
    for name, base in bases.items():
        value, expected = values[name], references[name]
        if value is None or expected is None:
            found.append(undefined(name, None, now.rows, _no_base(name, value is None)))
            continue
        found.append(
            Measurement(
                measure=name,
                value=value,
                reference=expected,
                rows=now.rows,
                size=base * worth,
                reference_size=known.bases[name] * ratio,
                confusion=tuple(now) if name == "accuracy" else UNSET,
            )
        )
    classes = _one_class(now, "the window") or _one_class(before, "the reference")
    if classes:
        return found + [undefined(name, None, now.rows, classes) for name in ("balanced_accuracy", "auc")]
    return [*found, _balanced(now, before, worth, ratio), _auc(profile, slots, reference, worth, ratio)]


class _Known(NamedTuple):
    """What the reference's own labelled rows say."""

    counts: Confusion
    measures: dict[str, float | None]
    bases: dict[str, int]
    area: Auc

    @classmethod
    def of(cls, reference: Reference) -> "_Known":
        """Of a reference of a binary task."""
        counts = Confusion(reference.tp, reference.fp, reference.fn, reference.tn)
        area = binned_auc(reference.positive_scores, reference.negative_scores)
        return cls(counts, counts.measures(), counts.bases(), area)


_KNOWN: Final = Remembered(_Known.of)


def _worth(profile: Profile) -> float:
    labelled = profile.labelled
    return max(profile.effective_labelled, min(labelled, MINIMUM_ROWS)) / labelled if labelled else 0.0


def _no_base(name: str, in_window: bool) -> str:
    where = "in the window" if in_window else "in the reference"
    what = {"precision": "nothing was predicted positive", "recall": "no label is positive"}
    return f"{what.get(name, 'no prediction and no label is positive')} {where}"


def _one_class(counts: Confusion, where: str) -> str | None:
    for name, rows in (("positive", counts.positives), ("negative", counts.negatives)):
        if rows < MINIMUM_CLASS_ROWS:
            return f"{where} has only {rows} {name} labels; it takes {MINIMUM_CLASS_ROWS}"
    return None


def _balanced(now: Confusion, before: Confusion, worth: float, ratio: float) -> Measurement:
    value, error = _balanced_with_error(now, worth)
    reference, reference_error = _balanced_with_error(before, ratio)
    return Measurement(
        measure="balanced_accuracy",
        value=value,
        reference=reference,
        rows=now.rows,
        size=now.rows * worth,
        reference_size=before.rows * ratio,
        error=error,
        reference_error=reference_error,
    )


def _balanced_with_error(counts: Confusion, worth: float) -> tuple[float, float]:
    variance, value = 0.0, 0.0
    for right, of in ((counts.tp, counts.positives), (counts.tn, counts.negatives)):
        size = of * worth
        careful = (right * worth + 1) / (size + 2)
        variance += careful * (1 - careful) / size / 4
        value += right / of / 2
    return value, math.sqrt(variance)


def _auc(
    profile: Profile, slots: BinarySlots, reference: Reference, worth: float, ratio: float
) -> Measurement:
    positives = profile.counters[slots.positive_scores]
    negatives = profile.counters[slots.negative_scores]
    now = binned_auc(positives, negatives)
    before = _KNOWN.of(reference).area
    counts, rows = profile.confusion, profile.labelled
    if now.value is None or before.value is None:
        where = "the window" if now.value is None else "the reference"
        return undefined("auc", None, rows, f"{where} has no scores of both classes")
    base = Measurement(measure="auc", value=now.value, reference=before.value, rows=rows, size=rows * worth)
    good, bad = int(positives.sum()) * worth, int(negatives.sum()) * worth
    known, other = sum(reference.positive_scores) * ratio, sum(reference.negative_scores) * ratio
    return replace(
        base,
        reference_size=(known + other),
        error=auc_error(now.value, good, bad),
        reference_error=auc_error(before.value, known, other),
        detail=f"read from binned scores, at most {now.binning_error:.4f} from the exact one",
        rows=counts.rows,
    )
