"""Can the labels be trusted? Three things that a model and a world do not bring about.

Labels that say the opposite of what the model says; labels of one class only; and labels of other rows than those that
come: the share of positive answers among the labelled rows, which follows from accuracy, precision and recall, is far
from that of all rows. A turned concept, a shift and a bad release leave it alone, because they do not choose which rows
are labelled.
"""

import math
from typing import Literal, NamedTuple

from remediation.causes.telling import hypothesis
from remediation.evidence import OUTCOMES, Facts, Rate, Window, rate
from remediation.values import Hypothesis

Fault = Literal["turned", "one class", "chosen"]
_CERTAIN_Z = 5.0
"""Standard errors of a difference that is no chance, and that no estimate of a moment explains."""
_LEAST = 0.08
"""Of the rows: a smaller bias is left to chance and to labels that come faster for one class than for the other."""
_ONE_CLASS = 0.02
_FEW_ROWS = 30


class Broken(NamedTuple):
    """What is wrong with labels. `certain`: no release can have done it."""

    fault: Fault
    sentence: str
    certain: bool


class Labelled(NamedTuple):
    """Of the labelled rows of some windows: how many, the share whose label is positive, the share to which the model
    said positive."""

    rows: int
    positive: float
    said: float


def label_problem(facts: Facts) -> tuple[Hypothesis, bool]:
    """The hypothesis, and whether no release can have done it."""
    if not facts.firing(*OUTCOMES):
        return hypothesis("label_problem", 0.03, ["no label says that anything changed"]), False
    found = broken(facts)
    if found is None:
        return hypothesis("label_problem", 0.08, ["the labels look like labels of the rows that come"]), False
    fine = "the inputs look like the reference"
    moved = facts.firing("data_drift", "prediction_drift") or facts.quality()
    reasons = [found.sentence, *([] if moved else [fine])]
    confidence = 0.92 if found.certain else 0.85
    return hypothesis("label_problem", confidence * (0.5 if moved else 1.0), reasons), found.certain


def broken(facts: Facts) -> Broken | None:
    """What is wrong with the labels since the change, if anything is."""
    change_us = min(each.change_us for each in facts.firing(*OUTCOMES))
    since = [each for each in facts.windows(facts.version, "label") if each.end_us > change_us]
    newest = _newest(since)
    if newest is None:
        return None
    before = [each for each in facts.windows(facts.version, "label") if each.end_us <= change_us]
    return _one_class(newest, before) or _chosen(facts, newest) or _turned(facts, since, change_us)


def _newest(windows: list[Window]) -> Labelled | None:
    found = [labelled(each) for each in windows]
    return next((each for each in reversed(found) if each is not None and each.rows >= _FEW_ROWS), None)


def _one_class(newest: Labelled, before: list[Window]) -> Broken | None:
    if min(newest.positive, 1 - newest.positive) > _ONE_CLASS:
        return None
    usual = _newest(before)
    if usual is not None and min(usual.positive, 1 - usual.positive) <= 5 * _ONE_CLASS:
        return None
    which = "positive" if newest.positive > 0.5 else "negative"
    share = f"{max(newest.positive, 1 - newest.positive):.1%} of the last {newest.rows:,} labels are {which}"
    return Broken("one class", share, certain=True)


def _chosen(facts: Facts, newest: Labelled) -> Broken | None:
    """Whether the rows that are labelled are not like those that come."""
    answers = rate(facts.windows(facts.version, "event")[-6:], "positive_rate")
    if answers is None:
        return None
    error = math.sqrt(max(answers.value * (1 - answers.value), 0.01) * (1 / newest.rows + 1 / answers.rows))
    apart = abs(newest.said - answers.value)
    if apart < max(_LEAST, _CERTAIN_Z * error):
        return None
    sentence = (
        f"the model says positive to {newest.said:.1%} of the rows that are labelled, and to {answers.value:.1%} of "
        "all: labels of some rows do not come, or come for others"
    )
    return Broken("chosen", sentence, certain=True)


def _turned(facts: Facts, since: list[Window], change_us: int) -> Broken | None:
    """Whether labels say the opposite of the model, and whether those of the version before do so, too."""
    now = _below_chance(since)
    if now is None:
        return None
    sentence = (
        f"{now.measure} is {now.value:.3f} on {now.rows:,} labels, below chance: they say the opposite of what the "
        "model says"
    )
    earlier = facts.predecessor()
    if earlier is None:
        return Broken("turned", sentence, certain=False)
    late = [each for each in facts.windows(earlier, "label") if each.end_us > change_us and each.measured]
    if any(each.in_breach for each in late):
        both = f"labels of version {earlier}, which come late, turned at the same time"
        return Broken("turned", f"{sentence}; {both}", certain=True)
    return Broken("turned", sentence, certain=False)


def _below_chance(windows: list[Window]) -> Rate | None:
    """What the newest window says; the one before it may hold labels from before the change."""
    for measure in ("auc", "balanced_accuracy"):
        found = rate(windows[-1:], measure)
        if found is not None:
            error = 0.5 / math.sqrt(found.rows)
            return found if 0.5 - found.value > max(0.1, _CERTAIN_Z * error / 2) else None
    return None


def labelled(window: Window) -> Labelled | None:
    """The shares behind the measures of a window of a binary model; None where they cannot be told."""
    points = {point.measure: point for point in window.points if point.feature is None}
    accuracy, precision, recall = (points.get(name) for name in ("accuracy", "precision", "recall"))
    if accuracy is None or accuracy.value is None or precision is None or recall is None:
        return None
    wrong, rows = 1 - accuracy.value, accuracy.rows
    if recall.value is None:
        return Labelled(rows, 0.0, wrong)
    if not precision.value:
        return None
    if precision.value == 1.0 and recall.value > 0 and wrong / max(1 - recall.value, 1e-9) > 0.999:
        return Labelled(rows, 1.0, recall.value)
    per_positive = (1 - recall.value) + recall.value * (1 - precision.value) / precision.value
    if per_positive <= 0 or not recall.value:
        return None
    positive = min(1.0, wrong / per_positive)
    return Labelled(rows, positive, positive * recall.value / precision.value)
