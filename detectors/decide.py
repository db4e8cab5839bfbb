"""From measures to verdicts and alerts: a pure step with a memory that is handed in and out."""

import hashlib
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from detectors import explain
from detectors.attribution.judging import attributed
from detectors.concept.judging import judge_concept
from detectors.estimation.judging import KIND as ESTIMATED
from detectors.estimation.judging import never_estimated
from detectors.judgement import (
    Decision,
    Judgement,
    KindState,
    SeriesState,
    Streak,
    Transition,
    Window,
)
from detectors.measurement import Measurement
from detectors.profile import Profile
from detectors.quality.judging import KIND as QUALITY
from detectors.quality.judging import Part, joined, judge_quality
from detectors.quality.units import MOVED
from detectors.reference import Reference
from detectors.segments import ALL, compared, own_of
from detectors.sequential.judging import findings_surprise, judge_sequence, service_limit
from detectors.service.judging import judge_service
from detectors.single import Told, judge
from detectors.standing import renewed
from detectors.thresholds import KINDS, false_alarm_shares
from detectors.values import Alert, AlertKind, Evidence, MetricPoint, Monitor

PERSISTENCE: Final = 2
"""Windows in a row: so many breaches begin an alert, so many clean windows end it."""
GROSS: Final = 3.0
GROSS_MEASURES: Final = frozenset({"missing_rate", "point_mass", "new_category_rate"})
"""A breach of one of these with this effect begins an alert at once: only damage explains it. A population
that moves leaves the known range too, so out_of_range_rate waits and fires together with its drift."""
CALM: Final = 0.8
"""While an alert fires, a measure is back only below this effect, so that one on the edge does not flap."""
EVIDENCE: Final = 10
SEQUENTIAL: Final = 5
"""Findings of the sequential tests that come before those of the window itself."""


def decide(
    window: Window,
    measurements: Sequence[Measurement],
    monitor: Monitor,
    reference: Reference,
    state: SeriesState,
    profile: Profile | None = None,
    told: Told | None = None,
) -> Judgement:
    """Verdicts on the measures of one window, the alerts that it begins or ends, and the next state.

    With the profile that was measured, sequential tests decide on alerts (see `detectors.sequential`): they
    compare all windows so far with the reference, keep the monitor's budget over all columns and scores, and the
    verdicts on single windows are only shown. Kinds of alert that they have no scores for are decided on as below.
    Windows of label arrival are looked at for concept drift, too (see `detectors.concept.judging`), those of events
    for what is wrong with the data themselves (`detectors.quality`). An alert says what carries it
    (`detectors.attribution`). A segment is compared with its own rows of the reference (`detectors.segments`), and its
    measures are given as compared with them. told: which measures are read (default: all); of the others there are
    those decisions only that an alert could rest on.

    Windows of a series (model, version, segment, axis) come in order, each once. A kind of alert fires
    when one of its measures breaches in `PERSISTENCE` windows in a row (or grossly, for data quality), is
    silent while it fires, and clears after as many windows without a breach. An undefined measure is no
    evidence either way: it neither begins an alert nor lets one end. Kinds without a measure in this window are left as
    they are; but what was estimated ends under a reference from which nothing can be estimated, and what the sequential
    tests have open ends under another reference.
    Raises `MonitorInvalid` when the budget cannot be kept.
    """
    own = own_of(reference, window.segment)
    if own.alone:
        measurements = [compared(own, found) for found in measurements]
    chances = false_alarm_shares(monitor, own.reference, is_segment=window.segment != ALL)
    kinds: dict[AlertKind, KindState] = {
        kind: renewed(one, [found for found in measurements if KINDS[found.measure] == kind])
        if one.standing.renew
        else one
        for kind, one in state.kinds.items()
    }
    found = judge(measurements, chances, kinds, told)
    sequential = judge_sequence(window, profile, monitor, reference, state.memory)
    concept = judge_concept(window, profile, monitor, own.reference, state.concept)
    judged: list[Decision] = []
    transitions: list[Transition] = []
    for kind in explain.KIND_NAMES:
        if kind not in found.kinds:
            continue
        mine = [decision for decision in found.decisions if decision.kind == kind]
        kinds[kind], since = _remember(kinds.get(kind, KindState()), mine, window, found.kinds[kind])
        if since:
            mine = [
                replace(one, change_us=since[_key(one)]) if one.verdict == "breach" else one for one in mine
            ]
        judged += mine
        if kind in sequential.kinds:
            continue
        kinds[kind], transition = _turn(kind, kinds[kind], mine, window)
        transitions += [transition] if transition else []
    untold = kinds.get(ESTIMATED)
    because = never_estimated(reference, own) if untold is not None and untold.firing else ""
    if untold is not None and because:
        kinds[ESTIMATED], transition = _end(
            ESTIMATED, untold, explain.untold(ESTIMATED, because), window.start_us
        )
        transitions += [transition] if transition else []
    for kind, firing in (sequential.kinds | concept.kinds).items():
        kinds[kind] = replace(kinds.get(kind, KindState()), firing=firing)
    transitions += [_with_breaches(one, judged) for one in sequential.transitions]
    transitions += concept.transitions
    limit = service_limit(window, profile, monitor, reference)
    service = judge_service(window, profile, limit, state.service)
    tests = Part(kinds.get(QUALITY, KindState()).told, [one for one in transitions if one.kind == QUALITY])
    others_fire = tests.firing or service.firing
    strange = any(one.measure == "ks" and (one.value or 0.0) >= MOVED for one in measurements)
    quality = judge_quality(
        window,
        profile,
        reference,
        state.quality,
        others_fire=others_fire,
        strange=strange,
        surprise=findings_surprise(window, profile, monitor, reference),
    )
    transitions = [one for one in transitions if one.kind != QUALITY]
    transitions += joined([quality.part, tests, Part(service.firing, service.transitions)])
    judged = [service.beside_usual(one) for one in judged]
    return Judgement(
        decisions=(
            *judged,
            *sequential.decisions,
            *concept.decisions,
            *quality.decisions,
            *service.decisions,
        ),
        transitions=tuple(
            attributed(one, window, profile, own, dict(monitor.importance)) for one in transitions
        ),
        state=replace(
            state,
            kinds=kinds,
            memory=sequential.memory,
            concept=concept.memory,
            quality=quality.memory,
            service=service.memory,
        ),
    )


def alert_from(window: Window, transition: Transition, monitor: Monitor, reference: Reference) -> Alert:
    """The alert of a transition, with up to ten breaches as evidence; its reason names the segment, wherever it is
    read. Equal inputs, equal id."""
    name = (window.model, window.version, window.segment, transition.kind, transition.state, window.axis)
    return Alert(
        id=_identity(*name, window.window, monitor.revision, reference.revision),
        model=window.model,
        version=window.version,
        segment=window.segment,
        kind=transition.kind,
        state=transition.state,
        axis=window.axis,
        window=window.window,
        start_us=window.start_us,
        end_us=window.end_us,
        change_us=transition.change_us,
        rows=window.rows,
        reason=transition.reason if window.segment == ALL else f"In {window.segment}: {transition.reason}",
        evidence=tuple(_evidence(decision) for decision in transition.decisions[:EVIDENCE]),
        attribution=transition.attribution,
        explained=transition.explained,
        parts=transition.parts,
        monitor_revision=monitor.revision,
        reference_revision=reference.revision,
    )


def point_from(
    window: Window, decision: Decision, monitor: Monitor, reference: Reference, revision: int = 1
) -> MetricPoint:
    """The metric point of a decision. Its id does not change with `revision`: a correction replaces it."""
    name = (window.model, window.version, window.segment, window.axis, window.window)
    return MetricPoint(
        id=_identity(*name, decision.measure, decision.feature or "", monitor.revision, reference.revision),
        model=window.model,
        version=window.version,
        segment=window.segment,
        axis=window.axis,
        window=window.window,
        start_us=window.start_us,
        end_us=window.end_us,
        rows=decision.rows,
        measure=decision.measure,
        feature=decision.feature,
        value=decision.value,
        low=decision.low,
        high=decision.high,
        naive=decision.naive,
        previous=decision.previous,
        reference=decision.reference,
        threshold=decision.threshold,
        verdict=decision.verdict,
        undefined=decision.undefined,
        detail=decision.detail,
        confusion=decision.confusion,
        monitor_revision=monitor.revision,
        reference_revision=reference.revision,
        revision=revision,
    )


def _remember(
    before: KindState, mine: Sequence[Decision], window: Window, is_fine: bool
) -> tuple[KindState, dict[str, int]]:
    """Streaks and clean windows after this one; and for every breach since when it has lasted. is_fine: whether a
    measure of the kind is."""
    streaks: dict[str, Streak] = dict(before.streaks)
    for decision in mine:
        if decision.verdict == "breach":
            past = streaks.get(_key(decision), Streak(windows=0, start_us=window.start_us))
            streaks[_key(decision)] = replace(past, windows=past.windows + 1)
        elif streaks and decision.verdict == "ok" and not (before.firing and decision.effect > CALM):
            streaks.pop(_key(decision), None)
    since = {_key(one): streaks[_key(one)].start_us for one in mine if one.verdict == "breach"}
    if streaks:
        return replace(before, streaks=streaks, clean=0), since
    if not is_fine:
        return before, since
    clean_us = before.clean_us if before.clean else window.start_us
    return replace(before, streaks=streaks, clean=before.clean + 1, clean_us=clean_us), since


def _turn(
    kind: AlertKind, state: KindState, mine: Sequence[Decision], window: Window
) -> tuple[KindState, Transition | None]:
    """Whether this window begins or ends an alert of the kind."""
    breaches = sorted(
        (one for one in mine if one.verdict == "breach"), key=lambda one: (-one.effect, _key(one))
    )
    if state.firing:
        if state.clean < PERSISTENCE:
            return state, None
        return _end(kind, state, explain.cleared(kind, state.clean), state.clean_us)
    lasting = [one for one in breaches if state.streaks[_key(one)].windows >= PERSISTENCE or _gross(one)]
    if not lasting:
        return state, None
    change_us = min(one.change_us for one in lasting if one.change_us is not None)
    return replace(state, firing=True), Transition(
        kind=kind,
        state="firing",
        change_us=change_us,
        reason=explain.firing(kind, lasting),
        decisions=(*lasting, *(one for one in breaches if one not in lasting)),
    )


def _end(
    kind: AlertKind, state: KindState, reason: str, change_us: int
) -> tuple[KindState, Transition | None]:
    """The alert is over; what a person has called expected ends in silence."""
    over = replace(state, firing=False, streaks={}, standing=replace(state.standing, expected=False))
    told = Transition(kind=kind, state="cleared", change_us=change_us, reason=reason)
    return over, told if state.told else None


def _with_breaches(transition: Transition, judged: Sequence[Decision]) -> Transition:
    """What the sequential tests found first, then what this window shows by itself."""
    if transition.state == "cleared":
        return transition
    mine = [one for one in judged if one.kind == transition.kind and one.verdict == "breach"]
    mine.sort(key=lambda one: (-one.effect, _key(one)))
    found = transition.decisions
    return replace(transition, decisions=(*found[:SEQUENTIAL], *mine, *found[SEQUENTIAL:]))


def _gross(decision: Decision) -> bool:
    return decision.measure in GROSS_MEASURES and decision.effect >= GROSS


def _key(decision: Decision) -> str:
    return f"{decision.measure}:{decision.feature or ''}"


def _evidence(decision: Decision) -> Evidence:
    if decision.value is None or decision.threshold is None:
        raise AssertionError(f"{decision.measure} was counted as a breach without a value")
    return Evidence(
        measure=decision.measure,
        feature=decision.feature,
        value=decision.value,
        reference=decision.reference,
        threshold=decision.threshold,
        rows=decision.rows,
        effect=decision.effect,
    )


def _identity(*parts: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]
