"""The measures that a monitor asks for besides those that are always there, as decisions that are only shown."""

from collections.abc import Sequence
from typing import Final

from detectors.judgement import Decision
from detectors.library import alibi
from detectors.library.of_reference import seen_reference, seen_segment
from detectors.library.registry import Register
from detectors.library.standard import compare, compare_outputs, seen
from detectors.measurement import Measurement
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.values import AlertKind

ALWAYS: Final = frozenset({"psi", "ks"})
"""Measured in every window, with a verdict."""


def further_decisions(
    names: Sequence[str],
    register: Register,
    profile: Profile,
    reference: Reference,
    segment: Profile | None = None,
) -> tuple[Decision, ...]:
    """What the measures of these names say of a window beside the reference, column by column, and those of columns of
    what the model said; they have no threshold. A name that the register does not know is undefined, with the reason.
    segment: the rows of the reference that the window is compared with, where that is not all of them."""
    wanted = [name for name in names if name not in ALWAYS]
    chosen = Register({name: register.known[name] for name in wanted if name in register.known})
    before = seen_reference(reference) if segment is None else seen_segment(segment)
    found: dict[AlertKind, list[Measurement]] = {}
    if chosen.known:
        now = seen(profile if segment is None else _counted_as(profile, segment))
        found["data_drift"] = compare(before, now, chosen)
        found["prediction_drift"] = compare_outputs(before, now, chosen)
    unknown = [name for name in wanted if name not in register.known]
    return (
        *(
            Decision(
                kind=kind,
                measure=one.measure,
                feature=one.feature,
                value=one.value,
                rows=one.rows,
                verdict="undefined" if one.value is None else "ok",
                undefined=one.undefined,
                reason=one.detail,
            )
            for kind, each in found.items()
            for one in each
        ),
        *(
            Decision(
                kind="data_drift",
                measure=name,
                rows=profile.rows,
                verdict="undefined",
                undefined=f"no measure {name!r} is installed where the judge runs"
                + (f": it takes the extra {alibi.EXTRA!r}" if name in alibi.NAMES else ""),
            )
            for name in unknown
        ),
    )


def _counted_as(profile: Profile, segment: Profile) -> Profile:
    """The window in the groups of a segment's columns."""
    found = Profile(segment.reference, profile.layout, profile.counters, profile.registers)
    found.drawn = profile.drawn
    return found
