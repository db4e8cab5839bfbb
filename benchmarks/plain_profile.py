"""The numeric part of a profile in plain NumPy: slow, obvious, and the same numbers. Tests hold the kernels against
it, and the benchmark measures it as a peer. Products of whole numbers are exact in float64 below 2^53."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from detectors.kernels_rows import MANTISSA_BITS, REGISTER_BITS
from detectors.layout import Layout, NumericSlots

Longs = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Columns = Mapping[str, npt.NDArray[np.float64] | npt.NDArray[np.float32]]


def plain_fold(layout: Layout, features: Columns, counters: Longs, registers: npt.NDArray[np.uint8]) -> None:
    """Add the numeric columns of a batch to both vectors."""
    standard: list[Doubles] = []
    for slots in layout.numeric:
        values = features[slots.name].astype(np.float64)
        present = values[~np.isnan(values)]
        with np.errstate(over="ignore"):
            singles = present.astype(np.float32) + np.float32(0)
        counters[slots.missing] += len(values) - len(present)
        _count_values(slots, singles, counters)
        _count_buckets(slots, singles, counters)
        _raise_registers(registers[slots.registers], singles)
        with np.errstate(over="ignore"):
            far = np.clip((values - slots.center) * (1 / slots.scale), -(2.0**16), 2.0**16)
        standard.append(np.where(np.isnan(values), 0.0, far))
        counters[slots.moments] += _fixed_sums(standard[-1])
    rows = np.array(standard)
    steps = np.clip(np.rint(rows * 2.0**12), -(2.0**18), 2.0**18)
    upper = np.triu_indices(len(steps))
    counters[layout.cross] += (steps @ steps.T)[upper].astype(np.int64)
    counters[layout.cross_sums] += steps.sum(axis=1).astype(np.int64)
    counters[layout.waves] += _waves(layout, rows)


def _count_values(slots: NumericSlots, values: npt.NDArray[np.float32], counters: Longs) -> None:
    bins = np.searchsorted(slots.edges, values, side="left")
    counters[slots.bins] += np.bincount(bins, minlength=len(slots.edges) + 1)
    counters[slots.below] += int((values < slots.minimum).sum())
    counters[slots.above] += int((values > slots.maximum).sum())
    if len(slots.values):
        nearest = np.minimum(np.searchsorted(slots.values, values), len(slots.values) - 1)
        hits = nearest[slots.values[nearest] == values]
        counters[slots.exact] += np.bincount(hits, minlength=len(slots.values))


def _count_buckets(slots: NumericSlots, values: npt.NDArray[np.float32], counters: Longs) -> None:
    bits = np.abs(values).view(np.int32).astype(np.int64) >> (23 - MANTISSA_BITS)
    place = np.clip(bits - slots.bucket_first, 0, slots.bucket_count)
    signed = np.where(values < 0, -place, place) + slots.bucket_count
    counters[slots.buckets] += np.bincount(signed, minlength=2 * slots.bucket_count + 1)


def _raise_registers(registers: npt.NDArray[np.uint8], values: npt.NDArray[np.float32]) -> None:
    word = values.view(np.uint32)
    for shift, factor in ((16, 0x21F0AAAD), (15, 0xD35A2D97), (15, 1)):
        word = (word ^ (word >> np.uint32(shift))) * np.uint32(factor)
    width = 32 - REGISTER_BITS
    rest = (word & np.uint32(2**width - 1)).astype(np.float64)
    ranks = width - np.floor(np.log2(rest, where=rest > 0, out=np.full(len(rest), -1.0)))
    np.maximum.at(registers, word >> np.uint32(width), ranks.astype(np.uint8))


def _fixed_sums(values: Doubles) -> Longs:
    sums: list[int] = []
    for power in (values, values * values):
        whole = np.floor(power)
        sums += [int(whole.sum()), int(np.rint((power - whole) * 2.0**30).sum())]
    return np.array(sums, dtype=np.int64)


def _waves(layout: Layout, rows: Doubles) -> Longs:
    steps = np.clip(np.rint(rows * 64.0), -511, 511)
    weights, phases = layout.tables.weights.astype(np.float64), layout.tables.phases.astype(np.int64)
    turn = ((weights @ steps).astype(np.int64) + phases[:, None]) % 2**16
    turn = np.where(turn >= 2**15, turn - 2**16, turn) >> 4
    return (turn * (2_048 - np.abs(turn))).sum(axis=1)
