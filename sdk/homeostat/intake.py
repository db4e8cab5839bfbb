"""Where events are put down as they come: row after row in lines of plain values, for each model, version and set
of names.

A row is a few immutable values appended at once; the numbers of a row are one `bytes` object. So a call costs
next to nothing, and leaves nothing behind that the garbage collector would look at. The packer reads the lines
column by column.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from homeostat.arguments import Block, Label, Prediction
from homeostat.config import Config
from homeostat.errors import ContractError
from homeostat.lanes import Lane, NotPlain, bytes_of_event, gathered, label_line, label_row, lane_of
from homeostat.ledger import Ledger
from homeostat.lines import Line

WAKE_BATCHES: Final = 8
"""So many full batches make the packer look at once: fewer wait for its next look, a tenth of a second away,
for waking it costs the caller a system call."""

_MAX_LANES = 256
_VECTORS: Final = frozenset((tuple, np.ndarray))


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows in line for the packer; `blocks` makes columns of them."""

    ticket: int
    rows: int
    nbytes: int
    blocks: Callable[[], list[Block]]


class Intake:
    """The rows in line. Every method is safe to call from any thread; `wake` is called when many wait.

    `lanes`: by model, and then by version (by version and names of segments, where there are any).
    """

    def __init__(
        self, config: Config, ledger: Ledger, start: Callable[[], None], wake: Callable[[], None]
    ) -> None:
        self.lanes: dict[str, dict[Any, Lane]] = {}
        self._config = config
        self._ledger = ledger
        self._start = start
        self._wake = wake
        self._all_lanes: dict[Any, Lane] = {}
        self._label_lines: dict[str, Line] = {}
        # Events of every other kind, one by one: with vectors, long ids, or values that are still to be judged.
        self._singles = Line(gathered, stride=1, row_bytes=0)
        self._single_labels = Line(gathered, stride=1, row_bytes=0, label=True)
        ledger.watch(self._singles, self._single_labels)
        self._due: deque[Line] = deque()
        self._closed: deque[Unit] = deque()
        self._woken = False

    def event(self, event: Prediction) -> None:
        """One prediction, made the SDK's own."""
        has_vectors = event.class_scores is not None or not _VECTORS.isdisjoint(
            map(type, event.features.values())
        )
        lane = None if has_vectors else self._lane(event)
        if lane is not None:
            try:
                line, row, extra_bytes = lane.row(event)
            except NotPlain:
                pass
            else:
                self.row(line, row, extra_bytes)
                return
        self.row(self._singles, (event,), bytes_of_event(event))

    def label(self, label: Label) -> None:
        """One label, made the SDK's own."""
        line = self._label_line(label.model)
        if line is not None:
            try:
                row, extra_bytes = label_row(label)
            except NotPlain:
                pass
            else:
                self.row(line, row, extra_bytes)
                return
        self.row(self._single_labels, (label,), bytes_of_event(label))

    def row(self, line: Line, row: tuple[Any, ...], extra_bytes: int) -> None:
        """A row of the line, if there is room."""
        self._start()
        ledger = self._ledger
        with ledger.lock:
            nbytes = line.row_bytes + extra_bytes
            if ledger.full and not self._room(1, nbytes, time.monotonic() + self._config.block_timeout_s):
                ledger.count(1, label=line.label)
                return
            ledger.enter(1, nbytes)
            line.limit += line.stride
            line.extra_bytes += extra_bytes
            line.values.extend(row)
            self._wake_for(line)

    def promise(self, line: Line) -> bool:
        """Room for more rows of the line, put there without asking; False when there is none."""
        with self._ledger.lock:
            self._wake_for(line)
            return self._ledger.promise(line, WAKE_BATCHES * self._config.batch_rows)

    def block(self, block: Block) -> None:
        """Many predictions or labels at once: in parts of a batch each, as far as there is room."""
        try:
            block.check_lengths()
        except ContractError as error:
            self._ledger.refused_call(
                error.field, error.found, error.expected, label=block.label, rows=block.rows
            )
            return
        self._start()
        self._ledger.count(block.rows, label=block.label)
        deadline_s = time.monotonic() + self._config.block_timeout_s
        for start in range(0, block.rows, self._config.batch_rows):
            part = block.part(start, min(start + self._config.batch_rows, block.rows))
            nbytes = part.nbytes
            with self._ledger.lock:
                room = self._room(part.rows, nbytes, deadline_s)
                if room == part.rows:
                    self._put(part, nbytes)
                elif room:
                    self._put(part.part(0, room), nbytes * room // part.rows)

    def look(self, older_than_s: float) -> None:
        """The packer looks: full batches, and what it has seen for that long, are due. Room that was promised to a
        line which does not use it is taken back.
        """
        batch_rows = self._config.batch_rows
        with self._ledger.lock:
            self._woken = False
            self._due.clear()
            now_s = time.monotonic()
            for line in self._ledger.lines:
                rows = line.rows
                if not rows:
                    if line.promised:
                        self._ledger.take_back(line)
                    continue
                line.seen_s = line.seen_s or now_s
                line.due = rows if line.seen_s <= now_s - older_than_s else rows - rows % batch_rows
                if line.due:
                    self._due.append(line)

    def close(self) -> None:
        """All that waits goes in line, with a ticket; nothing more is promised."""
        with self._ledger.lock:
            self._ledger.take_back_all()
            for line in self._ledger.lines:
                while line.values:
                    self._cut(line)

    def take(self) -> Unit | None:
        """The first in line; else the next that is due, from one line after the other."""
        with self._ledger.lock:
            while self._due and not self._closed:
                line = self._due.popleft()
                if line.due:
                    self._cut(line)
                if line.due:
                    self._due.append(line)
            return self._closed.popleft() if self._closed else None

    def _cut(self, line: Line) -> None:
        ledger = self._ledger
        if line.promised < 0:
            ledger.take_back(line)
        rows = min(line.rows, self._config.batch_rows)
        values, nbytes = line.cut(rows)
        ledger.count(rows, label=line.label)
        self._closed.append(Unit(ledger.open_ticket(rows), rows, nbytes, partial(line.make, values)))

    def _wake_for(self, line: Line) -> None:
        if not self._woken and line.rows >= WAKE_BATCHES * self._config.batch_rows:
            self._woken = True
            self._wake()

    def _lane(self, event: Prediction) -> Lane | None:
        if type(event.model) is not str or type(event.version) not in (str, int):
            return None
        segments = tuple(event.segments or ())
        usual = event.version if event.segments is None else (event.version, *segments)
        lane = self.lanes.get(event.model, {}).get(usual)
        if lane is not None and lane.has(event.features):
            return lane
        key = (event.model, event.version, segments, tuple(event.features))
        found = self._all_lanes.get(key)
        if found is None and len(self._all_lanes) < _MAX_LANES:
            made = lane_of(event.model, event.version, tuple(event.features), segments)
            if made is None:
                return None
            with self._ledger.lock:
                found = self._all_lanes.setdefault(key, made)
                if found is made:
                    self._ledger.watch(*made.lines)
        if found is not None:
            self.lanes.setdefault(event.model, {}).setdefault(usual, found)
        return found

    def _label_line(self, model: Any) -> Line | None:
        if type(model) is not str:
            return None
        found = self._label_lines.get(model)
        if found is None and len(self._label_lines) < _MAX_LANES:
            made = label_line(model)
            if made is None:
                return None
            with self._ledger.lock:
                found = self._label_lines.setdefault(model, made)
                if found is made:
                    self._ledger.watch(made)
        return found

    def _put(self, block: Block, nbytes: int) -> None:
        self._ledger.enter(block.rows, nbytes)
        self._closed.append(Unit(self._ledger.open_ticket(block.rows), block.rows, nbytes, lambda: [block]))
        if len(self._closed) == WAKE_BATCHES:
            self._wake()

    def _room(self, rows: int, nbytes: int, deadline_s: float) -> int:
        """How many of so many new rows have a place, once the policy has been followed; the rest is dropped."""
        ledger, policy = self._ledger, self._config.on_full
        room = self._free(rows, nbytes)
        if room < rows:
            ledger.take_back_all()
            room = self._free(rows, nbytes)
        while room < rows and policy == "drop_oldest" and self._give_up_oldest():
            room = self._free(rows, nbytes)
        if room < rows and policy == "block" and not ledger.closed:
            ledger.changed.wait_for(
                lambda: ledger.closed or self._free(rows, nbytes) >= rows, deadline_s - time.monotonic()
            )
            room = self._free(rows, nbytes)
        if room < rows:
            reason = "closed" if ledger.closed else "block_timeout" if policy == "block" else "memory_full"
            ledger.sheds = policy == "drop_newest" and not ledger.closed
            limits = f"{ledger.rows} rows and about {ledger.nbytes} bytes wait for the broker"
            ledger.drop_new(rows - room, reason, f"{limits} (max_rows, max_bytes): new rows are dropped")
        return room

    def _free(self, rows: int, nbytes: int) -> int:
        ledger = self._ledger
        if ledger.closed:
            return 0
        by_bytes = (ledger.max_bytes - ledger.nbytes) * rows // max(nbytes, 1)
        return max(0, min(rows, ledger.max_rows - ledger.rows, by_bytes))

    def _give_up_oldest(self) -> bool:
        ledger = self._ledger
        if ledger.drop_oldest():
            return True
        if not self._closed:
            self.close()
        if not self._closed:
            return False
        unit = self._closed.popleft()
        ledger.drop(unit.ticket, unit.rows, "oldest")
        ledger.release(unit.nbytes)
        return True
