"""Lines of rows: where events wait, as plain values one row after the other, until the packer cuts batches off.

A line keeps its list for good. Callers put rows at its end (`extend` with a tuple) and the packer cuts them off at
its front (a slice, and its deletion); each is one step of the interpreter, so a row can be put down without a
lock. What does need the lock is room: a line is promised room for many rows at once (`Ledger.promise`).
"""

from collections.abc import Callable
from typing import Any, Final

from homeostat.arguments import Block

# What Python keeps for a number or a short text in a list: a pointer, and a header with the value.
VALUE_BYTES: Final = 56
ID_BYTES: Final = VALUE_BYTES + 40


class Line:
    """Rows of one kind, `stride` values each in the list `values`.

    `limit`: how long the list may grow before a caller has to ask for room; the ledger counts all rows up to there.
    `make`: columns of rows. `row_bytes`: about how much memory a row takes, `extra_bytes` how much more all rows
    do, for long texts. `due`: how many rows shall be packed without waiting for a full batch. `seen_s`: when the
    packer first saw the first row (of the monotonic clock).
    """

    __slots__ = ("due", "extra_bytes", "label", "limit", "make", "row_bytes", "seen_s", "stride", "values")

    def __init__(
        self, make: Callable[[list[Any]], list[Block]], *, stride: int, row_bytes: int, label: bool = False
    ) -> None:
        self.values: list[Any] = []
        self.make = make
        self.stride = stride
        self.row_bytes = row_bytes
        self.label = label
        self.limit = 0
        self.extra_bytes = 0
        self.due = 0
        self.seen_s: float | None = None

    @property
    def rows(self) -> int:
        return len(self.values) // self.stride

    @property
    def promised(self) -> int:
        """For how many more rows there is room."""
        return (self.limit - len(self.values)) // self.stride

    def cut(self, rows: int) -> tuple[list[Any], int]:
        """The first rows, as they were put down, and about how much memory they take."""
        end = rows * self.stride
        extra_bytes = self.extra_bytes * rows // max(self.rows, 1)
        taken = self.values[:end]
        self.limit -= end
        del self.values[:end]
        self.extra_bytes -= extra_bytes
        self.due = max(0, self.due - rows)
        self.seen_s = None
        return taken, rows * self.row_bytes + extra_bytes
