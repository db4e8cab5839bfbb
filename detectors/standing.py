"""What a person says about an alert that is decided on window by window, such as one of estimated performance."""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec.structs import replace

from detectors.judgement import KindFeedback, KindState, Standing
from detectors.measurement import Measurement

Said = Literal["false alarm", "expected", "new normal"]
KEPT: Final = 2
"""Statements that can be taken back."""
CAUTION: Final = 1.5
"""By which a false alarm makes the changes larger that are told."""


def say(state: KindState, said: Said, name: str = "") -> KindState:
    """The state after a person has spoken about the alert that is open; unchanged where none is.

    "false alarm": it ends, and changes must be half as large again to be told. "expected": it is silent until it has
    passed. "new normal": it ends, and what the next window shows is what later ones are compared with.
    """
    if not state.told:
        return state
    was = state.standing
    entry = KindFeedback(id=name, firing=True, standing=was)
    feedback = (*state.feedback, entry)[-KEPT:]
    if said == "expected":
        return replace(state, standing=replace(was, expected=True), feedback=feedback)
    louder = said == "false alarm"
    standing = replace(was, caution=was.caution * CAUTION) if louder else replace(was, renew=True)
    return replace(state, firing=False, clean=0, streaks={}, standing=standing, feedback=feedback)


def take_back(state: KindState, name: str) -> KindState:
    """The state as if a statement of this name had not been made, nor a later one; unchanged where there is none."""
    place = next((i for i, one in enumerate(state.feedback) if one.id == name), None)
    if place is None:
        return state
    before = state.feedback[place]
    return replace(
        state, firing=before.firing, clean=0, standing=before.standing, feedback=state.feedback[:place]
    )


def renewed(state: KindState, mine: Sequence[Measurement]) -> KindState:
    """With what this window shows as the normal, where a person has said so."""
    if not state.standing.renew:
        return state
    values = {key(one): one.value for one in mine if one.value is not None}
    standing = replace(state.standing, renew=False, normal=state.standing.normal | values)
    return replace(state, standing=standing)


def moved(found: Measurement, limit: float | None, standing: Standing) -> tuple[Measurement, float | None]:
    """A measure and its threshold as they stand after what was said."""
    normal = standing.normal.get(key(found)) if standing.normal else None
    if limit is None or (normal is None and standing.caution == 1.0):
        return found, limit
    start = found.reference or 0.0
    after = start if normal is None else normal
    limit = after + (limit - start) * standing.caution
    return replace(found, reference=found.reference if normal is None else normal), limit


def key(found: Measurement) -> str:
    """Names a measure among those of a window."""
    return f"{found.measure}:{found.feature or ''}"
