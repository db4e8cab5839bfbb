"""Verdicts of concept drift as decisions and transitions that the judge tells."""

import math
from typing import Final, NamedTuple

import numpy as np

from detectors import explain
from detectors.concept.values import ConceptMemory, ConceptVerdict, OpenDrift
from detectors.concept.words import GREAT, sentence
from detectors.judgement import Decision, Transition, Window
from detectors.outcome_slots import BinarySlots, MulticlassSlots
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.sequential import families as f
from detectors.sequential.verdicts import EVIDENCE_SUFFIX
from detectors.task_scores import ClassCounts
from detectors.values import AlertKind

KIND: Final[AlertKind] = "concept_drift"
LARGE_ERRORS: Final = "large_error_share"
TOLD: Final = 3
CLEAR: Final = 3.0
"""Standard errors by which a share has to have moved to be told."""
_LEAST: Final = 5
_WORDS: Final = {
    f.MISS: "of the rows that are {item}, {now} are missed (before {before})",
    f.FALSE_ALARM: "of the rows that are predicted positive, {now} are not (before {before})",
}


class Share(NamedTuple):
    """So many of so many rows."""

    part: float
    rows: float

    @property
    def value(self) -> float:
        """The share."""
        return self.part / self.rows if self.rows else 0.0


def decision_of(detector: str, verdict: ConceptVerdict, rows: int, *, is_open: bool) -> Decision:
    """What a detector says of one window, as a measure of its own: the evidence on a scale on which an alarm is 1."""
    measure = f"{KIND if detector == 'watch' else detector}{EVIDENCE_SUFFIX}"
    if verdict.undefined is not None:
        return Decision(
            kind=KIND, measure=measure, rows=rows, verdict="undefined", undefined=verdict.undefined
        )
    value = reached(verdict)
    state = "an incident is open" if is_open else "no incident is open"
    return Decision(
        kind=KIND,
        measure=measure,
        value=value,
        threshold=1.0,
        rows=rows,
        effect=value,
        verdict="breach" if is_open else "ok",
        reason=f"evidence of another concept {value:.2f} (alarm from 1); {state}",
    )


def reached(verdict: ConceptVerdict) -> float:
    """How near a drift is: the statistic as a part of its threshold (of a sum, on the logarithm); of a detector that
    has no such number 0, at a warning one half, at a drift 1."""
    if verdict.statistic is None or verdict.threshold is None:
        return {"drift": 1.0, "warning": 0.5}.get(verdict.level, 0.0)
    if verdict.threshold < GREAT:
        return verdict.statistic / verdict.threshold
    return math.log(max(verdict.statistic, 1.0)) / math.log(verdict.threshold)


def opening(
    verdict: ConceptVerdict,
    drift: OpenDrift,
    seen: tuple[Window, Profile],
    reference: Reference,
    *,
    further: bool,
) -> Transition:
    """The beginning of an incident, or a further change in it: the error rate first, then what else of the outcomes has
    changed most."""
    window, profile = seen
    what = "the share of large errors" if reference.task == "regression" else "the error rate"
    before, after = verdict.before or 0.0, verdict.after or 0.0
    effect = max(reached(verdict), 1.0)
    rate = _decision(
        LARGE_ERRORS if reference.task == "regression" else f.ERROR,
        (before, after),
        round(verdict.since or window.rows),
        effect,
        drift,
        what,
    )
    parts = _parts(profile, reference, drift)
    begins = explain.KIND_NAMES[KIND] + (" has gone further" if further else "")
    words = [sentence(verdict, what), *(one.reason for one in parts[:TOLD])]
    return Transition(
        kind=KIND,
        state="firing",
        change_us=drift.since_us if not further else window.start_us,
        reason=f"{begins}: {'; '.join(words)}.",
        decisions=(rate, *parts),
    )


def rates_of(memory: ConceptMemory, rows: int) -> tuple[Decision, ...]:
    """The error rate on both sides of the drift that is open."""
    drift = memory.opened
    if drift is None:
        return ()
    return (_decision(f.ERROR, (drift.before, drift.after), rows, 1.0, drift, "the error rate changed"),)


def clearing(since_us: int, because: str) -> Transition:
    """The end of an incident."""
    return Transition(
        kind=KIND, state="cleared", change_us=since_us, reason=f"{explain.KIND_NAMES[KIND]}: {because}."
    )


def _parts(profile: Profile, reference: Reference, drift: OpenDrift) -> list[Decision]:
    """Shares of the outcomes of this window that are worse than in the reference, the surest first."""
    found: list[tuple[float, Decision]] = []
    for family, item, now, before in _shares(profile, reference):
        if min(now.rows, before.rows) < _LEAST:
            continue
        pooled = (now.part + before.part + 1) / (now.rows + before.rows + 2)
        error = math.sqrt(pooled * (1 - pooled) * (1 / now.rows + 1 / before.rows))
        surely = (now.value - before.value) / error
        if surely > CLEAR:
            told = {"now": explain.percent(now.value), "before": explain.percent(before.value), "item": item}
            rates, words = (before.value, now.value), _WORDS[family].format(**told)
            found.append((surely, _decision(family, rates, round(now.rows), surely / CLEAR, drift, words)))
    return [decision for _, decision in sorted(found, key=lambda one: -one[0])]


def _shares(profile: Profile, reference: Reference) -> list[tuple[str, str, Share, Share]]:
    slots = profile.layout.outcomes
    if isinstance(slots, BinarySlots):
        now = profile.confusion
        return [
            (
                f.MISS,
                "positive",
                Share(now.fn, now.tp + now.fn),
                Share(reference.fn, reference.tp + reference.fn),
            ),
            (
                f.FALSE_ALARM,
                "",
                Share(now.fp, now.tp + now.fp),
                Share(reference.fp, reference.tp + reference.fp),
            ),
        ]
    if not isinstance(slots, MulticlassSlots) or not reference.confusion:
        return []
    counts = [ClassCounts.of(each) for each in (profile.counters[slots.confusion], reference.confusion)]
    (labels, right), (known, known_right) = (
        (np.asarray(one.labels), np.asarray(one.right)) for one in counts
    )
    return [
        (
            f.MISS,
            repr(name),
            Share(labels[i] - right[i], labels[i]),
            Share(known[i] - known_right[i], known[i]),
        )
        for i, name in enumerate(reference.classes[: slots.classes - 1])
    ]


def _decision(
    family: str,
    rates: tuple[float, float],
    rows: int,
    effect: float,
    drift: OpenDrift,
    reason: str,
) -> Decision:
    """A share that has risen; the threshold is where the same evidence would just have been enough."""
    before, now = rates
    return Decision(
        kind=KIND,
        measure=family,
        value=float(now),
        reference=float(before),
        threshold=float(before + (now - before) / effect),
        rows=rows,
        effect=float(effect),
        verdict="breach",
        reason=reason,
        change_us=drift.since_us,
    )
