"""What people said about alerts, as the judge takes it: before a window, in the order in which it was said."""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec.structs import replace

from detectors import explain, standing
from detectors.concept.feedback import is_firing
from detectors.concept.feedback import say as say_on_concept
from detectors.concept.feedback import take_back as take_back_on_concept
from detectors.concept.telling import KIND as CONCEPT
from detectors.concept.telling import rates_of
from detectors.judgement import Decision, KindState, SeriesState, Transition, Window
from detectors.quality import feedback as on_findings
from detectors.reference import Reference
from detectors.sequential.feedback import EFFECTS_IN_WORDS, say, take_back
from detectors.sequential.judging import plan_for
from detectors.sequential.plan import Plan
from detectors.sequential.values import Memory
from detectors.service import judging as on_service
from detectors.values import AlertKind, Axis, Monitor, Value

Saying = Literal["false alarm", "expected", "new normal", "taken back"]
QUALITY: Final[AlertKind] = "data_quality"
HEARD_KINDS: Final[frozenset[AlertKind]] = frozenset(explain.KIND_NAMES)
"""Kinds of alert that a person can say something about: all."""
REMEMBERED: Final = 64
"""Statements whose ids a series remembers."""


class Statement(Value, frozen=True, kw_only=True):
    """What a person said about an alert of a series. `about`: the alert's id, or that of the statement that is taken
    back. It is heard before the first window that begins at or after `after_us`, the end of the alert's window."""

    id: str
    model: str
    version: str
    segment: str = "all"
    axis: Axis
    kind: AlertKind
    said: Saying
    about: str
    after_us: int
    by: str
    why: str = ""
    said_us: int = 0


def hear(
    window: Window,
    statements: Sequence[Statement],
    monitor: Monitor,
    reference: Reference,
    state: SeriesState,
) -> tuple[SeriesState, tuple[Transition, ...]]:
    """Take statements before this window of their series; gives the state with which to decide about it, and the
    alerts that end, or begin again, by what was said. One about an incident that is over by itself changes nothing."""
    plan, transitions = plan_for(window, monitor, reference), list[Transition]()
    for one in statements:
        was, state = state, _taken(plan, state, one)
        fires = is_told(state, one.kind)
        if fires == is_told(was, one.kind):
            continue
        transitions.append(
            Transition(
                kind=one.kind,
                state="firing" if fires else "cleared",
                change_us=_since_us(state, one.kind, window) if fires else window.start_us,
                reason=in_words(one),
                decisions=_evidence(plan, state, one.kind, window) if fires else (),
            )
        )
    heard = (*state.heard, *(one.id for one in statements))[-REMEMBERED:]
    return replace(state, heard=heard), tuple(transitions)


def is_told(state: SeriesState, kind: AlertKind) -> bool:
    """Whether an alert of a kind is open in this series that nobody has called expected: of the tests, of what looks
    at the data besides them, or of single windows."""
    if kind == CONCEPT:
        return is_firing(state.concept)
    track = None if state.memory is None else state.memory.tracks.get(kind)
    if track is not None:
        found = track.opened is not None and not track.opened.expected
    else:
        found = kind in state.kinds and state.kinds[kind].told
    if kind != QUALITY:
        return found
    service, quality = state.service, state.quality
    return found or (service is not None and service.firing) or (quality is not None and bool(quality.open))


def in_words(statement: Statement) -> str:
    """Who said what, and what it does."""
    name, why = explain.KIND_NAMES[statement.kind], f" ({statement.why})" if statement.why else ""
    if statement.said == "taken back":
        return f"{name}: {statement.by} took back what was said{why}; it is as it was before."
    effect = EFFECTS_IN_WORDS[statement.said]
    return f"{name}: {statement.by} said: {statement.said}{why}; {effect}."


def _taken(plan: Plan, state: SeriesState, statement: Statement) -> SeriesState:
    """The state after a statement: all that decides on the kind hears it."""
    kind = statement.kind
    if kind == CONCEPT:
        if state.concept is None:
            return state
        after = (
            take_back_on_concept(state.concept, statement.about)
            if statement.said == "taken back"
            else say_on_concept(state.concept, statement.said, statement.id)
        )
        known = state.kinds.get(CONCEPT, KindState())
        return replace(
            state, concept=after, kinds=state.kinds | {CONCEPT: replace(known, firing=is_firing(after))}
        )
    memory = state.memory
    if memory is not None and kind in memory.tracks:
        memory = _taken_by_tests(plan, memory, statement)
        known = replace(state.kinds.get(kind, KindState()), firing=_is_firing(memory, kind))
    elif statement.said == "taken back":
        known = standing.take_back(state.kinds.get(kind, KindState()), statement.about)
    else:
        known = standing.say(state.kinds.get(kind, KindState()), statement.said, statement.id)
    state = replace(state, memory=memory, kinds=state.kinds | {kind: known})
    return _taken_by_data(state, statement) if kind == QUALITY else state


def _taken_by_data(state: SeriesState, statement: Statement) -> SeriesState:
    service, quality = state.service, state.quality
    if statement.said == "taken back":
        return replace(
            state,
            service=service and on_service.take_back(service, statement.about),
            quality=quality and on_findings.take_back(quality, statement.about),
        )
    return replace(
        state,
        service=service and on_service.say(service, statement.said, statement.id),
        quality=quality and on_findings.say(quality, statement.said, statement.id),
    )


def _taken_by_tests(plan: Plan, memory: Memory, statement: Statement) -> Memory:
    if statement.said != "taken back":
        return say(plan, memory, statement.kind, statement.said, statement.id)
    place = next((i for i, one in enumerate(memory.feedback) if one.id == statement.about), None)
    return memory if place is None or memory.plan != plan.name else take_back(memory, place)


def _is_firing(memory: Memory, kind: str) -> bool:
    track = memory.tracks.get(kind)
    return track is not None and track.opened is not None and not track.opened.expected


def _since_us(state: SeriesState, kind: AlertKind, window: Window) -> int:
    """Since when what is told again goes on, as far as that is known."""
    if kind == CONCEPT and state.concept is not None and state.concept.opened is not None:
        return state.concept.opened.since_us
    tracks = [] if state.memory is None else [state.memory.tracks.get(kind)]
    if kind == QUALITY and state.service is not None:
        tracks.append(state.service.track)
    since = [one.opened.since_us for one in tracks if one is not None and one.opened is not None]
    return min(since, default=window.start_us)


def _evidence(plan: Plan, state: SeriesState, kind: AlertKind, window: Window) -> tuple[Decision, ...]:
    if kind == CONCEPT and state.concept is not None:
        return rates_of(state.concept, window.rows)
    return (
        () if state.memory is None or kind not in state.memory.tracks else _scores(plan, state.memory, kind)
    )


def _scores(plan: Plan, memory: Memory, kind: AlertKind) -> tuple[Decision, ...]:
    """The scores that told an incident, as they had moved then."""
    opened = memory.tracks[kind].opened
    track = next((one for one in plan.tracks if one.kind == kind), None)
    if opened is None or track is None:
        return ()
    return tuple(
        Decision(
            kind=kind,
            measure=track.names[k].family,
            feature=track.names[k].column or None,
            value=moved,
            reference=0.0,
            threshold=float(track.figures[4, k]),
            effect=abs(moved) / float(track.figures[4, k]) if track.figures[4, k] else 0.0,
            verdict="breach",
            change_us=opened.since_us,
        )
        for k, moved in zip(opened.scores, opened.moved, strict=True)
    )
