"""From steps of sequential deciding to the decisions and transitions that the judge tells."""

from typing import Final

from detectors import explain
from detectors.judgement import Decision, Transition
from detectors.sequential import families as f
from detectors.sequential.explain import sentence
from detectors.sequential.values import Change, Moved, Step
from detectors.values import AlertKind

EVIDENCE_SUFFIX: Final = "_evidence"
"""Behind the kind: the measure that the statistic of a kind is told as. It depends on all windows so far."""
TOLD: Final = 3
GREATEST: Final = 1e12
"""Statistics above it are shown as that much."""


def decision_of(kind: AlertKind, step: Step, rows: int, *, is_open: bool) -> Decision:
    """The statistic of a kind in one window, as a measure of its own."""
    statistic = min(step.statistic, GREATEST)
    state = "an incident is open" if is_open else "no incident is open"
    return Decision(
        kind=kind,
        measure=f"{kind}{EVIDENCE_SUFFIX}",
        value=statistic,
        reference=None,
        threshold=step.threshold,
        rows=rows,
        effect=statistic / step.threshold if step.threshold else 0.0,
        verdict="breach" if is_open else "ok",
        reason=f"the evidence of a change is {explain.times(statistic, step.threshold)} what it takes; {state}",
    )


def opening(kind: AlertKind, change: Change, *, further: bool = False) -> Transition:
    """The beginning of an incident, or a further change in it: the best evidence of each column first, the strongest
    column first."""
    ranked = list(change.columns)
    best: dict[str, Moved] = {}
    for column in ranked:
        best[column] = next(one for one in change.moved if column in _columns(one))
    chosen = list(best.items())
    told = {id(one) for _, one in chosen}
    chosen += [(one.name.column, one) for one in change.moved if id(one) not in told]
    decisions = tuple(_decision(kind, change, one, column) for column, one in chosen)
    return Transition(
        kind=kind,
        state="firing",
        change_us=change.since_us,
        reason=_reason(kind, change, [one for _, one in chosen], further=further),
        decisions=decisions,
    )


def closing(kind: AlertKind, step: Step) -> Transition:
    """The end of an incident."""
    reason = f"{explain.KIND_NAMES[kind]}: {step.reason}."
    return Transition(kind=kind, state="cleared", change_us=step.closed_us or 0, reason=reason)


def _columns(moved: Moved) -> tuple[str, ...]:
    return (moved.name.column, moved.name.item) if moved.name.family == f.PAIR else (moved.name.column,)


def _reason(kind: AlertKind, change: Change, moved: list[Moved], *, further: bool) -> str:
    texts = list(dict.fromkeys(sentence(one) for one in moved))
    more = len(texts) - TOLD
    text = "; ".join(texts[:TOLD]) + (f"; and {more} more" if more > 0 else "")
    name = explain.KIND_NAMES[kind] + (" has changed further" if further else "")
    return f"{name}: {text}. {passed(change)}"


def passed(change: Change) -> str:
    """Since when, and by which evidence beyond which threshold."""
    windows = "window" if change.windows == 1 else f"{change.windows} windows"
    return (
        f"In the last {windows}; the evidence is {explain.times(change.statistic, change.threshold)} the "
        f"{change.in_force} threshold of {change.threshold:,.0f}."
    )


def _decision(kind: AlertKind, change: Change, moved: Moved, column: str) -> Decision:
    feature = column if column and column not in (f.SCORE, f.PREDICTION) else None
    value, reference = moved.change, 0.0
    if moved.now is not None and moved.before is not None:
        value, reference = moved.now, moved.before
    threshold = reference + (moved.least if value >= reference else -moved.least)
    return Decision(
        kind=kind,
        measure=moved.name.family,
        feature=feature,
        value=value,
        reference=reference,
        threshold=threshold,
        rows=moved.rows,
        effect=abs(value - reference) / moved.least if moved.least else 0.0,
        verdict="breach",
        reason=sentence(moved),
        change_us=change.since_us,
    )
