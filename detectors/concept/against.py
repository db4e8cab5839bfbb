"""Concept drift of a series, judged pane by pane against its reference and within its monitor's budget."""

from typing import Final

import numpy as np

from detectors.concept.catalogue import watch
from detectors.concept.online import WatchDetector
from detectors.concept.outcomes import CONFIDENCE_STRATA, outcome_pane
from detectors.concept.values import ConceptState, ConceptVerdict, Pane
from detectors.outcome_slots import BinarySlots, MulticlassSlots
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.values import Monitor

LEAST_RUN: Final = 1_000.0
"""Fewer labelled rows between two false alarms are not accepted: nothing could be learned from such alarms."""


def concept_detector(monitor: Monitor, reference: Reference, share: float = 0.1) -> WatchDetector:
    """The detector of a series of label arrival. share: the part of the monitor's budget that concept drift has.

    The budget is told in windows; one of labels has `label_window_rows` rows.
    """
    windows = monitor.budget.windows / monitor.budget.incidents
    run_length = max(windows * monitor.label_window_rows / share, LEAST_RUN)
    strata = 1 if reference.task == "regression" else CONFIDENCE_STRATA
    return watch(run_length, strata=strata, back=1.0 if reference.task == "binary" else 0.0)


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
        return outcome_pane(profile)
    for place, known in zip(places, (reference.positive_scores, reference.negative_scores), strict=True):
        counters[place] = np.array(known, dtype=np.int64) if known else 0
    return outcome_pane(profile)


def begin(detector: WatchDetector, reference: Reference) -> ConceptState:
    """The state before the first pane: what the reference's outcomes were is known. Without labels in the reference
    the first rows of the stream are the baseline."""
    first = reference_pane(reference)
    return detector.start() if isinstance(first, str) else detector.update(detector.start(), first)[0]


def judge_pane(
    detector: WatchDetector, state: ConceptState, profile: Profile
) -> tuple[ConceptState, ConceptVerdict]:
    """The state after a pane of label arrival, and what the pane brought to light. After a drift the state is blank:
    the rows that follow are the new baseline."""
    pane = outcome_pane(profile)
    if isinstance(pane, str):
        return state, ConceptVerdict(level="undefined", undefined=pane)
    return detector.update(state, pane)


def warm() -> None:
    """Compile, or read from disk, what a judge needs, so that no pane waits for it."""
    for strata in (1, CONFIDENCE_STRATA):
        detector = watch(strata=strata)
        detector.update(detector.start(), Pane(count=1.0, total=0.0))
