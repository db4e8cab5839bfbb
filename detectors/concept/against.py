"""What a series is judged for concept drift with: its detectors, and the reference's own outcomes."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from detectors.concept.catalogue import watch
from detectors.concept.choice import detector_of, wanting
from detectors.concept.outcomes import CONFIDENCE_STRATA, outcome_pane
from detectors.concept.values import ConceptDetector, ConceptVerdict, Pane
from detectors.outcome_slots import BinarySlots, MulticlassSlots
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.sequential import families as f
from detectors.sequential.values import Dependence, ScoreName

LEAST_RUN: Final = 1_000.0
"""Fewer labelled rows between two false alarms are not accepted: nothing could be learned from such alarms."""


class Plan(NamedTuple):
    """The detectors of a series. `missing`: by name, why one cannot be had here."""

    detectors: tuple[ConceptDetector, ...]
    missing: dict[str, ConceptVerdict]


def plan_of(names: Sequence[str], reference: Reference, run_length: float, floor: float = 0.0) -> Plan:
    """The detectors of these names for the outcomes of a reference's task.

    run_length: independent rows without a change to a false alarm of all of them together; those that take the
    settings of their papers keep no such number. floor: the least lasting rise of the error rate that matters.
    """
    strata = 1 if reference.task == "regression" else CONFIDENCE_STRATA
    back = 1.0 if reference.task == "binary" else 0.0
    missing = {
        name: ConceptVerdict(level="undefined", undefined=because)
        for name in names
        if (because := wanting(name)) is not None
    }
    there = [name for name in names if name not in missing]
    options = (max(run_length, LEAST_RUN) * len(there), strata, back, floor)
    return Plan(tuple(detector_of(name, *options) for name in there), missing)


def dependence(reference: Reference) -> Dependence | None:
    """How errors that follow each other depend on each other in the reference; None where they do not."""
    if reference.baseline is None:
        return None
    family = f.ABSOLUTE if reference.task == "regression" else f.ERROR
    return reference.baseline.dependence.get(ScoreName(family=family).key)


def independent(pane: Pane, reference: Reference) -> Pane | str:
    """The pane as so many independent rows as it is worth, or why that is not known."""
    known = dependence(reference)
    if known is None:
        return pane
    return known.refused if known.refused else scaled(pane, 1 / known.inflation)


def scaled(pane: Pane, worth: float) -> Pane:
    """The pane with `worth` rows for each of its rows."""
    return Pane(
        count=pane.count * worth,
        total=pane.total * worth,
        counts=tuple(each * worth for each in pane.counts),
        totals=tuple(each * worth for each in pane.totals),
    )


def reference_pane(reference: Reference) -> Pane | str:
    """The reference's own outcomes as the first pane of a stream, or why there are none."""
    profile = Profile.empty(reference)
    slots, counters = profile.layout.outcomes, profile.counters
    if isinstance(slots, BinarySlots):
        counters[slots.confusion] = [reference.tp, reference.fp, reference.fn, reference.tn]
        places = slots.positive_scores, slots.negative_scores
    elif isinstance(slots, MulticlassSlots):
        counters[slots.confusion] = reference.confusion or 0
        places = slots.right_scores, slots.wrong_scores
    else:
        counters[slots.errors] = reference.errors or 0
        places = ()
    for place, known in zip(places, (reference.positive_scores, reference.negative_scores), strict=False):
        counters[place] = np.array(known, dtype=np.int64) if known else 0
    pane = outcome_pane(profile)
    if isinstance(pane, str):
        return pane
    return independent(scaled(pane, reference.effective_rows / reference.rows), reference)


def warm() -> None:
    """Compile, or read from disk, what a judge needs, so that no pane waits for it."""
    for strata in (1, CONFIDENCE_STRATA):
        detector = watch(strata=strata)
        detector.update(detector.start(), Pane(count=1.0, total=0.0))
