"""Rows of many files in one order, with little of each in memory."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from streams.archive.tables import ORDER, in_order

Position: TypeAlias = tuple[int, int, int, int]
"""A row's place in the order: time, partition, offset, row."""


@dataclass(frozen=True, slots=True)
class Source:
    """Something in order by `ORDER` that can be opened; nothing in it is earlier than `first_us`."""

    first_us: int
    open: Callable[[], Iterator[pa.Table]]


def merged(sources: Sequence[Source], after: Position | None = None) -> Iterator[pa.Table]:
    """The rows of all sources in order, those up to and with `after` left out.

    A source is opened when the order comes to its first row, so that of files that follow one another only few are
    open; of each one table is in memory. All tables must have the same columns.
    """
    waiting = sorted(sources, key=lambda source: source.first_us, reverse=True)
    active: list[_Head] = []
    while waiting or active:
        if not active:
            _open(waiting.pop(), after, active)
        bound = _bound(active)
        while waiting and (bound is None or waiting[-1].first_us <= bound[0]):
            _open(waiting.pop(), after, active)
            bound = _bound(active)
        if not active:
            continue
        parts = [part for part in (head.take(bound) for head in active) if part.num_rows]
        active = [head for head in active if not head.empty]
        if len(parts) == 1:
            yield parts[0]
        elif parts:
            yield in_order(pa.concat_tables(parts))


def distinct(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Rows in order, each place in the input once."""
    last: Position | None = None
    for table in tables:
        fresh = np.zeros(table.num_rows, bool)
        for name in ORDER:
            values = table.column(name)
            numbers = (values.cast(pa.int64()) if name == "time" else values).to_numpy()
            fresh[1:] |= numbers[1:] != numbers[:-1]
        fresh[0] = position_at(table, 0) != last
        last = position_at(table, table.num_rows - 1)
        yield table.filter(pa.array(fresh))


def _open(source: Source, after: Position | None, active: "list[_Head]") -> None:
    head = _Head(source.open(), after)
    if not head.empty:
        active.append(head)


def _bound(active: "Sequence[_Head]") -> Position | None:
    """No row up to here is still to be read; None when every row is in memory."""
    last = [head.last for head in active if not head.complete]
    return min(last) if last else None


class _Head:
    """The part of a source that is in memory."""

    def __init__(self, tables: Iterator[pa.Table], after: Position | None) -> None:
        self._tables = tables
        self._after = after
        self._ahead: pa.Table | None = None
        self._table: pa.Table | None = self._next()
        self._ahead = self._next()

    @property
    def empty(self) -> bool:
        return self._table is None

    @property
    def complete(self) -> bool:
        """All that is left is in memory."""
        return self._ahead is None

    @property
    def last(self) -> Position:
        assert self._table is not None
        return position_at(self._table, self._table.num_rows - 1)

    def take(self, bound: Position | None) -> Any:
        """Remove and return the rows up to and with `bound`."""
        assert self._table is not None
        table = self._table
        count = table.num_rows if bound is None else rows_up_to(table, bound)
        if count < table.num_rows:
            self._table = table.slice(count)
        else:
            self._table, self._ahead = self._ahead, self._next()
        return table.slice(0, count)

    def _next(self) -> pa.Table | None:
        for table in self._tables:
            rest = table if self._after is None else table.slice(rows_up_to(table, self._after))
            if rest.num_rows:
                return rest
        return None


def position_at(table: pa.Table, index: int) -> Position:
    """Where a row stands in the order."""
    time, partition, offset, row = (table.column(name)[index] for name in ORDER)
    return time.cast(pa.int64()).as_py(), partition.as_py(), offset.as_py(), row.as_py()


def rows_up_to(table: pa.Table, bound: Position) -> int:
    """How many rows of a table in order come before or at `bound`."""
    low, high = 0, table.num_rows
    for name, value in zip(ORDER, bound, strict=True):
        column = table.column(name).slice(low, high - low)
        values = (column.cast(pa.int64()) if name == "time" else column).to_numpy()
        low, high = (
            low + int(np.searchsorted(values, value, "left")),
            low + int(np.searchsorted(values, value, "right")),
        )
        if low == high:
            return low
    return high
