"""Whether a reference is of one piece: its second half against its first, before anything is compared with it."""

from typing import Final

import numpy as np

from detectors.decide import decide
from detectors.judgement import Decision, SeriesState, Window
from detectors.measures import measure
from detectors.performance import performance
from detectors.reference import Reference, build_reference
from detectors.sequential.blocks import Rows
from detectors.values import Monitor

LEAST: Final = 400
"""Rows of a reference below which its halves say nothing."""
_SHOWN: Final = 3


def contamination(reference: Reference, rows: Rows) -> tuple[Decision, ...]:
    """What differs between the halves of a reference by more than chance and by enough to matter, strongest first.

    rows: those that the reference was built of, in their order. The second half is judged as one window against the
    first, with the thresholds of a window and the default budget; a change in the middle that is told here is hidden in
    both halves of what alarms will compare with. Nothing is said of fewer than 400 rows.
    """
    if len(rows) < LEAST:
        return ()
    first, second = _halves(rows)
    specs = tuple(part.spec for part in reference.features)
    known = build_reference(
        reference.model,
        reference.version,
        first.features,
        specs,
        scores=first.scores,
        predictions=first.predictions,
        labels=first.labels,
        threshold=reference.threshold,
        task=reference.task,
        classes=reference.classes,
    )
    profile = second.profile(known)
    monitor = Monitor(model=reference.model, task=reference.task, features=specs)
    place = Window(
        model=reference.model,
        version=reference.version,
        axis="event",
        window="second half",
        start_us=0,
        end_us=1,
        rows=profile.rows,
    )
    found = [*measure(profile, known, monitor), *performance(profile, known)]
    judged = decide(place, found, monitor, known, SeriesState()).decisions
    breaches = [one for one in judged if one.verdict == "breach"]
    return tuple(sorted(breaches, key=lambda one: (-one.effect, one.measure, one.feature or "")))


def _halves(rows: Rows) -> tuple[Rows, Rows]:
    """The earlier and the later rows; of a season those of each phase, so that both halves have all phases alike."""
    later = np.arange(len(rows)) >= len(rows) // 2
    for phase in np.unique(rows.phases) if rows.phases is not None else ():
        inside = np.flatnonzero(rows.phases == phase)
        later[inside] = np.arange(len(inside)) >= len(inside) // 2
    return rows.part(np.flatnonzero(~later)), rows.part(np.flatnonzero(later))


def in_words(found: tuple[Decision, ...]) -> str | None:
    """One sentence, or None where the halves are alike."""
    if not found:
        return None
    best: dict[str, Decision] = {}
    for one in found:
        best.setdefault(one.feature or one.measure, one)
    told = "; ".join(one.reason for one in list(best.values())[:_SHOWN])
    more = len(best) - _SHOWN
    rest = f"; and {more} more" if more > 0 else ""
    return f"the second half of the reference differs from the first: {told}{rest}"
