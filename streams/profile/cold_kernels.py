"""Loops over the rows of a segment, compiled: its filter, the search by key, and what newer rows replace."""

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from detectors.compiled import compiled

Array: TypeAlias = npt.NDArray[Any]

_LOWER: Final = np.uint64(0xFFFF_FFFF)
_HALF: Final = np.uint64(32)
_STEP: Final = np.uint64(6)
_BIT: Final = np.uint64(63)
_ONE: Final = np.uint64(1)
_PROBES: Final = 5


@compiled
def _word(key: Any, words: int) -> Any:
    """The filter's word of a key: the lower half, which is a hash, scaled to the number of words."""
    return np.int64(((key & _LOWER) * np.uint64(words)) >> _HALF)


@compiled
def _bits(key: Any) -> Any:
    bits, rest = np.uint64(0), key >> _HALF
    for _ in range(_PROBES):
        bits |= _ONE << (rest & _BIT)
        rest >>= _STEP
    return bits


@compiled
def fill_filter(words: Array, rows: Any) -> None:
    """Enter the keys into a Bloom filter in which all bits of a key lie in one word (Putze, Sanders and Singler,
    Cache-, Hash- and Space-Efficient Bloom Filters, 2007)."""
    for i in range(len(rows)):
        words[_word(rows[i].key, len(words))] |= _bits(rows[i].key)


@compiled
def search(rows: Any, places: Array, shift: Any, words: Array, keys: Array) -> Array:
    """All rows of each key, in order of `keys`.

    rows: sorted by key. places: where the rows begin whose key shifted right by `shift` is the index. words: their
    filter.
    """
    likely, count = np.empty(len(keys), np.int64), 0
    for i in range(len(keys)):
        bits = _bits(keys[i])
        likely[count] = i
        count += (words[_word(keys[i], len(words))] & bits) == bits
    found, hits = np.empty(count, np.int64), 0
    for i in likely[:count]:
        bucket = np.int64(keys[i] >> shift)
        low, high = np.int64(places[bucket]), np.int64(places[bucket + 1])
        end = high
        while low < high:
            middle = (low + high) // 2
            if rows[middle].key < keys[i]:
                low = middle + 1
            else:
                high = middle
        while low < end and rows[low].key == keys[i]:
            if hits == len(found):
                larger = np.empty(2 * hits + 16, np.int64)
                larger[:hits] = found
                found = larger
            found[hits] = low
            hits += 1
            low += 1
    return found[:hits]


@compiled
def taken(rows: Any, order: Array) -> Any:
    """The rows in this order: NumPy takes ten times as long for records."""
    found = np.empty(len(order), rows.dtype)
    for i in range(len(order)):
        found[i] = rows[order[i]]
    return found


@compiled
def newest(keys: Array, numbers: Array) -> Array:
    """Which rows count, where the first of each key and version number does; sorted by key."""
    counts = np.ones(len(keys), np.bool_)
    for i in range(1, len(keys)):
        other = i - 1
        while other >= 0 and keys[other] == keys[i]:
            if numbers[other] == numbers[i]:
                counts[i] = False
                break
            other -= 1
    return counts
