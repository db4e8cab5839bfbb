"""Reading every entry once, in order: its hash, its columns, what it sealed, and the tree that it grows."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from db.audit.blocks import COLUMNS, Act, Block, read
from db.audit.findings import Findings
from db.audit.merkle import Edge
from db.audit.rows import LastWrites
from db.tables import LeafRow

BLOCK = 4_096


@dataclass(slots=True)
class Walk:
    """What one pass over the entries gives. `roots`: the tree's root at each size that was asked for.
    `removed`: the sealed fields whose value is gone, by (entry, id)."""

    findings: Findings
    edge: Edge = field(default_factory=Edge)
    rows: LastWrites = field(default_factory=LastWrites)
    entries: int = 0
    pending: int = 0
    roots: dict[int, bytes] = field(default_factory=dict[int, bytes])
    acts: list[Act] = field(default_factory=list[Act])
    removed: dict[tuple[int | None, str], set[str]] = field(
        default_factory=dict[tuple[int | None, str], set[str]]
    )
    _whole: bool = True

    def run(self, connection: Connection, sizes: Iterable[int]) -> None:
        """One pass. After a gap the tree cannot grow any more, but the entries are still read."""
        ahead = sorted(set(sizes), reverse=True)
        for rows in _blocks(connection):
            block = read(rows)
            self._take(block)
            self._grow(block.hashes, rows, ahead)
        waiting = select(*COLUMNS).where(LeafRow.idx.is_(None)).order_by(LeafRow.position)
        for rows in connection.execute(waiting, execution_options={"yield_per": BLOCK}).partitions():
            self._take(read(rows))
            self.pending += len(rows)

    def _take(self, block: Block) -> None:
        for problem in block.problems:
            self.findings.add(problem)
        self.rows.last.update(block.writes)
        self.acts += block.acts
        self.removed.update(block.removed)

    def _grow(self, hashes: list[bytes], rows: Sequence[Any], ahead: list[int]) -> None:
        first, self.entries = self.entries, self.entries + len(rows)
        if not self._whole:
            return
        # Indices are unique and in order, so they follow one another when both ends are right.
        if (rows[0][0], rows[-1][0]) != (first, first + len(rows) - 1):
            at = next(at for at, row in enumerate(rows) if row[0] != first + at)
            self.findings.add(_missing(first + at, rows[at][0] - 1))
            self._whole = False
            hashes = hashes[:at]
        start = 0
        while ahead and ahead[-1] <= first + len(hashes):
            size = ahead.pop()
            self.edge.extend(hashes[start : size - first])
            start = size - first
            self.roots[size] = self.edge.root()
        self.edge.extend(hashes[start:])


def _blocks(connection: Connection) -> Iterator[Sequence[Any]]:
    """All entries in order; the next block is fetched while this one is read."""

    def fetch(after: int) -> Sequence[Any]:
        query = select(*COLUMNS).where(LeafRow.idx > after).order_by(LeafRow.idx).limit(BLOCK)
        return connection.execute(query).all()

    with ThreadPoolExecutor(1, thread_name_prefix="audit-walk") as fetcher:
        block = fetch(-(2**62))
        while block:
            following = fetcher.submit(fetch, block[-1][0])
            yield block
            block = following.result()


def _missing(first: int, last: int) -> str:
    what = f"Entry {first} is" if first == last else f"Entries {first} to {last} are"
    return f"{what} missing from the middle of the log: removed. The tree cannot be followed from there on."
