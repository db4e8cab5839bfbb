"""Groups of the bins of each column, in rows, in a reference and in a profile: what an additive model stands on."""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import numpy as np

from detectors.columns import Column, Floats, Integers, categories, single_column
from detectors.layout import CategoricalSlots, Layout, NumericSlots
from detectors.profile import Profile
from detectors.reference import FeatureReference, Reference
from detectors.remembered import Remembered

BLOCKS: Final = 8
"""Contiguous parts of the reference that are left out in turn."""
MOST_COLUMNS: Final = 24
"""Columns of an additive model: the work and the room grow with the square of their groups."""
_CATEGORIES: Final = 16
_CUTS: Final = np.array([0.016, 0.05, *np.arange(0.1, 0.95, 0.1), 0.95, 0.984])
"""Shares of the reference at which groups end."""


def told(values: Floats) -> tuple[float, ...]:
    """Numbers as they are kept: seven digits."""
    return tuple(float(f"{value:.7g}") for value in values.tolist())


def by_block(places: Integers, blocks: Integers, width: int, weights: Floats | None = None) -> Floats:
    """Counts (or sums of weights) of the rows by block and place, shape (blocks, width)."""
    found = np.bincount(blocks * width + places, weights=weights, minlength=BLOCKS * width)
    return found.reshape(BLOCKS, width).astype(np.float64)


class Groups(NamedTuple):
    """Groups of the bins of one column: `group` of each bin (or category, then other), missing being the last."""

    slots: NumericSlots | CategoricalSlots
    group: Integers
    first: int
    width: int

    def of_rows(self, column: Column) -> Integers:
        """The group of each row."""
        if isinstance(self.slots, NumericSlots):
            values = single_column(column)
            found = self.group[np.searchsorted(self.slots.edges, values, side="left")]
            return np.where(np.isnan(values), self.width - 1, found) + self.first
        names, codes = categories(column)
        other = len(self.slots.index)
        places = [self.group[self.slots.index.get(name, other)] for name in names]
        return np.array([*places, self.width - 1], dtype=np.int64)[codes] + self.first

    def of_window(self, counters: Integers) -> Floats:
        """Rows of a profile by group."""
        counts = counters[self.places()]
        return self._joined(counts[:-1], int(counts[-1]))

    def places(self) -> Integers:
        """Where a profile counts the rows of each bin, then those that are missing."""
        slots = self.slots
        if isinstance(slots, NumericSlots):
            return np.array([*range(slots.bins.start, slots.bins.stop), slots.missing])
        return np.array([*range(slots.categories.start, slots.categories.stop), slots.other, slots.missing])

    def of_reference(self, part: FeatureReference) -> Floats:
        """Rows of the reference by group."""
        counts = [*part.counts] or [*(count for _, count in part.categories), part.other]
        return self._joined(np.array(counts, dtype=np.int64), part.missing)

    def _joined(self, counts: Integers, missing: int) -> Floats:
        found = np.bincount(self.group, weights=counts, minlength=self.width).astype(np.float64)
        found[-1] = missing
        return found


def groups_of(layout: Layout, reference: Reference, columns: Collection[str] | None = None) -> list[Groups]:
    """The groups of these columns (default: all), in the layout's order.

    Ten groups of equal share for numbers, the outer ones cut in three; the 16 most frequent categories and all the
    others for categories; missing values are a group of their own.
    """
    known = _KNOWN.of(reference)
    wanted = None if columns is None else tuple(columns)
    found = known.get(wanted)
    if found is None:
        found = known[wanted] = _grouped(layout, reference, wanted)
    return found


def _first_seen(_: Reference) -> "dict[tuple[str, ...] | None, list[Groups]]":
    return {}


_KNOWN: Final = Remembered(_first_seen)


def _grouped(layout: Layout, reference: Reference, columns: Collection[str] | None) -> list[Groups]:
    found: list[Groups] = []
    first = 0
    for slots in (*layout.numeric, *layout.categorical):
        part = reference.feature(slots.name)
        if part is None or (columns is not None and slots.name not in columns):
            continue
        if isinstance(slots, NumericSlots):
            group = _ranked_groups(np.array(part.counts, dtype=np.float64))
        else:
            group = np.minimum(np.arange(len(slots.index) + 1), _CATEGORIES)
        width = int(group.max()) + 2
        found.append(Groups(slots, group, first, width))
        first += width
    return found


def _ranked_groups(counts: Floats) -> Integers:
    """Groups of neighbouring bins, finer towards the ends: a window that moves lands there."""
    middle = np.cumsum(counts) - counts / 2
    raw = np.searchsorted(_CUTS, middle / max(float(counts.sum()), 1.0))
    return np.unique(raw, return_inverse=True)[1].astype(np.int64)


class _Places(NamedTuple):
    """Where a profile counts what is in the groups, the group of each place, and how many groups there are."""

    places: Integers
    groups: Integers
    width: int

    @classmethod
    def of(cls, groups: list[Groups]) -> "_Places":
        numbers = [np.append(one.group, one.width - 1) + one.first for one in groups]
        width = groups[-1].first + groups[-1].width
        return cls(np.concatenate([one.places() for one in groups]), np.concatenate(numbers), width)


_PLACES: Final = Remembered(_Places.of)


def window_shares(groups: list[Groups], profile: Profile) -> Floats:
    """Share of the rows of a profile in each group."""
    if not groups:
        return np.zeros(0)
    known = _PLACES.of(groups)
    rows = np.bincount(known.groups, weights=profile.counters[known.places], minlength=known.width)
    return rows.astype(np.float64) / max(profile.rows, 1)


def row_groups(groups: list[Groups], features: Mapping[str, Column], rows: int) -> Integers:
    """The group of each row in each column, shape (rows, columns)."""
    if not groups:
        return np.zeros((rows, 0), dtype=np.int64)
    found = np.empty((rows, len(groups)), dtype=np.int64)
    for place, one in enumerate(groups):
        found[:, place] = one.of_rows(np.asarray(features[one.slots.name]))
    return found


def row_shares(codes: Integers, width: int) -> Floats:
    """Share of the rows in each group."""
    return np.bincount(codes.reshape(-1), minlength=width) / max(len(codes), 1)


def telling_columns(
    groups: list[Groups], features: Mapping[str, Column], target: Floats, most: int = MOST_COLUMNS
) -> list[str]:
    """The columns whose groups tell most about a target, one by one: variance between groups beyond chance.

    target: shape (n,), NaN where it is not known. No more than `most`; all of them where they are no more than that.
    """
    if len(groups) <= most:
        return [one.slots.name for one in groups]
    known = np.isfinite(target)
    aimed = target[known] - target[known].mean() if known.any() else target[known]
    variance = max(float(np.square(aimed).mean()), 1e-300) if len(aimed) else 1.0
    found: dict[str, float] = {}
    for one in groups:
        codes = one.of_rows(np.asarray(features[one.slots.name]))[known] - one.first
        counts = np.bincount(codes, minlength=one.width)
        sums = np.bincount(codes, weights=aimed, minlength=one.width)
        between = float((np.square(sums) / np.maximum(counts, 1)).sum()) / variance
        found[one.slots.name] = between - float((counts > 0).sum() - 1)
    return sorted(found, key=lambda name: -found[name])[:most]
