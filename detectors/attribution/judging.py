"""What an alert says besides that something changed: which features carry it, and what of a loss the shift explains."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from detectors.attribution.carriers import Carrier, carriers
from detectors.attribution.explained import Explained, explain
from detectors.estimation.judging import LEADING
from detectors.judgement import Transition, Window
from detectors.profile import Profile
from detectors.segments import ALL, Own
from detectors.values import AlertKind, Attribution, Axis, Explanation

CARRIED: Final[dict[Axis, frozenset[AlertKind]]] = {
    "event": frozenset({"data_drift", "prediction_drift", "estimated_performance", "data_quality"}),
    "label": frozenset({"performance", "concept_drift"}),
}
TOLD: Final = 3
KEPT: Final = 10
_HARDLY: Final = 0.01
"""Of a feature's usual effect on the output: a smaller move of the mean output is said to be hardly one."""
_MATTERS: Final = 0.1
"""A feature whose effect on the output is a smaller share of the greatest one's is said to mean little to the model."""


def attributed(
    transition: Transition,
    window: Window,
    profile: Profile | None,
    own: Own,
    importance: Mapping[str, float] | None = None,
) -> Transition:
    """The beginning of an alert with what its window shows about its causes.

    Events: the features that moved beyond doubt, importance times effect first. Labels: the share of the change of
    the leading measure that the shift of the data explains, and what remains. Unchanged where the reference has learned
    nothing, or the window shows nothing of it. own: what the window is compared with; of a segment that is compared
    with itself nothing is said, and of others not what explains their performance: that was learned of all rows.
    importance: what the monitor says of features.
    """
    reference = own.reference
    lessons = reference.lessons
    told = transition.state == "firing" and transition.kind in CARRIED[window.axis] and not own.alone
    if profile is None or lessons is None or not told:
        return transition
    if window.axis == "label":
        if window.segment != ALL:
            return transition
        leading = LEADING[reference.task]
        found = next(one for one in explain(profile, lessons.estimator) if one.measure == leading)
        if not found.changed:
            return transition
        reason = f"{transition.reason} In this window {found.message}."
        return replace(transition, reason=reason, explained=_explanation(found))
    counted = Profile(reference, profile.layout, profile.counters, profile.registers)
    features = carriers(counted, lessons.influence, importance)
    moved = [one for one in features if one.named][:KEPT]
    if not moved:
        return transition
    most = max(one.importance or 0.0 for one in features)
    words = ", ".join(_words(one, most) for one in moved[:TOLD])
    more = f", and {len(moved) - TOLD} more" if len(moved) > TOLD else ""
    return replace(
        transition,
        reason=f"{transition.reason} By what they mean to the model: {words}{more}.",
        attribution=tuple(_kept(one) for one in moved),
    )


def _explanation(found: Explained) -> Explanation | None:
    if found.reference is None or found.expected is None or found.realized is None:
        return None
    return Explanation(
        measure=found.measure,
        reference=found.reference,
        expected=found.expected,
        realized=found.realized,
        shift=found.shift,
        concept=found.concept,
        share=found.share,
        message=found.message,
    )


def _words(one: Carrier, most: float) -> str:
    moved = f"{one.feature} ({one.moved:.0%} of its rows moved"
    if one.importance is None:
        return f"{moved})"
    if one.importance < _MATTERS * most:
        return f"{moved}, which means little to the model)"
    change = one.output_change or 0.0
    if abs(change) < _HARDLY * (one.spread or 0.0):
        return f"{moved}, which hardly moves the mean output)"
    return f"{moved}, which moves the mean output by {change:+.2g})"


def _kept(one: Carrier) -> Attribution:
    return Attribution(
        feature=one.feature,
        moved=one.moved,
        importance=one.importance,
        output_change=one.output_change,
        success_change=one.success_change,
    )
