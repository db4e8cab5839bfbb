"""Where events are put down as they come: row after row in a list of plain values, one list per model, version
and set of names.

A row is a few immutable values appended at once; the numbers of a row are one `bytes` object. So a call costs
next to nothing, and leaves nothing behind that the garbage collector would look at. The packer reads the lists
column by column.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from homeostat.arguments import Block, Label, Prediction
from homeostat.config import Config
from homeostat.errors import ContractError
from homeostat.lanes import Chunk, Lane, NotPlain, Singles, bytes_of_event, label_lane, lane_of
from homeostat.ledger import Ledger

WAKE_UNITS: Final = 8
"""So many full batches make the packer look at once: fewer wait for its next look, a tenth of a second away,
for waking it costs the caller a system call."""

_MAX_LANES = 256


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows in line for the packer; `blocks` makes columns of them."""

    ticket: int
    rows: int
    nbytes: int
    blocks: Callable[[], list[Block]]


class Intake:
    """The rows in line. Every method is safe to call from any thread; `wake` is called when many wait."""

    def __init__(
        self, config: Config, ledger: Ledger, start: Callable[[], None], wake: Callable[[], None]
    ) -> None:
        self.lanes: dict[Any, Lane] = {}
        self._config = config
        self._ledger = ledger
        self._start = start
        self._wake = wake
        self._label_lanes: dict[Any, Lane] = {}
        self._singles = Singles()
        self._full: deque[Chunk] = deque()
        self._closed: deque[Unit] = deque()

    def event(self, event: Prediction) -> None:
        """One prediction, made the SDK's own."""
        lane = self._lane(event)
        if lane is not None:
            try:
                row, extra_bytes, packed = lane.row(event)
            except NotPlain:
                pass
            else:
                self.row(lane, row, extra_bytes, packed=packed)
                return
        self.row(self._singles, (event,), bytes_of_event(event))

    def label(self, label: Label) -> None:
        """One label, made the SDK's own."""
        lane = self._label_lane(label.model)
        if lane is not None:
            try:
                row, extra_bytes = lane.label_row(label.id, label.value, label.time_us)
            except NotPlain:
                pass
            else:
                self.row(lane, row, extra_bytes, label=True)
                return
        self.row(self._singles, (label,), bytes_of_event(label), label=True)

    def row(
        self,
        lane: Lane | Singles,
        row: tuple[Any, ...],
        extra_bytes: int,
        *,
        packed: bool = False,
        label: bool = False,
    ) -> None:
        """A row of the lane, as far as there is room."""
        self._start()
        ledger = self._ledger
        with ledger.lock:
            ledger.count(1, label=label)
            nbytes = lane.row_bytes + extra_bytes
            if ledger.full and not self._room(1, nbytes, time.monotonic() + self._config.block_timeout_s):
                return
            chunk = lane.chunk
            if chunk is None or chunk.packed is not packed:
                # Another thread may just have found out that the lane has texts.
                self.close_lane(lane)
                chunk = lane.chunk = lane.new_chunk(self._config.batch_rows, packed=packed)
            ledger.enter(1, chunk.row_bytes + extra_bytes)
            chunk.extra_bytes += extra_bytes
            chunk.line.extend(row)
            if len(chunk.line) >= chunk.full:
                self.close_lane(lane)

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

    def close_lane(self, lane: Lane | Singles) -> None:
        """What the lane has so far goes in line; its next row begins anew. For a caller who holds the lock."""
        chunk = lane.chunk
        if chunk is None or not chunk.line:
            return
        self._full.append(chunk)
        lane.chunk = lane.spare or lane.new_chunk(self._config.batch_rows, packed=lane.packed)
        lane.spare = None
        if len(self._full) == WAKE_UNITS:
            self._wake()

    def close_lanes(self, older_than_s: float) -> None:
        """What the packer has seen for that long goes in line."""
        with self._ledger.lock:
            now_s = time.monotonic()
            for lane in (*self.lanes.values(), *self._label_lanes.values(), self._singles):
                chunk = lane.chunk
                if chunk is not None and chunk.line:
                    chunk.seen_s = chunk.seen_s or now_s
                    lane.spare = lane.spare or lane.new_chunk(self._config.batch_rows, packed=lane.packed)
                    if chunk.seen_s <= now_s - older_than_s:
                        self.close_lane(lane)
            self._count_full()

    def take(self) -> Unit | None:
        """The first in line."""
        with self._ledger.lock:
            self._count_full()
            return self._closed.popleft() if self._closed else None

    def _count_full(self) -> None:
        """Tickets for the chunks that were closed: not given where they were, for there a caller waits."""
        while self._full:
            chunk = self._full.popleft()
            ticket = self._ledger.open_ticket(chunk.rows)
            self._closed.append(Unit(ticket, chunk.rows, chunk.nbytes, chunk.blocks))

    def _lane(self, event: Prediction) -> Lane | None:
        if type(event.model) is not str or type(event.version) not in (str, int):
            return None
        segments = tuple(event.segments) if event.segments else ()
        usual = (event.model, event.version, *segments)
        lane = self.lanes.get(usual)
        if lane is not None and lane.has(event.features):
            return lane
        key = (usual, tuple(event.features))
        found = self.lanes.get(key)
        if found is not None or len(self.lanes) >= _MAX_LANES:
            return found
        made = lane_of(event.model, event.version, tuple(event.features), segments)
        if made is None:
            return None
        with self._ledger.lock:
            found = self.lanes.setdefault(key, made)
            self.lanes.setdefault(usual, found)
        return found

    def _label_lane(self, model: Any) -> Lane | None:
        if type(model) is not str:
            return None
        lane = self._label_lanes.get(model)
        if lane is not None or len(self._label_lanes) >= _MAX_LANES:
            return lane
        made = label_lane(model)
        if made is None:
            return None
        with self._ledger.lock:
            return self._label_lanes.setdefault(model, made)

    def _put(self, block: Block, nbytes: int) -> None:
        self._ledger.enter(block.rows, nbytes)
        self._count_full()
        self._closed.append(Unit(self._ledger.open_ticket(block.rows), block.rows, nbytes, lambda: [block]))
        if len(self._closed) == WAKE_UNITS:
            self._wake()

    def _room(self, rows: int, nbytes: int, deadline_s: float) -> int:
        """How many of so many new rows have a place, once the policy has been followed; the rest is dropped."""
        ledger, policy = self._ledger, self._config.on_full
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
        self._count_full()
        if not self._closed:
            self.close_lanes(older_than_s=0)
        if not self._closed:
            return False
        unit = self._closed.popleft()
        ledger.drop(unit.ticket, unit.rows, "oldest")
        ledger.release(unit.nbytes)
        return True
