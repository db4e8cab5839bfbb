"""Where every row is: waiting, sent, acknowledged, on disk, dropped or rejected. Bounded memory is kept here."""

import logging
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Condition, RLock

from homeostat.lines import Line

logger = logging.getLogger("homeostat")

# Reasons may name a feature, and a host can invent names without end.
_MAX_TOLD_REASONS = 256
# No line is promised more than this part of the room, or others would find none while it is not used.
_PROMISED_SHARE = 64


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Rows since the process started (or forked), in one moment.

    logged + labelled + adopted = acknowledged + pending + spooled + sum(dropped.values()) + rejected

    `logged` and `labelled`: given to `log` and `label`. `adopted`: found in the spool of a process that is no
    more; `adopted_processes`: how many of those there were. `sent`: handed to the broker at least once.
    `acknowledged`: kept by the broker for good. `dropped`: by reason (`memory_full`, `oldest`, `block_timeout`,
    `too_large`, `spool_damaged`, `closed`). `rejected`: broke the contract. `pending`: waiting in memory. `spooled`:
    waiting on disk.
    """

    logged: int = 0
    labelled: int = 0
    adopted: int = 0
    adopted_processes: int = 0
    sent: int = 0
    acknowledged: int = 0
    dropped: dict[str, int]
    rejected: int = 0
    pending: int = 0
    spooled: int = 0


@dataclass(slots=True, eq=False, kw_only=True)
class Holding:
    """Rows that wait for the broker as one thing, in `nbytes` of memory or (`spooled`) on disk.

    `ticket`: what the rows are paid back with. `given_up`: dropped for newer ones; do not send it.
    """

    ticket: int
    rows: int
    nbytes: int
    spooled: bool = False
    given_up: bool = False


class Ledger:
    """The count of all rows. Every method is safe to call from any thread.

    Rows enter with `enter`, or find room that was promised to their line (one of `lines`): `rows` and `nbytes` count
    what was promised as well. Once their batch is cut they are counted, and belong to a ticket; who settles rows of a
    ticket (`acknowledged`, `dropped`, `refused`) pays it back. `sheds`: nothing is promised, and what finds no room
    may be counted and forgotten, for it has been told.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        # Re-entrant: a signal handler or a finalizer may log while this thread is inside.
        self.lock = RLock()
        self.changed = Condition(self.lock)
        self.rows = 0
        self.nbytes = 0
        self.closed = False
        self.sheds = False
        self.lines: list[Line] = []
        self._logged = 0
        self._labelled = 0
        self._shed = 0
        self._spooled = 0
        self._adopted = 0
        self._adopted_processes = 0
        self._sent = 0
        self._acknowledged = 0
        self._rejected = 0
        self._dropped: Counter[str] = Counter()
        self._tickets: dict[int, int] = {}
        self._next_ticket = 0
        self._droppable: OrderedDict[int, Holding] = OrderedDict()
        self._told: set[str] = set()

    @property
    def full(self) -> bool:
        """Whether no row has a place."""
        return self.rows >= self.max_rows or self.nbytes >= self.max_bytes

    @property
    def half_full(self) -> bool:
        """Whether more than half of the memory is taken, not counting what is only promised."""
        with self.lock:
            rows = self.rows - sum(line.promised for line in self.lines)
            nbytes = self.nbytes - sum(line.promised * line.row_bytes for line in self.lines)
            return 2 * rows > self.max_rows or 2 * nbytes > self.max_bytes

    def count(self, rows: int, *, label: bool) -> None:
        """So many rows were given to `log` or `label`."""
        with self.lock:
            if label:
                self._labelled += rows
            else:
                self._logged += rows

    def enter(self, rows: int, nbytes: int) -> None:
        """So many rows wait in memory from now on."""
        with self.lock:
            self.rows += rows
            self.nbytes += nbytes

    def watch(self, *lines: Line) -> None:
        """Count the rows of these lines, too."""
        with self.lock:
            self.lines += lines

    def promise(self, line: Line, most_rows: int) -> bool:
        """Promise the line room for so many more rows at most; False when there is none."""
        with self.lock:
            if line.promised > 0:
                # Another thread asked first.
                return True
            free = min(self.max_rows - self.rows, (self.max_bytes - self.nbytes) // line.row_bytes)
            if free <= 0:
                return False
            rows = min(most_rows, max(1, free // _PROMISED_SHARE))
            self.sheds = False
            self.enter(rows, rows * line.row_bytes)
            line.limit += rows * line.stride
            return True

    def take_back(self, line: Line) -> None:
        """Nothing more is promised to the line. Threads may have put a row too much into it between two steps of
        another: it is counted here.
        """
        with self.lock:
            rows = line.promised
            if rows:
                line.limit -= rows * line.stride
                self.enter(-rows, -rows * line.row_bytes)

    def take_back_all(self) -> None:
        """Nothing more is promised to any line."""
        with self.lock:
            for line in self.lines:
                self.take_back(line)

    def shed(self) -> bool:
        """Count a row that finds no room, where that is all there is to do."""
        with self.lock:
            if not (self.sheds and self.full):
                return False
            self._logged += 1
            self._shed += 1
            return True

    def open_ticket(self, rows: int) -> int:
        """What so many waiting rows are paid back with, one after the other or all at once."""
        with self.lock:
            ticket = self._next_ticket
            self._next_ticket += 1
            if not self.closed:
                self._tickets[ticket] = rows
            return ticket

    def release(self, nbytes: int) -> None:
        """So many bytes of memory are free again."""
        with self.lock:
            self.nbytes -= nbytes
            self.changed.notify_all()

    def hold(self, holding: Holding) -> None:
        """Rows of an open ticket wait as one thing, and may be dropped until it is taken."""
        with self.lock:
            self.nbytes += holding.nbytes
            self._droppable[id(holding)] = holding

    def take(self, holding: Holding) -> bool:
        """Keep it from being dropped from now on; False when it has been."""
        with self.lock:
            self._droppable.pop(id(holding), None)
            return not holding.given_up

    def drop_oldest(self) -> bool:
        """Give up what has waited longest and is not under way; False when there is nothing."""
        with self.lock:
            if not self._droppable:
                return False
            _, oldest = self._droppable.popitem(last=False)
            oldest.given_up = True
            self.nbytes -= oldest.nbytes
            self.drop(oldest.ticket, oldest.rows, "oldest")
            return True

    def spooled(self, holding: Holding) -> bool:
        """It is on disk now; False when it was given up before."""
        with self.lock:
            if not self.take(holding):
                return False
            self.nbytes -= holding.nbytes
            holding.nbytes, holding.spooled = 0, True
            if holding.ticket in self._tickets:
                self.rows -= holding.rows
                self._spooled += holding.rows
            self.changed.notify_all()
            return True

    def adopt(self, rows: int, *, is_first: bool) -> int:
        """So many rows were found on the disk, left by another process (`is_first`: the first of it): their ticket."""
        with self.lock:
            self._adopted += rows
            self._adopted_processes += is_first
            self._spooled += rows
            return self.open_ticket(rows)

    def split(self, whole: Holding, parts: Sequence[Holding]) -> None:
        """The taken `whole` goes on as `parts`, in the same place."""
        with self.lock:
            self.nbytes += sum(part.nbytes for part in parts) - whole.nbytes

    def refused(self, ticket: int, rows: int, field: str, found: object, expected: str) -> None:
        """So many waiting rows of the ticket broke the contract."""
        with self.lock:
            if self._pay_back(ticket, rows):
                self._rejected += rows
                self.rows -= rows
        self._tell_refusal(field, found, expected)

    def refused_call(self, field: str, found: object, expected: str, *, label: bool, rows: int = 1) -> None:
        """A whole call was refused; one that was no event at all counts as one row."""
        with self.lock:
            self.count(rows, label=label)
            self._rejected += rows
        self._tell_refusal(field, found, expected)

    def sent(self, rows: int) -> None:
        """So many rows were handed to the broker for the first time."""
        with self.lock:
            self._sent += rows

    def acknowledged(self, holding: Holding) -> None:
        """The broker keeps it."""
        with self.lock:
            self._acknowledged += self._settle(holding)

    def dropped(self, holding: Holding, reason: str, told: str) -> None:
        """It was taken, and cannot be delivered."""
        with self.lock:
            self._dropped[reason] += self._settle(holding)
        self.tell(reason, told)

    def drop(self, ticket: int, rows: int, reason: str) -> None:
        """So many waiting rows of the ticket are given up; their bytes are for the caller to release."""
        with self.lock:
            if self._pay_back(ticket, rows):
                self._dropped[reason] += rows
                self.rows -= rows

    def drop_new(self, rows: int, reason: str, told: str) -> None:
        """So many rows found no place."""
        with self.lock:
            self._dropped[reason] += rows
        self.tell(reason, told)

    def close(self) -> int:
        """Drop what still waits in memory and refuse what comes; how many rows that cost."""
        with self.lock:
            self.take_back_all()
            lost, self.rows = self.rows, 0
            if lost:
                self._dropped["closed"] += lost
            self.closed = True
            self.max_rows, self.sheds = 0, False
            self._tickets.clear()
            self._droppable.clear()
            self.changed.notify_all()
            return lost

    def mark(self) -> int:
        """What tells tickets opened before from those opened later."""
        with self.lock:
            return self._next_ticket

    def wait_settled(self, mark: int, timeout_s: float) -> bool:
        """Wait until no row of a ticket opened before the mark waits; False when the time is over first."""
        with self.lock:
            return self.changed.wait_for(lambda: next(iter(self._tickets), mark) >= mark, timeout_s)

    def stats(self) -> Stats:
        """The counters, all of one moment."""
        with self.lock:
            logged, labelled, pending = self._logged, self._labelled, self.rows
            for line in self.lines:
                rows = line.rows
                pending -= line.limit // line.stride - rows
                logged, labelled = (logged, labelled + rows) if line.label else (logged + rows, labelled)
            dropped = self._dropped + Counter(memory_full=self._shed)
            return Stats(
                logged=logged,
                labelled=labelled,
                adopted=self._adopted,
                adopted_processes=self._adopted_processes,
                sent=self._sent,
                acknowledged=self._acknowledged,
                dropped=dict(dropped),
                rejected=self._rejected,
                pending=pending,
                spooled=self._spooled,
            )

    def tell(self, reason: str, message: str) -> None:
        """Log a warning the first time that there is this reason."""
        with self.lock:
            if reason in self._told or len(self._told) >= _MAX_TOLD_REASONS:
                return
            self._told.add(reason)
        logger.warning("homeostat: %s (told once; homeostat.stats() counts them)", message)

    def _tell_refusal(self, field: str, found: object, expected: str) -> None:
        reason = f"{field}: {expected}"
        if reason not in self._told:
            self.tell(reason, f"{field}: found {_short(found)}; expected {expected}")

    def _settle(self, holding: Holding) -> int:
        self.nbytes -= holding.nbytes
        if not self._pay_back(holding.ticket, holding.rows):
            return 0
        if holding.spooled:
            self._spooled -= holding.rows
        else:
            self.rows -= holding.rows
        return holding.rows

    def _pay_back(self, ticket: int, rows: int) -> bool:
        if ticket not in self._tickets:
            return False
        self._tickets[ticket] -= rows
        if self._tickets[ticket] <= 0:
            del self._tickets[ticket]
        self.changed.notify_all()
        return True


def _short(found: object) -> str:
    try:
        text = repr(found)
    except Exception:  # noqa: BLE001 - a host's object, told by its type when it cannot tell itself
        text = f"a {type(found).__name__} without a repr"
    return text if len(text) <= 120 else text[:120] + "…"
