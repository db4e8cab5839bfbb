"""The tables by which the kernels find the counters of a value; derived from the layout, hence the reference."""

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from detectors.kernels import NumericTables
from detectors.kernels_rows import Longs, Places, Singles, Words

if TYPE_CHECKING:
    from detectors.layout import NumericSlots

CELLS: Final = 512
"""Grid cells per column: eight times the bins, so that few cells hold two edges."""
WAVES: Final = 64
"""Random features of a profile."""
WAVE_RADIANS: Final = 0.7
"""How far a phase strays for rows like the reference's: the kernel's width is then about the median distance of
two such rows."""
PERIOD: Final = 2.0**16

_STEPS: Final = 64.0
_GREATEST_WEIGHT: Final = 511.0
_UNIFORMS: Final = 12
_SALT: Final = b"homeostat random features 1 "


def multiplier(name: str) -> int:
    """The odd 32-bit number that stands for a column in the hash of a row."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little") | 1


def multipliers(name: str, size: int) -> Words:
    """Those of the places of a column of vectors."""
    drawn = hashlib.shake_128(name.encode()).digest(size * 4)
    return np.frombuffer(drawn, dtype="<u4").astype(np.uint32) | np.uint32(1)


def wave_weights(names: Sequence[str]) -> Singles:
    """Weights of the random projections: whole numbers, shape (`WAVES`, columns).

    A column's weights are drawn from its name alone: SHAKE-128 of the name gives twelve 16-bit numbers for each,
    whose sum is normal enough (Irwin and Hall) and the same on every machine. They are scaled so that the
    phase of a standard row strays by `WAVE_RADIANS`. Source: Rahimi and Recht, Random Features (2007).
    """
    scale = WAVE_RADIANS / (2 * math.pi) * PERIOD / _STEPS / math.sqrt(max(len(names), 1))
    weights = np.zeros((WAVES, len(names)), dtype=np.float32)
    for column, name in enumerate(names):
        drawn = np.frombuffer(
            hashlib.shake_128(_SALT + name.encode()).digest(WAVES * _UNIFORMS * 2), dtype="<u2"
        )
        normal = drawn.reshape(WAVES, _UNIFORMS).sum(axis=1, dtype=np.int64) / 65_536.0 - _UNIFORMS / 2
        weights[:, column] = np.clip(np.rint(normal * scale), -_GREATEST_WEIGHT, _GREATEST_WEIGHT)
    return weights


def wave_phases() -> Singles:
    """Where each wave begins, in 2^-16ths of its period: whole numbers."""
    return np.frombuffer(hashlib.shake_128(_SALT).digest(WAVES * 2), dtype="<u2").astype(np.float32)


class _Grid(NamedTuple):
    """A uniform grid over the edges of a column: the place of a value is (value - low) * per_cell, of the value
    or of its bits; `cells` of the breaks."""

    logarithmic: bool
    low: np.float32
    per_cell: np.float32
    low_bits: int
    shift: int
    cells: Longs

    def steps(self, weights: Longs) -> float:
        """How many breaks a value meets in its cell beyond the first, on the reference's average."""
        crowd = np.bincount(self.cells, minlength=CELLS)[self.cells]
        return float(((crowd - 1) * weights).sum())


def _grid(breaks: Singles, edges: Singles, weights: Longs) -> _Grid:
    low, high = (edges[0], edges[-1]) if len(edges) else (breaks[0], breaks[-1])
    candidates = [_linear(breaks, low, high), _logarithmic(breaks, low, high)]
    return min(candidates, key=lambda grid: grid.steps(weights))


def _linear(breaks: Singles, low: np.float32, high: np.float32) -> _Grid:
    width = float(high) - float(low)
    factor = CELLS / width if width > 0 else 1.0
    per_cell = np.float32(min(factor, 1e30))
    with np.errstate(over="ignore"):
        places = (breaks - low) * per_cell
    cells = np.clip(places, 0, CELLS - 1).astype(np.int64)
    return _Grid(False, low, per_cell, 0, 0, cells)


def _logarithmic(breaks: Singles, low: np.float32, high: np.float32) -> _Grid:
    first, last = (int(n) for n in _ordered(np.array([low, high], dtype=np.float32)))
    shift = max((last - first).bit_length() - CELLS.bit_length() + 1, 1)
    low_bits = first >> shift
    cells = np.clip((_ordered(breaks) >> shift) - low_bits, 0, CELLS - 1)
    return _Grid(True, low, np.float32(1), low_bits, shift, cells)


def _ordered(values: Singles) -> Longs:
    """The bits of float32 numbers as whole numbers in the same order."""
    bits = (values + np.float32(0)).view(np.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)


def numeric_tables(
    columns: Sequence["NumericSlots"], cross: int, cross_sums: int, waves: int
) -> NumericTables:
    """The tables of all numeric columns. `cross`, `cross_sums`, `waves`: where their counters begin (-1: none)."""
    breaks = [np.unique(np.array([*c.edges, *c.values, c.minimum, c.maximum], np.float32)) for c in columns]
    most = max((len(one) for one in breaks), default=0)
    count = len(columns)
    padded = np.full((count, most + 3), np.inf, dtype=np.float32)
    starts = np.zeros((count, CELLS + 1), dtype=np.int32)
    firsts = np.full((count, CELLS + 1), np.inf, dtype=np.float32)
    slots = np.full((3, count, 2 * most + 4), -1, dtype=np.int32)
    grids: list[_Grid] = []
    for i, (column, mine) in enumerate(zip(columns, breaks, strict=True)):
        padded[i, : len(mine)] = mine
        grids.append(_grid(mine, column.edges, np.isin(mine, column.edges).astype(np.int64)))
        starts[i], firsts[i] = _cell_tables(mine, grids[-1].cells)
        slots[:, i] = _slot_counters(column, mine, slots.shape[2])
    return NumericTables(
        centers=np.array([c.center for c in columns], dtype=np.float64),
        per_scales=np.array([1 / c.scale for c in columns], dtype=np.float64),
        logarithmic=np.array([g.logarithmic for g in grids], dtype=np.uint8),
        lows=np.array([g.low for g in grids], dtype=np.float32),
        per_cells=np.array([g.per_cell for g in grids], dtype=np.float32),
        low_bits=np.array([g.low_bits for g in grids], dtype=np.int32),
        shifts=np.array([g.shift for g in grids], dtype=np.int32),
        cell_slots=starts,
        cell_breaks=firsts,
        breaks=padded,
        slot_bins=slots[0],
        slot_exact=slots[1],
        slot_outside=slots[2],
        missing=np.array([c.missing for c in columns], dtype=np.int32),
        moments=np.array([c.moments.start for c in columns], dtype=np.int32),
        bucket_firsts=np.array([c.bucket_first for c in columns], dtype=np.int32),
        bucket_counts=np.array([c.bucket_count for c in columns], dtype=np.int32),
        bucket_zeros=np.array([c.buckets.start + c.bucket_count for c in columns], dtype=np.int32),
        registers=np.array([c.registers.start for c in columns], dtype=np.int32),
        multipliers=np.array([multiplier(c.name) for c in columns], dtype=np.uint32),
        weights=wave_weights([c.name for c in columns]),
        phases=wave_phases(),
        cross=cross,
        cross_sums=cross_sums,
        waves=waves,
    )


def _cell_tables(breaks: Singles, cells: Longs) -> tuple[Places, Singles]:
    """For each cell the slot of its beginning and the break in it, or -1 - the first of several; the cell behind
    the last takes what is missing to a slot of no counter."""
    crowd = np.bincount(cells, minlength=CELLS)
    before = np.cumsum(crowd) - crowd
    starts = np.where(crowd > 1, -1 - before, 2 * before)
    single = np.flatnonzero(crowd == 1)
    firsts = np.full(CELLS + 1, np.inf, dtype=np.float32)
    firsts[single] = breaks[before[single]]
    return np.append(starts, 2 * (len(breaks) + 1)).astype(np.int32), firsts


def _slot_counters(column: "NumericSlots", breaks: Singles, width: int) -> Places:
    """Which bin, which exact value and which side outside of the range each slot adds to, shape (3, width)."""
    found = np.full((3, width), -1, dtype=np.int32)
    last = 2 * len(breaks)
    for slot in range(last + 2):
        place = min(slot, last) // 2
        equal = slot % 2 == 1 and slot < last
        left = int(np.searchsorted(column.edges, breaks[place], side="left")) if place < len(breaks) else None
        found[0, slot] = column.bins.start + (len(column.edges) if left is None else left)
        if equal and breaks[place] in column.values:
            found[1, slot] = column.exact.start + int(np.searchsorted(column.values, breaks[place]))
        if place < len(breaks) and (
            breaks[place] < column.minimum or (not equal and breaks[place] <= column.minimum)
        ):
            found[2, slot] = column.below
        elif place >= len(breaks) or breaks[place] > column.maximum:
            found[2, slot] = column.above
    return found
