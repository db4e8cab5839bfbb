"""The score card of a profile: all scores of its task, and the differences of two cards."""

import math

from detectors.measurement import MINIMUM_ROWS
from detectors.outcome_slots import BinarySlots, MulticlassSlots, RegressionSlots
from detectors.profile import Profile
from detectors.scorecard.classes import class_scores, ranked_scores
from detectors.scorecard.intervals import NO_LABELS, Score, area_error, around, missing, on_the_logit, wilson
from detectors.scorecard.numbers import number_scores
from detectors.scorecard.probabilities import probability_scores
from detectors.scores import Confusion, binned_auc
from detectors.task_scores import ClassCounts, ErrorSums

QUANTILES = (0.1, 0.5, 0.9)
"""Of the quantile loss."""


def score_card(profile: Profile, quantiles: tuple[float, ...] = QUANTILES) -> list[Score]:
    """Every score of the labelled rows of a profile, each with an interval or the reason why it has none.

    Binary: accuracy, balanced_accuracy, precision, recall, f1, auc, brier, log_loss, calibration_error,
    calibration_slope, calibration_intercept. Multiclass: accuracy, balanced_accuracy, macro_f1, top-k accuracy where
    the reference knows the probabilities of all classes, and the last five for "the prediction is right".
    Regression: mae, rmse, bias, r2, mape, and quantile_loss of each of `quantiles`.
    """
    rows, slots, counters = profile.labelled, profile.layout.outcomes, profile.counters
    worth = max(profile.effective_labelled, min(rows, MINIMUM_ROWS)) / rows if rows else 1.0
    if isinstance(slots, RegressionSlots):
        sums = ErrorSums.of(counters[slots.sums], rows, slots.center, slots.scale)
        return number_scores(sums, worth, quantiles)
    if isinstance(slots, MulticlassSlots):
        counts = ClassCounts.of(counters[slots.confusion])
        return [
            *class_scores(counts, worth),
            *ranked_scores(counters[slots.ranks], counts, worth),
            *probability_scores(counters[slots.right_scores], counters[slots.wrong_scores], worth),
        ]
    return [
        *_shares(profile.confusion, worth),
        *_ranked(profile, slots, worth),
        *probability_scores(counters[slots.positive_scores], counters[slots.negative_scores], worth),
    ]


def changes(before: Profile, now: Profile) -> list[Score]:
    """What changed from one profile to another, such as from the previous version to this one: differences with the
    interval of two independent samples, where both standard errors are known. `naive` is the earlier score."""
    found: list[Score] = []
    earlier = {score.measure: score for score in score_card(before)}
    for score in score_card(now):
        old = earlier.get(score.measure)
        if old is None:
            found.append(missing(score.measure, score.rows, "the earlier one has another task"))
        elif score.value is None or old.value is None:
            because = score.undefined or f"of the earlier one {old.undefined}"
            found.append(missing(score.measure, score.rows, because))
        else:
            found.append(_change(score, score.value, old, old.value))
    return found


def _change(score: Score, value: float, old: Score, before: float) -> Score:
    apart = value - before
    if score.error is None or old.error is None:
        return Score(
            measure=score.measure,
            value=apart,
            rows=score.rows,
            naive=before,
            detail=score.detail or old.detail,
        )
    error = math.hypot(score.error, old.error)
    low, high = around(apart, error)
    return Score(
        measure=score.measure,
        value=apart,
        low=low,
        high=high,
        rows=score.rows,
        error=error,
        binning_error=score.binning_error + old.binning_error,
        naive=before,
    )


def _shares(counts: Confusion, worth: float) -> list[Score]:
    values, bases = counts.measures(), counts.bases()
    found: list[Score] = []
    for name, base in bases.items():
        value = values[name]
        if value is None:
            because = NO_LABELS if counts.rows == 0 else _nothing(name)
            found.append(missing(name, counts.rows, because))
            continue
        size = base * worth
        share = value / (2 - value) if name == "f1" else value
        low, high = (2 * end / (1 + end) if name == "f1" else end for end in wilson(share, size))
        slope = 2 / (1 + share) ** 2 if name == "f1" else 1.0
        careful = (share * size + 1) / (size + 2)
        naive = max(counts.positives, counts.negatives) / counts.rows if name == "accuracy" else None
        error = slope * math.sqrt(careful * (1 - careful) / size)
        found.append(
            Score(measure=name, value=value, low=low, high=high, rows=counts.rows, error=error, naive=naive)
        )
    return [*found, _balanced(counts, values["balanced_accuracy"], worth)]


def _balanced(counts: Confusion, value: float | None, worth: float) -> Score:
    if value is None:
        return missing("balanced_accuracy", counts.rows, "it takes labels of both classes")
    variance = 0.0
    for right, of in ((counts.tp, counts.positives), (counts.tn, counts.negatives)):
        careful = (right * worth + 1) / (of * worth + 2)
        variance += careful * (1 - careful) / (of * worth) / 4
    low, high = around(value, math.sqrt(variance), 0.0, 1.0)
    return Score(
        measure="balanced_accuracy",
        value=value,
        low=low,
        high=high,
        rows=counts.rows,
        error=math.sqrt(variance),
        naive=0.5,
    )


def _ranked(profile: Profile, slots: BinarySlots, worth: float) -> list[Score]:
    good, bad = profile.counters[slots.positive_scores], profile.counters[slots.negative_scores]
    area = binned_auc(good, bad)
    if area.value is None:
        return [missing("auc", profile.labelled, "it takes scores of both classes")]
    error = area_error(good, bad, worth)
    low, high = on_the_logit(area.value, error)
    return [
        Score(
            measure="auc",
            value=area.value,
            low=low,
            high=high,
            rows=profile.labelled,
            error=error,
            binning_error=area.binning_error,
            naive=0.5,
        )
    ]


def _nothing(name: str) -> str:
    what = {"precision": "nothing was predicted positive", "recall": "no label is positive"}
    return what.get(name, "no prediction and no label is positive")
