"""Measures of what a model said, against the reference, by its task."""

from functools import lru_cache
from typing import Final

import numpy as np
from msgspec.structs import replace

from detectors.columns import Column, Integers
from detectors.distances import Grouped, grouped_psi, ks
from detectors.measurement import MINIMUM_ROWS, Measurement, undefined
from detectors.outcome_slots import BinarySlots, MulticlassSlots
from detectors.profile import Profile
from detectors.reference import Reference

CONSTANT: Final = "the reference is constant"


def output_measures(profile: Profile, reference: Reference, worth: float) -> list[Measurement]:
    """Binary: positive_rate, score_psi, score_ks. Multiclass: class_psi, score_psi, score_ks. Regression:
    prediction_psi, prediction_ks. worth: independent rows per counted row."""
    layout, counters = profile.layout, profile.counters
    predicted = int(counters[layout.predicted])
    because = too_few(predicted, "predictions")
    if reference.predicted == 0:
        because = "the reference has no predictions"
    slots = layout.outcomes
    if isinstance(slots, BinarySlots):
        rate = _positive_rate(int(counters[slots.positive]), predicted, reference, worth, because)
        return [rate, *_score_distances(profile, reference, worth)]
    base = Measurement(
        measure="class_psi" if isinstance(slots, MulticlassSlots) else "prediction_psi",
        rows=predicted,
        size=predicted * worth,
        reference_size=reference.predicted * _ratio(reference),
    )
    window, before = counters[slots.said], np.array(reference.said, dtype=np.int64)
    if isinstance(slots, MulticlassSlots):
        return [
            undefined(base.measure, None, predicted, because)
            if because
            else with_psi(base, window, worth, before * _ratio(reference), False),
            *_score_distances(profile, reference, worth),
        ]
    return _distances(base, "prediction", window, before, because, worth, _ratio(reference))


def _ratio(reference: Reference) -> float:
    return reference.effective_rows / reference.rows


def _positive_rate(
    positive: int, predicted: int, reference: Reference, worth: float, because: str | None
) -> Measurement:
    if because:
        return undefined("positive_rate", None, predicted, because)
    return Measurement(
        measure="positive_rate",
        value=positive / predicted,
        reference=reference.predicted_positive / reference.predicted,
        rows=predicted,
        size=predicted * worth,
        reference_size=reference.predicted * _ratio(reference),
    )


def _score_distances(profile: Profile, reference: Reference, worth: float) -> list[Measurement]:
    window, before = (
        profile.counters[profile.layout.scores],
        np.array(reference.scores or (0,), dtype=np.int64),
    )
    scored, ratio = int(window.sum()), _ratio(reference)
    because = too_few(scored, "scores") if before.sum() else "the reference has no scores"
    base = Measurement(
        measure="score_psi", rows=scored, size=scored * worth, reference_size=float(before.sum()) * ratio
    )
    return _distances(base, "score", window, before, because, worth, ratio)


def _distances(
    base: Measurement,
    what: str,
    window: Integers,
    before: Integers,
    because: str | None,
    worth: float,
    ratio: float,
) -> list[Measurement]:
    """PSI and KS distance of two histograms along a line."""
    if because:
        return [undefined(f"{what}_{name}", None, base.rows, because) for name in ("psi", "ks")]
    return [
        with_psi(replace(base, measure=f"{what}_psi"), window, worth, before * ratio, True),
        with_ks(replace(base, measure=f"{what}_ks"), window, before),
    ]


def with_psi(
    base: Measurement, window: Integers, worth: float, reference: Column, ordered: bool
) -> Measurement:
    """The measurement with the PSI of two histograms as its value, or undefined. worth: independent rows per row of the
    window; those of the reference are counted already."""
    before = _grouped(reference.tobytes(), ordered)
    if before.occupied < 2:
        return undefined(base.measure, base.feature, base.rows, CONSTANT)
    value = grouped_psi(window, worth, before.group, before.counts)
    return replace(base, value=value, reference=None, groups=len(before.counts))


@lru_cache(maxsize=4_096)
def _grouped(reference: bytes, ordered: bool) -> Grouped:
    """Remembered, because every window asks again."""
    return Grouped.of(np.frombuffer(reference), ordered=ordered)


def with_ks(base: Measurement, window: Integers, reference: Integers) -> Measurement:
    """The measurement with the KS distance of two histograms as its value, or undefined."""
    if np.count_nonzero(reference) < 2:
        return undefined(base.measure, base.feature, base.rows, CONSTANT)
    return replace(base, value=ks(window, reference), reference=None)


def too_few(rows: int, what: str) -> str | None:
    """Why so few rows say nothing, or None where they are enough."""
    return f"there are only {rows} {what}; it takes {MINIMUM_ROWS}" if rows < MINIMUM_ROWS else None
