"""The Merkle tree of RFC 6962, section 2.1, as pure functions over leaf hashes (SHA-256, 32 bytes each)."""

import hashlib
from collections.abc import Iterable, Sequence

HASH_BYTES = 32
TILE_HEIGHT = 8
"""Roots of perfect subtrees of 2^8, 2^16, ... leaves are stored, so that a proof reads hundreds of hashes and never
all of them."""
TILE = 1 << TILE_HEIGHT
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Edge:
    """The right edge of a growing tree: the roots of the perfect subtrees that its size is made of, largest
    first.

    There are as many as the size has bits set, so a million leaves need 20 hashes at most. Appending costs
    two hashes on average, and the tree's root follows from the edge alone. `tiles` collects, while the tree
    grows, the roots of the perfect subtrees whose height is a multiple of `TILE_HEIGHT`: (height, number from
    the left, hash); whoever stores them takes them out.
    """

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        self.tiles: list[tuple[int, int, bytes]] = []
        if size < 0 or len(self.hashes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves cannot have an edge of {len(self.hashes)} hashes")

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> "Edge":
        """The edge that `to_bytes` wrote."""
        return cls(size, (data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)))

    def to_bytes(self) -> bytes:
        """The hashes, one after the other."""
        return b"".join(self.hashes)

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash."""
        self._join(leaf, 0)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes; whole aligned runs of `TILE` are hashed level by level, which takes half the time."""
        at = 0
        while at < len(leaves):
            if self.size % TILE or len(leaves) - at < TILE:
                self._join(leaves[at], 0)
                at += 1
            else:
                self._join(levels_of(leaves[at : at + TILE])[-1][0], TILE_HEIGHT)
                at += TILE

    def _join(self, node: bytes, height: int) -> None:
        """Add a perfect subtree: every trailing one bit of the size is a subtree of equal height to be joined."""
        first = self.size
        if height and not height % TILE_HEIGHT:
            self.tiles.append((height, first >> height, node))
        self.size += 1 << height
        while first >> height & 1:
            node = node_hash(self.hashes.pop(), node)
            height += 1
            if not height % TILE_HEIGHT:
                self.tiles.append((height, first >> height, node))
        self.hashes.append(node)

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves so far."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root


def root(leaves: Sequence[bytes], start: int = 0, stop: int | None = None) -> bytes:
    """The Merkle tree hash of `leaves[start:stop]`, in linear time."""
    edge = Edge()
    edge.extend(leaves[start : len(leaves) if stop is None else stop])
    return edge.root()


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The ranges of leaves whose roots lead from leaf `index` to the root of `size` leaves (RFC 6962, 2.1.1)."""
    if not 0 <= index < size:
        raise ValueError(f"need 0 <= index < size, got index={index}, size={size}")
    ranges: list[tuple[int, int]] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + split(stop - start)
        if index < middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """The ranges of leaves whose roots show that the first `old` leaves begin the tree of `new` (RFC 6962, 2.1.2)."""
    if not 0 < old <= new:
        raise ValueError(f"need 0 < old <= new, got old={old}, new={new}")
    ranges: list[tuple[int, int]] = []
    start, stop, whole = 0, new, True
    while stop != old:
        middle = start + split(stop - start)
        if old <= middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start, whole = middle, False
    if not whole:
        ranges.append((start, stop))
    return ranges[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> bool:
    """Whether `leaf` is at `index` in the tree of `size` leaves with this root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, got = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            got = node_hash(sibling, got)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            got = node_hash(got, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and got == expected


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether the tree of `old` leaves is a prefix of the tree of `new` leaves (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def split(size: int) -> int:
    """Where a tree of `size` (>= 2) leaves divides: the largest power of two below it."""
    return 1 << ((size - 1).bit_length() - 1)


def levels_of(hashes: Sequence[bytes]) -> list[list[bytes]]:
    """All levels of the tree over these hashes, the hashes first. Of 256 hashes the last level is the root; of another
    number each level ends with its last perfect subtree."""
    sha256 = hashlib.sha256
    levels = [list(hashes)]
    while len(below := levels[-1]) > 1:
        pairs = zip(below[::2], below[1::2], strict=False)
        levels.append([sha256(b"\x01" + left + right).digest() for left, right in pairs])
    return levels
