"""The profile of a slice of a stream: counts that add up, whoever counted them and in whatever order."""

import zlib
from collections.abc import Iterable, Mapping
from typing import Final, Self

import numpy as np

from detectors import sketches
from detectors.at_hand import LATELY
from detectors.codec import pack, unpack
from detectors.columns import (
    Block,
    Cells,
    Coded,
    Column,
    Floats,
    Integers,
    effective_rows,
    readable,
    single_column,
)
from detectors.drawn import SLOTS, Drawn, Keys, keys_of_contents
from detectors.errors import ProfileInvalid
from detectors.fold import cells_of, fold_block, fold_columns, row_cells, sampled_matrix
from detectors.kernels_outputs import count_cells, fold_binary_outcomes
from detectors.kernels_rows import Bytes
from detectors.layout import Layout, NumericSlots, layout_of
from detectors.outcome_slots import BinarySlots, RegressionSlots
from detectors.outputs import count_outcomes, count_said
from detectors.reference import Reference, build_reference
from detectors.scores import Confusion
from detectors.text import expand
from detectors.values import FeatureSpec

_MAGIC: Final = b"HP\x02"
_REVISION_BYTES: Final = 8
_CHECKSUM_BYTES: Final = 4
_HEADER_BYTES: Final = len(_MAGIC) + _REVISION_BYTES + _CHECKSUM_BYTES


class Profile:
    """Counts of rows, columns, predictions and outcomes against one reference.

    All of it is a vector of integers that add, and one of registers of which the greater is kept (distinct
    counts), so profiles form a commutative monoid: merging in any order and any split into batches give the
    same vectors and the same bytes. Outcomes touch the first vector alone, so they can be taken back. The layout
    says what stands where in `counters` and `registers`.

    Without a reference the columns are not counted, only rows, predictions and outcomes.

    Example:
        >>> profile = Profile.empty(None)
        >>> _ = profile.fold({"age": np.array([40.0, 50.0])}, np.array([0, 1]), np.array([0.2, 0.9]))
        >>> profile.merge(Profile.from_bytes(None, profile.to_bytes())).rows
        4
    """

    __slots__ = ("counters", "drawn", "layout", "phases", "reference", "registers")

    def __init__(
        self, reference: Reference | None, layout: Layout, counters: Integers, registers: Bytes
    ) -> None:
        self.reference = reference
        self.layout = layout
        self.counters = counters
        self.registers = registers
        self.drawn = Drawn.empty(SLOTS, len(layout.sampled)) if layout.sampled else None
        self.phases: tuple[Integers, ...] = ()
        """Of a window whose reference has a season: the counters of the rows of each phase (see `detectors.season`)."""

    @classmethod
    def empty(cls, reference: Reference | None) -> Self:
        """The profile of no rows."""
        layout = layout_of(reference)
        counters, registers = np.zeros(layout.size, np.int64), np.zeros(layout.registers, np.uint8)
        return cls(reference, layout, counters, registers)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        drawn = 0 if self.drawn is None else self.drawn.nbytes
        return self.counters.nbytes + self.registers.nbytes + drawn

    @property
    def rows(self) -> int:
        """Predictions folded."""
        return int(self.counters[self.layout.rows])

    @property
    def labelled(self) -> int:
        """Outcomes folded that have a prediction and a label."""
        slots = self.layout.outcomes
        counted = self.counters[slots.errors if isinstance(slots, RegressionSlots) else slots.confusion]
        # Of the few numbers of a binary task the sum is quicker without an array.
        return sum(counted.tolist()) if isinstance(slots, BinarySlots) else int(counted.sum())

    @property
    def unknown_values(self) -> int:
        """Values in columns that the reference does not know: columns times rows."""
        return int(self.counters[self.layout.unknown])

    @property
    def confusion(self) -> Confusion:
        """Predictions against labels; raises `ProfileInvalid` where the task is not binary."""
        slots = self.layout.outcomes
        if not isinstance(slots, BinarySlots):
            raise ProfileInvalid(
                "the task of this profile's reference is not binary: it has no tp, fp, fn, tn"
            )
        return Confusion(*self.counters[slots.confusion].tolist())

    @property
    def effective_rows(self) -> float:
        """What the rows are worth as independent ones: repeats of a subject bring nothing new."""
        if self.reference is None or not self.reference.rows_identify:
            return float(self.rows)
        return effective_rows(self.counters[self.layout.repeats])

    @property
    def effective_labelled(self) -> float:
        """The same for outcomes; all of them count in full where they were folded without cells."""
        labelled = self.labelled
        if self.reference is None or not self.reference.rows_identify:
            return float(labelled)
        known = self.counters[self.layout.label_repeats]
        rows = int(known.sum())
        return float(labelled) if rows < labelled else labelled * effective_rows(known) / max(rows, 1)

    def moments(self, name: str) -> sketches.Moments | None:
        """Mean and variance of a numeric column; None without values."""
        slots = self._numeric(name)
        present = self.rows - int(self.counters[slots.missing])
        if present <= 0:
            return None
        return sketches.moments(self.counters[slots.moments], present, slots.center, slots.scale)

    def quantile(self, name: str, share: float) -> float | None:
        """A quantile of a numeric column, within `sketches.QUANTILE_ERROR`; see `sketches.quantile`."""
        slots = self._numeric(name)
        return sketches.quantile(self.counters[slots.buckets], share, slots.bucket_first)

    def distinct(self, name: str) -> float:
        """About how many distinct values (at single precision) or categories a column has had, missing apart; relative
        standard error `sketches.DISTINCT_ERROR`."""
        slots = self.layout.by_name.get(name)
        if slots is not None:
            return sketches.distinct(self.registers[slots.registers])
        raise ProfileInvalid(f"the reference has no column {name!r}; it has {list(self.layout.names)}")

    def correlation(self) -> Floats | None:
        """Correlations of the numeric columns, in the layout's order; None where there are none or too many."""
        layout = self.layout
        products = self.counters[layout.cross]
        return (
            sketches.correlation(products, self.counters[layout.cross_sums], self.rows)
            if len(products)
            else None
        )

    def random_features(self, embedding: str | None = None) -> Floats:
        """Means of random features of the standardised rows (numeric columns, or one embedding), shape (64,): they
        move when the joint distribution does."""
        places = {slots.name: slots.waves for slots in self.layout.embeddings}
        if embedding is not None and embedding not in places:
            raise ProfileInvalid(f"the reference has no embedding {embedding!r}; it has {list(places)}")
        place = self.layout.waves if embedding is None else places[embedding]
        return sketches.random_features(self.counters[place], self.rows)

    def cells(self, features: Mapping[str, Column | Coded]) -> Cells:
        """One cell per row, to be kept with a prediction that waits for its label (see `fold_outcomes`).

        Equal rows have equal cells.
        """
        features = expand(self.layout.texts, features) if self.layout.texts else features
        return row_cells(self.layout, features, self._rows_of(features))

    def fold(
        self,
        features: Mapping[str, Column | Coded],
        predictions: Column | None,
        scores: Column | None,
        keys: Keys | None = None,
    ) -> Cells:
        """Count a batch of n rows; gives back the cell of each row (equal rows share one).

        features: name -> n values. A column that the reference has and the batch lacks is missing in
        every row; one that it does not know is ignored and counted in `unknown_values`. NaN and None are
        missing, infinities are out of range. predictions: n values; binary: positive when above 0.5;
        multiclass: indices of classes (-1: none that is known; NaN: none said), or `detectors.ranks.answers`.
        scores: n probabilities, of the positive class or of the class that was predicted. keys: what tells rows
        apart, where the reference asks for a sample of them; by default what is in them.
        Raises `ProfileInvalid` when lengths differ.
        """
        layout, counters = self.layout, self.counters
        if layout.texts:
            features = expand(layout.texts, features)
        if self.drawn is not None:
            matrix = sampled_matrix(layout, features, self._rows_of(features))
            self.drawn.take(keys_of_contents(matrix) if keys is None else keys, matrix)
        if isinstance(features, Block) and layout.only_numbers:
            column = features.matrix[0, features.first : features.end]
            self._rows_of({"features": column, "predictions": predictions, "scores": scores})
            cells = fold_block(layout, counters, self.registers, features)
            count_said(layout, counters, predictions, scores)
            return cells
        rows = self._rows_of({**features, "predictions": predictions, "scores": scores})
        counters[layout.rows] += rows
        if layout.names:
            counters[layout.unknown] += rows * len(features.keys() - layout.known)
            totals = np.zeros(rows, dtype=np.uint32)
            fold_columns(layout, counters, self.registers, features, totals)
            cells = cells_of(totals)
        else:
            cells = row_cells(layout, features, rows)
        count_said(layout, counters, predictions, scores)
        count_cells(cells, 1, counters[layout.repeats])
        return cells

    def fold_outcomes(
        self, predictions: Column, scores: Column | None, labels: Column, cells: Cells | None = None
    ) -> None:
        """Count n predictions whose labels became known; rows where either is NaN are ignored.

        cells: what `fold` gave back for these rows. With them repeats of a subject are seen in outcomes too.
        """
        self._outcomes(1, predictions, scores, labels, cells)

    def unfold_outcomes(
        self, predictions: Column, scores: Column | None, labels: Column, cells: Cells | None = None
    ) -> None:
        """Take back outcomes that were folded with the same arguments: a label was revised."""
        self._outcomes(-1, predictions, scores, labels, cells)

    def merge(self, other: "Profile") -> "Profile":
        """The profile of both; neither changes. Raises `ProfileInvalid` when their references differ."""
        return self.merged(self.reference, (self, other))

    @classmethod
    def merged(cls, reference: Reference | None, profiles: Iterable["Profile"]) -> "Profile":
        """The profile of all of them, such as a window made of panes."""
        total: Profile = cls.empty(reference)
        counters, registers = total.counters, total.registers
        for profile in profiles:
            if _revision(profile.reference) != _revision(reference):
                raise ProfileInvalid(
                    f"a profile of reference {_revision(profile.reference).hex()} cannot be merged with one of "
                    f"{_revision(reference).hex()}: both must be counted on the same bins"
                )
            counters += profile.counters
            np.maximum(registers, profile.registers, out=registers)
            if total.drawn is not None and profile.drawn is not None:
                total.drawn.merge(profile.drawn)
        return total

    def to_bytes(self) -> bytes:
        """Equal profiles, equal bytes. A few kB: version, the reference's revision, a checksum, the numbers."""
        packed = pack(self.counters) + pack(self.registers.astype(np.int64))
        packed += b"" if self.drawn is None else self.drawn.to_bytes()
        checksum = zlib.crc32(packed).to_bytes(_CHECKSUM_BYTES, "little")
        packed = _MAGIC + _revision(self.reference) + checksum + packed
        if self.drawn is None:
            LATELY.keep(packed, self.counters, self.registers)
        return packed

    @classmethod
    def from_bytes(cls, reference: Reference | None, data: bytes) -> Self:
        """Read `to_bytes`; raises `ProfileInvalid` when it is damaged or belongs to another reference."""
        if data[: len(_MAGIC)] != _MAGIC or len(data) < _HEADER_BYTES:
            raise ProfileInvalid(f"{data[:8]!r} does not begin a profile of version {_MAGIC[2]}")
        revision = data[len(_MAGIC) : len(_MAGIC) + _REVISION_BYTES]
        if revision != _revision(reference):
            raise ProfileInvalid(
                f"the profile was counted against reference {revision.hex()}, not {_revision(reference).hex()}"
            )
        lately = LATELY.take(data)
        if lately is not None:
            return cls(reference, layout_of(reference), *lately)
        packed = data[_HEADER_BYTES:]
        checksum = int.from_bytes(data[_HEADER_BYTES - _CHECKSUM_BYTES : _HEADER_BYTES], "little")
        if checksum != zlib.crc32(packed):
            raise ProfileInvalid(f"the profile of {len(data)} bytes is damaged: its checksum does not match")
        layout = layout_of(reference)
        counters, taken = unpack(packed, layout.size)
        registers, more = unpack(packed[taken:], layout.registers)
        if not layout.sampled and taken + more != len(packed):
            raise ProfileInvalid(f"{len(packed) - taken - more} bytes follow the end of the profile")
        if registers.min(initial=0) < 0 or registers.max(initial=0) > sketches.GREATEST_RANK:
            raise ProfileInvalid(f"a register lies outside 0 .. {sketches.GREATEST_RANK}")
        found = cls(reference, layout, counters, registers.astype(np.uint8))
        if layout.sampled:
            found.drawn = Drawn.from_bytes(SLOTS, len(layout.sampled), packed[taken + more :])
        return found

    def _numeric(self, name: str) -> NumericSlots:
        slots = self.layout.by_name.get(name)
        if isinstance(slots, NumericSlots):
            return slots
        known = [slots.name for slots in self.layout.numeric]
        raise ProfileInvalid(f"the reference has no numeric column {name!r}; it has {known}")

    def _rows_of(self, columns: Mapping[str, Column | Coded | None]) -> int:
        lengths = {name: len(column) for name, column in columns.items() if column is not None}
        if len(set(lengths.values())) > 1:
            raise ProfileInvalid(f"the columns of a batch must have one length; these differ: {lengths}")
        return next(iter(lengths.values()), 0)

    def _outcomes(
        self, sign: int, predictions: Column, scores: Column | None, labels: Column, cells: Cells | None
    ) -> None:
        self._rows_of({"predictions": predictions, "scores": scores, "labels": labels, "cells": cells})
        layout, counters = self.layout, self.counters
        places = layout.binary_outcomes
        if places is not None and scores is not None and cells is not None and labels.dtype == np.float32:
            said, score, truth = (readable(single_column(column)) for column in (predictions, scores, labels))
            fold_binary_outcomes(sign, said, score, truth, readable(cells), counters, places)
            return
        known = count_outcomes(layout.outcomes, counters, sign, predictions, scores, labels)
        if cells is not None:
            count_cells(np.array(cells[known], dtype=np.uint16), sign, counters[layout.label_repeats])


def _revision(reference: Reference | None) -> bytes:
    return bytes.fromhex(reference.revision) if reference is not None else bytes(_REVISION_BYTES)


def warm() -> None:
    """Compile, or read from disk, all that a profile needs, so that no event waits for it; a few seconds at most
    once per installation."""
    specs = (
        FeatureSpec(name="x"),
        FeatureSpec(name="y", kind="categorical"),
        FeatureSpec(name="z", kind="embedding", size=2),
    )
    for kind in (np.float64, np.float32):
        columns: dict[str, Column] = {"x": np.zeros(3, kind), "y": np.array(["a", "b", None], dtype=object)}
        columns["z"] = np.ones((3, 2), np.float32)
        reference = build_reference("warm", "1", columns, specs, scores=columns["x"], labels=columns["x"])
        for known in (reference, None):
            profile = Profile.empty(known)
            cells = profile.fold(columns, columns["x"], columns["x"])
            profile.cells(columns)
            profile.fold_outcomes(columns["x"], columns["x"], columns["x"], cells)
            Profile.from_bytes(known, profile.to_bytes())
        numbers = build_reference("warm", "1", {"x": columns["x"]}, specs[:1])
        block = Block(("x",), np.zeros((1, 3), kind), 0, 3)
        Profile.empty(numbers).fold(block, np.zeros(3), np.zeros(3))
