"""Loops over the rows of one numeric column that a compiler turns into vector instructions.

Every loop treats a row by itself or adds up whole numbers, so that neither the order of the rows nor their
split into batches shows. Arithmetic is cast at every step: numba would widen it, and wider is slower.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.compiled import compiled, compiled_exact

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint32]
Bytes = npt.NDArray[np.uint8]

FRACTION: Final = 2.0**30
"""Moments are kept in whole parts and in 2^-30ths."""
FARTHEST: Final = 2.0**16
"""Standard deviations at which moments are cut off: the square stays below 2^32, so 2^31 rows fit 63 bits."""
CROSS_UNIT: Final = 2.0**12
"""Steps per standard deviation of what enters the cross-moments."""
CROSS_FARTHEST: Final = 2.0**18
"""64 standard deviations, in steps: a product stays below 2^36, a sum over 2^17 rows below 2^53."""
WAVE_UNIT: Final = 2.0**6
"""Steps per standard deviation of what enters the random features."""
WAVE_FARTHEST: Final = 511.0
MANTISSA_BITS: Final = 4
"""Bits of the mantissa that tell logarithmic buckets apart: 16 per octave."""
REGISTER_BITS: Final = 9
"""HyperLogLog: 512 registers per column."""

_I, _U, _S = np.int32, np.uint32, np.float32
_MAGNITUDE: Final = np.uint32(0x7FFFFFFF)
_INFINITY: Final = np.uint32(0x7F800000)
_MISSING: Final = np.uint32(0x7FC00000)
_BUCKET_SHIFT: Final = np.int32(23 - MANTISSA_BITS)
_RANK_OFFSET: Final = np.int32(127 + 24)


@compiled
def read(
    column: npt.NDArray[Any], center: float, per_scale: float, single: Singles, standard: Doubles
) -> None:
    """Values at single precision (one zero), and standardised (missing ones 0)."""
    for row in range(len(column)):
        value = _S(column[row]) + _S(0)
        single[row] = value
        far = (np.float64(column[row]) - center) * per_scale
        far = far if far < FARTHEST else FARTHEST
        far = far if far > -FARTHEST else -FARTHEST
        standard[row] = far if value == value else 0.0


@compiled
def read_missing(single: Singles, standard: Doubles) -> None:
    """What `read` makes of a column that is not there."""
    for row in range(len(single)):
        single[row] = _S(np.nan)
        standard[row] = 0.0


@compiled_exact
def add_moments(standard: Doubles, sums: Longs) -> None:
    """Add x and x^2, each as (whole parts, 2^-30ths)."""
    whole, part, square_whole, square_part = 0.0, 0.0, 0.0, 0.0
    for row in range(len(standard)):
        value = standard[row]
        floor = np.floor(value)
        whole += floor
        part += np.rint((value - floor) * FRACTION)
        value = value * value
        floor = np.floor(value)
        square_whole += floor
        square_part += np.rint((value - floor) * FRACTION)
    sums[0] += np.int64(whole)
    sums[1] += np.int64(part)
    sums[2] += np.int64(square_whole)
    sums[3] += np.int64(square_part)


@compiled
def quantise(standard: Doubles, cross: Doubles, wave: Singles) -> None:
    """Whole steps for the cross-moments and for the random features."""
    for row in range(len(standard)):
        fine = np.rint(standard[row] * CROSS_UNIT)
        fine = fine if fine < CROSS_FARTHEST else CROSS_FARTHEST
        cross[row] = fine if fine > -CROSS_FARTHEST else -CROSS_FARTHEST
        coarse = np.rint(standard[row] * WAVE_UNIT)
        coarse = coarse if coarse < WAVE_FARTHEST else WAVE_FARTHEST
        wave[row] = _S(coarse if coarse > -WAVE_FARTHEST else -WAVE_FARTHEST)


@compiled
def mixed(word: np.uint32) -> np.uint32:
    """A bijection of 32 bits that mixes them: two multiply-xorshift rounds, constants by Wellons' hash-prospector."""
    word = _U(word ^ _U(word >> _U(16)))
    word = _U(word * _U(0x21F0AAAD))
    word = _U(word ^ _U(word >> _U(15)))
    word = _U(word * _U(0xD35A2D97))
    return _U(word ^ _U(word >> _U(15)))


@compiled
def hash_values(bits: Words, hashes: Words) -> None:
    """Distinct values have distinct hashes; all missing values have one."""
    for row in range(len(bits)):
        hashes[row] = mixed(bits[row] if _U(bits[row] & _MAGNITUDE) <= _INFINITY else _MISSING)


@compiled
def add_hashes(hashes: Words, multiplier: np.uint32, totals: Words) -> None:
    """Multilinear hashing of rows: every column has an odd multiplier of its own."""
    for row in range(len(hashes)):
        totals[row] = _U(totals[row] + _U(hashes[row] * multiplier))


@compiled
def ranks(bits: Words, hashes: Words, scratch: Singles, found: Bytes) -> None:
    """Leading zeros of each hash behind its register number, plus one; 0 where the value is missing.

    Read from the exponent of the rest as a float32, in which 24 bits are exact.
    """
    for row in range(len(bits)):
        rest = _U(_U(hashes[row] << _U(REGISTER_BITS)) >> _U(8))
        scratch[row] = _S(_I(_I(rest) | _I(1)))
    words = scratch.view(np.int32)
    for row in range(len(bits)):
        rank = _I(_RANK_OFFSET - _I(words[row] >> _I(23)))
        found[row] = np.uint8(rank if _U(bits[row] & _MAGNITUDE) <= _INFINITY else _I(0))


@compiled
def linear_cells(single: Singles, low: np.float32, per_cell: np.float32, cells: int, found: Places) -> None:
    """The cell of each value on a grid that is uniform in the value; missing values: behind the last one."""
    last = _S(cells - 1)
    for row in range(len(single)):
        place = _S(_S(single[row] - low) * per_cell)
        place = place if place > _S(0) else _S(0)
        place = place if place < last else last
        found[row] = _I(place) if single[row] == single[row] else _I(cells)


@compiled
def logarithmic_cells(bits: Words, low: int, shift: int, cells: int, found: Places) -> None:
    """The same on a grid that is uniform in the bits of a float32, hence in the logarithm by pieces."""
    start, by, last = _I(low), _I(shift), _I(cells - 1)
    for row in range(len(bits)):
        word = _I(bits[row])
        place = _I(_I(_I(word ^ _I(_I(word >> _I(31)) & _I(_MAGNITUDE))) >> by) - start)
        place = place if place > _I(0) else _I(0)
        place = place if place < last else last
        found[row] = place if _U(bits[row] & _MAGNITUDE) <= _INFINITY else _I(cells)


@compiled
def buckets(bits: Words, first: int, count: int, zero: int, missing: int, found: Places) -> None:
    """The counter of each value's logarithmic bucket: `zero` plus or minus 0 .. `count`.

    Bucket 0 holds what is nearer to zero than the first one, bucket `count` all beyond the last.
    """
    start, last, middle, nowhere = _I(first), _I(count), _I(zero), _I(missing)
    for row in range(len(bits)):
        magnitude = _I(_U(bits[row] & _MAGNITUDE))
        place = _I(_I(magnitude >> _BUCKET_SHIFT) - start)
        place = place if place > _I(0) else _I(0)
        place = place if place < last else last
        sign = _I(_I(bits[row]) >> _I(31))
        place = _I(middle + _I(_I(place ^ sign) - sign))
        found[row] = place if magnitude <= _I(_INFINITY) else nowhere


@compiled
def norms(vectors: Singles) -> Doubles:
    """Euclidean lengths of the rows; NaN where a number is missing. Added up in order, so that a length does not
    depend on the batch."""
    found = np.empty(len(vectors), np.float64)
    for row in range(len(vectors)):
        total = 0.0
        for place in range(vectors.shape[1]):
            total += np.float64(vectors[row, place]) * np.float64(vectors[row, place])
        found[row] = np.sqrt(total)
    return found
