"""The keys of a column of event ids at once: `homeostat.keys.key_of` of each, without making a Python string of it.

XXH3 as its specification has it for inputs of up to 64 bytes, seed 0 and the default secret, compiled; ids that are
longer are left to the library. Source: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from detectors.compiled import compiled

Keys = npt.NDArray[np.uint64]

_LONGEST: Final = 64
_SECRET: Final = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
        "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
        "3c2852bb91c300cb"
    ),
    dtype="<u8",
)
"""The part of the default secret that inputs of up to 64 bytes meet, in words of 8 bytes."""
_PRIME_1: Final = np.uint64(0x9E3779B185EBCA87)
_PRIME_2: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME_3: Final = np.uint64(0x165667B19E3779F9)
_MIX_1: Final = np.uint64(0x165667919E3779F9)
_MIX_2: Final = np.uint64(0x9FB21C651E98DF25)
_LOWER: Final = np.uint64(0xFFFF_FFFF)
_HALF: Final = np.uint64(32)


def keys_of_column(ids: pa.Array) -> Keys:
    """The keys of ids, an Arrow column of texts without nulls, shape (rows,)."""
    rows = len(ids)
    if not rows:
        return np.zeros(0, dtype=np.uint64)
    _, ends, texts = ids.buffers()
    places = np.frombuffer(ends, np.int32, rows + 1, 4 * ids.offset)
    data = np.frombuffer(texts if texts is not None else b"", np.uint8)
    keys = np.empty(rows, dtype=np.uint64)
    if _hash_short(data, places, _SECRET, keys):
        raw = data.data
        for row in np.flatnonzero(np.diff(places) > _LONGEST).tolist():
            keys[row] = xxhash.xxh3_64_intdigest(raw[int(places[row]) : int(places[row + 1])])
    return keys


@compiled
def _hash_short(data: Any, ends: Any, secret: Any, keys: Any) -> int:
    """Fill in the keys of ids that are not too long; how many others there are."""
    longer = 0
    for row in range(len(keys)):
        at, size = np.int64(ends[row]), np.int64(ends[row + 1]) - np.int64(ends[row])
        if size > _LONGEST:
            longer += 1
        elif size > 16:
            keys[row] = _of_middle(data, at, size, secret)
        elif size > 8:
            keys[row] = _of_two_words(data, at, size, secret)
        elif size > 3:
            keys[row] = _of_two_halves(data, at, size, secret)
        elif size > 0:
            keys[row] = _of_bytes(data, at, size, secret)
        else:
            keys[row] = _old_mixed(secret[7] ^ secret[8])
    return longer


@compiled
def _word(data: Any, at: Any) -> Any:
    found = np.uint64(0)
    for place in range(8):
        found |= np.uint64(data[at + place]) << np.uint64(8 * place)
    return found


@compiled
def _half_word(data: Any, at: Any) -> Any:
    found = np.uint64(0)
    for place in range(4):
        found |= np.uint64(data[at + place]) << np.uint64(8 * place)
    return found


@compiled
def _turned(word: Any, bits: int) -> Any:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


@compiled
def _swapped(word: Any) -> Any:
    found = np.uint64(0)
    for place in range(8):
        found |= ((word >> np.uint64(8 * place)) & np.uint64(0xFF)) << np.uint64(56 - 8 * place)
    return found


@compiled
def _folded(one: Any, other: Any) -> Any:
    """The product of 128 bits, its halves taken together by exclusive or."""
    low, high = one & _LOWER, one >> _HALF
    other_low, other_high = other & _LOWER, other >> _HALF
    least, greatest = low * other_low, high * other_high
    cross = (least >> _HALF) + (high * other_low & _LOWER) + low * other_high
    upper = greatest + (high * other_low >> _HALF) + (cross >> _HALF)
    return ((cross << _HALF) | (least & _LOWER)) ^ upper


@compiled
def _mixed(word: Any) -> Any:
    word = (word ^ (word >> np.uint64(37))) * _MIX_1
    return word ^ (word >> _HALF)


@compiled
def _old_mixed(word: Any) -> Any:
    word = (word ^ (word >> np.uint64(33))) * _PRIME_2
    word = (word ^ (word >> np.uint64(29))) * _PRIME_3
    return word ^ (word >> _HALF)


@compiled
def _of_bytes(data: Any, at: Any, size: Any, secret: Any) -> Any:
    first, middle = np.uint64(data[at]), np.uint64(data[at + (size >> 1)])
    last = np.uint64(data[at + size - 1])
    together = (first << np.uint64(16)) | (middle << np.uint64(24)) | last | (np.uint64(size) << np.uint64(8))
    return _old_mixed(together ^ ((secret[0] & _LOWER) ^ (secret[0] >> _HALF)))


@compiled
def _of_two_halves(data: Any, at: Any, size: Any, secret: Any) -> Any:
    together = _half_word(data, at + size - 4) + (_half_word(data, at) << _HALF)
    word = together ^ (secret[1] ^ secret[2])
    word = (word ^ _turned(word, 49) ^ _turned(word, 24)) * _MIX_2
    word = (word ^ ((word >> np.uint64(35)) + np.uint64(size))) * _MIX_2
    return word ^ (word >> np.uint64(28))


@compiled
def _of_two_words(data: Any, at: Any, size: Any, secret: Any) -> Any:
    low = _word(data, at) ^ (secret[3] ^ secret[4])
    high = _word(data, at + size - 8) ^ (secret[5] ^ secret[6])
    return _mixed(np.uint64(size) + _swapped(low) + high + _folded(low, high))


@compiled
def _of_middle(data: Any, at: Any, size: Any, secret: Any) -> Any:
    """From both ends towards the middle, 16 bytes each."""
    found = np.uint64(size) * _PRIME_1
    for step in range((size - 1) // 32 + 1):
        front, back = at + 16 * step, at + size - 16 * (step + 1)
        found += _folded(_word(data, front) ^ secret[4 * step], _word(data, front + 8) ^ secret[4 * step + 1])
        found += _folded(
            _word(data, back) ^ secret[4 * step + 2], _word(data, back + 8) ^ secret[4 * step + 3]
        )
    return _mixed(found)
