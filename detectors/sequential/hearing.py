"""What people said about alerts, as the judge takes it: before a window, in the order in which it was said."""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec.structs import replace

from detectors import explain
from detectors.concept.feedback import is_firing
from detectors.concept.feedback import say as say_on_concept
from detectors.concept.feedback import take_back as take_back_on_concept
from detectors.concept.telling import KIND as CONCEPT
from detectors.concept.telling import rates_of
from detectors.judgement import Decision, KindState, SeriesState, Transition, Window
from detectors.reference import Reference
from detectors.sequential.feedback import EFFECTS_IN_WORDS, say, take_back
from detectors.sequential.judging import plan_for
from detectors.sequential.plan import Plan
from detectors.sequential.values import Memory
from detectors.values import AlertKind, Axis, Monitor, Value

Saying = Literal["false alarm", "expected", "new normal", "taken back"]
HEARD_KINDS: Final[frozenset[AlertKind]] = frozenset(
    {"data_quality", "data_drift", "prediction_drift", "performance", CONCEPT}
)
"""Kinds of alert that a person can say something about: those that are decided on over many windows."""
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
    plan, memory = plan_for(window, monitor, reference), state.memory or Memory()
    kinds, transitions = dict(state.kinds), list[Transition]()
    for one in statements:
        if one.kind == CONCEPT:
            state, told = _heard_on_concept(window, one, state)
            transitions += told
            kinds[CONCEPT] = replace(kinds.get(CONCEPT, KindState()), firing=is_firing(state.concept))
            continue
        was, memory = memory, _taken(plan, memory, one)
        if memory is was:
            continue
        firing = _is_firing(memory, one.kind)
        if firing == _is_firing(was, one.kind):
            continue
        kinds[one.kind] = replace(kinds.get(one.kind, KindState()), firing=firing)
        transitions.append(
            Transition(
                kind=one.kind,
                state="firing" if firing else "cleared",
                change_us=_since_us(memory, one.kind, window) if firing else window.start_us,
                reason=in_words(one),
                decisions=_scores(plan, memory, one.kind) if firing else (),
            )
        )
    heard = (*state.heard, *(one.id for one in statements))[-REMEMBERED:]
    return replace(state, kinds=kinds, memory=memory if state.memory else None, heard=heard), tuple(
        transitions
    )


def _heard_on_concept(
    window: Window, statement: Statement, state: SeriesState
) -> tuple[SeriesState, list[Transition]]:
    was = state.concept
    if was is None:
        return state, []
    if statement.said == "taken back":
        after = take_back_on_concept(was, statement.about)
    else:
        after = say_on_concept(was, statement.said, statement.id)
    fires = is_firing(after)
    if fires == is_firing(was):
        return replace(state, concept=after), []
    told = Transition(
        kind=CONCEPT,
        state="firing" if fires else "cleared",
        change_us=after.opened.since_us if after.opened is not None and fires else window.start_us,
        reason=in_words(statement),
        decisions=rates_of(after, window.rows) if fires else (),
    )
    return replace(state, concept=after), [told]


def in_words(statement: Statement) -> str:
    """Who said what, and what it does."""
    name, why = explain.KIND_NAMES[statement.kind], f" ({statement.why})" if statement.why else ""
    if statement.said == "taken back":
        return f"{name}: {statement.by} took back what was said{why}; it is as it was before."
    effect = EFFECTS_IN_WORDS[statement.said]
    return f"{name}: {statement.by} said: {statement.said}{why}; {effect}."


def _taken(plan: Plan, memory: Memory, statement: Statement) -> Memory:
    if statement.said != "taken back":
        return say(plan, memory, statement.kind, statement.said, statement.id)
    place = next((i for i, one in enumerate(memory.feedback) if one.id == statement.about), None)
    return memory if place is None or memory.plan != plan.name else take_back(memory, place)


def _is_firing(memory: Memory, kind: str) -> bool:
    track = memory.tracks.get(kind)
    return track is not None and track.opened is not None and not track.opened.expected


def _since_us(memory: Memory, kind: str, window: Window) -> int:
    opened = memory.tracks[kind].opened
    return window.start_us if opened is None else opened.since_us


def _scores(plan: Plan, memory: Memory, kind: AlertKind) -> tuple[Decision, ...]:
    """The scores that told an incident, as they had moved then."""
    opened = memory.tracks[kind].opened
    track = next(one for one in plan.tracks if one.kind == kind)
    if opened is None:
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
