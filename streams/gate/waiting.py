"""What one input partition of the gate remembers beside its counts: halves that wait, requests that were taken.

Both are written as deltas in the transaction that changes them, under keys of a compacted topic: a new owner reads the
topic and has them again. What comes and goes within one transaction is never written.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from streams.gate.places import Place

T = TypeVar("T")

HALVES_KEPT_MS = 600_000
"""How long a request waits for its answer: above every serving time-out."""
MAX_HALVES = 50_000
MAX_HALVES_BYTES = 64 * 1024 * 1024
SEEN_KEPT_MS = 3_600_000
MAX_SEEN = 100_000


class Half(msgspec.Struct, frozen=True):
    """A request or an answer that is to be joined with the other by `join`. `arrived_ms`: when the broker got it.
    `only_row`: the only row of the exchange to take, where a dead letter was sent again. `since_ms`: when it began to
    wait: the time in front of the gate does not count."""

    join: str
    response: bool
    arrived_ms: int
    place: Place
    only_row: int | None = None
    since_ms: int = 0


class Remembered(Generic[T]):
    """A mapping that knows what has changed since it was last written, oldest entry first."""

    def __init__(self, kind: type[T]) -> None:
        self._entries: dict[str, T] = {}
        self._written: set[str] = set()
        self._changed: dict[str, None] = {}
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __getitem__(self, key: str) -> T:
        return self._entries[key]

    def __setitem__(self, key: str, value: T) -> None:
        self._entries[key] = value
        self._changed[key] = None

    def pop(self, key: str) -> T:
        """Forget it."""
        self._changed[key] = None
        return self._entries.pop(key)

    def oldest(self) -> tuple[str, T] | None:
        """The entry that came first."""
        return next(iter(self._entries.items()), None)

    def deltas(self) -> Iterator[tuple[str, bytes | None]]:
        """What has changed since the last call: the values, and None for those that are gone."""
        changed, self._changed = self._changed, {}
        for key in changed:
            if key in self._entries:
                self._written.add(key)
                yield key, self._encode(self._entries[key])
            elif key in self._written:
                self._written.discard(key)
                yield key, None

    def restore(self, key: str, value: bytes | None) -> None:
        """Take a delta that was written."""
        self._entries.pop(key, None)
        self._written.discard(key)
        if value is not None:
            self._entries[key] = self._decode(value)
            self._written.add(key)


class Waiting:
    """Halves until their other half comes, bounded in time, number and bytes."""

    def __init__(self) -> None:
        self.halves = Remembered(Half)
        self._bytes = 0
        self._resumed_ms = 0

    def add(self, half: Half) -> Half | None:
        """The other half, if it waits. A second one of the same kind replaces the first: a redelivery."""
        if half.join in self.halves:
            other = self._take(half.join)
            if other.response != half.response:
                return other
        self._put(half)
        return None

    def displaced_by(self, half: Half) -> Half | None:
        """The half of the same kind that `add` would replace, where it is another one and no redelivery."""
        if half.join not in self.halves:
            return None
        known = self.halves[half.join]
        again = known.place.original == half.place.original and known.only_row == half.only_row
        return None if known.response != half.response or again else known

    def given_up(self, now_ms: int) -> Iterator[tuple[Half, str]]:
        """Those that have waited too long or are too many, oldest first, with the reason."""
        while (entry := self.halves.oldest()) is not None:
            join, half = entry
            if len(self.halves) > MAX_HALVES or self._bytes > MAX_HALVES_BYTES:
                reason = "made room: too many requests and answers wait for their other half"
            elif max(half.since_ms, self._resumed_ms) + HALVES_KEPT_MS <= now_ms:
                missing = "request" if half.response else "response"
                reason = f"no {missing} with this id has come within {HALVES_KEPT_MS / 1000:g} s"
            else:
                return
            self._take(join)
            yield half, reason

    def restore(self, join: str, value: bytes | None) -> None:
        """Take a delta that was written."""
        if join in self.halves:
            self._bytes -= _size(self.halves[join])
        self.halves.restore(join, value)
        if join in self.halves:
            self._bytes += _size(self.halves[join])

    def resume(self, now_ms: int) -> None:
        """What was restored begins to wait anew: the time that nobody read does not count, for the other half may
        stand in the input since then."""
        self._resumed_ms = now_ms

    def _put(self, half: Half) -> None:
        self.halves[half.join] = half
        self._bytes += _size(half)

    def _take(self, join: str) -> Half:
        half = self.halves.pop(join)
        self._bytes -= _size(half)
        return half


class Seen:
    """Idempotency keys of requests that were taken, for an hour."""

    def __init__(self) -> None:
        self.keys = Remembered(int)

    def is_new(self, key: str, arrived_ms: int) -> bool:
        """Whether it comes for the first time; it is remembered from now on."""
        if key in self.keys:
            return False
        self.keys[key] = arrived_ms
        while (entry := self.keys.oldest()) is not None:
            if len(self.keys) <= MAX_SEEN and entry[1] + SEEN_KEPT_MS > arrived_ms:
                break
            self.keys.pop(entry[0])
        return True


def _size(half: Half) -> int:
    return len(half.place.original) + 500
