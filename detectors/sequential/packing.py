"""What is remembered of a stream in few bytes, exactly as it is: for checkpoints, not for deciding.

Sums are whole multiples of `UNIT`, and those of neighbouring candidates differ by a few windows: their differences are
small whole numbers, whose bytes, taken place by place, compress to about a fifth.
"""

import zlib
from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace

from detectors.columns import Floats
from detectors.sequential.values import Memory, Opened, Track

UNIT: Final = 1 / 256
"""What the sums of a window are rounded to: a thousandth of their standard deviation at most."""
_LEVEL: Final = 1
_GREATEST: Final = 2.0**52 * UNIT

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Memory).decode


def rounded(sums: Floats) -> Floats:
    """The nearest multiples of `UNIT`, exact under addition and subtraction."""
    return np.rint(sums / UNIT) * UNIT


def pack_memory(memory: Memory) -> bytes:
    """The memory as bytes; `unpack_memory` gives back an equal one."""
    return zlib.compress(_encode(_mapped(memory, _shrink)), _LEVEL)


def unpack_memory(data: bytes) -> Memory:
    """What `pack_memory` was given. Raises `zlib.error`, `msgspec.DecodeError` or `ValueError` for other bytes."""
    return _mapped(_decode(zlib.decompress(data)), _grow)


def _mapped(memory: Memory, change: Callable[[bytes, int], bytes]) -> Memory:
    return replace(
        memory,
        tracks={kind: _track(track, change) for kind, track in memory.tracks.items()},
        feedback=tuple(replace(one, before=_track(one.before, change)) for one in memory.feedback),
    )


def _track(track: Track, change: Callable[[bytes, int], bytes]) -> Track:
    count = len(track.at)
    return replace(
        track,
        at_sums=change(track.at_sums, count),
        at_rows=change(track.at_rows, count),
        opened=_opened(track.opened, change),
    )


def _opened(opened: Opened | None, change: Callable[[bytes, int], bytes]) -> Opened | None:
    if opened is None or opened.since_then is None:
        return opened
    return replace(opened, since_then=_track(opened.since_then, change))


def _shrink(sums: bytes, count: int) -> bytes:
    """Differences of the rows as whole numbers, all lowest bytes first; as they are where they are no multiples."""
    if not sums:
        return b""
    numbers = np.frombuffer(sums).reshape(count, -1) / UNIT
    if np.abs(numbers).max() * UNIT >= _GREATEST or (numbers != np.rint(numbers)).any():
        return b"\0" + sums
    steps = np.diff(numbers.astype("<i8"), axis=0, prepend=np.zeros((1, numbers.shape[1]), dtype=np.int64))
    folded = (steps << 1) ^ (steps >> 63)
    return b"\1" + folded.astype("<u8").reshape(-1, 1).view(np.uint8).T.tobytes()


def _grow(packed: bytes, count: int) -> bytes:
    if packed[:1] != b"\1":
        return packed[1:]
    folded = np.frombuffer(packed, dtype=np.uint8, offset=1).reshape(8, -1).T.copy().view("<u8").reshape(-1)
    steps = (folded >> np.uint64(1)).astype(np.int64) ^ -(folded & np.uint64(1)).astype(np.int64)
    return (np.cumsum(steps.reshape(count, -1), axis=0) * UNIT).tobytes()
