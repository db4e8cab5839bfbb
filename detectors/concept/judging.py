"""Concept drift as `detectors.decide` uses it: one window of label arrival of one series, with its profile."""

import math
from typing import Final, NamedTuple

from msgspec.structs import replace

from detectors.concept.against import Plan, independent, plan_of, reference_pane
from detectors.concept.feedback import is_firing
from detectors.concept.outcomes import outcome_pane
from detectors.concept.telling import KIND, clearing, decision_of, opening, reached
from detectors.concept.values import ConceptMemory, ConceptVerdict, OpenDrift, Pane
from detectors.judgement import Decision, Transition, Window
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.sequential.budget import part_of
from detectors.values import AlertKind, Monitor

SERIES: Final = 16
"""Series that the budget of the segments is split among, for each column that they are made of."""
MARKS: Final = 48
"""Windows among which the moment of a change is looked for; of the older ones every second is forgotten."""
OVER: Final = math.log(100.0)
"""Log-likelihood ratio of "as before" over "as since the change" that ends an incident."""
CALM: Final = 2
"""Windows in a row that it takes at least."""
FLOOR: Final = 0.01
"""A rise of the error rate that is worth a person's time; a stream that is no worse than the reference by so much has
no drift that matters."""
SURE: Final = 3.0
"""Standard errors by which errors exceed what the model's confidence explains, to count as another concept."""


class Concept(NamedTuple):
    """What the detectors of concept drift say of a window. `kinds`: whether an incident is open, where they decide."""

    kinds: dict[AlertKind, bool]
    decisions: tuple[Decision, ...] = ()
    transitions: tuple[Transition, ...] = ()
    memory: ConceptMemory | None = None


class Found(NamedTuple):
    """What one window changed. `drifted`: the detectors that found a drift, with what they say."""

    memory: ConceptMemory
    told: dict[str, ConceptVerdict]
    drifted: list[ConceptVerdict]


def judge_concept(
    window: Window,
    profile: Profile | None,
    monitor: Monitor,
    reference: Reference,
    memory: ConceptMemory | None,
) -> Concept:
    """Take one window of label arrival. On the other axis and without a profile nothing is said, and what was known is
    remembered; where the monitor names no detector it is forgotten.

    A drift is told when a detector finds one, the error rate is above the reference's by `FLOOR`, and it is not
    explained by more rows of which the model was unsure. It is over when the rows are like before it again.
    """
    if profile is None or window.axis != "label":
        return Concept({}, memory=memory)
    if not monitor.concept:
        if not is_firing(memory):
            return Concept({})
        return Concept({KIND: False}, (), (clearing(window.start_us, "it is no longer looked for"),))
    name = f"{reference.revision} {' '.join(monitor.concept)}"
    before = memory or ConceptMemory()
    closing: list[Transition] = []
    if before.plan != name:
        if is_firing(before):
            closing.append(clearing(window.start_us, "the reference or the detectors are other ones"))
        before = ConceptMemory(plan=name)
    pane = outcome_pane(profile)
    pane = pane if isinstance(pane, str) else independent(pane, reference)
    if isinstance(pane, str):
        undefined = ConceptVerdict(level="undefined", undefined=pane)
        shown = decision_of(monitor.concept[0], undefined, window.rows, is_open=is_firing(before))
        return Concept({KIND: is_firing(before)}, (shown,), tuple(closing), before)
    before = _counted(before, pane, window)
    plan = plan_of(monitor.concept, reference, _run_length(before, monitor, window), FLOOR)
    found = _shown(plan, _begun(before, plan, reference), pane, window)
    told, after = _decided(found, plan, reference, pane, (window, profile))
    is_open = is_firing(after)
    decisions = tuple(
        decision_of(detector, verdict, window.rows, is_open=is_open)
        for detector, verdict in found.told.items()
    )
    return Concept({KIND: is_open}, decisions, (*closing, *told), after)


def _counted(memory: ConceptMemory, pane: Pane, window: Window) -> ConceptMemory:
    return replace(
        memory,
        windows=memory.windows + 1,
        rows=memory.rows + pane.count,
        span_s=memory.span_s + (window.end_us - window.start_us) / 1e6,
    )


def _run_length(memory: ConceptMemory, monitor: Monitor, window: Window) -> float:
    """Independent rows to a false alarm: the budget is told in windows or in time, and the pace of the rows so far says
    how many rows that is."""
    budget, is_segment = monitor.budget, window.segment != "all"
    segments = SERIES * len(monitor.segments)
    part = part_of(KIND, (KIND,), labels=True, segments=segments, is_segment=is_segment) / memory.caution
    if budget.every_s > 0:
        return budget.every_s / budget.incidents / part * memory.rows / max(memory.span_s, 1e-6)
    return budget.windows / budget.incidents / part * memory.rows / memory.windows


def _begun(memory: ConceptMemory, plan: Plan, reference: Reference) -> ConceptMemory:
    """With the reference's own outcomes as the first pane; without labels in the reference the first rows of the stream
    are the baseline."""
    if memory.states:
        return memory
    first = reference_pane(reference)
    states = {detector.name: detector.start() for detector in plan.detectors}
    if isinstance(first, str):
        return replace(memory, states=states, seen=0.0, wrong=0.0, marks=())
    for detector in plan.detectors:
        states[detector.name] = detector.update(states[detector.name], first)[0]
    return replace(memory, states=states, seen=first.count, wrong=first.total, marks=())


def _shown(plan: Plan, memory: ConceptMemory, pane: Pane, window: Window) -> Found:
    """Every detector takes the pane."""
    told = dict(plan.missing)
    states = dict(memory.states)
    for detector in plan.detectors:
        state = states.get(detector.name) or detector.start()
        states[detector.name], told[detector.name] = detector.update(state, pane)
    marks = (*memory.marks, (memory.seen, window.start_us))
    if len(marks) > MARKS:
        marks = (*marks[: MARKS // 2 : 2], *marks[MARKS // 2 :])
    after = replace(memory, states=states, marks=marks, recent=_recent(memory, pane))
    drifted = [_completed(verdict, memory, pane) for verdict in told.values() if verdict.drift]
    seen, wrong = memory.seen + pane.count, memory.wrong + pane.total
    return Found(replace(after, seen=seen, wrong=wrong), told, drifted)


def _recent(memory: ConceptMemory, pane: Pane) -> tuple[tuple[float, ...], tuple[float, ...]]:
    counts, totals = memory.recent
    if len(counts) != len(pane.counts):
        return pane.counts, pane.totals
    return (
        tuple(old / 2 + new for old, new in zip(counts, pane.counts, strict=True)),
        tuple(old / 2 + new for old, new in zip(totals, pane.totals, strict=True)),
    )


def _completed(verdict: ConceptVerdict, before: ConceptMemory, pane: Pane) -> ConceptVerdict:
    """With the mean on both sides and where the change lies, also from a detector that does not say so: then it is
    this window."""
    if verdict.before is not None and verdict.after is not None and verdict.since is not None:
        return verdict
    usual = before.wrong / before.seen if before.seen > 0 else 0.0
    return replace(verdict, since=pane.count, before=usual, after=pane.total / pane.count)


def _decided(
    found: Found, plan: Plan, reference: Reference, pane: Pane, seen: tuple[Window, Profile]
) -> tuple[list[Transition], ConceptMemory]:
    """Whether an incident begins, goes further or ends."""
    memory, (window, profile) = found.memory, seen
    if found.drifted:
        verdict = max(found.drifted, key=reached)
        anew = {detector.name: detector.start() for detector in plan.detectors}
        blank = replace(memory, states=anew, marks=(), seen=0.0, wrong=0.0, recent=((), ()))
        if memory.opened is None and _as_in(reference, verdict):
            return [], replace(blank, states={})
        if memory.opened is None and _explained(memory, reference):
            return [], blank
        drift = _opened(verdict, memory.opened, _time_of(verdict, memory, window))
        told = opening(verdict, drift, (window, profile), reference, further=memory.opened is not None)
        return [] if drift.expected else [told], replace(blank, opened=drift)
    if memory.opened is None:
        return [], memory
    drift = _return(memory.opened, pane, window)
    if drift.back < OVER or drift.calm < CALM:
        return [], replace(memory, opened=drift)
    over = clearing(drift.calm_us, f"errors are as frequent as before it for {drift.calm} windows in a row")
    anew = replace(memory, states={}, marks=(), seen=0.0, wrong=0.0, recent=((), ()), opened=None)
    return [] if drift.expected else [over], anew


def _as_in(reference: Reference, verdict: ConceptVerdict) -> bool:
    """Whether the stream is no worse than the reference: then the reference is the baseline again."""
    first = reference_pane(reference)
    if isinstance(first, str):
        return False
    return (verdict.after or 0.0) < first.total / first.count + FLOOR


def _explained(memory: ConceptMemory, reference: Reference) -> bool:
    """Whether more rows of which the model is unsure explain the errors: then these rows are the new baseline.

    The errors that the reference's rates by stratum lead to expect among the recent rows; what is left is more than
    half of the rise, or more than chance, where the concept is another one.
    """
    first = reference_pane(reference)
    counts, totals = memory.recent
    if isinstance(first, str) or not counts or not first.counts:
        return False
    common = first.total / first.count
    rates = [(wrong + common) / (rows + 1) for wrong, rows in zip(first.totals, first.counts, strict=True)]
    expected = sum(count * rate for count, rate in zip(counts, rates, strict=True))
    spread = sum(count * rate * (1 - rate) for count, rate in zip(counts, rates, strict=True))
    left = sum(totals) - expected
    return 2 * left < sum(totals) - sum(counts) * common and left < SURE * math.sqrt(spread)


def _opened(verdict: ConceptVerdict, known: OpenDrift | None, since_us: int) -> OpenDrift:
    before, after = verdict.before or 0.0, verdict.after or 0.0
    if known is None:
        return OpenDrift(since_us=since_us, before=before, after=max(after, before + FLOOR))
    return replace(known, after=max(known.after, after), back=0.0, calm=0)


def _time_of(verdict: ConceptVerdict, memory: ConceptMemory, window: Window) -> int:
    """The start of the window in which the change lies, the latest that begins at or before it."""
    place = memory.seen - (verdict.since or 0.0)
    inside = [start_us for rows, start_us in memory.marks if rows <= place + 0.5]
    return inside[-1] if inside else memory.marks[0][1] if memory.marks else window.start_us


def _return(drift: OpenDrift, pane: Pane, window: Window) -> OpenDrift:
    before, after = (min(max(rate, 1e-4), 1 - 1e-4) for rate in (drift.before, drift.after))
    like_before = pane.total * math.log(before / after)
    like_before += (pane.count - pane.total) * math.log((1 - before) / (1 - after))
    back = max(0.0, drift.back + like_before)
    if like_before <= 0:
        return replace(drift, back=back, calm=0)
    calm_us = drift.calm_us if drift.calm else window.start_us
    return replace(drift, back=back, calm=drift.calm + 1, calm_us=calm_us)
