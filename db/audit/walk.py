"""Reading every entry once, in order: its hash, its columns, what it sealed, and the tree that it grows."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy import Connection

from db.audit.blocks import Act, Block, read
from db.audit.columns import Columns, sequenced, waiting
from db.audit.findings import Findings
from db.audit.merkle import Edge
from db.audit.rows import LastWrites


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
        for columns in _blocks(connection):
            block = read(columns)
            self._take(block)
            self._grow(block.hashes, [index for index in columns.idx if index is not None], ahead)
        for columns in waiting(connection):
            self._take(read(columns))
            self.pending += len(columns.leaf)

    def _take(self, block: Block) -> None:
        for problem in block.problems:
            self.findings.add(problem)
        self.rows.last.update(block.writes)
        self.acts += block.acts
        self.removed.update(block.removed)

    def _grow(self, hashes: list[bytes], indices: list[int], ahead: list[int]) -> None:
        first, self.entries = self.entries, self.entries + len(indices)
        if not self._whole:
            return
        # Indices are unique and in order, so they follow one another when both ends are right.
        if (indices[0], indices[-1]) != (first, first + len(indices) - 1):
            at = next(at for at, index in enumerate(indices) if index != first + at)
            self.findings.add(_missing(first + at, indices[at] - 1))
            self._whole = False
            hashes = hashes[:at]
        start = 0
        while ahead and ahead[-1] <= first + len(hashes):
            size = ahead.pop()
            self.edge.extend(hashes[start : size - first])
            start = size - first
            self.roots[size] = self.edge.root()
        self.edge.extend(hashes[start:])


def _blocks(connection: Connection) -> Iterator[Columns]:
    """All entries in order; the next block is fetched while this one is read."""
    with ThreadPoolExecutor(1, thread_name_prefix="audit-walk") as fetcher:
        block = sequenced(connection, -(2**62))
        while block:
            following = fetcher.submit(sequenced, connection, block.idx[-1] or 0)
            yield block
            block = following.result()


def _missing(first: int, last: int) -> str:
    what = f"Entry {first} is" if first == last else f"Entries {first} to {last} are"
    return f"{what} missing from the middle of the log: removed. The tree cannot be followed from there on."
