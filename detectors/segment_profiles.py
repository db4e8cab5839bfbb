"""What a reference keeps of its segments: a profile of the rows of each value, as far as there are rows enough."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from msgspec.structs import replace

from detectors.columns import Integers
from detectors.estimation.checking import wander_of
from detectors.estimation.estimate import estimate
from detectors.measurement import MINIMUM_ROWS
from detectors.reference_values import Reference, SegmentProfile, Segments, revision_of
from detectors.sequential.baseline import LEAST_STRATUM, packed
from detectors.sequential.blocks import Rows
from detectors.sequential.values import Stratum

LEAST_ROWS: Final = 200
"""Rows of the reference that a segment must have to be compared with them; with fewer it is compared with itself."""
MOST: Final = 64
"""Segments of which a reference keeps profiles: those with the most rows."""
MOST_BYTES: Final = 262_144
"""Bytes that they take together: a reference is one record of the control topic."""
PIECES: Final = 20
"""Contiguous parts of a segment's rows whose estimates are compared with each other."""


def with_segments(reference: Reference, rows: Rows, outcomes_by_phase: bool = True) -> Reference:
    """The reference with profiles of the segments that its rows name, under a revision of its own; as it is where they
    name none.

    rows: those that it was built from. outcomes_by_phase: see `build_baseline`. With a season a segment needs
    `LEAST_STRATUM` rows in each phase.
    """
    if not rows.segments:
        return reference
    found: list[SegmentProfile] = []
    room = MOST_BYTES
    ranked = sorted(
        (one for name, texts in rows.segments.items() for one in _places(name, texts)),
        key=lambda one: (-len(one[1]), one[0]),
    )
    for name, places in ranked[:MOST]:
        profile = _profile(reference, name, rows.part(places), outcomes_by_phase)
        if profile is None:
            continue
        room -= len(profile.packed) + sum(len(one.packed) for one in profile.strata)
        if room < 0:
            break
        found.append(profile)
    complete = replace(reference, segments=Segments(columns=tuple(rows.segments), profiles=tuple(found)))
    return replace(complete, revision=revision_of(complete))


def _places(column: str, texts: Sequence[str | None]) -> Iterator[tuple[str, Integers]]:
    """The segments of a column that have rows enough, and where these are."""
    numbers: dict[str, int] = {}
    codes = np.array(
        [-1 if text is None else numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64
    )
    counts = np.bincount(codes[codes >= 0], minlength=len(numbers))
    for value, number in numbers.items():
        if counts[number] >= LEAST_ROWS:
            yield f"{column}={value}", np.flatnonzero(codes == number)


def _profile(reference: Reference, name: str, rows: Rows, outcomes_by_phase: bool) -> SegmentProfile | None:
    phases = () if reference.baseline is None else tuple(one.name for one in reference.baseline.strata)
    strata: list[Stratum] = []
    if phases and rows.phases is not None:
        counted = rows if outcomes_by_phase else rows.unlabelled()
        for code, phase in enumerate(phases):
            inside = np.flatnonzero(rows.phases == code)
            if len(inside) < LEAST_STRATUM:
                return None
            part = packed(reference, counted.part(inside))
            strata.append(Stratum(name=phase, rows=len(inside), packed=part))
    return SegmentProfile(
        name=name,
        rows=len(rows),
        packed=packed(reference, rows, moments=True),
        strata=tuple(strata),
        wander=_wander(reference, rows),
    )


def _wander(reference: Reference, rows: Rows) -> dict[str, float]:
    """How much more than by drawn rows the estimates differ between parts of these rows, as variances."""
    learned, pieces = reference.lessons, min(PIECES, len(rows) // MINIMUM_ROWS)
    if learned is None or learned.estimator.undefined:
        return {}
    found: dict[str, list[tuple[float, float]]] = {}
    for piece in np.array_split(np.arange(len(rows)), pieces):
        for one in estimate(rows.part(piece).profile(reference), learned.estimator):
            if one.value is not None:
                found.setdefault(one.measure, []).append((one.value, one.mix**2))
    told = {name: wander_of(np.array(values)) for name, values in found.items()}
    return {name: value for name, value in told.items() if value > 0}
