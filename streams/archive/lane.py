"""One input partition on its way into files: records are held until they are cut off as a block.

A block is what stands between two offsets. Which offsets is decided once: the cut is committed to the group, fenced by
its generation, before the first file of the block is written. So whoever writes a block, even one who was stopped and
wakes up late, or a new owner after a crash, writes the same files under the same names.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pyarrow as pa
import structlog

from homeostat.contract import LabelBatch, PredictionBatch
from streams.archive.erasure import Erasures
from streams.archive.layout import Kind, Place, Span, model_part
from streams.archive.tables import by_day, in_order, joined, memory_of, table_of, to_parquet
from streams.broker.group import Record

_log = structlog.get_logger()

_Records: TypeAlias = list[tuple[PredictionBatch | LabelBatch, int]]
_UNFIT = (pa.ArrowException, ValueError, TypeError, OverflowError)
"""What building a table can raise for a record that nobody has foreseen: it must not stop the others."""
_RECORD_BYTES = 2_000
"""What the objects of one decoded record take beside its bytes."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the group keeps of one partition beside its offset: the run of the input, and the end of the block that is
    being written from that offset on, if one is."""

    run: int = 0
    cut: int | None = None

    def to_text(self) -> str:
        """As the metadata of a committed offset."""
        return json.dumps({"run": self.run} | ({} if self.cut is None else {"cut": self.cut}))

    @classmethod
    def from_text(cls, text: str) -> "Mark":
        """Read it again; anything else is a mark without a cut."""
        try:
            told: Any = json.loads(text or "{}")
        except json.JSONDecodeError:
            return cls()
        if not isinstance(told, dict):
            return cls()
        run, cut = told.get("run", 0), told.get("cut")
        return cls(run if isinstance(run, int) else 0, cut if isinstance(cut, int) else None)


@dataclass(slots=True)
class Block:
    """Records from the offset `start` on; `last` is the offset up to which it is known, `size` in bytes of memory.
    `cut` is its end (excluded), once that is decided. `erased` and `unfit` rows were left out of the files that were
    made last: by an order to erase, and because they cannot be archived."""

    start: int
    last: int
    since_s: float
    cut: int | None = None
    size: int = 0
    rows: int = 0
    erased: int = 0
    unfit: int = 0
    records: _Records = field(default_factory=list[tuple[PredictionBatch | LabelBatch, int]])

    @property
    def complete(self) -> bool:
        """Everything up to the cut is here."""
        return self.cut is None or self.last >= self.cut - 1


class Lane:
    """The records of one partition that are in no file yet, from the offset `start` on; `mark.cut` is a block that
    somebody has begun to write before. `truncated`: the broker has forgotten the beginning of that block."""

    def __init__(self, partition: int, start: int, mark: Mark, *, truncated: bool = False) -> None:
        self.partition = partition
        self.run = mark.run
        self._start = start
        self._cut = mark.cut
        self.truncated = truncated
        self._blocks: list[Block] = []

    def add(self, record: Record, batch: PredictionBatch | LabelBatch | None, now_s: float) -> None:
        """Take one record; `batch` is None when it breaks the contract: its offset counts, it has no rows."""
        if not self._blocks:
            self._blocks.append(Block(self._start, self._start - 1, now_s, self._cut))
            self._cut = None
        block = self._blocks[-1]
        if block.cut is not None and record.offset >= block.cut:
            block.last = block.cut - 1  # what stands in between holds no records
            block = Block(block.cut, block.cut - 1, now_s)
            self._blocks.append(block)
        block.last = record.offset
        block.size += _RECORD_BYTES
        if batch is not None:
            block.size += memory_of(batch)
            block.rows += batch.rows
            block.records.append((batch, record.offset))

    @property
    def block(self) -> Block | None:
        """The block to write next, when there is one that can be written."""
        return self._blocks[0] if self._blocks and self._blocks[0].complete else None

    @property
    def size(self) -> int:
        """Bytes of memory held."""
        return sum(block.size for block in self._blocks)

    @property
    def rows(self) -> int:
        """Rows held."""
        return sum(block.rows for block in self._blocks)

    @property
    def since_s(self) -> float | None:
        """When the oldest record that is held came."""
        return self._blocks[0].since_s if self._blocks else None

    @property
    def due(self) -> bool:
        """A block that was cut before is complete: it needs no waiting."""
        return bool(self._blocks) and self._blocks[0].cut is not None and self._blocks[0].complete

    def files(self, block: Block, erasures: Erasures) -> Iterator[tuple[Place, Span, pa.Buffer, int]]:
        """The files of a block that was cut: place, name, content, rows. Rows that shall be erased are left out."""
        assert block.cut is not None
        span = Span(self.partition, self.run, block.start, block.cut - 1)
        models: dict[tuple[Kind, str], _Records] = {}
        for batch, offset in block.records:
            kind: Kind = "predictions" if isinstance(batch, PredictionBatch) else "labels"
            models.setdefault((kind, batch.model), []).append((batch, offset))
        block.erased = block.unfit = 0
        for (kind, model), records in sorted(models.items(), key=lambda item: item[0]):
            part = model_part(model)
            came = self._table(kind, records)
            kept = erasures.without(came, part)
            block.unfit += sum(batch.rows for batch, _ in records) - came.num_rows
            block.erased += came.num_rows - kept.num_rows
            for day, table in by_day(kept):
                yield Place(kind, part, day), span, to_parquet(table, kind), table.num_rows

    def _table(self, kind: Kind, records: _Records) -> pa.Table:
        try:
            return table_of(kind, records, self.partition)
        except _UNFIT as error:
            if len(records) == 1:
                batch, offset = records[0]
                _log.error(
                    "A record cannot be archived; please report this.",
                    model=batch.model,
                    partition=self.partition,
                    offset=offset,
                    reason=repr(error),
                )
                return joined([], kind)
        middle = len(records) // 2
        return in_order(
            joined([self._table(kind, records[:middle]), self._table(kind, records[middle:])], kind)
        )

    def done(self, block: Block) -> None:
        """The block is in files, and its end is committed."""
        assert block is self._blocks[0]
        assert block.cut is not None
        self._start, self.truncated = block.cut, False
        del self._blocks[0]
