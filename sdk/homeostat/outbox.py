"""Parcels on their way to the broker, in order, in memory or on disk: who waits where, under which sequence.

Along a partition a producer's sequences only rise, for consumers take what has a lower one for a redelivery. So
sequences are given in the order of the line, when a parcel is first sent or spooled.
"""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import xxhash

from homeostat.config import Config
from homeostat.keys import key_of
from homeostat.ledger import Ledger
from homeostat.packing import Parcel, halves
from homeostat.spool import Damaged, Meta, Spool

logger = logging.getLogger("homeostat")

ADOPT_EVERY_S = 30.0


class Outbox:
    """The parcels of one process. Used by the background thread only."""

    def __init__(self, config: Config, ledger: Ledger, producer: str) -> None:
        self.lanes: dict[int, deque[Parcel]] = {}
        self._ledger = ledger
        self._producer = producer
        self._new: deque[Parcel] = deque()
        self._in_memory: deque[Parcel] = deque()
        self._next_sequence = 0
        self._adopted_at_s = float("-inf")
        self._spool: Spool | None = None
        if config.spool_dir is not None:
            self._spool = Spool(Path(config.spool_dir), config.spool_max_bytes, producer)

    def add(self, parcels: Iterable[Parcel]) -> None:
        """Newly packed parcels."""
        for parcel in parcels:
            self._new.append(parcel)
            if self._spool is not None:
                self._in_memory.append(parcel)

    def assign(self, partitions: int) -> None:
        """Give each new parcel the lane of its partition. A topic that was made anew with fewer partitions has no
        place for some lanes: then all are given out again.
        """
        if any(partition >= partitions for partition in self.lanes):
            parcels = sorted(chain(*self.lanes.values(), self._new), key=_by_sequence)
            self.lanes.clear()
            self._new = deque(parcels)
        while self._new:
            parcel = self._new.popleft()
            partition = (key_of(parcel.model) + parcel.slot) % partitions
            self.lanes.setdefault(partition, deque()).append(parcel)

    def ready(self, lane: deque[Parcel], most: int) -> Iterator[tuple[Parcel, bytes, int]]:
        """The first parcels of a lane with their values and sequences, each taken as it is asked for. Those that
        were given up meanwhile, or cannot be read any more, leave the lane.
        """
        place = 0
        while place < min(len(lane), most):
            parcel = lane[place]
            value = self._value(parcel) if self._ledger.take(parcel) else None
            if value is None:
                del lane[place]
            else:
                yield parcel, value, self._sequence(parcel)
                place += 1

    def delivered(self, parcel: Parcel) -> None:
        """The broker keeps the parcel."""
        self._ledger.acknowledged(parcel)
        self._forget(parcel)

    def make_smaller(self, lane: deque[Parcel]) -> None:
        """The first parcel of the lane is more than the broker takes: send it in two, or give it up."""
        parcel = lane.popleft()
        value = self._value(parcel)
        if value is None:
            return
        if parcel.rows == 1:
            told = f"an event of model {parcel.model} has {len(value)} bytes, more than the broker takes"
            self._ledger.dropped(parcel, "too_large", told)
            self._forget(parcel)
            return
        parts = halves(parcel, value)
        for part in parts:
            part.handed_over = True
            part.spooled = parcel.spooled
        self._ledger.split(parcel, parts)
        lane.extendleft(reversed(parts))
        # The broker refused the sequences that these parcels carry, and never saw those behind.
        for part in parts:
            self._sequence(part)
        for waiting in chain(lane, self._new):
            if waiting.producer is None and waiting.sequence is not None and waiting not in parts:
                waiting.sequence = None
                self._sequence(waiting)
                self._renumber_file(waiting)
        if parcel.path is not None:
            for part in parts:
                self._write(part)
        elif self._spool is not None:
            self._in_memory.extendleft(reversed(parts))
        self._forget(parcel)

    def spool_waiting(self, longer_than_s: float) -> None:
        """Move what has waited in memory for longer to the disk, as far as there is a spool and it has room."""
        limit_s = time.monotonic() - longer_than_s
        while self._spool is not None and self._in_memory:
            parcel = self._in_memory[0]
            settled = parcel.done or parcel.given_up
            if not settled and (parcel.packed_s > limit_s or not self._to_disk(parcel)):
                return
            self._in_memory.popleft()

    def adopt(self) -> None:
        """Take on what other processes left in the spool, from time to time."""
        if self._spool is None or time.monotonic() - self._adopted_at_s < ADOPT_EVERY_S:
            return
        self._adopted_at_s = time.monotonic()
        found = dict[str, int]()
        try:
            for path, meta in self._spool.adopt():
                self._new.append(self._adopted(path, meta, is_first=meta.producer not in found))
                found[meta.producer] = found.get(meta.producer, 0) + meta.rows
        except OSError as error:
            self._tell_trouble(error)
        if found:
            logger.info(
                "homeostat: %d events that %d ended processes left in the spool are sent by this one",
                sum(found.values()),
                len(found),
            )

    def close(self) -> None:
        """Leave the spool to the next process."""
        if self._spool is not None:
            try:
                self._spool.close()
            except OSError as error:
                self._tell_trouble(error)

    def abandon(self) -> None:
        """In a forked child: what is here is the parent's."""
        if self._spool is not None:
            self._spool.abandon()

    def _adopted(self, path: Path, meta: Meta, *, is_first: bool) -> Parcel:
        return Parcel(
            ticket=self._ledger.adopt(meta.rows, is_first=is_first),
            rows=meta.rows,
            nbytes=0,
            spooled=True,
            model=meta.model,
            version=meta.version,
            slot=meta.slot,
            value=None,
            path=path,
            producer=meta.producer,
            sequence=meta.sequence,
        )

    def _sequence(self, parcel: Parcel) -> int:
        if parcel.sequence is None:
            parcel.sequence = self._next_sequence
            self._next_sequence += 1
        return parcel.sequence

    def _value(self, parcel: Parcel) -> bytes | None:
        if parcel.done or parcel.value is not None or parcel.path is None or self._spool is None:
            return parcel.value
        try:
            return self._spool.load(parcel.path)
        except (Damaged, OSError) as error:
            self._ledger.dropped(parcel, "spool_damaged", f"the spooled batch {parcel.path} is lost: {error}")
            parcel.done = True
            if isinstance(error, Damaged):
                self._spool.set_aside(parcel.path, str(error))
            return None

    def _to_disk(self, parcel: Parcel) -> bool:
        if not self._write(parcel):
            return False
        if self._ledger.spooled(parcel):
            parcel.value = None
        else:
            self._forget(parcel)
        return True

    def _write(self, parcel: Parcel) -> bool:
        if self._spool is None or parcel.value is None:
            return False
        meta = Meta(
            producer=self._producer,
            sequence=self._sequence(parcel),
            model=parcel.model,
            version=parcel.version,
            slot=parcel.slot,
            rows=parcel.rows,
            value_bytes=len(parcel.value),
            value_hash=xxhash.xxh3_64_intdigest(parcel.value),
        )
        try:
            parcel.path = self._spool.keep(meta, parcel.value)
        except OSError as error:
            self._tell_trouble(error)
            return False
        if parcel.path is None:
            self._ledger.tell("spool full", "the spool is full (spool_max_bytes): batches wait in memory")
        return parcel.path is not None

    def _renumber_file(self, parcel: Parcel) -> None:
        if parcel.path is None:
            return
        old, parcel.value = parcel.path, self._value(parcel)
        if parcel.value is not None and self._write(parcel) and self._spool is not None:
            self._spool.forget(old)
            parcel.value = None

    def _forget(self, parcel: Parcel) -> None:
        parcel.done = True
        parcel.value = None
        if parcel.path is not None and self._spool is not None:
            try:
                self._spool.forget(parcel.path)
            except OSError as error:
                self._tell_trouble(error)

    def _tell_trouble(self, error: OSError) -> None:
        self._ledger.tell("spool", f"the spool cannot be used ({error}): batches wait in memory")


def _by_sequence(parcel: Parcel) -> tuple[bool, int]:
    return parcel.sequence is None, parcel.sequence or 0
