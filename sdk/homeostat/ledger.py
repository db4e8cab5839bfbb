"""Where every row is: waiting, sent, acknowledged, dropped or rejected. Bounded memory is decided here."""

import logging
import time
from collections import Counter
from dataclasses import dataclass
from threading import Condition, RLock
from typing import Generic, TypeVar

Item = TypeVar("Item")

logger = logging.getLogger("homeostat")

# Reasons may name a feature, and a host can invent names without end.
_MAX_TOLD_REASONS = 256


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Rows since the process started (or forked), in one moment.

    logged + labelled = acknowledged + pending + sum(dropped.values()) + rejected

    `logged` and `labelled`: given to `log` and `label`. `sent`: handed to the broker at least once.
    `acknowledged`: kept by the broker for good. `dropped`: by reason (`memory_full`, `too_large`, `closed`).
    `rejected`: broke the contract. `pending`: waiting in memory.
    """

    logged: int = 0
    labelled: int = 0
    sent: int = 0
    acknowledged: int = 0
    dropped: dict[str, int]
    rejected: int = 0
    pending: int = 0


class Ledger(Generic[Item]):
    """The rows that wait, and the count of all others. Every method is safe to call from any thread.

    An item is whatever holds one or more rows. `offer` puts it in line, `take` hands the whole line to the
    packer, which says with `packed` what became of it: rows under a ticket, which `acknowledged` or
    `dropped` pay back.
    """

    def __init__(self, max_rows: int, wake_rows: int) -> None:
        self._max_rows = max_rows
        self._wake_rows = wake_rows
        # Re-entrant: a signal handler or a finalizer may log while this thread is inside.
        self._lock = RLock()
        self._changed = Condition(self._lock)
        self._line: list[Item] = []
        self._line_rows = 0
        self._pending = 0
        self._accepted = 0
        self._packed = 0
        self._logged = 0
        self._labelled = 0
        self._sent = 0
        self._acknowledged = 0
        self._rejected = 0
        self._dropped: Counter[str] = Counter()
        self._tickets: dict[int, int] = {}
        self._next_ticket = 0
        self._told: set[str] = set()
        self._closed = False

    def offer(self, item: Item, *, label: bool) -> bool:
        """Put an item of one row in line, or drop it. True when the packer should look now, not soon."""
        with self._lock:
            if label:
                self._labelled += 1
            else:
                self._logged += 1
            if self._pending >= self._max_rows or self._closed:
                self._drop_newest(1)
                return False
            self._pending += 1
            self._accepted += 1
            self._line.append(item)
            self._line_rows += 1
            return self._line_rows == self._wake_rows or self._accepted == 1

    def reserve(self, rows: int, *, label: bool) -> int:
        """How many of so many new rows have a place; the others are dropped. `enter` must follow."""
        with self._lock:
            if label:
                self._labelled += rows
            else:
                self._logged += rows
            room = 0 if self._closed else min(rows, self._max_rows - self._pending)
            if room < rows:
                self._drop_newest(rows - room)
            self._pending += room
            self._accepted += room
            return room

    def enter(self, item: Item, rows: int) -> bool:
        """Put an item for which `reserve` gave places in line. True when the packer should look now."""
        with self._lock:
            self._line.append(item)
            self._line_rows += rows
            return self._line_rows >= self._wake_rows or self._accepted == rows

    def take(self) -> list[Item]:
        """Everything in line, oldest first; the line is empty afterwards."""
        with self._lock:
            line, self._line = self._line, []
            self._line_rows = 0
            return line

    def packed(self, rows: int) -> int:
        """So many accepted rows are ready to be sent: the ticket to pay them back with."""
        with self._lock:
            ticket = self._next_ticket
            self._next_ticket += 1
            self._tickets[ticket] = rows
            self._packed += rows
            self._changed.notify_all()
            return ticket

    def refused(self, rows: int, field: str, found: object, expected: str) -> None:
        """So many accepted rows broke the contract."""
        with self._lock:
            self._rejected += rows
            self._packed += rows
            self._pending -= rows
            self._changed.notify_all()
        self._tell_refusal(field, found, expected)

    def refused_call(self, field: str, found: object, expected: str, *, label: bool) -> None:
        """A whole call was no event at all; it counts as one row."""
        with self._lock:
            if label:
                self._labelled += 1
            else:
                self._logged += 1
            self._rejected += 1
        self._tell_refusal(field, found, expected)

    def sent(self, rows: int) -> None:
        """So many rows were handed to the broker for the first time."""
        with self._lock:
            self._sent += rows

    def acknowledged(self, ticket: int, rows: int) -> None:
        """The broker keeps so many rows of the ticket."""
        with self._lock:
            self._acknowledged += rows
            self._pay_back(ticket, rows)

    def dropped(self, ticket: int, rows: int, reason: str, told: str) -> None:
        """So many rows of the ticket cannot be delivered."""
        with self._lock:
            self._dropped[reason] += rows
            self._pay_back(ticket, rows)
        self.tell(reason, told)

    def close(self) -> int:
        """Drop what still waits and refuse what comes; how many rows that cost."""
        with self._lock:
            lost, self._pending = self._pending, 0
            if lost:
                self._dropped["closed"] += lost
            self._closed = True
            self._line.clear()
            self._tickets.clear()
            self._packed = self._accepted
            self._changed.notify_all()
            return lost

    def wait_settled(self, timeout_s: float) -> bool:
        """Wait until no row accepted before this call waits any more; False when the time is over first."""
        deadline_s = time.monotonic() + timeout_s
        with self._lock:
            accepted = self._accepted
            if not self._changed.wait_for(lambda: self._packed >= accepted, timeout_s):
                return False
            mark = self._next_ticket
            remaining_s = max(0.0, deadline_s - time.monotonic())
            return self._changed.wait_for(lambda: next(iter(self._tickets), mark) >= mark, remaining_s)

    def stats(self) -> Stats:
        """The counters, all of one moment."""
        with self._lock:
            return Stats(
                logged=self._logged,
                labelled=self._labelled,
                sent=self._sent,
                acknowledged=self._acknowledged,
                dropped=dict(self._dropped),
                rejected=self._rejected,
                pending=self._pending,
            )

    def tell(self, reason: str, message: str) -> None:
        """Log a warning the first time that there is this reason."""
        with self._lock:
            if reason in self._told or len(self._told) >= _MAX_TOLD_REASONS:
                return
            self._told.add(reason)
        logger.warning("homeostat: %s (told once; homeostat.stats() counts them)", message)

    def _tell_refusal(self, field: str, found: object, expected: str) -> None:
        reason = f"{field}: {expected}"
        if reason not in self._told:
            self.tell(reason, f"{field}: found {_short(found)}; expected {expected}")

    def _drop_newest(self, rows: int) -> None:
        reason = "closed" if self._closed else "memory_full"
        self._dropped[reason] += rows
        if reason == "memory_full":
            self.tell(reason, f"{self._max_rows} rows wait for the broker (max_rows): new rows are dropped")

    def _pay_back(self, ticket: int, rows: int) -> None:
        if ticket not in self._tickets:
            return
        self._pending -= rows
        self._tickets[ticket] -= rows
        if self._tickets[ticket] <= 0:
            del self._tickets[ticket]
            self._changed.notify_all()


def _short(found: object) -> str:
    try:
        text = repr(found)
    except Exception:  # noqa: BLE001 - a host's object, told by its type when it cannot tell itself
        text = f"a {type(found).__name__} without a repr"
    return text if len(text) <= 120 else text[:120] + "…"
