"""Roots of parts of the stored tree, and the proofs that are made of them.

A part of the tree is put together from stored hashes: leaves, and the roots of perfect subtrees of 2^8, 2^16, ...
leaves. So a proof in a log of a million entries reads at most a few hundred hashes.
"""

from collections import OrderedDict
from collections.abc import Sequence

from sqlalchemy import Connection, select

from db.audit.merkle import (
    EMPTY_ROOT,
    TILE,
    TILE_HEIGHT,
    consistency_ranges,
    inclusion_ranges,
    levels_of,
    node_hash,
    split,
)
from db.errors import AuditError
from db.tables import LeafRow, NodeRow

_KEPT = 64
"""Tiles in memory: 1 MiB."""


class Nodes:
    """The first `size` leaves of the log, in one transaction."""

    def __init__(self, connection: Connection, size: int) -> None:
        self.size = size
        self._connection = connection
        self._tiles: OrderedDict[tuple[int, int], list[list[bytes]]] = OrderedDict()

    def root(self) -> bytes:
        """The root of all `size` leaves."""
        return self.part(0, self.size) if self.size else EMPTY_ROOT

    def part(self, start: int, stop: int) -> bytes:
        """The Merkle tree hash of the leaves `start` to `stop - 1`."""
        count = stop - start
        if count & (count - 1) == 0 and start % count == 0:
            return self._perfect(count.bit_length() - 1, start // count)
        middle = start + split(count)
        return node_hash(self.part(start, middle), self.part(middle, stop))

    def inclusion(self, index: int) -> list[bytes]:
        """The proof that leaf `index` is in this tree."""
        return [self.part(*each) for each in inclusion_ranges(index, self.size)]

    def consistency(self, old: int) -> list[bytes]:
        """The proof that the tree of the first `old` leaves begins this one."""
        return [self.part(*each) for each in consistency_ranges(old, self.size)]

    def _perfect(self, height: int, number: int) -> bytes:
        above = height % TILE_HEIGHT
        base, tile = height - above, number >> (TILE_HEIGHT - above)
        return self._tile(base, tile)[above][number - (tile << (TILE_HEIGHT - above))]

    def _tile(self, base: int, tile: int) -> list[list[bytes]]:
        """The hashes of height `base` in this tile, and all levels above them."""
        key = (base, tile)
        if key not in self._tiles:
            first = tile * TILE
            stop = min(first + TILE, self.size >> base)
            self._tiles[key] = levels_of(self._stored(base, first, stop))
            if len(self._tiles) > _KEPT:
                self._tiles.popitem(last=False)
        self._tiles.move_to_end(key)
        return self._tiles[key]

    def _stored(self, base: int, first: int, stop: int) -> Sequence[bytes]:
        query = (
            select(LeafRow.leaf_hash).where(LeafRow.idx >= first, LeafRow.idx < stop).order_by(LeafRow.idx)
            if base == 0
            else select(NodeRow.hash)
            .where(NodeRow.height == base, NodeRow.number >= first, NodeRow.number < stop)
            .order_by(NodeRow.number)
        )
        found = self._connection.scalars(query).all()
        if len(found) != stop - first:
            raise AuditError(
                f"The audit log lacks hashes of height {base} between {first} and {stop - 1}: it was changed. "
                "`homeostat audit verify` says where."
            )
        return found
