"""The profile of a slice of a stream: counts that add up, whoever counted them and in whatever order."""

from collections.abc import Iterable, Mapping
from typing import Final, Self

import numpy as np

from detectors.codec import pack, unpack
from detectors.columns import (
    Column,
    Flags,
    Floats,
    Hashes,
    Integers,
    categories,
    effective_rows,
    numbers,
    repeat_cells,
    row_hashes,
    score_bins,
    singles,
)
from detectors.errors import ProfileInvalid
from detectors.layout import CategoricalSlots, Layout, NumericSlots, layout_of
from detectors.reference import Reference
from detectors.scores import Confusion

_MAGIC: Final = b"HP\x01"
_REVISION_BYTES: Final = 8
_FRACTION_BITS: Final = 30
_FARTHEST: Final = 2.0**16
"""Standard deviations at which moments are cut off: the square stays below 2^32, so 2^31 rows fit 63 bits."""


class Profile:
    """Counts of rows, columns, predictions and outcomes against one reference.

    All of it is one vector of integers, so profiles form a commutative group under addition: merging in
    any order, any split into batches, and taking an outcome back give the same vector and the same bytes.

    Without a reference the columns are not counted, only rows, predictions and outcomes.

    Example:
        >>> profile = Profile.empty(None)
        >>> _ = profile.fold({"age": np.array([40.0, 50.0])}, np.array([0, 1]), np.array([0.2, 0.9]))
        >>> profile.merge(Profile.from_bytes(None, profile.to_bytes())).rows
        4
    """

    __slots__ = ("counters", "layout", "reference")

    def __init__(self, reference: Reference | None, layout: Layout, counters: Integers) -> None:
        self.reference = reference
        self.layout = layout
        self.counters = counters

    @classmethod
    def empty(cls, reference: Reference | None) -> Self:
        """The profile of no rows."""
        layout = layout_of(reference)
        return cls(reference, layout, np.zeros(layout.size, dtype=np.int64))

    @property
    def rows(self) -> int:
        """Predictions folded."""
        return int(self.counters[self.layout.rows])

    @property
    def labelled(self) -> int:
        """Outcomes folded that have a prediction and a label."""
        return int(self.counters[self.layout.confusion].sum())

    @property
    def unknown_values(self) -> int:
        """Values in columns that the reference does not know: columns times rows."""
        return int(self.counters[self.layout.unknown])

    @property
    def confusion(self) -> Confusion:
        """Predictions against labels."""
        return Confusion(*(int(count) for count in self.counters[self.layout.confusion]))

    @property
    def effective_rows(self) -> float:
        """What the rows are worth as independent ones: repeats of a subject bring nothing new."""
        if self.reference is None or not self.reference.rows_identify:
            return float(self.rows)
        return effective_rows(self.counters[self.layout.repeats])

    @property
    def effective_labelled(self) -> float:
        """The same for outcomes; all of them count in full where they were folded without hashes."""
        known = self.counters[self.layout.label_repeats]
        if self.reference is None or not self.reference.rows_identify or int(known.sum()) < self.labelled:
            return float(self.labelled)
        return self.labelled * effective_rows(known) / max(int(known.sum()), 1)

    def hashes(self, features: Mapping[str, Column]) -> Hashes:
        """One hash per row, to be kept with a prediction that waits for its label (see `fold_outcomes`)."""
        return row_hashes(features, self.layout.names or sorted(features))

    def fold(
        self, features: Mapping[str, Column], predictions: Column | None, scores: Column | None
    ) -> Hashes:
        """Count a batch of n rows; gives back the row hashes.

        features: name -> n values. A column that the reference has and the batch lacks is missing in
        every row; one that it does not know is ignored and counted in `unknown_values`. NaN and None are
        missing, infinities are out of range. predictions: n values, positive when above 0.5. scores: n
        probabilities of the positive class.
        Raises `ProfileInvalid` when lengths differ.
        """
        rows = self._rows_of({**features, "predictions": predictions, "scores": scores})
        layout, counters = self.layout, self.counters
        counters[layout.rows] += rows
        counters[layout.unknown] += rows * len(features.keys() - set(layout.names)) if layout.names else 0
        for slots in layout.numeric:
            column = features.get(slots.name)
            self._fold_numeric(slots, numbers(column) if column is not None else np.full(rows, np.nan))
        for slots in layout.categorical:
            self._fold_categorical(slots, features.get(slots.name), rows)
        if predictions is not None:
            said = numbers(predictions)
            counters[layout.predicted] += int((~np.isnan(said)).sum())
            counters[layout.predicted_positive] += int((said > 0.5).sum())
        if scores is not None:
            _count_scores(counters[layout.scores], numbers(scores))
        hashes = self.hashes(features) if features else np.zeros(rows, dtype=np.uint64)
        counters[layout.repeats] += repeat_cells(hashes)
        return hashes

    def fold_outcomes(
        self, predictions: Column, scores: Column | None, labels: Column, hashes: Hashes | None = None
    ) -> None:
        """Count n predictions whose labels became known; rows without either are ignored.

        hashes: what `fold` gave back for these rows. With them repeats of a subject are seen in outcomes too.
        """
        self._outcomes(1, predictions, scores, labels, hashes)

    def unfold_outcomes(
        self, predictions: Column, scores: Column | None, labels: Column, hashes: Hashes | None = None
    ) -> None:
        """Take back outcomes that were folded with the same arguments: a label was revised."""
        self._outcomes(-1, predictions, scores, labels, hashes)

    def merge(self, other: "Profile") -> "Profile":
        """The profile of both; neither changes. Raises `ProfileInvalid` when their references differ."""
        if _revision(self.reference) != _revision(other.reference):
            raise ProfileInvalid(
                f"a profile of reference {_revision(self.reference)!r} cannot be merged with one of "
                f"{_revision(other.reference)!r}: both must be counted on the same bins"
            )
        return Profile(self.reference, self.layout, self.counters + other.counters)

    @classmethod
    def merged(cls, reference: Reference | None, profiles: Iterable["Profile"]) -> "Profile":
        """The profile of all of them, such as a window made of panes."""
        total: Profile = cls.empty(reference)
        for profile in profiles:
            total = total.merge(profile)
        return total

    def to_bytes(self) -> bytes:
        """Equal profiles, equal bytes. A few kB: version, the reference's revision, the numbers in LEB128."""
        return _MAGIC + _revision(self.reference) + pack(self.counters)

    @classmethod
    def from_bytes(cls, reference: Reference | None, data: bytes) -> Self:
        """Read `to_bytes`; raises `ProfileInvalid` when it is damaged or belongs to another reference."""
        start = len(_MAGIC) + _REVISION_BYTES
        if data[: len(_MAGIC)] != _MAGIC or len(data) < start:
            raise ProfileInvalid(f"{data[:8]!r} does not begin a profile of version {_MAGIC[2]}")
        if data[len(_MAGIC) : start] != _revision(reference):
            raise ProfileInvalid(
                f"the profile was counted against reference {data[len(_MAGIC) : start].hex()}, "
                f"not against {_revision(reference).hex()}"
            )
        layout, counters = layout_of(reference), unpack(data[start:])
        if len(counters) != layout.size:
            raise ProfileInvalid(
                f"the profile has {len(counters)} numbers; the reference asks for {layout.size}"
            )
        return cls(reference, layout, counters)

    def _rows_of(self, columns: Mapping[str, Column | None]) -> int:
        lengths = {name: len(column) for name, column in columns.items() if column is not None}
        if len(set(lengths.values())) > 1:
            raise ProfileInvalid(f"the columns of a batch must have one length; these differ: {lengths}")
        return next(iter(lengths.values()), 0)

    def _fold_numeric(self, slots: NumericSlots, column: Floats) -> None:
        counters = self.counters
        given = column[~np.isnan(column)]
        values = singles(given)
        counters[slots.missing] += len(column) - len(given)
        bins = np.searchsorted(slots.edges, values, side="left")
        counters[slots.bins] += np.bincount(bins, minlength=len(slots.edges) + 1)
        counters[slots.below] += int(((values < slots.minimum) | (values == -np.inf)).sum())
        counters[slots.above] += int(((values > slots.maximum) | (values == np.inf)).sum())
        if len(slots.values):
            nearest = np.minimum(np.searchsorted(slots.values, values), len(slots.values) - 1)
            hits = nearest[slots.values[nearest] == values]
            counters[slots.exact] += np.bincount(hits, minlength=len(slots.values))
        standard = np.clip((given - slots.center) / slots.scale, -_FARTHEST, _FARTHEST)
        counters[slots.moments] += _fixed_sums(standard)

    def _fold_categorical(self, slots: CategoricalSlots, column: Column | None, rows: int) -> None:
        if column is None:
            self.counters[slots.missing] += rows
            return
        names, codes = categories(column)
        counts = np.bincount(codes[codes >= 0], minlength=len(names))
        for name, count in zip(names, counts.tolist(), strict=True):
            known = slots.index.get(name)
            self.counters[slots.other if known is None else slots.categories.start + known] += count
        self.counters[slots.missing] += int((codes < 0).sum())

    def _outcomes(
        self, sign: int, predictions: Column, scores: Column | None, labels: Column, hashes: Hashes | None
    ) -> None:
        self._rows_of({"predictions": predictions, "scores": scores, "labels": labels, "hashes": hashes})
        said, truth = numbers(predictions), numbers(labels)
        known = ~(np.isnan(said) | np.isnan(truth))
        positive = truth[known] > 0.5
        layout, counters = self.layout, self.counters
        counters[layout.confusion] += sign * np.array(Confusion.of(said[known] > 0.5, positive))
        if scores is not None:
            values = numbers(scores)[known]
            _count_scores(counters[layout.positive_scores], values[positive], sign)
            _count_scores(counters[layout.negative_scores], values[~positive], sign)
        if hashes is not None:
            counters[layout.label_repeats] += sign * repeat_cells(hashes[known])


def _revision(reference: Reference | None) -> bytes:
    return bytes.fromhex(reference.revision) if reference is not None else bytes(_REVISION_BYTES)


def _count_scores(counts: Integers, scores: Floats, sign: int = 1) -> None:
    given: Flags = ~np.isnan(scores)
    counts += sign * np.bincount(score_bins(scores[given]), minlength=len(counts))


def _fixed_sums(values: Floats) -> Integers:
    """Sums of x and of x^2, each as (whole parts, 2^-30ths): exact integers, each row rounded by itself."""
    sums: list[int] = []
    for power in (values, values * values):
        whole = np.floor(power)
        fraction = np.rint((power - whole) * 2.0**_FRACTION_BITS)
        sums += [int(whole.astype(np.int64).sum()), int(fraction.astype(np.int64).sum())]
    return np.array(sums, dtype=np.int64)
