"""Estimates as the judge uses them: measures of a window on the event axis, in the light of windows of labels."""

import math
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from detectors.estimation.estimate import estimate
from detectors.estimation.labelled import against_labels
from detectors.estimation.segments import Usual, usual_of
from detectors.estimation.trust import WITHDRAWN, Lesson, Trust, reconcile, reconciled, room
from detectors.estimation.values import Estimate
from detectors.measurement import Measurement, undefined
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.segments import ALL, Own, own_of
from detectors.values import AlertKind, Task

KIND: Final[AlertKind] = "estimated_performance"
PREFIX: Final = "estimated_"
"""Before the name of a measure of performance: its estimate."""
ERROR_MEASURE: Final = "estimation_error"
"""What the labels showed less what was estimated for them, in the mean of the last windows."""
LEADING: Final[dict[Task, str]] = {"binary": "accuracy", "multiclass": "accuracy", "regression": "mae"}
KEPT_LESSONS: Final = 16
"""Windows of labels whose trust is remembered: a window of events may be judged late."""
_SCALED: Final = frozenset({"mae", "rmse", "bias"})
"""Measures in units of the label, whose least change worth an alarm is told in standard deviations of it."""


def trust_at(lessons: Sequence[Lesson], reference: Reference, time_us: int) -> Trust:
    """What was known about the estimates at a time: the lesson of the last window of labels that had ended by then.

    Time decides, not which of the two windows was judged first, so that a replay trusts as the live run did.
    """
    own = [one for one in lessons if one.reference_revision == reference.revision]
    known = [one.trust for one in own if one.end_us <= time_us]
    return known[-1] if known else Trust()


def estimates_of(
    profile: Profile, reference: Reference, trust: Trust, segment: str = ALL
) -> list[Measurement]:
    """`estimated_accuracy` and so on, with intervals, or undefined "because ..."; empty where the reference has no
    estimator. Those of a segment that the reference does not know are undefined: what an output is worth there was
    never seen.

    They are compared with what the estimator says of the reference, of its rows of this segment and of the window's
    phases of the season: what is not known about the worth of outputs is common to both and cancels. Their standard
    error is that of drawing rows, of what the estimate did from one part of the reference to the next, and of what
    labels have corrected.
    """
    if reference.lessons is None:
        return []
    estimator = reference.lessons.estimator
    raw, own = estimate(profile, estimator), own_of(reference, segment)
    if own.alone:
        return [undefined(PREFIX + one.measure, None, one.rows, own.because) for one in raw]
    usual = usual_of(profile, reference, segment, estimator)
    unit = reference.label_deviation or 1.0
    return [
        _measurement(before, after, usual, unit)
        for before, after in zip(raw, reconciled(trust, raw), strict=True)
    ]


def never_estimated(reference: Reference, own: Own) -> str:
    """Why no window of a segment is estimated under this reference, whatever it holds; empty where some may be."""
    lessons = reference.lessons
    if lessons is None:
        return "the reference has no estimator"
    return own.because or lessons.estimator.undefined or ""


def lesson_of(
    profile: Profile, reference: Reference, lessons: Sequence[Lesson], end_us: int
) -> tuple[tuple[Lesson, ...], list[Measurement]]:
    """Take a window of labels: what is remembered next, and how far estimates are off."""
    if reference.lessons is None or not profile.labelled:
        return tuple(lessons), []
    estimator = reference.lessons.estimator
    guesses, truth = against_labels(profile, estimator)
    if all(one.value is None for one in guesses):
        return tuple(lessons), []
    trust = reconcile(trust_at(lessons, reference, end_us), guesses, truth)
    lesson = Lesson(end_us=end_us, reference_revision=reference.revision, trust=trust)
    after = (*lessons, lesson)[-KEPT_LESSONS:]
    return after, [
        _error(one, trust, profile.labelled) for one in guesses if one.measure == LEADING[estimator.task]
    ]


def in_the_light_of(lessons: Sequence[Lesson], end_us: int, *, drifting: bool) -> tuple[Lesson, ...]:
    """The lessons once the window that ends there has been decided on: whether concept drift is told now."""
    if not lessons or lessons[-1].end_us != end_us:
        return tuple(lessons)
    last = lessons[-1]
    return (*lessons[:-1], replace(last, trust=replace(last.trust, drifting=drifting)))


def _error(one: Estimate, trust: Trust, rows: int) -> Measurement:
    record = trust.records.get(one.measure)
    if record is None:
        return undefined(ERROR_MEASURE, None, rows, one.undefined or f"the labels show no {one.measure}")
    reach = 1.96 * math.sqrt(record.variance)
    return Measurement(
        measure=ERROR_MEASURE,
        value=record.mean,
        low=record.mean - reach,
        high=record.mean + reach,
        reference=0.0,
        rows=rows,
        detail=f"withdrawn beyond {WITHDRAWN * room(one):.3g}" if record.withdrawn else "",
    )


def _measurement(raw: Estimate, one: Estimate, usual: Usual, unit: float) -> Measurement:
    name, before = PREFIX + one.measure, usual.values.get(one.measure)
    if one.value is None or before is None:
        because = one.undefined or usual.undefined.get(one.measure, "the reference has no such value")
        return undefined(name, None, one.rows, because)
    corrected = max(one.error**2 - raw.error**2, 0.0)
    return Measurement(
        measure=name,
        value=one.value,
        low=one.low,
        high=one.high,
        reference=before,
        rows=one.rows,
        size=float(one.rows),
        reference_size=float(usual.rows),
        error=math.sqrt(raw.mix**2 + usual.wander.get(one.measure, 0.0) + corrected),
        reference_error=raw.mix * math.sqrt(one.rows / max(usual.rows, 1)),
        unit=unit if one.measure in _SCALED else 1.0,
        detail=f"labels have corrected it by {one.correction:+.3g}" if one.correction else "",
    )
