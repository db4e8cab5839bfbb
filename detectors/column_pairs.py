"""The numeric columns of a window beside those of a reference, all in one pass: most windows ask for all of them."""

import math
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.before import Before, columns_of
from detectors.columns import Flags, Floats, Integers
from detectors.compiled import compiled
from detectors.distances import grouped_psi, ks, most_deviant
from detectors.layout import NumericSlots, layout_of
from detectors.measurement import MINIMUM_ROWS
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.remembered import Remembered
from detectors.thresholds import FLOORS, WITHIN

_BINS, _MISSING, _BELOW, _ABOVE, _EXACT, _SLOTS = range(6)
_KS, _PSI, _MISSING_RATE, _OUT_OF_RANGE, _POINT_MASS, _LEAST_ROWS = range(6)
_PRESENT, _LACKING, _OUTSIDE, _GREATEST, _MASS, _MASS_ROWS, _COUNTED = range(7)
_FLOORS: Final = np.array(
    [
        FLOORS["ks"],
        FLOORS["psi"],
        *(WITHIN * FLOORS[name] for name in ("missing_rate", "out_of_range_rate", "point_mass")),
        MINIMUM_ROWS,
    ]
)


class ColumnPair(NamedTuple):
    """One numeric column. `present`, `missing`, `outside`: rows with a value, without one, and outside of the
    reference's range; `greatest`: rows in the fullest bin; `mass`: which of `before.masses` changed most (-1: none is
    tested), and the rows that have it. `ks`: NaN where either sample is empty; `psi`: of the bins as a PSI joins
    them."""

    slots: NumericSlots
    before: Before
    present: int
    missing: int
    outside: int
    greatest: int
    mass: int
    mass_rows: int
    ks: float
    psi: float


class _Tables(NamedTuple):
    """What the kernel needs of a reference: its columns one behind the other, and where each begins."""

    columns: list[tuple[NumericSlots, Before]]
    slots: Integers
    counts: Integers
    group: Integers
    bins: Integers
    grouped: Floats
    groups: Integers
    masses: Integers
    shares: Floats
    tested: Integers
    sizes: Floats
    usual: Floats

    @classmethod
    def of(cls, reference: Reference) -> "_Tables":
        known, ratio = columns_of(reference), reference.effective_rows / reference.rows
        found = [(slots, known[slots.name]) for slots in layout_of(reference).numeric if slots.name in known]
        places = [(one.bins.start, one.missing, one.below, one.above, one.exact.start) for one, _ in found]
        counts, masses = [one.counts for _, one in found], [one.masses for _, one in found]
        grouped = [one.grouped.counts for _, one in found]
        return cls(
            found,
            np.array(places, dtype=np.int64).reshape(-1, _SLOTS),
            _joined(counts).astype(np.int64),
            _joined([one.grouped.group for _, one in found]).astype(np.int64),
            _starts(counts),
            _joined(grouped).astype(np.float64),
            _starts(grouped),
            _joined(masses).astype(np.int64),
            _joined([one.shares for _, one in found]).astype(np.float64),
            _starts(masses),
            np.array([one.present * ratio for _, one in found], dtype=np.float64),
            np.array([_usual(one, one.present * ratio) for _, one in found], dtype=np.float64).reshape(-1, 2),
        )


def _usual(before: Before, size: float) -> tuple[float, float]:
    """Shares of rows that are missing and out of range; NaN where some measure of the column is undefined."""
    if not before.varied or before.grouped.occupied < 2 or before.present == 0:
        return np.nan, np.nan
    return usually_missing(before), usually_outside(size)


def _joined(parts: list[Integers] | list[Floats]) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def _starts(parts: list[Integers] | list[Floats]) -> Integers:
    return np.cumsum([0, *map(len, parts)], dtype=np.int64)


_KNOWN: Final = Remembered(_Tables.of)


def usually_missing(before: Before) -> float:
    """The share of rows of the reference that have no value."""
    return before.part.missing / (before.part.missing + before.present)


def usually_outside(size: float) -> float:
    """A sound row is outside of the minimum and maximum of n rows with probability 2 / (n + 1)."""
    return min(2 / (size + 1), 1.0)


def column_pairs(profile: Profile, reference: Reference, worth: float = 1.0) -> list[ColumnPair]:
    """The numeric columns that the reference knows, in the layout's order. worth: independent rows per counted row."""
    return _compared(profile, reference, worth).pairs()


def moved_pairs(
    profile: Profile, reference: Reference, worth: float, wanted: Collection[str]
) -> list[ColumnPair]:
    """The same of the wanted ones without those that are still, but for the first of them. Still is a column that has
    all measures but perhaps that of a mass, none of which is beyond its floor, below which no threshold is."""
    found = _compared(profile, reference, worth)
    places, still = list[int](), 0
    for place, ((slots, _), is_still) in enumerate(zip(found.columns, found.still.tolist(), strict=True)):
        if slots.name in wanted:
            still += is_still
            if not is_still or still == 1:
                places.append(place)
    return found.pairs(places)


class _Compared(NamedTuple):
    """What the kernel found of each column."""

    columns: list[tuple[NumericSlots, Before]]
    rows: Integers
    distances: Floats
    still: Flags

    def pairs(self, places: Sequence[int] | slice = slice(None)) -> list[ColumnPair]:
        """As values, of these columns."""
        columns = self.columns[places] if isinstance(places, slice) else [self.columns[i] for i in places]
        rows, distances = self.rows[places].tolist(), self.distances[places].tolist()
        return [
            ColumnPair(slots, before, *mine, *far)
            for (slots, before), mine, far in zip(columns, rows, distances, strict=True)
        ]


def _compared(profile: Profile, reference: Reference, worth: float) -> _Compared:
    tables = _KNOWN.of(reference)
    count = len(tables.columns)
    rows, distances = np.zeros((count, _COUNTED), dtype=np.int64), np.zeros((count, 2))
    still = np.zeros(count, dtype=np.bool_)
    _compare(profile.counters, worth, *tables[1:], _FLOORS, profile.rows, rows, distances, still)
    return _Compared(tables.columns, rows, distances, still)


@compiled
def _compare(
    counters: Integers,
    worth: float,
    slots: Integers,
    counts: Integers,
    group: Integers,
    bins: Integers,
    grouped: Floats,
    groups: Integers,
    masses: Integers,
    shares: Floats,
    tested: Integers,
    sizes: Floats,
    usual: Floats,
    floors: Floats,
    count: int,
    rows: Integers,
    distances: Floats,
    still: Flags,
) -> None:
    for i in range(len(slots)):
        begin, width = slots[i, _BINS], bins[i + 1] - bins[i]
        window = counters[begin : begin + width]
        present, greatest = 0, 0
        for place in range(width):
            present += window[place]
            greatest = max(greatest, window[place])
        rows[i, _PRESENT], rows[i, _GREATEST] = present, greatest
        rows[i, _LACKING] = counters[slots[i, _MISSING]]
        rows[i, _OUTSIDE] = counters[slots[i, _BELOW]] + counters[slots[i, _ABOVE]]
        rows[i, _MASS] = -1
        distances[i, 0] = ks(window, counts[bins[i] : bins[i + 1]])
        distances[i, 1] = grouped_psi(
            window, worth, group[bins[i] : bins[i + 1]], grouped[groups[i] : groups[i + 1]]
        )
        if present > 0 and tested[i + 1] > tested[i]:
            exact, mine = counters[slots[i, _EXACT] :], masses[tested[i] : tested[i + 1]]
            known = shares[tested[i] : tested[i + 1]]
            rows[i, _MASS] = most_deviant(exact, mine, present, worth, known, sizes[i])
            rows[i, _MASS_ROWS] = exact[mine[rows[i, _MASS]]]
        if present < floors[_LEAST_ROWS] or math.isnan(usual[i, 0]):
            continue
        missing, outside, mass = rows[i, _LACKING] / count, rows[i, _OUTSIDE] / present, 0.0
        if rows[i, _MASS] >= 0:
            mass = rows[i, _MASS_ROWS] / present - shares[tested[i] + rows[i, _MASS]]
        still[i] = (
            distances[i, 0] <= floors[_KS]
            and distances[i, 1] <= floors[_PSI]
            and abs(missing - usual[i, 0]) <= floors[_MISSING_RATE]
            and abs(outside - usual[i, 1]) <= floors[_OUT_OF_RANGE]
            and abs(mass) <= floors[_POINT_MASS]
        )
