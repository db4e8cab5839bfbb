"""Signed integers as variable-length bytes: the smaller, the shorter; equal numbers, equal bytes.

Zigzag and LEB128 as in Protocol Buffers. A profile is mostly zeros: a run of them is one zero byte and the
length of the run less one.
"""

from typing import Final

import numpy as np

from detectors.compiled import compiled
from detectors.errors import ProfileInvalid
from detectors.kernels_rows import Bytes, Longs

_MASK: Final = np.uint64(0x7F)
_MORE: Final = np.uint64(0x80)
_SEVEN: Final = np.uint64(7)
_ONE: Final = np.uint64(1)
_MOST: Final = 10
"""Bytes of a number, and of a zero with its run."""
_LAST_SHIFT: Final = np.uint64(63)
"""Where the tenth group of seven bits stands: one bit is left for it."""

CUT_OFF, TOO_LONG, TOO_MANY, TOO_FEW = -1, -2, -3, -4


def pack(values: Longs) -> bytes:
    """The numbers as bytes."""
    packed = np.empty(_MOST * len(values), dtype=np.uint8)
    return packed[: _pack(values, packed)].tobytes()


def unpack(data: bytes | memoryview, count: int) -> tuple[Longs, int]:
    """`count` numbers that `pack` packed, and how many bytes they took; what follows them is not looked at.

    Memory depends on `count` alone. Raises `ProfileInvalid` when the bytes end early, a number is longer than 64
    bits, or a run of zeros goes beyond the last number.
    """
    values = np.zeros(count, dtype=np.int64)
    taken = _unpack(np.frombuffer(data, dtype=np.uint8), values)
    if taken == CUT_OFF:
        raise ProfileInvalid(f"the packed numbers end inside a number: {len(data)} bytes, cut off")
    if taken == TOO_LONG:
        raise ProfileInvalid("a packed number has more than 64 bits")
    if taken == TOO_MANY:
        raise ProfileInvalid(f"a run of zeros goes beyond the {count} numbers that are asked for")
    if taken == TOO_FEW:
        raise ProfileInvalid(f"the bytes hold fewer numbers than the {count} that are asked for")
    return values, taken


@compiled
def _zeros(values: Longs, start: int) -> int:
    end = start
    while end < len(values) and values[end] == 0:
        end += 1
    return end - start


@compiled
def _zigzag(value: int) -> np.uint64:
    return np.uint64((value << 1) ^ (value >> 63))


@compiled
def _put(number: np.uint64, packed: Bytes, place: int) -> int:
    while number > _MASK:
        packed[place] = np.uint8((number & _MASK) | _MORE)
        number >>= _SEVEN
        place += 1
    packed[place] = np.uint8(number)
    return place + 1


@compiled
def _pack(values: Longs, packed: Bytes) -> int:
    """Fills the bytes; how many they are."""
    place, at = 0, 0
    while place < len(values):
        if values[place] == 0:
            run = _zeros(values, place)
            packed[at] = 0
            at = _put(np.uint64(run - 1), packed, at + 1)
            place += run
        else:
            at = _put(_zigzag(values[place]), packed, at)
            place += 1
    return at


@compiled
def _get(packed: Bytes, at: int) -> tuple[np.uint64, int]:
    """The number that begins at a byte, and where the next one begins; or why there is none."""
    number, shift = np.uint64(0), np.uint64(0)
    while at < len(packed):
        group = np.uint64(packed[at])
        at += 1
        if shift > _LAST_SHIFT or (shift == _LAST_SHIFT and group > _ONE):
            return number, TOO_LONG
        number |= (group & _MASK) << shift
        if group < _MORE:
            return number, at
        shift += _SEVEN
    return number, CUT_OFF


@compiled
def _unpack(packed: Bytes, values: Longs) -> int:
    place, at = 0, 0
    while place < len(values):
        if at >= len(packed):
            return TOO_FEW
        if np.uint8(0) < packed[at] < _MORE:
            number, at = np.uint64(packed[at]), at + 1
        else:
            number, at = _get(packed, at)
        if at < 0:
            return at
        if number == np.uint64(0):
            number, at = _get(packed, at)
            if at < 0:
                return at
            if number >= np.uint64(len(values) - place):
                return TOO_MANY
            place += np.int64(number) + 1
        else:
            values[place] = np.int64(number >> _ONE) ^ -np.int64(number & _ONE)
            place += 1
    return at
