"""Signed integers as variable-length bytes: the smaller, the shorter; equal numbers, equal bytes."""

import numpy as np

from detectors.columns import Integers
from detectors.errors import ProfileInvalid

_LONGEST = 10
"""Bytes of the longest number: 64 bits in groups of 7."""


def pack(values: Integers) -> bytes:
    """Zigzag and LEB128, as in Protocol Buffers, vectorised."""
    zigzag = ((values << 1) ^ (values >> 63)).astype(np.uint64)
    lengths = np.ones(len(zigzag), dtype=np.int64)
    for group in range(1, _LONGEST):
        lengths += zigzag >> np.uint64(7 * group) > 0
    starts = np.cumsum(lengths) - lengths
    packed = np.zeros(int(lengths.sum()), dtype=np.uint8)
    for group in range(int(lengths.max(initial=0))):
        there = lengths > group
        payload = (zigzag[there] >> np.uint64(7 * group)) & np.uint64(0x7F)
        more = (lengths[there] > group + 1).astype(np.uint64) << np.uint64(7)
        packed[starts[there] + group] = payload | more
    return packed.tobytes()


def unpack(data: bytes | memoryview) -> Integers:
    """What `pack` packed; raises `ProfileInvalid` when the bytes end inside a number or one is too long."""
    packed = np.frombuffer(data, dtype=np.uint8)
    if len(packed) == 0:
        return np.zeros(0, dtype=np.int64)
    if packed[-1] & 0x80:
        raise ProfileInvalid("the packed numbers end inside a number: the bytes were cut off")
    last = packed < 0x80
    starts = np.flatnonzero(np.append(True, last[:-1]))
    lengths = np.diff(np.append(starts, len(packed)))
    if lengths.max() > _LONGEST:
        raise ProfileInvalid(f"a packed number has {int(lengths.max())} bytes; {_LONGEST} is the most")
    places = np.arange(len(packed)) - np.repeat(starts, lengths)
    payload = (packed & 0x7F).astype(np.uint64) << (7 * places).astype(np.uint64)
    zigzag = np.bitwise_or.reduceat(payload, starts)
    half = (zigzag >> np.uint64(1)).astype(np.int64)
    return half ^ -(zigzag & np.uint64(1)).astype(np.int64)
