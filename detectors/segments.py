"""Segments: each is compared with its own rows of the reference, not with all rows, which are other people.

Where the reference has no profile of a segment, the sequential tests compare its windows with those before them, from
its first one on; what takes a reference is undefined.
"""

from typing import Final, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace

from detectors.codec import unpack
from detectors.layout import Layout, layout_of
from detectors.measurement import Measurement, undefined
from detectors.profile import Profile
from detectors.recounted import columns_of, outcomes_of, said_of
from detectors.reference_values import FeatureReference, Reference, SegmentProfile
from detectors.segment_profiles import LEAST_ROWS

ALL: Final = "all"
"""The segment that all rows are in."""
_ITSELF: Final = "it is compared with its own first windows"
_MEMO_SIZE: Final = 1_024


class Own(NamedTuple):
    """What a segment is compared with. `because`: why the reference has no profile of it, or empty; `reference` then
    knows the columns and no outcome, and the segment is compared with itself."""

    reference: Reference
    because: str = ""

    @property
    def alone(self) -> bool:
        """Whether the segment is compared with itself."""
        return bool(self.because)


_memo: dict[tuple[str, str], Own] = {}
_measured: dict[tuple[str, str], Reference] = {}


def own_of(reference: Reference, segment: str) -> Own:
    """What a segment ("all", "plan=gold") is compared with; the last ones are remembered."""
    if segment == ALL:
        return Own(reference)
    key = reference.revision, segment
    found = _memo.get(key)
    if found is None:
        if len(_memo) >= _MEMO_SIZE:
            _memo.pop(next(iter(_memo)))
        found = _memo[key] = _own(reference, segment)
    return found


def measured_of(reference: Reference, segment: str) -> Reference:
    """What a segment that the reference knows is compared with, its numeric columns with their own means and variances.

    For what reads these; the layout rests on those of all rows. Its length is that of the whole reference: how far its
    columns wander was learned from that.
    """
    key = reference.revision, segment
    found = _measured.get(key)
    if found is None:
        if len(_measured) >= _MEMO_SIZE:
            _measured.pop(next(iter(_measured)))
        found = _measured[key] = _with_moments(reference, segment)
    return found


def profile_of(reference: Reference, segment: str) -> Profile | None:
    """The rows of the reference that are of a segment, as far as they are kept; None where it keeps none of them."""
    own, known = own_of(reference, segment), known_of(reference, segment)
    if known is None:
        return None
    found = Profile.empty(own.reference)
    found.counters[:] = unpack(known.packed, found.layout.size)[0]
    return found


def compared(own: Own, found: Measurement) -> Measurement:
    """A measure of a segment that is compared with itself: what was counted is shown beside nothing, and how far it is
    from all rows is not told."""
    if not own.alone or found.value is None:
        return found
    if found.measure.endswith(("psi", "ks")):
        return undefined(found.measure, found.feature, found.rows, f"{own.because}; {_ITSELF}")
    return replace(found, reference=None)


def _own(reference: Reference, segment: str) -> Own:
    layout, profile = layout_of(reference), known_of(reference, segment)
    if profile is not None:
        return Own(_of(reference, layout, profile))
    nothing = np.zeros(layout.size, dtype=np.int64)
    blank = replace(
        reference, revision=f"{reference.revision}-alone", **outcomes_of(reference, layout, nothing)
    )
    return Own(blank, _why(reference, segment))


def _with_moments(reference: Reference, segment: str) -> Reference:
    own, counted = own_of(reference, segment).reference, profile_of(reference, segment)
    columns: list[FeatureReference] = []
    for part in own.features:
        moments = None if counted is None or part.mean is None else counted.moments(part.spec.name)
        columns.append(
            part if moments is None else replace(part, mean=moments.mean, variance=moments.variance)
        )
    return replace(own, revision=f"{own.revision}-measured", rows=reference.rows, features=tuple(columns))


def known_of(reference: Reference, segment: str) -> SegmentProfile | None:
    """The profile that the reference keeps of a segment."""
    known = reference.segments
    if isinstance(known, msgspec.UnsetType):
        return None
    return next((one for one in known.profiles if one.name == segment), None)


def _of(reference: Reference, layout: Layout, profile: SegmentProfile) -> Reference:
    """The reference as if it were of these rows alone. Its thresholds are those that the theory guarantees: the
    simulation was one of all rows."""
    counters, _ = unpack(profile.packed, layout.size)
    baseline = reference.baseline
    if baseline is not None:
        baseline = replace(baseline, pairs=(), calibration=None, strata=profile.strata)
    return replace(
        reference,
        revision=f"{reference.revision}-{profile.name}",
        rows=profile.rows,
        effective_rows=max(1, round(reference.effective_rows * profile.rows / reference.rows)),
        features=columns_of(reference, layout, counters),
        baseline=baseline,
        **said_of(reference, layout, counters),
        **outcomes_of(reference, layout, counters),
    )


def _why(reference: Reference, segment: str) -> str:
    known, column = reference.segments, segment.partition("=")[0]
    if isinstance(known, msgspec.UnsetType) or column not in known.columns:
        return f"the reference knows nothing of the segments of {column!r}"
    if any(one.strata for one in known.profiles) or (reference.baseline and reference.baseline.strata):
        return f"the reference has too few rows of {segment} (in all, or in a phase of its season)"
    return f"the reference has fewer than {LEAST_ROWS} rows of {segment}, or many segments with more"
