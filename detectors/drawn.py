"""A bounded sample of rows that merges: whoever draws it and in whatever order, it holds the same rows.

Every row has a place among `slots` by the hash of its key; of those that meet in a place the one with the highest rank,
another part of the hash, stays. So the sample of two profiles is that of their rows together, and each place holds a
row drawn at random from those that belong to it. Source: Li, Owen and Zhang, One permutation hashing (2012).
"""

import struct
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from detectors.columns import Floats, Singles
from detectors.errors import ProfileInvalid

Keys = npt.NDArray[np.uint64]
Words = npt.NDArray[np.uint32]

SLOTS: Final = 256
"""Rows of a sample at most."""
_HEAD: Final = struct.Struct("<H")
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIXERS: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass
class Drawn:
    """The sample: `ranks`, shape (slots,), 0 where a place is free, and `values`, shape (slots, columns)."""

    ranks: Words
    values: Singles

    @classmethod
    def empty(cls, slots: int, columns: int) -> Self:
        """Of no rows."""
        return cls(np.zeros(slots, dtype=np.uint32), np.zeros((slots, columns), dtype=np.float32))

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.ranks.nbytes + self.values.nbytes

    @property
    def rows(self) -> Floats:
        """The rows that it holds, shape (rows, columns), in the order of their places."""
        return self.values[self.ranks > 0].astype(np.float64)

    def take(self, keys: Keys, matrix: npt.NDArray[np.floating]) -> None:
        """Offer rows. keys: what tells the rows apart, shape (rows,). matrix: shape (columns, rows)."""
        mixed = _mixed(keys)
        places = ((mixed >> np.uint64(32)) % np.uint64(len(self.ranks))).astype(np.int64)
        ranks = mixed.astype(np.uint32) | np.uint32(1)
        best = self.ranks.copy()
        np.maximum.at(best, places, ranks)
        chosen = np.flatnonzero((ranks == best[places]) & (ranks > self.ranks[places]))
        self.ranks[places[chosen]] = ranks[chosen]
        self.values[places[chosen]] = matrix[:, chosen].T

    def merge(self, other: "Drawn") -> None:
        """Offer the rows of another sample."""
        better = other.ranks > self.ranks
        self.ranks[better] = other.ranks[better]
        self.values[better] = other.values[better]

    def to_bytes(self) -> bytes:
        """Equal samples, equal bytes."""
        used = np.flatnonzero(self.ranks)
        parts = used.astype("<u2"), self.ranks[used].astype("<u4"), self.values[used].astype("<f4")
        return _HEAD.pack(len(used)) + b"".join(part.tobytes() for part in parts)

    @classmethod
    def from_bytes(cls, slots: int, columns: int, data: bytes) -> Self:
        """Read `to_bytes`; raises `ProfileInvalid` when it is damaged."""
        found = cls.empty(slots, columns)
        count = _HEAD.unpack_from(data)[0] if len(data) >= _HEAD.size else -1
        if len(data) != _HEAD.size + count * (6 + 4 * columns):
            raise ProfileInvalid(
                f"a sample of {len(data)} bytes does not hold {count} rows of {columns} columns"
            )
        places = np.frombuffer(data, dtype="<u2", count=count, offset=_HEAD.size).astype(np.int64)
        if count and (places[-1] >= slots or (np.diff(places) <= 0).any()):
            raise ProfileInvalid(
                f"the places of a sample must ascend below {slots}; they are {places.tolist()}"
            )
        start = _HEAD.size + 2 * count
        found.ranks[places] = np.frombuffer(data, dtype="<u4", count=count, offset=start)
        values = np.frombuffer(data, dtype="<f4", count=count * columns, offset=start + 4 * count)
        found.values[places] = values.reshape(count, columns)
        return found


def keys_of_contents(matrix: npt.NDArray[np.floating]) -> Keys:
    """Keys of rows that have none of their own, from what is in them: equal rows count once."""
    found = np.zeros(matrix.shape[1], dtype=np.uint64)
    for column in np.asarray(matrix, dtype=np.float32):
        found = _mixed(found + column.view(np.uint32).astype(np.uint64))
    return found


def _mixed(keys: Keys) -> Keys:
    """SplitMix64's finish of a number."""
    found = (keys + _GOLDEN).astype(np.uint64)
    found = (found ^ (found >> np.uint64(30))) * _MIXERS[0]
    found = (found ^ (found >> np.uint64(27))) * _MIXERS[1]
    return found ^ (found >> np.uint64(31))
