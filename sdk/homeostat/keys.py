"""The one named hash of the system (XXH3, 64 bits, of UTF-8 text), and where it sends an event.

Source: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import xxhash


def key_of(id: str) -> int:
    """The 64-bit key of an event id: XXH3 of its UTF-8 bytes, in [0, 2**64)."""
    return xxhash.xxh3_64_intdigest(id.encode())


def keys_of(ids: Iterable[str]) -> npt.NDArray[np.uint64]:
    """The keys of many ids, in their order, as one uint64 array."""
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter(map(digest, map(str.encode, ids)), dtype=np.uint64)


def partition_of(model: str, key: int, partitions: int, spread: int = 1) -> int:
    """The partition of the events topic that holds the event `key` of `model`.

    A model lives on `spread` neighbouring partitions, counted from its own hash: 1 keeps a small model's
    batches whole, more lets a hot model use the whole cluster.

    Raises `ValueError` unless `partitions` and `spread` are at least 1.
    """
    if partitions < 1 or spread < 1:
        raise ValueError(f"partitions={partitions}, spread={spread}: both must be at least 1")
    return (key_of(model) + int(key) % spread) % partitions
